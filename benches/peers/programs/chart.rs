//! The picture: a bar for each allocator and workload, as a multiple of this crate's.

use std::error::Error;

use plotters::prelude::*;

use crate::outcome::{Field, Outcome};
use crate::report::programs;

/// Colors of the bars, this crate's first.
const COLORS: [RGBColor; 8] = [
    RGBColor(0xd6, 0x4b, 0x1f),
    RGBColor(0xf0, 0xa6, 0x6b),
    RGBColor(0x1f, 0x4e, 0x79),
    RGBColor(0x4a, 0x86, 0xb8),
    RGBColor(0x2f, 0x7d, 0x5b),
    RGBColor(0x7b, 0xb3, 0x99),
    RGBColor(0x8a, 0x6b, 0xa8),
    RGBColor(0x9a, 0x9a, 0x9a),
];

/// Room for the legend, in groups of bars.
const LEGEND: f64 = 1.4;

/// Ratios above this are cut off.
const TOP: f64 = 2.5;

/// Draws processor time and peak memory of the workloads that have been run.
pub(crate) fn draw(path: &str, field: &Field) -> Result<(), Box<dyn Error>> {
    let mut workloads = programs(field);
    workloads.push("geometric mean");
    let root = SVGBackend::new(path, (1280, 780)).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(410);
    panel(
        &upper,
        field,
        &workloads,
        "Processor time, as a multiple of heapwright's (less is better)",
        |outcome| outcome.cpu,
        true,
    )?;
    panel(
        &lower,
        field,
        &workloads,
        "Peak of resident memory, as a multiple of heapwright's",
        |outcome| outcome.peak,
        false,
    )?;
    root.present()?;
    Ok(())
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    field: &Field,
    workloads: &[&str],
    title: &str,
    of: fn(&Outcome) -> f64,
    legend: bool,
) -> Result<(), Box<dyn Error>> {
    let (count, bars) = (workloads.len(), field.programs.len());
    let ran = &workloads[..count - 1];
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..count as f64 + LEGEND, 0.0..TOP)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_labels(6)
        .y_label_formatter(&|value| format!("{value:.1}"))
        .light_line_style(WHITE)
        .draw()?;
    for (number, program) in field.programs.iter().enumerate() {
        let color = COLORS[number % COLORS.len()];
        let bar = |(place, workload): (usize, &&str)| {
            let rows: &[&str] = if place == count - 1 { ran } else { std::slice::from_ref(workload) };
            let ratio = field.ratio(program.name, rows, of)?.min(TOP);
            let width = 0.84 / bars as f64;
            let left = place as f64 + 0.08 + number as f64 * width;
            Some(Rectangle::new([(left, 0.0), (left + width * 0.9, ratio)], color.filled()))
        };
        let drawn = chart.draw_series(workloads.iter().enumerate().filter_map(bar))?;
        drawn
            .label(program.name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
    }
    chart.draw_series(std::iter::once(PathElement::new(
        [(0.0, 1.0), (count as f64 + LEGEND, 1.0)],
        BLACK.mix(0.6),
    )))?;
    if legend {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .draw()?;
    }
    let (width, _) = area.dim_in_pixel();
    let step = (width as f64 - 12.0 - 12.0 - 44.0) / (count as f64 + LEGEND);
    for (place, workload) in workloads.iter().enumerate() {
        let style = TextStyle::from(("sans-serif", 13)).pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Top,
        ));
        let (x, (_, height)) = (56.0 + (place as f64 + 0.5) * step, area.dim_in_pixel());
        area.draw_text(workload, &style, (x as i32, height as i32 - 34))?;
    }
    Ok(())
}
