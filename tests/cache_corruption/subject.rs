//! What the tester asks of a cache under test.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::cache::{
    CacheStats, Init, NewObjectError, Obj, ObjectAlloc, ObjectCache, Retention, SlabCache, SlabStats, Slot,
    Uninit, UntypedObjectAlloc,
};
use heapwright::lock::Lock;
use heapwright::slab::SlabSystem;

use super::objects;
use super::witness::{Align, Unit, Witness};

/// Why there is no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No memory.
    Memory,
    /// The initialiser failed.
    Init,
}

/// A cache. Its unsafe methods want a pointer that it handed out, once.
pub(crate) trait Subject {
    /// Whether its objects stay constructed.
    const KEEPS: bool;
    /// Layout of an object.
    fn layout(&self) -> Layout;
    fn alloc(&self) -> Result<NonNull<u8>, Refusal>;
    unsafe fn free(&self, object: NonNull<u8>);
    /// Destroys it at once.
    unsafe fn destroy(&self, object: NonNull<u8>);
    /// Moves it out; the value is dropped elsewhere.
    unsafe fn move_out(&self, object: NonNull<u8>);
    fn alloc_many(&self, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<usize, AllocError>;
    unsafe fn free_many(&self, objects: &[NonNull<u8>]);
    fn trim(&self, keep: usize) -> usize;
    fn tick(&self) -> usize;
    fn stats(&self) -> CacheStats;
    fn verify(&self) -> Result<(), String>;
    fn slabs(&self) -> Vec<SlabStats>;
}

/// What all kinds of caches have in common.
macro_rules! common_methods {
    () => {
        fn alloc_many(&self, out: &mut [MaybeUninit<NonNull<u8>>]) -> Result<usize, AllocError> {
            self.alloc_slots(out)
        }
        unsafe fn free_many(&self, objects: &[NonNull<u8>]) {
            // SAFETY: the caller's promise, for each of them.
            unsafe { self.free_slots(objects) };
        }
        fn trim(&self, keep: usize) -> usize {
            self.trim(keep)
        }
        fn tick(&self) -> usize {
            self.tick()
        }
        fn stats(&self) -> CacheStats {
            self.stats()
        }
        fn verify(&self) -> Result<(), String> {
            self.verify().map_err(|broken| broken.to_string())
        }
        fn slabs(&self) -> Vec<SlabStats> {
            self.slabs().collect()
        }
    };
}

impl<const SIZE: usize, const ALIGN: usize, I, S, L, R, const FRONT: usize> Subject
    for ObjectCache<Witness<SIZE, ALIGN>, I, S, L, R, FRONT>
where
    Align<ALIGN>: Unit,
    I: Init<Witness<SIZE, ALIGN>>,
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    const KEEPS: bool = true;

    fn layout(&self) -> Layout {
        Layout::new::<Witness<SIZE, ALIGN>>()
    }

    fn alloc(&self) -> Result<NonNull<u8>, Refusal> {
        match self.try_alloc() {
            Ok(object) => Ok(Obj::into_raw(object).cast()),
            Err(NewObjectError::Alloc(_)) => Err(Refusal::Memory),
            Err(NewObjectError::Init(_)) => Err(Refusal::Init),
        }
    }

    unsafe fn free(&self, object: NonNull<u8>) {
        // SAFETY: the caller's promise.
        drop(unsafe { Obj::from_raw(object.cast(), self) });
    }

    unsafe fn destroy(&self, object: NonNull<u8>) {
        // SAFETY: the caller's promise.
        Obj::destroy(unsafe { Obj::from_raw(object.cast(), self) });
    }

    unsafe fn move_out(&self, object: NonNull<u8>) {
        // SAFETY: the caller's promise.
        let value = Obj::into_inner(unsafe { Obj::from_raw(object.cast(), self) });
        objects::with(|objects| objects.moved += 1);
        drop(value);
    }

    common_methods!();
}

/// Raw memory, by way of an object cache.
impl<const SIZE: usize, const ALIGN: usize, S, L, R, const FRONT: usize> Subject
    for ObjectCache<MaybeUninit<Witness<SIZE, ALIGN>>, Uninit, S, L, R, FRONT>
where
    Align<ALIGN>: Unit,
    S: SlabSystem,
    L: Lock,
    R: Retention,
{
    const KEEPS: bool = false;

    fn layout(&self) -> Layout {
        Layout::new::<Witness<SIZE, ALIGN>>()
    }

    fn alloc(&self) -> Result<NonNull<u8>, Refusal> {
        let object = self.alloc_object().map_err(|_| Refusal::Memory)?;
        Ok(object.cast())
    }

    unsafe fn free(&self, object: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { self.free_object(object.cast()) };
    }

    unsafe fn destroy(&self, object: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { self.destroy_object(object.cast()) };
    }

    unsafe fn move_out(&self, object: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { self.free_uninit(object.cast()) };
    }

    common_methods!();
}

/// Raw memory of any one layout.
impl<S, Z, L, R, const FRONT: usize> Subject for SlabCache<S, L, Z, R, FRONT>
where
    S: SlabSystem,
    Z: Slot,
    L: Lock,
    R: Retention,
{
    const KEEPS: bool = false;

    fn layout(&self) -> Layout {
        self.slot_layout()
    }

    fn alloc(&self) -> Result<NonNull<u8>, Refusal> {
        self.alloc_slot().map_err(|_| Refusal::Memory)
    }

    unsafe fn free(&self, object: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { self.free_slot(object) };
    }

    unsafe fn destroy(&self, object: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { self.free_slot(object) };
    }

    unsafe fn move_out(&self, object: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { self.free_slot(object) };
    }

    common_methods!();
}
