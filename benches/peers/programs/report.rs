//! The tables.

use std::io::{self, Write};
use std::process::Command;

use crate::outcome::{Field, OURS, Outcome};
use crate::{WORKLOADS, Workload};

/// What is measured of a workload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Processor time of the whole, and memory.
    Program,
    /// Processor time of an operation.
    Operation,
    /// Time from start to end, per operation: of several threads.
    Elapsed,
}

impl Kind {
    /// The number that counts.
    pub(crate) fn of(self) -> fn(&Outcome) -> f64 {
        match self {
            Kind::Program => |outcome| outcome.cpu,
            Kind::Operation => |outcome| outcome.cpu / outcome.ops,
            Kind::Elapsed => |outcome| outcome.wall / outcome.ops,
        }
    }
}

/// The workloads of whole programs that have been run.
pub(crate) fn programs(field: &Field) -> Vec<&'static str> {
    field.run(WORKLOADS.iter().filter(|known| known.kind == Kind::Program).map(|known| known.name))
}

/// A Markdown table: a row for each workload, a column for each program.
fn table(
    out: &mut impl Write,
    field: &Field,
    title: &str,
    rows: &[&str],
    cell: impl Fn(&str, &str) -> Option<String>,
) -> io::Result<()> {
    write!(out, "\n{title}\n\n| |")?;
    field.programs.iter().try_for_each(|program| write!(out, " {} |", program.name))?;
    write!(out, "\n| --- |{}", " ---: |".repeat(field.programs.len()))?;
    for row in rows {
        write!(out, "\n| {row} |")?;
        for program in &field.programs {
            write!(out, " {} |", cell(row, program.name).unwrap_or_else(|| "–".into()))?;
        }
    }
    writeln!(out)
}

/// A value and its ratio to this crate's.
fn with_ratio(field: &Field, row: &str, program: &str, of: fn(&Outcome) -> f64, unit: f64) -> Option<String> {
    let (value, ours) = (field.median(row, program, of)?, field.median(row, OURS, of));
    let digits = if value / unit < 20.0 { 1 } else { 0 };
    Some(match ours {
        Some(ours) if program != OURS && ours > 0.0 => {
            format!("{:.digits$} ({:.2})", value / unit, value / ours)
        }
        _ => format!("{:.digits$}", value / unit),
    })
}

/// Prints all tables for which there is something.
pub(crate) fn print(out: &mut impl Write, field: &Field, workloads: &[&Workload]) -> io::Result<()> {
    let programs = programs(field);
    if !programs.is_empty() {
        let mut rows = programs.clone();
        rows.push("geometric mean");
        let show = |of: fn(&Outcome) -> f64, unit: f64| {
            let programs = programs.clone();
            move |row: &str, program: &str| match row {
                "geometric mean" => field.ratio(program, &programs, of).map(|ratio| format!("{ratio:.3}")),
                row => with_ratio(field, row, program, of, unit),
            }
        };
        table(
            out,
            field,
            "Processor time in ms (as a multiple of heapwright's)",
            &rows,
            show(|outcome| outcome.cpu, 1e6),
        )?;
        table(out, field, "Peak of resident memory in MiB", &rows, show(|outcome| outcome.peak, 1024.0))?;
        let left: Vec<&str> = programs.iter().copied().filter(|row| live(field, row).is_some()).collect();
        table(
            out,
            field,
            "Resident memory after the load, as a multiple of what is live",
            &left,
            |row, program| {
                let idle = field.median(row, program, |outcome| outcome.idle)?;
                Some(format!("{:.2}", idle / live(field, row)?))
            },
        )?;
    }
    let small: Vec<&&Workload> = workloads.iter().filter(|known| known.kind != Kind::Program).collect();
    if !small.is_empty() {
        let rows: Vec<&str> = small.iter().map(|known| known.name).collect();
        table(
            out,
            field,
            "Nanoseconds per operation (as a multiple of heapwright's)",
            &rows,
            |row, program| {
                let known = small.iter().find(|known| known.name == row)?;
                with_ratio(field, row, program, known.kind.of(), 1.0)
            },
        )?;
    }
    Ok(())
}

/// KiB that are live after a workload, if it leaves anything.
pub(crate) fn live(field: &Field, workload: &str) -> Option<f64> {
    field.median(workload, OURS, |outcome| outcome.live).filter(|&live| live > 0.0)
}

/// Counts instructions of an allocation and a free, by the difference of two runs under callgrind.
pub(crate) fn instructions(out: &mut impl Write, field: &Field) -> io::Result<()> {
    let rows = ["pair-const", "pair-opaque"];
    table(
        out,
        field,
        "Instructions of an allocation and a free, the loop's included",
        &rows,
        |row, program| {
            let program = field.programs.iter().find(|known| known.name == program)?;
            let count = |amount: usize| {
                let mut command = Command::new("valgrind");
                command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(&program.path);
                let output = command.args([row, &amount.to_string()]).output().ok()?;
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                let line = text.lines().find(|line| line.contains("Collected :"))?;
                line.rsplit(' ').next()?.parse::<f64>().ok()
            };
            Some(format!("{:.1}", (count(2)? - count(1)?) / 200_000.0))
        },
    )
}
