//! What a million objects cost, and what is left of them.

use std::ptr::NonNull;

use heapwright::cache::{DefaultInit, For, ObjectCache, SlabCache, UntypedObjectAlloc};
use heapwright::lock::NoLock;
use heapwright::slab::{AlignedSlabs, LargeSlabs, SlabSystem};
use heapwright::source::Pages;

use crate::report::{Report, Table, print, print_table, progress};
use crate::survey::Survey;

pub(crate) const SURVEY: Survey = Survey {
    name: "memory",
    what: "resident memory of a million objects of 64 bytes, and after they are gone",
    run,
};

const COUNT: usize = 1_000_000;
type Object = [u64; 8];

/// Resident memory of this process in bytes, if the OS tells.
fn resident() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<usize>().ok()? << 10)
}

/// A cache that can give its memory back.
trait Cache: UntypedObjectAlloc {
    fn reap(&self) -> usize;
    fn held(&self) -> usize;
}

impl<S: SlabSystem> Cache for SlabCache<S, NoLock, For<Object>> {
    fn reap(&self) -> usize {
        self.reap()
    }
    fn held(&self) -> usize {
        self.stats().bytes_held
    }
}

impl<S: SlabSystem> Cache for ObjectCache<Object, DefaultInit, S> {
    fn reap(&self) -> usize {
        self.reap()
    }
    fn held(&self) -> usize {
        self.stats().bytes_held
    }
}

fn run(report: &mut Report) {
    if resident().is_none() {
        return print("memory: this OS does not tell what a process takes\n");
    }
    progress("memory");
    let header = ["bytes", "held", "x payload", "resident", "x payload", "after reap"];
    let note = "held: slabs; resident: growth of the process's resident memory while 1,000,000 objects of 64 bytes are live and written; after reap:\n\
                what is left of that growth when all have been freed and the cache has been reaped, but not dropped";
    let mut table = Table::new("memory: 1,000,000 objects of 64 bytes", note, &header);
    measure(
        &SlabCache::<AlignedSlabs<Pages>, NoLock, For<Object>>::over(Pages),
        "SlabCache, aligned",
        &mut table,
        report,
    );
    measure(
        &SlabCache::<LargeSlabs<Pages>, NoLock, For<Object>>::over(Pages),
        "SlabCache, large",
        &mut table,
        report,
    );
    measure(
        &ObjectCache::<Object, DefaultInit, AlignedSlabs<Pages>>::over(Pages),
        "ObjectCache, aligned",
        &mut table,
        report,
    );
    print_table(&table);
}

fn measure(cache: &dyn Cache, name: &str, table: &mut Table, report: &mut Report) {
    // The array of pointers comes first, so that it is not counted.
    let mut live: Vec<NonNull<u8>> = vec![NonNull::dangling(); COUNT];
    let before = resident().unwrap_or(0);
    for (number, place) in live.iter_mut().enumerate() {
        let object = cache.alloc_slot().unwrap_or_else(|_| panic!("no pages"));
        // SAFETY: the object is live, and has room for the numbers.
        unsafe { object.cast::<Object>().write([number as u64; 8]) };
        *place = object;
    }
    let full = resident().unwrap_or(0) - before;
    let held = cache.held();
    for object in live.drain(..) {
        // SAFETY: the object is live, and not used again.
        unsafe { cache.free_slot(object) };
    }
    cache.reap();
    let after = resident().unwrap_or(0) as isize - before as isize;
    let payload = (COUNT * size_of::<Object>()) as f64;
    let cells = [
        held.to_string(),
        format!("{:.4}", held as f64 / payload),
        full.to_string(),
        format!("{:.4}", full as f64 / payload),
        after.to_string(),
    ];
    table.row(name, cells);
    report.keep(&["memory", name, "resident"], full as f64 / payload);
    report.keep(&["memory", name, "after"], after as f64);
}
