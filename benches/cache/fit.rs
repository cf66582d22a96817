//! What slabs waste, for every size of object: the curve of the fit rule.

use std::alloc::Layout;

use heapwright::slab::{AlignedSlabs, Bitmap, IndexStack, LargeSlabs, Shape, SlabSystem};
use heapwright::source::{GlobalHeap, Pages};

use crate::report::{Report, Table, print, print_table};
use crate::survey::Survey;

pub(crate) const SURVEY: Survey = Survey {
    name: "fit",
    what: "bytes of slabs that are no objects, for every size from 1 byte to 1 MiB",
    run,
};

/// The largest object, in bytes.
const SIZE_MAX: usize = 1 << 20;

/// A slab system under the fit rule.
struct System {
    name: &'static str,
    shape: fn(usize) -> Option<Shape>,
}

const fn system<S: SlabSystem, const TRACKED: bool>(name: &'static str) -> System {
    System { name, shape: shape::<S, TRACKED> }
}

fn shape<S: SlabSystem, const TRACKED: bool>(size: usize) -> Option<Shape> {
    Shape::new(&S::RULES, Layout::from_size_align(size, 1).ok()?, TRACKED).ok()
}

const SYSTEMS: [System; 7] = [
    system::<AlignedSlabs<Pages>, false>("aligned, pages"),
    system::<AlignedSlabs<Pages>, true>("aligned, pages, constructed"),
    system::<AlignedSlabs<GlobalHeap>, false>("aligned, heap"),
    system::<LargeSlabs<Pages>, false>("large, pages"),
    system::<LargeSlabs<GlobalHeap>, false>("large, heap"),
    system::<LargeSlabs<GlobalHeap>, true>("large, heap, constructed"),
    system::<AlignedSlabs<Pages, 0, IndexStack>, false>("aligned, pages, index stack"),
];

/// Waste in % of the slab, or of the region.
fn waste(shape: &Shape) -> f64 {
    let (waste, bytes) = shape.waste();
    100.0 * waste as f64 / bytes as f64
}

fn run(report: &mut Report) {
    print_largest(report);
    print_curve();
    let shape = Shape::new(&<AlignedSlabs<Pages, 0, Bitmap>>::RULES, Layout::new::<[u64; 8]>(), true);
    if let Ok(shape) = shape {
        print(&format!(
            "objects of 64 bytes that stay constructed: {:.2} % of {} KiB are headers and tables, in slabs of {} KiB\n",
            waste(&shape),
            shape.waste().1 >> 10,
            shape.slab_size() >> 10,
        ));
        report.keep(&["fit", "metadata at 64 B"], waste(&shape));
    }
}

/// The largest waste of each system, over all sizes.
fn print_largest(report: &mut Report) {
    let header = ["%", "mean", "largest", "at bytes", "from 2 B on", "at bytes"];
    let note = "% of a slab (of a region, where slabs share one) that is header, table, slack or tail, over every size from 1 byte to 1 MiB;\n\
                constructed: one more bit for each object";
    let mut table = Table::new("fit: the fit rule's largest waste", note, &header);
    for system in &SYSTEMS {
        let mut sum = 0.0;
        let (mut largest, mut beyond_one) = ((0.0, 0), (0.0, 0));
        for size in 1..=SIZE_MAX {
            let waste = (system.shape)(size).map_or(100.0, |shape| waste(&shape));
            sum += waste;
            if waste > largest.0 {
                largest = (waste, size);
            }
            if size > 1 && waste > beyond_one.0 {
                beyond_one = (waste, size);
            }
        }
        report.keep(&["fit", system.name], largest.0);
        table.row(
            system.name,
            [
                format!("{:.2}", sum / SIZE_MAX as f64),
                format!("{:.2}", largest.0),
                largest.1.to_string(),
                format!("{:.2}", beyond_one.0),
                beyond_one.1.to_string(),
            ],
        );
    }
    print_table(&table);
}

/// Waste against size, eight sizes a doubling: the worst size from each to the next.
fn print_curve() {
    let names: Vec<&str> = std::iter::once("bytes").chain(SYSTEMS.iter().map(|system| system.name)).collect();
    let note = "the largest waste in % of all sizes up to this one, from the row before on";
    let mut table = Table::new("fit: the curve", note, &names);
    let mut from = 1;
    while from <= SIZE_MAX {
        let to = (from + (from.next_power_of_two() / 8).max(1) - 1).min(SIZE_MAX);
        let cells = SYSTEMS.iter().map(|system| {
            let worst = (from..=to).map(|size| (system.shape)(size).map_or(100.0, |shape| waste(&shape)));
            format!("{:.1}", worst.fold(0.0, f64::max))
        });
        table.row(to.to_string(), cells.collect::<Vec<_>>());
        from = to + 1;
    }
    print_table(&table);
}
