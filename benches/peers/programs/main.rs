//! Starts the programs that each have one allocator, round by round, and prints what their work took. Started by launcher.rs, which builds them.

mod chart;
mod outcome;
mod report;
mod verdict;

use std::collections::BTreeMap;
use std::env;
use std::io::{self, Write as _};
use std::process::ExitCode;

use outcome::{Field, Outcome, Program};
use report::Kind;

/// What is run, as the program's name for it, and how much of it.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    amount: usize,
    pub(crate) kind: Kind,
}

const fn real(name: &'static str) -> Workload {
    Workload { name, amount: 1, kind: Kind::Program }
}

const fn micro(name: &'static str, kind: Kind) -> Workload {
    Workload { name, amount: 100, kind }
}

const WORKLOADS: [Workload; 30] = [
    real("btree"),
    real("hashmap"),
    real("graph"),
    real("vectors"),
    real("json"),
    real("regex"),
    real("sort"),
    real("ast"),
    real("strings"),
    real("server"),
    real("server-16"),
    real("pipeline"),
    real("threads"),
    micro("pair-const", Kind::Operation),
    micro("pair-opaque", Kind::Operation),
    micro("pair-sizes", Kind::Operation),
    micro("batch-1k", Kind::Operation),
    micro("batch-1k-random", Kind::Operation),
    micro("batch-10k", Kind::Operation),
    micro("batch-10k-random", Kind::Operation),
    micro("replace-1k-1000", Kind::Operation),
    micro("replace-100k-1000", Kind::Operation),
    micro("replace-1k-64", Kind::Operation),
    micro("replace-100k-64", Kind::Operation),
    micro("local-1t", Kind::Elapsed),
    micro("local-2t", Kind::Elapsed),
    micro("ring-2t", Kind::Elapsed),
    micro("exchange-2t", Kind::Elapsed),
    micro("large", Kind::Operation),
    micro("realloc-large", Kind::Operation),
];

const HELP: &str = "\
cargo run --release -p heapwright-peers -- programs [WORKLOAD..] [OPTION..]

Workloads: those of whole programs by default, the small ones by `micro`, any by name; `instructions` counts them by valgrind.
  --rounds N        rounds, in which the allocators take turns (7)
  --only NAME,..    these allocators, of those that could be built
  --svg FILE        writes a picture of the workloads of whole programs
  --check           fails if a target is missed

Times are of processors; medians of all rounds.";

/// What the command line asks for.
struct Wanted {
    workloads: Vec<&'static Workload>,
    rounds: usize,
    only: Option<Vec<String>>,
    svg: Option<String>,
    check: bool,
    instructions: bool,
}

impl Wanted {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut wanted = Wanted {
            workloads: Vec::new(),
            rounds: 7,
            only: None,
            svg: None,
            check: false,
            instructions: false,
        };
        let mut arguments = arguments;
        let of_kind =
            |real: bool| WORKLOADS.iter().filter(move |known| (known.kind == Kind::Program) == real);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("`{argument}` needs a value"));
            match argument.as_str() {
                "--rounds" => wanted.rounds = value()?.parse().map_err(|_| "`--rounds` takes a number")?,
                "--only" => wanted.only = Some(value()?.split(',').map(str::to_owned).collect()),
                "--svg" => wanted.svg = Some(value()?),
                "--check" => wanted.check = true,
                "instructions" => wanted.instructions = true,
                "micro" => wanted.workloads.extend(of_kind(false)),
                "programs" => wanted.workloads.extend(of_kind(true)),
                name => match WORKLOADS.iter().find(|known| known.name == name) {
                    Some(known) => wanted.workloads.push(known),
                    None => return Err(format!("no workload or option is called `{name}`\n\n{HELP}")),
                },
            }
        }
        if wanted.workloads.is_empty() && !wanted.instructions {
            wanted.workloads.extend(of_kind(true));
        }
        Ok(wanted)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, String> {
    let wanted = Wanted::parse(env::args().skip(1))?;
    let mut programs = Program::all();
    if let Some(only) = &wanted.only {
        programs.retain(|program| only.iter().any(|name| name == program.name));
    }
    if programs.is_empty() {
        return Err("none of these allocators could be built".into());
    }
    let mut field = Field { programs, outcomes: BTreeMap::new() };
    measure(&wanted, &mut field)?;
    let mut out = io::stdout().lock();
    let written = (|| {
        report::print(&mut out, &field, &wanted.workloads)?;
        if wanted.instructions {
            report::instructions(&mut out, &field)?;
        }
        verdict::print(&mut out, &field)
    })();
    let met = written.map_err(|error| format!("what came of it could not be printed: {error}"))?;
    if let Some(path) = &wanted.svg {
        chart::draw(path, &field).map_err(|error| format!("{path} could not be written: {error}"))?;
    }
    Ok(met || !wanted.check)
}

/// Runs each workload in each program, round by round; who begins changes from round to round.
fn measure(wanted: &Wanted, field: &mut Field) -> Result<(), String> {
    for round in 0..wanted.rounds {
        for workload in &wanted.workloads {
            let count = field.programs.len();
            for turn in 0..count {
                let program = &field.programs[(round + turn) % count];
                let outcome: Outcome = program.run(workload.name, workload.amount)?;
                field.outcomes.entry((workload.name, program.name)).or_default().push(outcome);
            }
        }
        let _ = writeln!(io::stderr(), "round {} of {}", round + 1, wanted.rounds);
    }
    Ok(())
}
