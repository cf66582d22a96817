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
            // SAFETY: as above.
            was_freed: |view, index| unsafe { K::was_freed(view, index) },
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

#[cfg(test)]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "one source and one shape; what is done to slabs leaves them where they are"
)]
mod tests {
    extern crate std;

    use core::alloc::Layout;
    use core::mem::MaybeUninit;
    use core::ptr;
    use std::boxed::Box;

    use super::*;
    use crate::AllocError;
    use crate::slab::shelves::Place;
    use crate::slab::{AlignedSlabs, Bitmap, NoColor, SlabSystem};
    use crate::source::{BackingSource, Buffer};

    /// Slabs of a block each, which are looked for one by one.
    #[derive(Default)]
    struct Blocks<'a>(core::marker::PhantomData<&'a ()>);

    unsafe impl<'a> Ground for Blocks<'a> {
        type Source = Buffer<'a>;

        unsafe fn acquire(&mut self, source: &mut Buffer<'a>, shape: &Shape) -> Result<Place, AllocError> {
            let base = source.acquire(shape.block_layout(true))?.cast::<u8>();
            base.as_ptr().expose_provenance();
            Ok(Place { header: base.cast(), base, reserved: 0 })
        }

        unsafe fn release(&mut self, _: &mut Buffer<'a>, _: &Shape, _: NonNull<Header>, _: NonNull<u8>) {}

        unsafe fn find(&self, shape: &Shape, object: usize) -> NonNull<Header> {
            NonNull::new(ptr::with_exposed_provenance_mut(object & !(shape.slab_size - 1))).unwrap()
        }

        unsafe fn close(&mut self, _: &mut Buffer<'a>) {}
    }

    #[repr(align(1024))]
    struct Memory([MaybeUninit<u8>; 3 * 1024]);

    fn shape() -> Shape {
        let rules = AlignedSlabs::<Buffer<'static>, 1024, Bitmap, NoColor>::RULES;
        Shape::new(&rules, Layout::new::<[u64; 8]>(), false).unwrap()
    }

    /// Calls `work` with two slabs: one in the list of those that have nothing free, and the current one, of which one object is taken.
    fn with_two_slabs(work: impl FnOnce(&mut Shelves, &Blocks<'_>)) {
        let mut memory = Box::new(Memory([MaybeUninit::uninit(); 3 * 1024]));
        let (mut shelves, mut ground, shape) = (Shelves::NEW, Blocks::default(), shape());
        let mut source = Buffer::from_slice(&mut memory.0);
        for _ in 0..=shape.capacity() {
            let mut out = [MaybeUninit::uninit()];
            unsafe { shelves.take::<_, Bitmap>(&mut ground, &mut source, &shape, &mut out) }.unwrap();
        }
        assert_eq!((shelves.census.slabs, shelves.current.is_null()), (2, false));
        work(&mut shelves, &ground);
    }

    /// The header of the slab that has nothing free.
    fn asleep(shelves: &Shelves) -> *mut Header {
        shelves.lists[Shelf::Asleep as usize].first
    }

    fn verify(shelves: &Shelves, ground: &Blocks<'_>, shape: &Shape) -> Option<(&'static str, usize)> {
        let broken = unsafe { shelves.verify::<_, Bitmap>(ground, shape) }.err();
        broken.map(|Corruption { rule, offset }| (rule, offset))
    }

    #[test]
    fn what_is_damaged_is_told_by_its_rule() {
        type Damage = fn(&mut Shelves);
        let all: [(&str, usize, Damage); 6] = [
            ("the sums over all slabs are what is counted", 0, |shelves| shelves.census.taken += 1),
            ("a slab's free objects are as many as it counts", 0, |shelves| unsafe {
                (*asleep(shelves)).kept = 1;
            }),
            ("a slab's free objects are as many as it counts", 1024, |shelves| {
                unsafe { (*shelves.current).free -= 1 };
                shelves.census.taken += 1;
            }),
            ("a slab stands in the list for as many free objects as it has", 0, |shelves| unsafe {
                (*asleep(shelves)).limit += 1;
            }),
            ("a slab stands in the list for as many free objects as it has", 1024, |shelves| unsafe {
                (*shelves.current).shelf = Shelf::Most;
            }),
            // The last that is found broken is told.
            ("a slab is found from its objects", 1024, |shelves| {
                let other = unsafe { &mut *asleep(shelves) };
                let current = unsafe { &mut *shelves.current };
                core::mem::swap(&mut other.base, &mut current.base);
            }),
        ];
        for (rule, offset, damage) in all {
            with_two_slabs(|shelves, ground| {
                assert_eq!(verify(shelves, ground, &shape()), None);
                damage(shelves);
                assert_eq!(verify(shelves, ground, &shape()), Some((rule, offset)));
            });
        }
    }

    #[test]
    fn objects_that_do_not_lie_where_their_numbers_say_are_told() {
        with_two_slabs(|shelves, ground| {
            let mut shape = shape();
            shape.stride /= 2;
            assert_eq!(verify(shelves, ground, &shape), Some(("a slab is found from its objects", 1024)));
        });
    }

    #[test]
    fn an_address_is_found_in_its_slab_only() {
        with_two_slabs(|shelves, ground| {
            let at = |address| unsafe { shelves.slab_at::<_, Bitmap>(ground, &shape(), address) };
            let bases = [asleep(shelves), shelves.current].map(|slab| slab.addr());
            for base in bases {
                for address in [base, base + 1, base + 1023] {
                    assert_eq!(at(address).map(|slab| slab.address()), Some(base));
                }
            }
            let (low, high) = (bases[0].min(bases[1]), bases[0].max(bases[1]));
            assert!([0, low - 1, high + 1024, usize::MAX].iter().all(|&address| at(address).is_none()));
        });
    }
}
