//! Looking into the slabs of a system.

use core::ptr::NonNull;

use super::header::{Header, Shelf};
use super::objects::FreeObjects;
use super::shape::Shape;
use super::shelves::{Ground, Shelves, kept_table, view};
use super::{Census, SlabInfo};
use crate::heap::Corruption;

impl Shelves {
    /// Calls `see` with each slab.
    fn each(&self, mut see: impl FnMut(NonNull<Header>, &Header)) {
        let firsts = self.lists.iter().map(|list| list.first);
        for first in firsts.chain([self.current]) {
            let mut next = NonNull::new(first);
            while let Some(slab) = next {
                // SAFETY: a header in use: the current one, or one of a list.
                let header = unsafe { slab.as_ref() };
                see(slab, header);
                next = if first == self.current { None } else { NonNull::new(header.next) };
            }
        }
    }

    /// [`SlabSystem::slab`](super::SlabSystem::slab).
    ///
    /// # Safety
    /// The same.
    pub(super) unsafe fn slab<K: FreeObjects>(&self, shape: &Shape, number: usize) -> Option<SlabInfo<'_>> {
        let mut found = None;
        let mut count = 0;
        self.each(|slab, _| {
            if count == number {
                found = Some(slab);
            }
            count += 1;
        });
        // SAFETY: a header in use; the caller's promise.
        found.map(|slab| unsafe { Self::info::<K>(shape, slab) })
    }

    /// [`SlabSystem::slab_at`](super::SlabSystem::slab_at).
    ///
    /// # Safety
    /// The same.
    pub(super) unsafe fn slab_at<G: Ground, K: FreeObjects>(
        &self,
        ground: &G,
        shape: &Shape,
        address: usize,
    ) -> Option<SlabInfo<'_>> {
        let mut found = None;
        if G::SEEKS {
            found = ground.seek(shape, address);
        } else {
            self.each(|slab, header| {
                if address.wrapping_sub(header.base.addr().get()) < shape.slab_size {
                    found = Some(slab);
                }
            });
        }
        // SAFETY: a header in use; the caller's promise.
        found.map(|slab| unsafe { Self::info::<K>(shape, slab) })
    }

    /// [`SlabSystem::slab_of`](super::SlabSystem::slab_of).
    ///
    /// # Safety
    /// The same.
    pub(super) unsafe fn slab_of<G: Ground, K: FreeObjects>(
        &self,
        ground: &G,
        shape: &Shape,
        address: usize,
    ) -> SlabInfo<'_> {
        // SAFETY: the caller's promise.
        let slab = unsafe { ground.find(shape, address) };
        // SAFETY: G2: a header in use; the caller's promise.
        unsafe { Self::info::<K>(shape, slab) }
    }

    /// A look at a slab.
    ///
    /// # Safety
    /// `slab` is a header in use, of this shape, for as long as the borrow.
    unsafe fn info<'a, K: FreeObjects>(shape: &Shape, slab: NonNull<Header>) -> SlabInfo<'a> {
        // SAFETY: the caller's promise, and nothing changes during the borrow.
        let header = unsafe { slab.as_ref() };
        // SAFETY: a slab of ours.
        let view = unsafe { view(shape, slab) };
        SlabInfo {
            base: header.base,
            len: shape.slab_size,
            first: shape.first(header.base.addr().get()),
            stride: shape.stride,
            reserved: view.reserved,
            end: view.end,
            free: header.free,
            kept: header.kept,
            // SAFETY: the slab is ours for as long as the borrow, and callers ask for numbers in range.
            is_free: |view, index| unsafe { K::is_free(view, index) },
            // SAFETY: the slab is ours for as long as the borrow.
            is_damaged: |view| unsafe { K::lost_all_but(view) }.is_some(),
            view,
            borrow: core::marker::PhantomData,
        }
    }

    /// [`SlabSystem::verify`](super::SlabSystem::verify).
    ///
    /// # Safety
    /// The same.
    pub(super) unsafe fn verify<G: Ground, K: FreeObjects>(
        &self,
        ground: &G,
        shape: &Shape,
    ) -> Result<(), Corruption> {
        let mut broken = None;
        let mut sum = Census { slabs_peak: self.census.slabs_peak, ..Census::NONE };
        self.each(|slab, header| {
            sum.capacity += header.capacity as usize;
            sum.taken += (header.capacity - header.free) as usize;
            sum.free_slabs += usize::from(header.shelf == Shelf::Free);
            // SAFETY: a slab of ours; the caller's promise of the shape.
            if let Err(rule) = unsafe { self.verify_slab::<G, K>(ground, shape, slab) } {
                broken = Some(Corruption { rule, offset: sum.slabs * shape.slab_size });
            }
            sum.slabs += 1;
        });
        if sum != self.census {
            return Err(Corruption { rule: "the sums over all slabs are what is counted", offset: 0 });
        }
        broken.map_or(Ok(()), Err)
    }

    /// What of a slab does not hold.
    ///
    /// # Safety
    /// `slab` is a header in use, of this shape.
    unsafe fn verify_slab<G: Ground, K: FreeObjects>(
        &self,
        ground: &G,
        shape: &Shape,
        slab: NonNull<Header>,
    ) -> Result<(), &'static str> {
        // SAFETY: a header in use, and nothing changes while `self` is borrowed.
        let header = unsafe { slab.as_ref() };
        // SAFETY: a slab of ours.
        let view = unsafe { view(shape, slab) };
        let (mut free, mut kept) = (0, 0);
        for index in view.reserved..view.end {
            // SAFETY: the number is in range.
            if unsafe { K::is_free(view, index) } {
                free += 1;
                // SAFETY: a slab of ours; not looked at unless it is tracked.
                let table = unsafe { kept_table(shape, slab) };
                // SAFETY: tracked slabs have that table, with a bit for each object.
                kept += u32::from(shape.tracked && unsafe { is_marked(table, index) });
            }
        }
        if (free, kept) != (header.free, header.kept) {
            return Err("a slab's free objects are as many as it counts");
        }
        let (shelf, limit) = Header::place(free, header.capacity);
        let current = slab.as_ptr() == self.current;
        let placed =
            if current { header.shelf == Shelf::Out } else { (header.shelf, header.limit) == (shelf, limit) };
        if !placed {
            return Err("a slab stands in the list for as many free objects as it has");
        }
        // SAFETY: the last object of a slab of ours.
        let last = unsafe { view.object(view.end - 1) }.addr().get();
        // SAFETY: as above.
        let found = unsafe { ground.find(shape, last) };
        if found != slab || shape.index(header.base.addr().get(), last) != view.end - 1 {
            return Err("a slab is found from its objects");
        }
        Ok(())
    }
}

/// Whether an object's bit is set.
///
/// # Safety
/// `table` has a bit for the object.
unsafe fn is_marked(table: NonNull<u64>, index: u32) -> bool {
    // SAFETY: the caller's promise.
    let word = unsafe { table.add(index as usize / 64) };
    // SAFETY: the caller's promise.
    unsafe { word.read() & (1 << (index % 64)) != 0 }
}
