//! What is still there at the end.

use core::fmt;
use std::io::Write;
use std::vec::Vec;

use super::report::Record;
use super::symbols::is_library;
use super::{CallSites, Count, HeapProfile, Profile};
use crate::trace::untraced;

/// Writes what is live when it is dropped and was allocated after it was made. Made by [`HeapProfile::report_leaks`].
///
/// ```
/// use heapwright::trace::{AnyGlobal, HeapProfile, Traced};
/// use std::alloc::System;
///
/// #[global_allocator]
/// static HEAP: Traced<HeapProfile, AnyGlobal<System>> =
///     Traced::new(HeapProfile::new(), AnyGlobal::new(System));
///
/// let mut text = Vec::new();
/// let report = HEAP.sink().report_leaks(&mut text);
/// drop(vec![0u8; 70_000]);
/// Box::leak(Box::new([0u8; 5000]));
/// drop(report);
/// let text = String::from_utf8(text).unwrap();
/// assert!(text.starts_with("not freed: 5000 bytes in 1 block, from 1 call site"), "{text}");
/// ```
#[must_use = "it reports when it is dropped: bind it to a name at the start of `main`"]
pub struct LeakReport<'a, C: CallSites, W: Write> {
    profile: &'a HeapProfile<C>,
    since: u64,
    to: W,
}

impl<C: CallSites> HeapProfile<C> {
    /// Has a leak report written to `to` at the end of the scope: of what was allocated from now on and is live then, by call site.
    ///
    /// For the start of `main`. It is not written if the program ends by `process::exit` or a signal. What the standard library keeps for the
    /// rest of the program's life, such as the buffer of `stdout`, is reported as well.
    pub fn report_leaks<W: Write>(&self, to: W) -> LeakReport<'_, C, W> {
        // Strictly after what has been: blocks of the same microsecond would count.
        let mut since = self.now();
        let before = since;
        while since == before {
            since = self.now();
        }
        LeakReport { profile: self, since, to }
    }
}

impl<C: CallSites, W: Write> Drop for LeakReport<'_, C, W> {
    fn drop(&mut self) {
        untraced(|| {
            let profile = self.profile.profile_since(Some(self.since));
            // Who could be told that nobody can be told?
            let _ = write!(self.to, "{}", Leaks(&profile)).and_then(|()| self.to.flush());
        });
    }
}

impl<C: CallSites, W: Write> fmt::Debug for LeakReport<'_, C, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeakReport").field("since", &self.since).finish_non_exhaustive()
    }
}

/// Call sites that a report shows, and calls of each.
const SITES_SHOWN: usize = 20;
const CALLS_SHOWN: usize = 12;

/// The fresh blocks of a profile.
struct Leaks<'a>(&'a Profile);

impl fmt::Display for Leaks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Leaks(profile) = self;
        let mut records: Vec<&Record> =
            profile.records.iter().filter(|record| record.fresh.blocks > 0).collect();
        records.sort_by_key(|record| core::cmp::Reverse(record.fresh.bytes));
        let mut sum = super::Amount::NONE;
        records.iter().for_each(|record| sum.add(record.fresh));
        if records.is_empty() {
            return writeln!(f, "nothing was leaked");
        }
        let (count, sites) = (Count::from(sum), records.len());
        let call_sites = if sites == 1 { "call site" } else { "call sites" };
        writeln!(f, "not freed: {count}, from {sites} {call_sites}")?;
        for record in records.iter().take(SITES_SHOWN) {
            writeln!(f, "{}", Count::from(record.fresh))?;
            let stack = profile.symbols().stack(&profile.frames[record.frames.clone()]);
            if stack.is_empty() {
                writeln!(f, "    {}", profile.sizes(record))?;
            }
            // Of the calls within libraries the innermost one only.
            let mut shown = 0;
            for (depth, named) in stack.iter().enumerate() {
                if (depth == 0 || !is_library(named.symbol)) && shown < CALLS_SHOWN {
                    shown += 1;
                    writeln!(f, "    {}", named.symbol)?;
                }
            }
        }
        if sites > SITES_SHOWN {
            writeln!(f, "and {} more call sites", sites - SITES_SHOWN)?;
        }
        Ok(())
    }
}
