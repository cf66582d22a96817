//! A picture of live bytes over time.

#![forbid(unsafe_code)]

use core::fmt;

use super::Profile;
use super::history::{CLASSES, class_max, sum};
use crate::heap::{Bytes as Readable, Escaped};

/// Live bytes over time by size class, as stacked areas in an SVG image: `Display` writes it. Made by [`Profile::timeline_svg`].
///
/// It follows the reader's light or dark mode, and says of each stretch of time, when pointed at, how much there was of which size. Its colours
/// grow lighter with the size, so that they can be told apart without colours. At most 120 KiB.
///
/// ```
/// use heapwright::trace::{AnyGlobal, HeapProfile, Traced};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static HEAP: Traced<HeapProfile, AnyGlobal<System>> =
///     Traced::new(HeapProfile::new(), AnyGlobal::new(System));
///
/// let profile = HEAP.sink().profile();
/// let svg = profile.timeline_svg("a <short> run").to_string();
/// assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
/// assert!(svg.contains("a &lt;short&gt; run"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TimelineSvg<'a> {
    profile: &'a Profile,
    title: &'a str,
}

impl Profile {
    /// A picture of live bytes over time.
    #[must_use]
    pub const fn timeline_svg<'a>(&'a self, title: &'a str) -> TimelineSvg<'a> {
        TimelineSvg { profile: self, title }
    }
}

/// Pixels of the image, and of the plot in it.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 84.0;
const RIGHT: f64 = 768.0;
const TOP: f64 = 78.0;
const BOTTOM: f64 = 384.0;

/// Stretches of time that can be pointed at.
const COLUMNS: usize = 96;

/// Colours for both modes, from the smallest class to the largest: lighter and lighter, through hues that everybody can tell apart.
const STYLE: &str = "\
.heap-timeline{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace}\
.heap-timeline .page{fill:#fff}.heap-timeline text{fill:#59636e}.heap-timeline .name{fill:#1f2328;font-size:15px;font-weight:600}\
.heap-timeline .grid{stroke:#d1d9e0}.heap-timeline .axis{stroke:#818b98}.heap-timeline .peak{stroke:#1f2328;stroke-dasharray:3 3}\
.heap-timeline .mark{fill:#1f2328}.heap-timeline .band{stroke:#fff;stroke-width:.7;stroke-linejoin:round}\
.heap-timeline .over{fill:#818b98;fill-opacity:0}.heap-timeline .over:hover{fill-opacity:.3}\
.heap-timeline .c0{fill:#440154}.heap-timeline .c1{fill:#46327e}.heap-timeline .c2{fill:#365c8d}.heap-timeline .c3{fill:#277f8e}\
.heap-timeline .c4{fill:#1fa187}.heap-timeline .c5{fill:#4ac16d}.heap-timeline .c6{fill:#a0da39}.heap-timeline .c7{fill:#fde725}\
@media(prefers-color-scheme:dark){.heap-timeline .page{fill:#0d1117}.heap-timeline text{fill:#9198a1}\
.heap-timeline .name{fill:#f0f6fc}.heap-timeline .grid{stroke:#2a313a}.heap-timeline .axis{stroke:#656c76}\
.heap-timeline .peak{stroke:#f0f6fc}.heap-timeline .mark{fill:#f0f6fc}.heap-timeline .band{stroke:#0d1117}\
.heap-timeline .c0{fill:#7b3f99}.heap-timeline .c1{fill:#6657a8}}";

impl TimelineSvg<'_> {
    /// Live bytes of the classes up to `class` at a point.
    fn stacked(&self, point: usize, class: usize) -> u64 {
        self.profile.points[point][..=class].iter().sum()
    }

    /// Microseconds that the plot shows.
    fn span(&self) -> u64 {
        self.profile.end.max(1)
    }

    /// Bytes at the upper end of the plot, and from one line of the grid to the next.
    fn scale(&self) -> (u64, u64) {
        let max =
            self.profile.points.iter().map(sum).max().unwrap_or(0).max(self.profile.peak().bytes).max(1);
        let step = bytes_step(max);
        (max.div_ceil(step) * step, step)
    }

    fn x(&self, time: u64) -> f64 {
        LEFT + (RIGHT - LEFT) * (time.min(self.span()) as f64 / self.span() as f64)
    }

    fn y(bytes: u64, max: u64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (bytes as f64 / max as f64)
    }

    fn write_head(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (title, profile) = (Escaped(self.title), self.profile);
        write!(f, r#"<svg xmlns="http://www.w3.org/2000/svg" class="heap-timeline" role="img" "#)?;
        writeln!(f, r#"width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">"#)?;
        writeln!(f, "<title>{title}</title>\n<style>{STYLE}</style>")?;
        writeln!(f, r#"<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>"#)?;
        writeln!(f, r#"<text class="name" x="16" y="28">{title}</text>"#)?;
        write!(f, r#"<text x="16" y="49">live bytes by block size, peak {}"#, profile.peak())?;
        if profile.mean > 1 {
            write!(f, ", estimated from one block in {}", readable(profile.mean))?;
        }
        writeln!(f, "</text>")
    }

    fn write_axes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max, step) = self.scale();
        for line in 0..=max / step {
            let (bytes, y) = (line * step, Self::y(line * step, max));
            let class = if line == 0 { "axis" } else { "grid" };
            writeln!(f, r#"<path class="{class}" d="M{LEFT} {y:.1}H{RIGHT}"/>"#)?;
            let label = if bytes == 0 { "0" } else { &*std::format!("{}", Plain(bytes)) };
            writeln!(f, r#"<text x="{}" y="{:.1}" text-anchor="end">{label}</text>"#, LEFT - 8.0, y + 4.0)?;
        }
        let step = time_step(self.span());
        let (unit, name) = time_unit(step);
        for tick in 0..=self.span() / step {
            let x = self.x(tick * step);
            writeln!(f, r#"<path class="axis" d="M{x:.1} {BOTTOM}v5"/>"#)?;
            let value = (tick * step) as f64 / unit as f64;
            writeln!(f, r#"<text x="{x:.1}" y="{}" text-anchor="middle">{value}</text>"#, BOTTOM + 20.0)?;
        }
        let middle = (LEFT + RIGHT) / 2.0;
        writeln!(f, r#"<text x="{middle}" y="{}" text-anchor="middle">time in {name}</text>"#, BOTTOM + 42.0)
    }

    /// An area for each class that there ever was, from the smallest to the largest.
    fn write_bands(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max, _) = self.scale();
        let points = self.profile.points.len();
        for class in (0..CLASSES).filter(|&class| self.has(class)) {
            write!(f, r#"<path class="band c{class}" d="M"#)?;
            let corner = |f: &mut fmt::Formatter<'_>, point: usize, bytes: u64, end: bool| {
                let time = (point as u64 + u64::from(end)).saturating_mul(self.profile.step);
                write!(f, "{:.1} {:.1} ", self.x(time), Self::y(bytes, max))
            };
            // Along the upper edge, a step for each point, and back along the lower one. Points as high as the one before need no corner.
            let edge = |point: usize, lower: bool| match (lower, class) {
                (true, 0) => 0,
                (true, class) => self.stacked(point, class - 1),
                (false, class) => self.stacked(point, class),
            };
            for point in 0..points {
                if point == 0 || edge(point, false) != edge(point - 1, false) {
                    corner(f, point, edge(point, false), false)?;
                }
                if point + 1 == points || edge(point, false) != edge(point + 1, false) {
                    corner(f, point, edge(point, false), true)?;
                }
            }
            for point in (0..points).rev() {
                if point + 1 == points || edge(point, true) != edge(point + 1, true) {
                    corner(f, point, edge(point, true), true)?;
                }
                if point == 0 || edge(point, true) != edge(point - 1, true) {
                    corner(f, point, edge(point, true), false)?;
                }
            }
            f.write_str("Z\"/>\n")?;
        }
        Ok(())
    }

    /// Whether there ever was a block of a class.
    fn has(&self, class: usize) -> bool {
        self.profile.points.iter().any(|point| point[class] > 0)
    }

    fn write_peak(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max, _) = self.scale();
        let (x, y) = (self.x(self.profile.peak_time), Self::y(self.profile.peak().bytes, max));
        writeln!(f, r#"<path class="peak" d="M{x:.1} {:.1}V{BOTTOM}"/>"#, TOP - 8.0)?;
        writeln!(f, r#"<circle class="mark" cx="{x:.1}" cy="{y:.1}" r="3"/>"#)?;
        let (anchor, dx) = if x > (LEFT + RIGHT) / 2.0 { ("end", -6.0) } else { ("start", 6.0) };
        let (bytes, time) = (readable(self.profile.peak().bytes), Time(self.profile.peak_time));
        let (x, y) = (x + dx, TOP - 4.0);
        writeln!(
            f,
            r#"<text class="mark" x="{x:.1}" y="{y}" text-anchor="{anchor}">{bytes} at {time}</text>"#
        )
    }

    /// What each class is, in the order of the areas: the largest on top.
    fn write_legend(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let x = RIGHT + 24.0;
        writeln!(f, r#"<text x="{x}" y="{}">blocks of</text>"#, TOP + 10.0)?;
        for (row, class) in (0..CLASSES).rev().filter(|&class| self.has(class)).enumerate() {
            let y = TOP + 24.0 + 22.0 * row as f64;
            writeln!(f, r#"<rect class="c{class}" x="{x}" y="{y}" width="14" height="14"/>"#)?;
            let label = match class_max(class) {
                Some(max) => std::format!("up to {}", Plain(max as u64)),
                None => std::string::String::from("more"),
            };
            writeln!(f, r#"<text x="{}" y="{}">{label}</text>"#, x + 22.0, y + 11.0)?;
        }
        Ok(())
    }

    /// Stretches that tell, when pointed at, what there was.
    fn write_columns(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = &self.profile.points;
        let per_column = points.len().div_ceil(COLUMNS).max(1);
        for (column, stretch) in points.chunks(per_column).enumerate() {
            let first = (column * per_column) as u64;
            let [start, end] =
                [first, first + stretch.len() as u64].map(|point| point.saturating_mul(self.profile.step));
            let most = stretch.iter().copied().max_by_key(sum).unwrap_or_default();
            let (x, width) = (self.x(start), self.x(end) - self.x(start));
            let height = BOTTOM - TOP;
            write!(f, r#"<rect class="over" x="{x:.1}" y="{TOP}" width="{width:.1}" height="{height}">"#)?;
            write!(f, "<title>{} to {}: {}", Time(start), Time(end.min(self.span())), readable(sum(&most)))?;
            for class in (0..CLASSES).rev().filter(|&class| most[class] > 0) {
                match class_max(class) {
                    Some(max) => write!(f, "\nup to {}: {}", Plain(max as u64), readable(most[class]))?,
                    None => write!(f, "\nmore: {}", readable(most[class]))?,
                }
            }
            f.write_str("</title></rect>\n")?;
        }
        Ok(())
    }
}

impl fmt::Display for TimelineSvg<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(f)?;
        self.write_axes(f)?;
        self.write_bands(f)?;
        self.write_peak(f)?;
        self.write_legend(f)?;
        self.write_columns(f)?;
        f.write_str("</svg>\n")
    }
}

fn readable(bytes: u64) -> Readable {
    Readable(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// From one line of the grid to the next, so that there are 3 to 8: 1, 2 or 5 times a power of ten of a unit, or 1, 2 or 4 times one of two.
fn bytes_step(max: u64) -> u64 {
    let unit = match max {
        0..0x800 => 1,
        0x800..0x20_0000 => 1 << 10,
        0x20_0000..0x8000_0000 => 1 << 20,
        _ => 1 << 30,
    };
    let steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];
    let halves = [unit / 4, unit / 2].into_iter().filter(|step| *step > 0);
    let mut all = halves.chain(steps.into_iter().map(|step| step * unit));
    all.find(|step| max.div_ceil(*step) <= 7).unwrap_or(max)
}

/// From one mark of the time axis to the next, in microseconds: 1, 2 or 5 times a power of ten, for at most 10 of them.
fn time_step(span: u64) -> u64 {
    let mut step = 1u64;
    loop {
        for factor in [1, 2, 5] {
            let step = step.saturating_mul(factor);
            if span / step <= 10 {
                return step;
            }
        }
        step = step.saturating_mul(10);
    }
}

/// Microseconds of the unit that suits a step, and its name.
const fn time_unit(step: u64) -> (u64, &'static str) {
    match step {
        0..1000 => (1, "µs"),
        1000..100_000 => (1000, "ms"),
        _ => (1_000_000, "s"),
    }
}

/// A time in microseconds, for people.
struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0..1000 => write!(f, "{} µs", self.0),
            1000..1_000_000 => write!(f, "{:.1} ms", self.0 as f64 / 1e3),
            _ => write!(f, "{:.2} s", self.0 as f64 / 1e6),
        }
    }
}

/// A round number of bytes in its unit.
struct Plain(u64);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (shift, unit) = match self.0 {
            0..0x400 => (0, "B"),
            0x400..0x10_0000 => (10, "KiB"),
            0x10_0000..0x4000_0000 => (20, "MiB"),
            _ => (30, "GiB"),
        };
        write!(f, "{} {unit}", self.0 as f64 / (1u64 << shift) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_a_few_round_lines() {
        for bits in 0..50 {
            for max in [1u64 << bits, (1 << bits) + 1, 3 << bits] {
                let lines = max.div_ceil(bytes_step(max));
                assert!((1..=8).contains(&lines), "{lines} lines for {max}");
                let marks = max / time_step(max);
                assert!(marks <= 10 && (max < 10 || marks >= 4), "{marks} marks for {max}");
            }
        }
        assert_eq!(
            std::format!("{} {} {}", Plain(512), Plain(1 << 11), Plain(3 << 19)),
            "512 B 2 KiB 1.5 MiB"
        );
        assert_eq!(std::format!("{}, {}, {}", Time(5), Time(1500), Time(2_340_000)), "5 µs, 1.5 ms, 2.34 s");
    }
}
