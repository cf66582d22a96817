//! What a check reports.

use core::fmt;
use std::boxed::Box;
use std::string::String;
use std::vec::Vec;

use super::law::Law;

/// A law was broken: which one, how, and the shortest script found that does it.
///
/// ```
/// use core::{alloc::Layout, ptr::NonNull};
/// use heapwright::AllocError;
/// use heapwright::conformance::{self, Law, Source};
/// use heapwright::heap::Heap;
/// use heapwright::source::BackingSource;
///
/// /// Forgets to give blocks back.
/// struct Leaky(Source);
/// // SAFETY: every block is one of the source's.
/// unsafe impl Heap for Leaky {
///     fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
///         self.0.acquire(layout)
///     }
///     unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}
/// }
/// let failure = conformance::heap_over(Leaky).run().unwrap_err();
/// assert_eq!(failure.law(), Law::NothingLost);
/// assert!(failure.to_string().contains("1. b0 = Plain alloc of 1 bytes"), "{failure}");
/// ```
#[derive(Clone, Debug)]
pub struct Failure {
    law: Law,
    report: Box<Report>,
}

/// The rest of a failure.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) steps: Vec<String>,
    pub(super) pass: String,
    pub(super) seed: u64,
    pub(super) tree: Option<String>,
}

impl Failure {
    pub(super) fn new(law: Law, report: Report) -> Self {
        Failure { law, report: Box::new(report) }
    }

    /// The law that was broken.
    #[must_use]
    pub const fn law(&self) -> Law {
        self.law
    }

    /// What was found.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.report.text
    }

    /// What was done, from first to last, as short as could be found; nothing where the steps are those of many threads.
    #[must_use]
    pub fn steps(&self) -> &[String] {
        &self.report.steps
    }

    /// The seed that scripts were drawn from.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.report.seed
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { name, text, steps, pass, seed, tree } = &*self.report;
        writeln!(f, "{name} breaks {}: {}", self.law, self.law.text())?;
        writeln!(f, "found: {text}")?;
        writeln!(f, "in {pass}, with HEAPWRIGHT_TEST_SEED={seed:#x}")?;
        for (number, step) in steps.iter().enumerate() {
            writeln!(f, "{:>4}. {step}", number + 1)?;
        }
        match tree {
            Some(tree) => write!(f, "of\n{tree}"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Failure {}
