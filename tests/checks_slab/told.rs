//! What was told, by thread: a report comes on the thread that made the mistake.

use std::cell::RefCell;

use heapwright::check::{Misuse, Report};

thread_local! {
    static TOLD: RefCell<Vec<Misuse>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what it is told.
pub(crate) struct Keep;

impl Report for Keep {
    fn report(misuse: &Misuse) {
        TOLD.with_borrow_mut(|told| told.push(*misuse));
    }
}

/// What was told since the last call.
pub(crate) fn told() -> Vec<Misuse> {
    TOLD.with_borrow_mut(std::mem::take)
}
