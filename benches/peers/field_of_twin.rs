//! Who takes part in the races of the twin: the other mimalloc alone.

use mimalloc::MiMalloc;

use crate::construct::VisitSessions;
use crate::global::{OfSize, Via};
use crate::mimallocs::MiMallocPlain;
use crate::pool::{Visit, VisitShared};
use crate::race::{Column, Race};

/// Shows `visit` every pool of one thread.
pub(crate) fn visit_all<const SIZE: usize>(visit: &mut impl Visit) {
    visit.visit::<OfSize<MiMalloc, SIZE>>();
    visit.visit::<OfSize<MiMallocPlain, SIZE>>();
}

/// Shows `visit` the pools that several threads share.
pub(crate) fn visit_shared(visit: &mut impl VisitShared) {
    visit.visit::<OfSize<MiMalloc, 64>>();
    visit.visit::<OfSize<MiMallocPlain, 64>>();
}

/// Shows `visit` where constructed objects come from.
pub(crate) fn visit_sessions(visit: &mut impl VisitSessions) {
    visit.visit::<Via<MiMalloc>>();
    visit.visit::<Via<MiMallocPlain>>();
}

/// Racers in other processes: none.
pub(crate) fn elsewhere(_: &str, _: &Column) -> Vec<Box<dyn Race>> {
    Vec::new()
}
