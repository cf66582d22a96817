//! Pools of other crates. Where a crate gives out keys or guards instead of pointers, those stand for the objects; where it keeps
//! values instead of memory, it keeps boxes.

mod boxes;
mod handles;
mod keys;
mod memory;
mod sessions;

use self::boxes::Boxed;
use self::handles::{InfinityPool, Opool, Refpool, SharedArena};
use self::memory::{Slabbin, Slabmalloc};
use self::sessions::Kept;
use crate::construct::VisitSessions;
use crate::pool::{Object, Visit, VisitShared};

pub(crate) fn visit<const SIZE: usize>(visit: &mut impl Visit) {
    visit.visit::<Slabbin<SIZE>>();
    visit.visit::<Slabmalloc<SIZE>>();
    visit.visit::<InfinityPool<SIZE>>();
    visit.visit::<SharedArena<SIZE>>();
    visit.visit::<slab::Slab<Object<SIZE>>>();
    visit.visit::<slotmap::SlotMap<slotmap::DefaultKey, Object<SIZE>>>();
    visit.visit::<thunderdome::Arena<Object<SIZE>>>();
    visit.visit::<generational_arena::Arena<Object<SIZE>>>();
    visit.visit::<obj_pool::ObjPool<Object<SIZE>>>();
    visit.visit::<sharded_slab::Slab<Object<SIZE>>>();
    visit.visit::<Refpool<SIZE>>();
    visit.visit::<lifeguard::Pool<Boxed<SIZE>>>();
    visit.visit::<Opool<SIZE>>();
    visit.visit::<object_pool::Pool<Box<Object<SIZE>>>>();
    visit.visit::<typed_arena::Arena<Object<SIZE>>>();
}

pub(crate) fn visit_shared(visit: &mut impl VisitShared) {
    visit.visit::<object_pool::Pool<Box<Object<64>>>>();
}

pub(crate) fn visit_sessions(visit: &mut impl VisitSessions) {
    visit.visit::<object_pool::Pool<Kept>>();
    visit.visit::<lifeguard::Pool<Kept>>();
}
