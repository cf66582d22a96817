//! Which objects of a slab are free: the kinds of bookkeeping.

use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use super::links::{Key, LINK_LEN};
use crate::check::{Checks, Unchecked};
use crate::describe::{Bytes, Cost, Tree, describe_by, name};

/// A slab, as its bookkeeping sees it.
///
/// You meet it when you write [`FreeObjects`] of your own.
#[derive(Clone, Copy, Debug)]
pub struct SlabView {
    /// The table: `BITS` bits for each object, in whole words of eight bytes; all bytes zero when the slab is new.
    pub table: NonNull<u64>,
    /// Two words that only the bookkeeping uses; zero when the slab is new.
    pub notes: NonNull<[u32; 2]>,
    /// Object 0, good for all objects of the slab.
    pub objects: NonNull<u8>,
    /// Bytes from one object to the next.
    pub stride: usize,
    /// Objects with numbers below this one are never handed out.
    pub reserved: u32,
    /// Objects with numbers from this one on do not exist.
    pub end: u32,
}

impl SlabView {
    /// Where an object lies.
    ///
    /// # Safety
    /// `index` is below `end`.
    #[inline(always)]
    #[must_use]
    pub const unsafe fn object(&self, index: u32) -> NonNull<u8> {
        // SAFETY: the object lies in the slab, whose base `objects` is good for all of it.
        unsafe { self.objects.add(index as usize * self.stride) }
    }
}

/// Keeps account of which objects of a slab are free.
///
/// The kinds here are [`Bitmap`], the default, [`IntrusiveList`] and [`IndexStack`].
///
/// ```
/// use heapwright::cache::SlabCache;
/// use heapwright::heap::SharedHeap;
/// use heapwright::lock::NoLock;
/// use heapwright::slab::{AlignedSlabs, FreeObjects, IntrusiveList};
/// use heapwright::source::StaticBuffer;
/// use std::alloc::Layout;
///
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// let cache = <SlabCache<AlignedSlabs<_, 1024, IntrusiveList>>>::with_layout(&RAM, Layout::new::<[u64; 4]>())?;
/// let block = cache.try_alloc(Layout::new::<[u64; 4]>())?;
/// assert_eq!((<IntrusiveList>::BITS, <IntrusiveList>::KEEPS), (0, false));
/// # // SAFETY: the block is live, and its layout this one.
/// # unsafe { cache.free(block.cast(), Layout::new::<[u64; 4]>()) };
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Safety
/// An implementation keeps these:
/// - **K1** (once) an object that `take` has given is not given again before `put` has brought it back; objects below `reserved` or
///   from `end` on are never given. What is given is as [`SlabView::object`] makes it.
/// - **K2** (within) it touches nothing but the table, the notes and, unless `KEEPS`, the first `OBJECT_MIN` bytes of free objects.
/// - **K3** (as many as asked) `take` fills `out` unless fewer objects are free, and says how many places it has filled, from the front; `put`
///   takes all numbers that its iterator gives.
/// - **K4** (no unwinding) no method unwinds.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a heapwright bookkeeping of free objects",
    label = "this type parameter takes `Bitmap`, `IntrusiveList` or `IndexStack`",
    note = "or implement `heapwright::slab::FreeObjects`"
)]
pub unsafe trait FreeObjects {
    /// Bits of the table per object.
    const BITS: usize;
    /// Whether free objects stay as they are.
    const KEEPS: bool;
    /// Whether objects come out as they came in: what was written to them while they were free is gone again, or there was nothing.
    const RESTORES: bool = Self::KEEPS;
    /// Whether free objects can be lost: [`lost_all_but`](FreeObjects::lost_all_but).
    const LOSES: bool = false;
    /// The smallest object that can be served, in bytes; smaller ones take up this much.
    const OBJECT_MIN: usize = 1;
    /// The most objects of a slab.
    const CAPACITY_MAX: usize = u32::MAX as usize;

    /// Starts the account of a new slab: all objects from `reserved` to `end` are free. It does not write to them.
    ///
    /// # Safety
    /// `slab` describes a slab of the caller's alone, its table and notes zero.
    unsafe fn start(slab: SlabView);

    /// Takes free objects; gives how many. What is put last into `out` is to be used first.
    ///
    /// # Safety
    /// `slab` describes a slab of the caller's alone, with an account.
    unsafe fn take(slab: SlabView, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize;

    /// As [`take`](FreeObjects::take), of the objects that have the same bit in `kept` as `constructed`.
    ///
    /// # Safety
    /// As [`take`](FreeObjects::take); `kept` is a table of one bit per object.
    unsafe fn take_of(
        slab: SlabView,
        kept: NonNull<u64>,
        constructed: bool,
        out: &mut [MaybeUninit<NonNull<u8>>],
    ) -> usize;

    /// If the last `take` has found that a free object was written to, how many free ones are left: what was lost counts as taken from then on, for good. The
    /// object that was written to has been taken last, and is in the front of `out`. Nothing was put since.
    ///
    /// # Safety
    /// As [`take`](FreeObjects::take).
    #[inline(always)]
    #[must_use]
    unsafe fn lost_all_but(slab: SlabView) -> Option<u32> {
        let _ = slab;
        None
    }

    /// Brings objects back.
    ///
    /// # Safety
    /// `slab` as for [`take`](FreeObjects::take); the objects of these numbers were taken and have not been brought back since, and no number comes
    /// twice.
    unsafe fn put(slab: SlabView, numbers: impl Iterator<Item = u32>);

    /// Brings back objects whose numbers follow one another, from `from` to below `to`.
    ///
    /// # Safety
    /// As [`put`](FreeObjects::put), for each of them.
    #[inline(always)]
    unsafe fn put_range(slab: SlabView, from: u32, to: u32) {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::put(slab, from..to) };
    }

    /// Whether an object is free. For looking into slabs; O(objects) in the worst case.
    ///
    /// # Safety
    /// `slab` as for [`take`](FreeObjects::take); `index` is from `reserved` to below `end`.
    unsafe fn is_free(slab: SlabView, index: u32) -> bool;

    /// Whether an object that comes back was brought back before: it is free, or was when it was lost. For judging frees, and as long as
    /// [`is_free`](FreeObjects::is_free).
    ///
    /// # Safety
    /// As [`is_free`](FreeObjects::is_free).
    #[must_use]
    unsafe fn was_freed(slab: SlabView, index: u32) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::is_free(slab, index) }
    }
}

/// The words of a table of bits in which those from `from` to below `to` stand, and these bits in each.
#[inline(always)]
pub(super) fn row_bits(from: u32, to: u32) -> impl Iterator<Item = (usize, u64)> {
    let mut next = from;
    core::iter::from_fn(move || {
        if next >= to {
            return None;
        }
        let first = next;
        next = to.min((first | 63) + 1);
        // So many ones, moved to the first bit's place.
        Some((first as usize / 64, u64::MAX >> (64 - (next - first)) << (first % 64)))
    })
}

/// One bit for each object, outside the objects: dense, leaves objects as they are, and hands them out in order of address.
///
/// The default. Freeing touches neither the object nor its neighbours, taking finds up to 64 objects with one look, and memory is reused in
/// order of address, which is what makes walking over data fast later. Cost: one bit per object; a take is O(objects / 64) in the worst case,
/// when all of a slab's free objects lie at its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bitmap;

/// Notes: the word to look at next.
impl Bitmap {
    /// Takes objects whose bits, combined by `mask` with their word's number, are set.
    ///
    /// # Safety
    /// As [`FreeObjects::take`].
    #[inline(always)]
    unsafe fn take_where(
        slab: SlabView,
        out: &mut [MaybeUninit<NonNull<u8>>],
        mask: impl Fn(usize, u64) -> u64,
    ) -> usize {
        let words = slab.end.div_ceil(64) as usize;
        let notes = slab.notes.cast::<u32>();
        // SAFETY: the notes are the account's.
        let start = unsafe { notes.read() } as usize;
        // From the end of `out` to its front: what is used first is lowest in memory.
        let (mut word, mut room) = (start, out.len());
        // Once around, and the first word again for what the start has left of it.
        for _ in 0..=words {
            // SAFETY: `word` is below `words`.
            let place = unsafe { slab.table.add(word) };
            // SAFETY: a word of the table.
            let all = unsafe { place.read() };
            let wanted = mask(word, all);
            let mut left = wanted;
            if left == u64::MAX && room >= 64 {
                // All of them, as in a fresh slab: one behind the other, without looking for bits.
                for (number, place) in (0..64).rev().zip(&mut out[room - 64..room]) {
                    // SAFETY: the bit is set, so the object exists.
                    place.write(unsafe { slab.object(word as u32 * 64 + number) });
                }
                room -= 64;
                left = 0;
            }
            while left != 0 && room > 0 {
                // SAFETY: the bit is set, so the object exists.
                let object = unsafe { slab.object(word as u32 * 64 + left.trailing_zeros()) };
                room -= 1;
                out[room].write(object);
                left &= left - 1;
            }
            // SAFETY: a word of the table.
            unsafe { place.write(all & !(wanted ^ left)) };
            if room == 0 {
                break;
            }
            word = if word + 1 == words { 0 } else { word + 1 };
        }
        // SAFETY: the notes are the account's.
        unsafe { notes.write(word as u32) };
        if room > 0 {
            out.copy_within(room.., 0);
        }
        out.len() - room
    }

    /// Sets bits of a word, which are clear.
    ///
    /// # Safety
    /// A word of the table.
    #[inline(always)]
    unsafe fn set(word: NonNull<u64>, bits: u64) {
        // SAFETY: the caller's promise.
        let all = unsafe { word.read() };
        debug_assert!(all & bits == 0, "an object was freed that is free: it was freed twice");
        // SAFETY: the caller's promise.
        unsafe { word.write(all | bits) };
    }

    /// The word of an object, and its bit in it.
    ///
    /// # Safety
    /// `index` is below `end`.
    #[inline(always)]
    const unsafe fn bit(slab: SlabView, index: u32) -> (NonNull<u64>, u64) {
        // SAFETY: the table has a bit for every object.
        (unsafe { slab.table.add(index as usize / 64) }, 1 << (index % 64))
    }
}

// SAFETY: K1: a free object is a set bit, cleared when it is taken; only bits from `reserved` to `end` are ever set. K2: only
// the table and the notes are written. K3: all words are visited. K4: nothing unwinds.
unsafe impl FreeObjects for Bitmap {
    const BITS: usize = 1;
    const KEEPS: bool = true;

    unsafe fn start(slab: SlabView) {
        let words = slab.end.div_ceil(64);
        for word in 0..words {
            let from = slab.reserved.saturating_sub(word * 64).min(64);
            let to = (slab.end - word * 64).min(64);
            let below = |bits: u32| if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
            // SAFETY: a word of the table.
            let place = unsafe { slab.table.add(word as usize) };
            // SAFETY: as above.
            unsafe { place.write(below(to) & !below(from)) };
        }
    }

    #[inline(always)]
    unsafe fn take(slab: SlabView, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::take_where(slab, out, |_, all| all) }
    }

    #[inline(always)]
    unsafe fn take_of(
        slab: SlabView,
        kept: NonNull<u64>,
        constructed: bool,
        out: &mut [MaybeUninit<NonNull<u8>>],
    ) -> usize {
        let mask = |word: usize, all: u64| {
            // SAFETY: the table of constructed objects is as long as that of free ones.
            let kept = unsafe { kept.add(word) };
            // SAFETY: a word of that table.
            let kept = unsafe { kept.read() };
            if constructed { all & kept } else { all & !kept }
        };
        // SAFETY: the caller's promise is the same.
        unsafe { Self::take_where(slab, out, mask) }
    }

    #[inline(always)]
    unsafe fn put(slab: SlabView, mut numbers: impl Iterator<Item = u32>) {
        let Some(first) = numbers.next() else { return };
        // SAFETY: the caller's promise: the object exists.
        let (mut word, mut bits) = unsafe { Self::bit(slab, first) };
        // Bits of one word go into it together: to read again what has just been written takes longer than all else.
        for index in numbers {
            // SAFETY: as above.
            let (next, bit) = unsafe { Self::bit(slab, index) };
            if next != word {
                // SAFETY: a word of the table.
                unsafe { Self::set(word, bits) };
                (word, bits) = (next, 0);
            }
            bits |= bit;
        }
        // SAFETY: a word of the table.
        unsafe { Self::set(word, bits) };
    }

    #[inline(always)]
    unsafe fn put_range(slab: SlabView, from: u32, to: u32) {
        for (word, bits) in row_bits(from, to) {
            // SAFETY: the caller's promise: the objects exist.
            let place = unsafe { slab.table.add(word) };
            // SAFETY: a word of the table.
            unsafe { Self::set(place, bits) };
        }
    }

    unsafe fn is_free(slab: SlabView, index: u32) -> bool {
        // SAFETY: the caller's promise: the object exists.
        let (word, bit) = unsafe { Self::bit(slab, index) };
        // SAFETY: a word of the table.
        unsafe { word.read() & bit != 0 }
    }
}

/// A list through the free objects themselves: no table at all.
///
/// For tiny slabs, and memory so scarce that a bit counts. What comes back last goes out first. It writes two bytes into each free
/// object, so it serves raw memory only: an object cache that keeps objects constructed refuses it at compile time. Objects of one byte take two.
/// Take and put are O(1) per object.
///
/// A policy `P` that [encodes](Checks::ENCODE), such as [`Hardened`](crate::check::Hardened), makes links of eight bytes (smaller objects take eight), encoded with a number
/// that each slab has another one of. A link that was overwritten is not followed: the objects behind it are lost, and stay so until the heap is dropped with their slab; the heap, which has
/// to have such a policy too, tells of it. Who frees one of them again is found by its own link, if that is whole. Links are zero again when objects go out.
#[derive(Clone, Copy, Debug, Default)]
pub struct IntrusiveList<P = Unchecked>(PhantomData<fn() -> P>);

/// The state of a list, as the notes hold it: in a word each the first two, without key; or in one word, and the key in the other.
struct Ends {
    /// The number of the list's first object and one more, 0 for none.
    first: u32,
    /// The number of the first object that was never taken, as those behind it weren't.
    fresh: u32,
    key: Key,
    /// Whether objects were lost, ever. The key's lowest bit says so, by being zero in the notes.
    lost: bool,
}

impl<P: Checks> IntrusiveList<P> {
    /// The end of the list.
    const NONE: u32 = 0;

    /// In place of the first: the list is empty, as the last `take` has found a broken link. No object has so high a number.
    const BROKEN: u32 = 0xffff;

    /// # Safety
    /// As [`FreeObjects::take`].
    #[inline(always)]
    const unsafe fn ends(slab: SlabView) -> Ends {
        // SAFETY: the notes are the account's.
        let [first, fresh] = unsafe { slab.notes.read() };
        if P::ENCODE {
            let (number, taken, key) = (first & 0xffff, first >> 16, Key(fresh | 1));
            let first = if number == Self::BROKEN { Self::NONE } else { number };
            return Ends { first, fresh: taken, key, lost: fresh & 1 == 0 };
        }
        Ends { first, fresh, key: Key(0), lost: false }
    }

    /// # Safety
    /// As [`FreeObjects::take`].
    #[inline(always)]
    const unsafe fn note(slab: SlabView, ends: &Ends) {
        let notes = if P::ENCODE {
            [ends.first | ends.fresh << 16, ends.key.0 ^ ends.lost as u32]
        } else {
            [ends.first, ends.fresh]
        };
        // SAFETY: the notes are the account's.
        unsafe { slab.notes.write(notes) };
    }

    /// What follows a free object, by the object's own word: not to be trusted unless links are encoded. `None`: the link is broken.
    ///
    /// # Safety
    /// The object is free, and in the list.
    #[inline(always)]
    unsafe fn behind(slab: SlabView, index: u32, key: Key) -> Option<u32> {
        // SAFETY: the object exists.
        let object = unsafe { slab.object(index) };
        if P::ENCODE {
            // SAFETY: a link was written when the object was put here, and it is as long as that at least.
            let next = unsafe { key.read(object, index) }?;
            // What no link can be is none.
            return (next <= slab.end).then_some(next);
        }
        // SAFETY: the link was written when the object was put here.
        Some(u32::from(unsafe { object.cast::<u16>().read_unaligned() }))
    }

    /// Whether an object is in the list, or was never taken; `None` if it is not found, and the list does not end as one does: there is no telling what it had behind.
    ///
    /// # Safety
    /// As [`FreeObjects::is_free`].
    unsafe fn find(slab: SlabView, index: u32) -> Option<bool> {
        // SAFETY: the caller's promise is the same.
        let Ends { first: mut next, fresh, key, .. } = unsafe { Self::ends(slab) };
        if index >= fresh {
            return Some(true);
        }
        // No more than were ever taken are in the list: whoever writes to free objects can't make this endless, nor lead it out of them.
        for _ in slab.reserved..fresh {
            if next == Self::NONE || next > fresh || next <= slab.reserved {
                break;
            }
            if next - 1 == index {
                return Some(true);
            }
            // SAFETY: the object is in the list, or at least one of the slab's that was taken once.
            next = unsafe { Self::behind(slab, next - 1, key) }?;
        }
        (next == Self::NONE).then_some(false)
    }
}

// SAFETY: K1: an object is in the list, or from the mark of those never taken on, or taken: it leaves the former two when it is taken. K2: links are
// written into free objects' first `OBJECT_MIN` bytes only. K3: list and rest are all there is, but for what is lost. K4: nothing unwinds.
unsafe impl<P: Checks> FreeObjects for IntrusiveList<P> {
    const BITS: usize = 0;
    const KEEPS: bool = false;
    const RESTORES: bool = P::ENCODE;
    const LOSES: bool = P::ENCODE;
    const OBJECT_MIN: usize = if P::ENCODE { LINK_LEN } else { 2 };
    const CAPACITY_MAX: usize = u16::MAX as usize - 1;

    unsafe fn start(slab: SlabView) {
        let key = if P::ENCODE { Key::new(slab.notes.addr().get()) } else { Key(0) };
        // SAFETY: the notes are the account's.
        unsafe { Self::note(slab, &Ends { first: Self::NONE, fresh: slab.reserved, key, lost: false }) };
    }

    #[inline(always)]
    unsafe fn take(slab: SlabView, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        // SAFETY: the caller's promise is the same.
        let mut ends = unsafe { Self::ends(slab) };
        let mut taken = 0;
        while taken < out.len() && !(P::ENCODE && ends.first == Self::BROKEN) {
            let index = if ends.first != Self::NONE {
                let index = ends.first - 1;
                // SAFETY: the object is the first of the list.
                ends.first = unsafe { Self::behind(slab, index, ends.key) }.unwrap_or(Self::BROKEN);
                ends.lost |= P::ENCODE && ends.first == Self::BROKEN;
                index
            } else if ends.fresh < slab.end {
                ends.fresh += 1;
                ends.fresh - 1
            } else {
                break;
            };
            // SAFETY: the object exists.
            let object = unsafe { slab.object(index) };
            if P::ENCODE {
                // Nor has one that was never taken a link: what there was before the slab would be none of its own.
                // SAFETY: the first bytes of an object that is still free, which is long enough (`OBJECT_MIN`).
                unsafe { object.cast::<u64>().write_unaligned(0) };
            }
            out[taken].write(object);
            taken += 1;
        }
        // SAFETY: the notes are the account's.
        unsafe { Self::note(slab, &ends) };
        out[..taken].reverse();
        taken
    }

    unsafe fn take_of(
        slab: SlabView,
        _: NonNull<u64>,
        _: bool,
        out: &mut [MaybeUninit<NonNull<u8>>],
    ) -> usize {
        // A shape that tracks constructed objects refuses this kind, so nobody comes here.
        // SAFETY: the caller's promise is the same.
        unsafe { Self::take(slab, out) }
    }

    #[inline(always)]
    unsafe fn put(slab: SlabView, numbers: impl Iterator<Item = u32>) {
        // SAFETY: the caller's promise is the same.
        let mut ends = unsafe { Self::ends(slab) };
        for index in numbers {
            // SAFETY: the object exists, and is free from now on.
            let object = unsafe { slab.object(index) };
            if P::ENCODE {
                // SAFETY: the first bytes of a free object, which is long enough (`OBJECT_MIN`).
                unsafe { ends.key.write(object, index, ends.first) };
            } else {
                // SAFETY: the first two bytes of a free object; numbers have 16 bits (`CAPACITY_MAX`).
                unsafe { object.cast::<u16>().write_unaligned(ends.first as u16) };
            }
            ends.first = index + 1;
        }
        // SAFETY: the notes are the account's.
        unsafe { Self::note(slab, &ends) };
    }

    /// A link that leads nowhere ends the list, as far as this can be told.
    unsafe fn is_free(slab: SlabView, index: u32) -> bool {
        // SAFETY: the caller's promise is the same.
        let found = unsafe { Self::find(slab, index) };
        found == Some(true)
    }

    /// As long as no link was found broken the list has all that were freed, and nobody's memory but that of free objects is looked at. From then on an object tells by its own link,
    /// which is cleared when it goes out: whoever has it writes such a word with a chance of 2⁻⁴⁸.
    unsafe fn was_freed(slab: SlabView, index: u32) -> bool {
        // SAFETY: the caller's promise is the same.
        let found = unsafe { Self::find(slab, index) };
        if !P::ENCODE || found == Some(true) {
            return found == Some(true);
        }
        // SAFETY: as above.
        let Ends { key, lost, .. } = unsafe { Self::ends(slab) };
        if found.is_some() && !lost {
            return false;
        }
        // SAFETY: the object exists.
        let object = unsafe { slab.object(index) };
        // SAFETY: it was taken once, as it is not free, and its first bytes were written then; it is as long as that at least.
        unsafe { key.read(object, index) }.is_some()
    }

    #[inline(always)]
    unsafe fn lost_all_but(slab: SlabView) -> Option<u32> {
        // SAFETY: the notes are the account's.
        let [first, _] = unsafe { slab.notes.read() };
        // What was never taken is left.
        (P::ENCODE && first & 0xffff == Self::BROKEN).then(|| slab.end - (first >> 16))
    }
}

/// A stack of the numbers of free objects: 16 bits for each, leaves objects as they are, and take and put are O(1) per object.
///
/// What comes back last goes out first, as with [`IntrusiveList`], but objects stay constructed, as with [`Bitmap`]. For
/// real-time use: no call looks further than the top of the stack, unless an object cache has constructed and raw objects in one slab (after
/// [`Obj::into_inner`](crate::cache::Obj::into_inner) or [`destroy`](crate::cache::Obj::destroy)), and looks for one kind. (slab-alloc 0.1 had one of addresses, 64 bits each.)
#[derive(Clone, Copy, Debug, Default)]
pub struct IndexStack;

/// Notes: numbers on the stack; as for the list, the first object that was never taken.
impl IndexStack {
    /// A place of the stack.
    ///
    /// # Safety
    /// `place` is below `end`.
    #[inline(always)]
    const unsafe fn place(slab: SlabView, place: u32) -> NonNull<u16> {
        // SAFETY: the table has 16 bits for each object.
        unsafe { slab.table.cast::<u16>().add(place as usize) }
    }
}

// SAFETY: K1: an object's number is on the stack, or it was never taken, or it is taken. K2: only table and notes are
// written. K3: stack and rest are all there is. K4: nothing unwinds.
unsafe impl FreeObjects for IndexStack {
    const BITS: usize = 16;
    const KEEPS: bool = true;
    const CAPACITY_MAX: usize = u16::MAX as usize;

    unsafe fn start(slab: SlabView) {
        // SAFETY: the notes are the account's.
        unsafe { slab.notes.write([0, slab.reserved]) };
    }

    #[inline(always)]
    unsafe fn take(slab: SlabView, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        // SAFETY: the notes are the account's.
        let [mut top, mut fresh] = unsafe { slab.notes.read() };
        let mut taken = 0;
        while taken < out.len() {
            let index = if top > 0 {
                top -= 1;
                // SAFETY: `top` was below `end`: no more numbers are on the stack than there are objects.
                let place = unsafe { Self::place(slab, top) };
                // SAFETY: places below the top are written.
                u32::from(unsafe { place.read() })
            } else if fresh < slab.end {
                fresh += 1;
                fresh - 1
            } else {
                break;
            };
            // SAFETY: the object exists.
            out[taken].write(unsafe { slab.object(index) });
            taken += 1;
        }
        // SAFETY: the notes are the account's.
        unsafe { slab.notes.write([top, fresh]) };
        out[..taken].reverse();
        taken
    }

    #[inline(always)]
    unsafe fn take_of(
        slab: SlabView,
        kept: NonNull<u64>,
        constructed: bool,
        out: &mut [MaybeUninit<NonNull<u8>>],
    ) -> usize {
        let mut taken = 0;
        // SAFETY: the notes are the account's.
        let [mut top, mut fresh] = unsafe { slab.notes.read() };
        // Downwards through the stack; what is not taken moves up by as many places as have become free.
        let mut place = top;
        while place > 0 && taken < out.len() {
            place -= 1;
            // SAFETY: places below the top exist and are written.
            let at = unsafe { Self::place(slab, place) };
            // SAFETY: as above.
            let index = u32::from(unsafe { at.read() });
            // SAFETY: the table of constructed objects has a bit for every object.
            let (word, bit) = unsafe { Bitmap::bit(SlabView { table: kept, ..slab }, index) };
            // SAFETY: a word of that table.
            if (unsafe { word.read() } & bit != 0) == constructed {
                // SAFETY: the object exists.
                out[taken].write(unsafe { slab.object(index) });
                taken += 1;
                top -= 1;
                for gap in place..top {
                    // SAFETY: places up to the old top exist.
                    let to = unsafe { Self::place(slab, gap) };
                    // SAFETY: as above.
                    let from = unsafe { Self::place(slab, gap + 1) };
                    // SAFETY: both are places of the stack.
                    unsafe { to.copy_from(from, 1) };
                }
            }
        }
        while !constructed && taken < out.len() && fresh < slab.end {
            // SAFETY: the object exists.
            out[taken].write(unsafe { slab.object(fresh) });
            taken += 1;
            fresh += 1;
        }
        // SAFETY: the notes are the account's.
        unsafe { slab.notes.write([top, fresh]) };
        out[..taken].reverse();
        taken
    }

    #[inline(always)]
    unsafe fn put(slab: SlabView, numbers: impl Iterator<Item = u32>) {
        // SAFETY: the notes are the account's.
        let [mut top, fresh] = unsafe { slab.notes.read() };
        for index in numbers {
            // SAFETY: fewer numbers are on the stack than there are objects, since this one was taken.
            let place = unsafe { Self::place(slab, top) };
            // SAFETY: as above; numbers have 16 bits (`CAPACITY_MAX`).
            unsafe { place.write(index as u16) };
            top += 1;
        }
        // SAFETY: the notes are the account's.
        unsafe { slab.notes.write([top, fresh]) };
    }

    unsafe fn is_free(slab: SlabView, index: u32) -> bool {
        // SAFETY: the notes are the account's.
        let [top, fresh] = unsafe { slab.notes.read() };
        let on_stack = (0..top).any(|place| {
            // SAFETY: places below the top exist.
            let place = unsafe { Self::place(slab, place) };
            // SAFETY: places below the top are written.
            u32::from(unsafe { place.read() }) == index
        });
        index >= fresh || on_stack
    }
}

/// What a bookkeeping is, as a part of a slab system. All are types without parts, so they are told by their numbers.
pub(super) fn describe_bookkeeping<K: FreeObjects>(tree: &mut Tree<'_>) -> fmt::Result {
    let name = name::<K>();
    match K::BITS {
        0 if K::LOSES => tree.part(
            format_args!(
                "{name:#}, nothing per object, links encoded, at least {} each",
                Bytes(K::OBJECT_MIN)
            ),
            Cost::NONE,
            &[],
        ),
        0 => tree.part(format_args!("{name:#}, nothing per object"), Cost::NONE, &[]),
        1 => tree.part(format_args!("{name:#}, 1 bit per object"), Cost::NONE, &[]),
        // Of no kind they are any other number than of whole bytes.
        bits => tree.part(format_args!("{name:#}, {} per object", Bytes(bits / 8)), Cost::NONE, &[]),
    }
}

describe_by!(describe_bookkeeping: [] Bitmap, [P: Checks] IntrusiveList<P>, [] IndexStack);

#[cfg(test)]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "slabs are the test's own, and numbers are those of objects"
)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use super::*;
    use crate::check::Hardened;

    /// A slab by hand: 20 objects of 16 bytes, the first two of which are nobody's.
    #[derive(Default)]
    struct Parts {
        table: [u64; 5],
        notes: [u32; 2],
        objects: [[u64; 2]; 20],
    }

    const RESERVED: u32 = 2;
    const END: u32 = 20;

    impl Parts {
        fn start<K: FreeObjects>(&mut self) -> SlabView {
            let view = SlabView {
                table: NonNull::from(&mut self.table).cast(),
                notes: NonNull::from(&mut self.notes),
                objects: NonNull::from(&mut self.objects).cast(),
                stride: 16,
                reserved: RESERVED,
                end: END,
            };
            unsafe { K::start(view) };
            view
        }
    }

    fn take<K: FreeObjects>(view: SlabView, count: usize) {
        let mut out = [MaybeUninit::uninit(); END as usize];
        assert_eq!(unsafe { K::take(view, &mut out[..count]) }, count);
    }

    fn free<K: FreeObjects>(view: SlabView) -> Vec<u32> {
        (RESERVED..END).filter(|&index| unsafe { K::is_free(view, index) }).collect()
    }

    /// The numbers of objects.
    fn numbers(view: SlabView, out: &[MaybeUninit<NonNull<u8>>]) -> Vec<u32> {
        let start = view.objects.addr().get();
        let number = |object: &MaybeUninit<NonNull<u8>>| {
            (unsafe { object.assume_init() }.addr().get() - start) as u32 / 16
        };
        out.iter().map(number).collect()
    }

    #[test]
    fn no_objects_brought_back_change_nothing() {
        fn check<K: FreeObjects>() {
            let mut parts = Parts::default();
            let view = parts.start::<K>();
            take::<K>(view, 7);
            let before = free::<K>(view);
            assert_eq!(before.len(), 11);
            unsafe { K::put(view, core::iter::empty()) };
            unsafe { K::put_range(view, 3, 3) };
            assert_eq!(free::<K>(view), before);
        }
        check::<Bitmap>();
        check::<IndexStack>();
        check::<IntrusiveList>();
        check::<IntrusiveList<Hardened>>();
    }

    #[test]
    fn a_link_that_leads_nowhere_ends_the_list() {
        // To no object that there is, to one that was never taken, to one that is nobody's, and in a circle.
        for link in [60_000, 9, 2, 1, 5] {
            // Whatever is not in the list would lead to 5, which is live.
            let mut parts = Parts { objects: [[0x0006_0006_0006_0006; 2]; 20], ..Parts::default() };
            let view = parts.start::<IntrusiveList>();
            take::<IntrusiveList>(view, 6); // 2 to 7
            unsafe { IntrusiveList::<Unchecked>::put(view, [2, 3, 4].into_iter()) };
            assert_eq!(free::<IntrusiveList>(view)[..4], [2, 3, 4, 8]);
            let object = unsafe { view.object(4) };
            unsafe { object.cast::<u16>().write(link) };
            assert_eq!(free::<IntrusiveList>(view)[..2], [4, 8], "link to {link}");
        }
    }

    #[test]
    fn an_encoded_link_that_was_written_to_is_not_followed() {
        type List = IntrusiveList<Hardened>;
        let mut parts = Parts::default();
        let view = parts.start::<List>();
        take::<List>(view, 6);
        unsafe { List::put(view, [2, 3, 4].into_iter()) };
        assert_eq!(free::<List>(view)[..4], [2, 3, 4, 8]);
        let link = unsafe { view.object(4) };
        let byte = unsafe { link.read() };
        unsafe { link.write(byte ^ 1) };
        assert_eq!(free::<List>(view)[..2], [4, 8]);
        assert_eq!(unsafe { List::lost_all_but(view) }, None, "nobody has taken it yet");
        take::<List>(view, 1);
        assert_eq!(
            unsafe { List::lost_all_but(view) },
            Some(END - 8),
            "those that were never taken are left"
        );
    }

    /// From when a link was found broken objects tell by their own links whether they were freed; those that are in use have none.
    #[test]
    fn what_was_lost_is_known_to_have_been_freed() {
        type List = IntrusiveList<Hardened>;
        let freed = |view, from| -> Vec<u32> {
            (from..END).filter(|&index| unsafe { List::was_freed(view, index) }).collect()
        };
        let mut parts = Parts::default();
        let view = parts.start::<List>();
        let key = unsafe { List::ends(view) }.key;
        // As a slab that lay here before might have left them.
        for index in RESERVED..END {
            let object = unsafe { view.object(index) };
            unsafe { key.write(object, index, 0) };
        }
        take::<List>(view, 10); // 2 to 11
        unsafe { List::put(view, [11].into_iter()) };
        take::<List>(view, 1); // 11
        assert_eq!(freed(view, RESERVED)[0], 12, "what is live has no link");
        let last = unsafe { view.object(11) };
        unsafe { key.write(last, 11, 0) };
        assert_eq!(freed(view, RESERVED)[0], 12, "nor is it looked at as long as all links are whole");
        unsafe { last.cast::<u64>().write(0) };
        unsafe { List::put(view, [2, 3, 4, 5].into_iter()) };
        let link = unsafe { view.object(4) };
        let byte = unsafe { link.read() };
        unsafe { link.write(byte ^ 1) };
        let before = (free::<List>(view), freed(view, RESERVED));
        assert_eq!((&before.0[..3], &before.1[..5]), (&[4, 5, 12][..], &[2, 3, 4, 5, 12][..]));
        take::<List>(view, 2); // 5, and 4, which is found broken
        let after = (free::<List>(view)[0], freed(view, RESERVED));
        assert_eq!((after.0, &after.1[..3]), (12, &[2, 3, 12][..]), "what was lost counts as taken");
        // It is remembered when the list is whole again.
        unsafe { List::put(view, [4, 6].into_iter()) };
        assert_eq!(
            (free::<List>(view)[..3].to_vec(), freed(view, RESERVED)[..4].to_vec()),
            ([4, 6, 12].to_vec(), [2, 3, 4, 6].to_vec())
        );
        assert_eq!(unsafe { List::ends(view) }.key, key);
        take::<List>(view, 10); // 6, 4, and 12 to 19
        assert_eq!(freed(view, RESERVED), [2, 3]);
        // Nor is it forgotten when others are lost.
        unsafe { List::put(view, [12, 13].into_iter()) };
        let link = unsafe { view.object(13) };
        let byte = unsafe { link.read() };
        unsafe { link.write(byte ^ 1) };
        take::<List>(view, 1); // 13
        assert_eq!(freed(view, RESERVED), [2, 3, 12]);
    }

    #[test]
    fn lists_without_codes_lose_nothing() {
        let mut parts = Parts::default();
        let view = parts.start::<IntrusiveList>();
        take::<IntrusiveList>(view, 6);
        // As the notes of an encoded list say that it is broken.
        unsafe { view.notes.write([IntrusiveList::<Unchecked>::BROKEN, 8]) };
        assert_eq!(unsafe { IntrusiveList::<Unchecked>::lost_all_but(view) }, None);
    }

    #[test]
    fn a_stack_gives_the_raw_objects_that_there_are() {
        let mut parts = Parts::default();
        let mut kept = [1u64 << 3 | 1 << 4];
        let view = parts.start::<IndexStack>();
        take::<IndexStack>(view, 6);
        unsafe { IndexStack::put(view, [2, 3, 4, 5].into_iter()) };
        let mut out = [MaybeUninit::uninit(); 30];
        let mut take = |constructed| unsafe {
            let count = IndexStack::take_of(view, NonNull::from(&mut kept).cast(), constructed, &mut out);
            numbers(view, &out[..count])
        };
        let mut raw = take(false);
        raw.sort_unstable();
        let expected: Vec<_> = [2, 5].into_iter().chain(8..END).collect();
        assert_eq!(raw, expected, "fewer than were asked for");
        assert_eq!(take(true), [3, 4]);
        assert_eq!((take(false), free::<IndexStack>(view)), (Vec::new(), Vec::new()));
    }
}
