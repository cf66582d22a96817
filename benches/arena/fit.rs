//! How many objects of one layout fit into small regions.

use std::alloc::Layout;

use heapwright::lock::NoLock;
use heapwright::sizing;

use crate::memory::Memory;
use crate::mix::layout;
use crate::objects::Objects;
use crate::others::{Rlsf, Talc};
use crate::peers::{Ancestor, Ours, Peer};
use crate::report::{Report, Table, print_table, progress};

const LENGTHS: [(usize, &str); 4] =
    [(64, "64 B"), (1 << 10, "1 KiB"), (4 << 10, "4 KiB"), (64 << 10, "64 KiB")];

const LAYOUTS: [Layout; 9] = [
    layout(1, 1),
    layout(4, 4),
    layout(8, 8),
    layout(16, 16),
    layout(24, 8),
    layout(64, 64),
    layout(100, 4),
    layout(128, 128),
    layout(256, 256),
];

/// The regions start here, past a page boundary: aligned to 64 bytes and no more.
const OFFSET: usize = 64;

fn count<P: Peer>(memory: &mut Memory, len: usize, layout: Layout) -> usize {
    let mut objects = Objects::new(P::make(memory.region(OFFSET, len)));
    while objects.add(layout) {}
    objects.len()
}

type Count = fn(&mut Memory, usize, Layout) -> usize;

/// A sizing's name, our count with it, and teaspoon's.
const SIZINGS: [(&str, Count, Count); 3] = [
    ("4KiB", count::<Ours<sizing::Sizing4KiB, NoLock, 0>>, count::<Ancestor<teaspoon::Sizing4KiB>>),
    ("128KiB", count::<Ours<sizing::Sizing128KiB, NoLock, 0>>, count::<Ancestor<teaspoon::Sizing128KiB>>),
    ("16MiB", count::<Ours<sizing::Sizing16MiB, NoLock, 0>>, count::<Ancestor<teaspoon::Sizing16MiB>>),
];

pub(crate) fn run(report: &mut Report) {
    progress("fit");
    for (len, name) in LENGTHS {
        let mut memory = Memory::new(len);
        let mut table = Table::new(
            format!("fit: objects in a region of {name} that starts at an odd multiple of 64"),
            "ours/teaspoon, and how many times as many; sizing by sizing; a dash: teaspoon fits none\n",
            &["(size, align)", "4KiB", "", "128KiB", "", "16MiB", "", "talc", "rlsf"],
        );
        for layout in LAYOUTS {
            let row = format!("({}, {})", layout.size(), layout.align());
            let mut cells = Vec::new();
            for (sizing, ours, teaspoon) in SIZINGS {
                let (ours, teaspoon) = (ours(&mut memory, len, layout), teaspoon(&mut memory, len, layout));
                report.keep(&["fit", name, &row, sizing, "ours"], ours as f64);
                report.keep(&["fit", name, &row, sizing, "teaspoon"], teaspoon as f64);
                cells.push(format!("{ours}/{teaspoon}"));
                cells.push(match teaspoon {
                    0 => "-".into(),
                    _ => format!("{:.2}", ours as f64 / teaspoon as f64),
                });
            }
            cells.push(count::<Talc>(&mut memory, len, layout).to_string());
            cells.push(count::<Rlsf<u16, u32, 13, 32>>(&mut memory, len, layout).to_string());
            table.row(row, cells);
        }
        print_table(&table);
    }
}
