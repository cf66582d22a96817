//! Who takes part in the races of this program.

use std::alloc::System;

use heapwright::lock::{Lock, SpinLock, StdLock};

use crate::construct::VisitSessions;
use crate::crates;
use crate::designs::{GlobalList, SlabList, StolenList};
use crate::floor::{Floor, ListFloor, SessionFloor, SharedFloor};
use crate::global::{OfSize, Via};
use crate::guarded::Guarded;
use crate::ours;
use crate::pool::{Visit, VisitShared};
use crate::race::{Column, Race};

/// Shows `visit` every pool of one thread.
pub(crate) fn visit_all<const SIZE: usize>(visit: &mut impl Visit) {
    ours::visit::<SIZE>(visit);
    visit_designs::<SIZE>(visit);
    crates::visit::<SIZE>(visit);
    visit.visit::<OfSize<System, SIZE>>();
    visit.visit::<Floor<SIZE>>();
    visit.visit::<ListFloor<SIZE>>();
}

/// Shows `visit` where pools put objects of a large size.
pub(crate) fn visit_layouts<const SIZE: usize>(visit: &mut impl Visit) {
    ours::visit_layouts::<SIZE>(visit);
    visit_designs::<SIZE>(visit);
    visit.visit::<GlobalList<SIZE, 64>>();
    visit.visit::<OfSize<System, SIZE>>();
}

fn visit_designs<const SIZE: usize>(visit: &mut impl Visit) {
    visit.visit::<GlobalList<SIZE, 0>>();
    visit.visit::<SlabList<SIZE>>();
    visit.visit::<StolenList<SIZE>>();
}

/// Shows `visit` the pools behind a lock.
pub(crate) fn visit_locked<L: Lock + 'static>(visit: &mut impl Visit) {
    ours::visit_locked::<L>(visit);
    visit.visit::<Guarded<L, GlobalList<64, 0>, 1>>();
    visit.visit::<Guarded<L, Floor<64>, 0>>();
}

/// Shows `visit` the pools that several threads share.
pub(crate) fn visit_shared(visit: &mut impl VisitShared) {
    ours::visit_shared(visit);
    visit.visit::<Guarded<SpinLock, GlobalList<64, 0>, 2>>();
    visit.visit::<Guarded<StdLock, GlobalList<64, 0>, 3>>();
    crates::visit_shared(visit);
    visit.visit::<OfSize<System, 64>>();
    visit.visit::<SharedFloor>();
}

/// Shows `visit` where constructed objects come from.
pub(crate) fn visit_sessions(visit: &mut impl VisitSessions) {
    ours::visit_sessions(visit);
    crates::visit_sessions(visit);
    visit.visit::<Via<System>>();
    visit.visit::<SessionFloor>();
}

/// Racers in other processes: none.
pub(crate) fn elsewhere(_: &str, _: &Column) -> Vec<Box<dyn Race>> {
    Vec::new()
}
