//! Runs of released pages, kept for reuse where the OS takes nothing back.

use core::ptr::NonNull;

/// Released runs of pages in address order, neighbours merged. What is kept lies in the runs themselves:
///
/// ```text
///   first ──► [ next │ len │ ......... ]   .. in use ..   [ next │ len │ ... ]
///               │                                           ▲     next: none
///               └───────────────────────────────────────────┘
/// ```
#[derive(Debug)]
pub(super) struct Kept {
    first: Option<NonNull<Run>>,
}

/// The start of a kept run.
#[derive(Debug)]
struct Run {
    /// The next run; between this run and that one lies at least one page in use.
    next: Option<NonNull<Run>>,
    /// Bytes of this run, itself included.
    len: usize,
}

// SAFETY: the runs belong to the list alone.
unsafe impl Send for Kept {}

impl Kept {
    /// No runs.
    pub(super) const fn new() -> Self {
        Kept { first: None }
    }

    /// Takes `len` bytes from the first run that has them: from its end, so that the run stays where it is.
    pub(super) fn take(&mut self, len: usize) -> Option<NonNull<u8>> {
        let mut link = &mut self.first;
        loop {
            // SAFETY: the runs in the list are the list's alone, and live.
            let run = unsafe { (*link)?.as_mut() };
            if run.len >= len {
                break;
            }
            link = &mut run.next;
        }
        let start = (*link)?;
        // SAFETY: as above.
        let run = unsafe { start.read() };
        let left = run.len - len;
        if left == 0 {
            *link = run.next;
        } else {
            // SAFETY: as above.
            unsafe { start.write(Run { next: run.next, len: left }) };
        }
        // SAFETY: `left` is less than the run's length.
        Some(unsafe { start.cast::<u8>().add(left) })
    }

    /// Keeps a run, and joins it to its neighbours.
    ///
    /// # Safety
    /// The `len` bytes from `start` on, at least a [`Run`] and aligned for one, are the list's from now on; they and the runs
    /// around them are parts of one object.
    pub(super) unsafe fn keep(&mut self, start: NonNull<u8>, len: usize) {
        let mut link = &mut self.first;
        let mut before: Option<NonNull<Run>> = None;
        while let Some(mut next) = *link {
            if next.cast() > start {
                break;
            }
            before = Some(next);
            // SAFETY: the runs in the list are the list's alone, and live.
            link = &mut unsafe { next.as_mut() }.next;
        }
        let mut run = Run { next: *link, len };
        if let Some(next) = run.next {
            if next.addr().get() == start.addr().get() + len {
                // SAFETY: as above.
                let next = unsafe { next.read() };
                run = Run { next: next.next, len: len + next.len };
            }
        }
        if let Some(before) = before {
            // SAFETY: as above.
            let old = unsafe { before.read() };
            if before.addr().get() + old.len == start.addr().get() {
                // SAFETY: as above; the new run becomes the end of this one.
                unsafe { before.write(Run { next: run.next, len: old.len + run.len }) };
                return;
            }
        }
        *link = Some(start.cast());
        // SAFETY: the caller gives the bytes.
        unsafe { start.cast().write(run) };
    }
}

#[cfg(test)]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each page is kept once, and taken before it is kept again"
)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;

    const PAGE: usize = 64;
    #[repr(align(64))]
    struct Memory([u8; 8 * PAGE]);

    /// The kept runs as pages of `memory`: first page, number of pages.
    fn runs(kept: &Kept, base: NonNull<u8>) -> Vec<(usize, usize)> {
        let mut runs = Vec::new();
        let mut next = kept.first;
        while let Some(run) = next {
            let Run { next: after, len } = unsafe { run.read() };
            runs.push(((run.addr().get() - base.addr().get()) / PAGE, len / PAGE));
            next = after;
        }
        runs
    }

    #[test]
    fn keeps_merges_and_splits() {
        let mut memory = Memory([0; 8 * PAGE]);
        let base = NonNull::from(&mut memory.0).cast::<u8>();
        let page = |n: usize| unsafe { base.add(n * PAGE) };
        let mut kept = Kept::new();
        assert_eq!(kept.take(PAGE), None);
        for n in [6, 0, 2] {
            unsafe { kept.keep(page(n), PAGE) };
        }
        assert_eq!(runs(&kept, base), [(0, 1), (2, 1), (6, 1)]);
        assert_eq!(kept.take(2 * PAGE), None, "pages that do not touch are no run");
        unsafe { kept.keep(page(1), PAGE) };
        assert_eq!(runs(&kept, base), [(0, 3), (6, 1)], "joined on both sides");
        unsafe { kept.keep(page(7), PAGE) };
        unsafe { kept.keep(page(5), PAGE) };
        assert_eq!(runs(&kept, base), [(0, 3), (5, 3)], "joined behind, then in front");
        assert_eq!(kept.take(2 * PAGE), Some(page(1)));
        assert_eq!(runs(&kept, base), [(0, 1), (5, 3)]);
        assert_eq!(kept.take(3 * PAGE), Some(page(5)), "a run that fits exactly goes whole");
        assert_eq!(kept.take(PAGE), Some(page(0)));
        assert_eq!(runs(&kept, base), []);
    }

    #[test]
    fn any_order_of_release_ends_in_one_run() {
        let mut memory = Memory([0; 8 * PAGE]);
        let base = NonNull::from(&mut memory.0).cast::<u8>();
        for seed in 0..40_320 {
            let mut left: Vec<usize> = (0..8).collect();
            let mut kept = Kept::new();
            let mut choice = seed;
            while !left.is_empty() {
                let n = left.remove(choice % left.len());
                choice /= left.len() + 1;
                let page = unsafe { base.add(n * PAGE) };
                unsafe { kept.keep(page, PAGE) };
            }
            assert_eq!(runs(&kept, base), [(0, 8)]);
        }
    }
}
