//! Who takes part in the races of this program.

use std::alloc::System;

use mimalloc::MiMalloc;
use snmalloc_rs::SnMalloc;
use tikv_jemallocator::Jemalloc;

use crate::construct::VisitSessions;
use crate::floor::{Floor, ListFloor, SessionFloor, SharedFloor};
use crate::global::{OfSize, Via};
use crate::mimallocs::MiMallocPlain;
use crate::ours;
use crate::pool::{Visit, VisitShared};
use crate::race::{Column, Race};
use crate::remote;

/// Shows `visit` every pool of one thread.
pub(crate) fn visit_all<const SIZE: usize>(visit: &mut impl Visit) {
    ours::visit::<SIZE>(visit);
    visit.visit::<OfSize<MiMalloc, SIZE>>();
    visit.visit::<OfSize<MiMallocPlain, SIZE>>();
    visit.visit::<OfSize<SnMalloc, SIZE>>();
    visit.visit::<OfSize<Jemalloc, SIZE>>();
    visit.visit::<OfSize<System, SIZE>>();
    visit.visit::<Floor<SIZE>>();
    visit.visit::<ListFloor<SIZE>>();
}

/// Shows `visit` the pools that several threads share.
pub(crate) fn visit_shared(visit: &mut impl VisitShared) {
    ours::visit_shared(visit);
    visit.visit::<OfSize<MiMalloc, 64>>();
    visit.visit::<OfSize<MiMallocPlain, 64>>();
    visit.visit::<OfSize<SnMalloc, 64>>();
    visit.visit::<OfSize<Jemalloc, 64>>();
    visit.visit::<OfSize<System, 64>>();
    visit.visit::<SharedFloor>();
}

/// Shows `visit` where constructed objects come from.
pub(crate) fn visit_sessions(visit: &mut impl VisitSessions) {
    ours::visit_sessions(visit);
    visit.visit::<Via<MiMalloc>>();
    visit.visit::<Via<MiMallocPlain>>();
    visit.visit::<Via<SnMalloc>>();
    visit.visit::<Via<Jemalloc>>();
    visit.visit::<Via<System>>();
    visit.visit::<SessionFloor>();
}

/// The twin's racers.
pub(crate) fn elsewhere(section: &str, column: &Column) -> Vec<Box<dyn Race>> {
    remote::racers(section, column)
}
