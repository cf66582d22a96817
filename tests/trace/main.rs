//! `Traced` and its sinks, as their users see them.

#![cfg(feature = "std")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod call_sites;
mod formats;
mod forwarding;
mod order;
mod profile;
mod recall;
mod reentry;

use heapwright::trace::AnyGlobal;
use heapwright::trace::{HeapProfile, Traced};
use std::alloc::System;

/// The program's heap, with a profile of all that the tests and their harness do.
#[global_allocator]
static HEAP: Traced<HeapProfile, AnyGlobal<System>> = Traced::new(HeapProfile::new(), AnyGlobal::new(System));
