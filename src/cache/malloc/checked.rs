//! What a policy of checks adds to a free and an allocation.

use core::alloc::Layout;
use core::ptr::{self, NonNull};

use super::class::Slabs;
use super::front::Front;
use super::handle::{Malloc, MallocInstance};
use super::settings::{MallocSettings, Numbers};
use super::stock::ChunkStock;
use crate::AllocError;
use crate::cache::chunk_heap::{ChunkPlace, GUARD_LEN, slab_number};
use crate::cache::front::renewed;
use crate::cache::size_classes::SizeClasses;
use crate::cache::slab_heap::Shapes;
use crate::check::{Checks, Damage, Follows, Misuse, Owner, Switch, Wrong, report};
use crate::check::{ZERO_SHORT_MAX, ZONE, first_other, is_as_freed, word_at, zero_short};
use crate::heap::UsableSize;
use crate::slab::Starts;
use crate::source::{BackingSource, SideHeaders};

/// The policy of a heap.
pub(super) type ChecksOf<I> =
    <<<I as MallocInstance>::Settings as MallocSettings>::Chunks as ChunkStock>::Checks;
type ClassesOf<I> = <<I as MallocInstance>::Settings as MallocSettings>::Classes;
type SourceOf<I> = <<<I as MallocInstance>::Settings as MallocSettings>::Chunks as ChunkStock>::Source;

/// The pattern, eight times.
const ZONES: u64 = u64::from_ne_bytes([ZONE; 8]);

impl<I: MallocInstance> Malloc<I> {
    /// Whether objects are zeroed when they come back, and looked at when they go out: what [`ready`](Malloc::ready) gives is zero then, for all of its user's bytes.
    pub(super) const ZEROES: bool = !ChecksOf::<I>::NONE && ChecksOf::<I>::ZERO_FREED;
    /// Whether an object needs more than a look and a mark when it comes and goes.
    const THOROUGH: bool =
        ChecksOf::<I>::RED_ZONE > 0 || Self::ZEROES || <<ChecksOf<I> as Checks>::Quarantine as Switch>::ON;
    const FREES: bool = <<ChecksOf<I> as Checks>::Frees as Switch>::ON;
    const ZONE: usize = {
        let zone = ChecksOf::<I>::RED_ZONE;
        assert!(
            zone == 0 || 8 <= zone && zone <= 4096,
            "a red zone is looked at in words of eight bytes, and is no longer than a page: choose a `RED_ZONE` of 8 to 4096, or 0"
        );
        zone
    };

    /// What a request takes with the red zone behind it.
    #[inline(always)]
    pub(super) fn with_zone(layout: Layout) -> Layout {
        if Self::ZONE == 0 || layout.size() == 0 {
            return layout;
        }
        // A size that leaves no room for the zone is one that nobody can serve.
        Layout::from_size_align(layout.size() + Self::ZONE, layout.align()).unwrap_or(layout)
    }

    /// What a request without a class takes, as the stock sees it: with its red zone longer than all objects of classes, so that its length tells that it is none; and with its guard.
    #[inline]
    pub(super) fn beyond(layout: Layout) -> Layout {
        let guard = if ChecksOf::<I>::GUARDS { GUARD_LEN } else { 0 };
        let with_zone = layout.size().saturating_add(Self::ZONE).max(ClassesOf::<I>::SIZE_MAX + 1);
        let size = with_zone.saturating_add(guard);
        // An alignment that leaves no room for so much is one that the stock refuses.
        Layout::from_size_align(size, layout.align()).unwrap_or(layout)
    }

    /// Where the objects of each class begin in their slabs.
    const STARTS: &'static [Starts; 256] = &{
        let mut starts = [Starts::NONE; 256];
        let mut class = 0;
        while class < ClassesOf::<I>::COUNT {
            let number = slab_number(ClassesOf::<I>::SIZES[class]);
            starts[class] = Starts::of(&Shapes::<ClassesOf<I>, Slabs<I::Settings>>::ALL[class], number);
            class += 1;
        }
        starts
    };

    /// The number of the object of the class that would begin at the address, if it lies in a slab of that class; more than any has if none would. `class` is no more than 255.
    #[inline(always)]
    const fn number_of(class: usize, address: usize) -> u32 {
        Self::STARTS[class & 0xff].number(address, <SourceOf<I> as SideHeaders>::SLAB_SIZE)
    }

    /// How many objects a slab of the class has.
    fn capacity(class: usize) -> u32 {
        Shapes::<ClassesOf<I>, Slabs<I::Settings>>::ALL.get(class).map_or(0, |shape| shape.capacity() as u32)
    }

    /// The first word of an object, good for all of it.
    #[inline(always)]
    const fn mark_of(object: NonNull<u8>) -> *mut usize {
        object.as_ptr().cast()
    }

    /// The stock, to look at what comes back, for which its lock may be taken: it may be the first call of all.
    fn books() -> &'static <I::Settings as MallocSettings>::Chunks {
        super::fork::prepare::<I>();
        I::shared().stock()
    }

    /// What stands in the first word of an object that is free. Never zero, which live objects have there at first: the secret is odd.
    #[inline(always)]
    fn mark(address: usize) -> usize {
        I::shared().stock().mark(address)
    }

    /// Whether an object of the class begins at the address that somebody has been given, live or not.
    #[inline(always)]
    fn is_object(class: usize, address: usize) -> bool {
        const MAP_SIZE_MAX: usize = 256 << 10;
        const {
            assert!(
                ClassesOf::<I>::SIZE_MAX <= MAP_SIZE_MAX,
                "heaps that look at what comes back have objects of up to 256 KiB: choose smaller size classes"
            );
        };
        // A class's objects lie side by side: the stride is their size.
        let Some(mut taken) = I::shared().stock().taken(address, Self::STARTS[class & 0xff].note) else {
            return false;
        };
        if <<I::Settings as MallocSettings>::Chunks as ChunkStock>::TAKEN_STEP > 1 {
            taken = taken.min(Self::capacity(class));
        }
        Self::number_of(class, address) < taken
    }

    /// Whether a live object of the class begins at the address. It is as good as certain that an object is live that has not `mark`, that of a free one there.
    #[inline(always)]
    fn is_live(class: usize, address: usize, mark: usize) -> bool {
        if !Self::is_object(class, address) {
            return false;
        }
        let object = ptr::with_exposed_provenance::<usize>(address);
        // Its user may never have written the word: then it is any number, but one, as what is read where others may write.
        // SAFETY: an object of ours, of a word at least, aligned to one; its provenance is exposed (Y5).
        let word = unsafe { object.read_volatile() };
        word != mark
    }

    /// Makes an object ready for its user, who asked for `size` bytes. `class` is less than `COUNT`.
    ///
    /// # Safety
    /// It is an object of the class, the caller's alone; or null.
    #[inline(always)]
    pub(super) unsafe fn ready(object: *mut u8, class: usize, size: usize) -> *mut u8 {
        if ChecksOf::<I>::NONE {
            return object;
        }
        let Some(entire) = NonNull::new(object) else { return object };
        if Self::THOROUGH {
            // SAFETY: the caller's promise is the same.
            return unsafe { Self::ready_thoroughly(entire, class, size) };
        }
        if Self::FREES {
            // SAFETY: an object has a word.
            unsafe { Self::mark_of(entire).write(0) };
        }
        object
    }

    /// As [`ready`](Malloc::ready): what was free is looked at, and what is behind the user's bytes gets the pattern. Gives the object. (Here and in [`retire`](Malloc::retire) the ways that are
    /// seldom taken are ends, not detours: after a call nothing is left to do for which a register would have to be saved.)
    ///
    /// # Safety
    /// The same.
    #[inline(never)]
    unsafe fn ready_thoroughly(object: NonNull<u8>, class: usize, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let len = unsafe { Numbers::<I::Settings>::size_of(class) };
        if Self::ZEROES {
            let mark = if Self::FREES { Self::mark(object.addr().get()) } else { 0 };
            // SAFETY: the caller's promise: `len` bytes, ours; a multiple of eight and eight at least (K1).
            if !unsafe { is_as_freed(object.as_ptr(), len, mark) } {
                // SAFETY: as above.
                return unsafe { Self::ready_though_written(object, class, size, mark) };
            }
        }
        if Self::FREES {
            // SAFETY: an object has a word.
            unsafe { Self::mark_of(object).write(0) };
        }
        // SAFETY: the class was chosen for the size and the zone.
        unsafe { Self::fill_behind(object, size, len) };
        object.as_ptr()
    }

    /// The same with a free object that somebody has written to: reports that, and makes it all zero.
    ///
    /// # Safety
    /// The same; `mark` is what is there first in one that is free.
    #[cold]
    #[inline(never)]
    unsafe fn ready_though_written(object: NonNull<u8>, class: usize, size: usize, mark: usize) -> *mut u8 {
        let len = Numbers::<I::Settings>::size(class);
        // SAFETY: the caller's promise.
        unsafe { Self::written_while_free(object, len, mark) };
        // SAFETY: as above.
        unsafe { Self::fill_behind(object, size, len) };
        object.as_ptr()
    }

    /// The pattern behind the `size` bytes that a user asked for, of `len`.
    ///
    /// # Safety
    /// They are the caller's alone, and there is room for the zone.
    #[inline(always)]
    unsafe fn fill_behind(object: NonNull<u8>, size: usize, len: usize) {
        if Self::ZONE > 0 {
            // SAFETY: the caller's promise.
            let behind = unsafe { object.add(size) };
            // SAFETY: the rest of the object.
            unsafe { Self::fill_zone(behind, len - size) };
        }
    }

    /// Fills what is looked at of the `len` bytes behind a user's: the first and the last `ZONE`, as who frees without a layout brings the longest that it may have been. (What is between may be
    /// written without harm to anybody, and how many words that are no processor can guess.)
    ///
    /// # Safety
    /// They are the caller's, `ZONE` at least, and that is 8 at least.
    #[inline(always)]
    unsafe fn fill_zone(behind: NonNull<u8>, len: usize) {
        let write = |at: usize| {
            // SAFETY: inside.
            let place = unsafe { behind.add(at) };
            // SAFETY: eight bytes that are the caller's.
            unsafe { place.cast::<u64>().write_unaligned(ZONES) };
        };
        for from in [0, len - Self::ZONE] {
            let mut at = 0;
            while at + 8 <= Self::ZONE {
                write(from + at);
                at += 8;
            }
            if Self::ZONE % 8 != 0 {
                write(from + Self::ZONE - 8);
            }
        }
    }

    /// Reports a free object that is not as it was left, and makes it all zero.
    ///
    /// # Safety
    /// It has `len` bytes, the caller's alone, aligned to 8.
    unsafe fn written_while_free(object: NonNull<u8>, len: usize, mark: usize) {
        let place = Self::mark_of(object);
        // SAFETY: an object has a word.
        if Self::FREES && unsafe { place.read() } == mark {
            // A mark that is whole is no damage: what is behind it may be.
            // SAFETY: as above.
            unsafe { place.write(0) };
        }
        // None: whoever wrote there has written zeroes, over the mark, or since.
        // SAFETY: the caller's promise.
        let other = unsafe { first_other(object, len, 0) };
        let damage = other.map(|(at, found)| Damage { offset: at as isize, expected: 0, found });
        let layout = Layout::from_size_align(len, 1).unwrap_or(Layout::new::<u8>());
        let misuse = Misuse::new(Wrong::WrittenAfterFree, object.addr().get(), layout);
        Self::tell(Misuse { damage, ..misuse });
        // SAFETY: the caller's promise.
        unsafe { object.write_bytes(0, len) };
    }

    /// Takes back what is said to be an object. `class` is less than `COUNT`. (Not inlined: where a layout is known that leaves a call with constants.)
    ///
    /// # Safety
    /// The caller of the heap promises that it is a live object of the class; where frees are looked at, nothing needs to be true of it.
    #[inline(never)]
    pub(super) unsafe fn retire(ptr: NonNull<u8>, class: usize, layout: Layout) {
        let mark = if Self::FREES { Self::mark(ptr.addr().get()) } else { 0 };
        if Self::FREES && !Self::is_live(class, ptr.addr().get(), mark) {
            // SAFETY: the caller's promise: nobody else uses what is there.
            return unsafe { Self::misused(ptr, Some(class), layout) };
        }
        let object = renewed(ptr);
        if Self::THOROUGH {
            // SAFETY: a live object of the class, as has been seen or promised.
            return unsafe { Self::retire_thoroughly(object, class, layout, mark) };
        }
        if Self::FREES {
            // SAFETY: an object has a word, and this one is ours now.
            unsafe { Self::mark_of(object).write(mark) };
        }
        // SAFETY: a free object of the class, in no other place.
        unsafe { Self::put(class, object) };
    }

    /// As [`retire`](Malloc::retire): the red zone is looked at, the object zeroed and put to rest, and what has rested put where it is at hand.
    ///
    /// # Safety
    /// A live object of the class.
    #[inline(always)]
    unsafe fn retire_thoroughly(object: NonNull<u8>, class: usize, layout: Layout, mark: usize) {
        // SAFETY: the caller's promise.
        let len = unsafe { Numbers::<I::Settings>::size_of(class) };
        // SAFETY: the caller's promise: so many bytes, the zone behind the user's.
        if Self::ZONE > 0 && !unsafe { Self::is_whole_behind(object, layout, len) } {
            // SAFETY: as above.
            return unsafe { Self::retire_though_damaged(object, class, layout, mark) };
        }
        if Self::ZEROES {
            if len > ZERO_SHORT_MAX {
                // SAFETY: the object is ours now.
                return unsafe { Self::rest_long(object, class, len, mark) };
            }
            // SAFETY: as above; it is that short, and of eight bytes at least (K1).
            unsafe { zero_short(object.as_ptr(), len) };
        }
        // SAFETY: as above.
        unsafe { Self::rest(object, class, mark) };
    }

    /// The same with an object whose red zone is damaged.
    ///
    /// # Safety
    /// The same.
    #[cold]
    #[inline(never)]
    unsafe fn retire_though_damaged(object: NonNull<u8>, class: usize, layout: Layout, mark: usize) {
        let len = Numbers::<I::Settings>::size(class);
        // SAFETY: the caller's promise is the same.
        if unsafe { Self::is_live_though_damaged(object, layout, len) } {
            // Zeroed if that is the policy's choice: `rest_long` is for any length.
            // SAFETY: as above.
            unsafe { Self::rest_long(object, class, len, mark) };
        }
    }

    /// Zeroes an object of any length, if the policy wants that, and puts it to rest.
    ///
    /// # Safety
    /// A free object of the class, of `len` bytes, in no other place.
    #[inline(never)]
    unsafe fn rest_long(object: NonNull<u8>, class: usize, len: usize, mark: usize) {
        if Self::ZEROES {
            // SAFETY: the caller's promise.
            unsafe { object.write_bytes(0, len) };
        }
        // SAFETY: as above.
        unsafe { Self::rest(object, class, mark) };
    }

    /// Marks an object, puts it to rest, and what has rested where it is at hand.
    ///
    /// # Safety
    /// A free object of the class, in no other place.
    #[inline(always)]
    unsafe fn rest(object: NonNull<u8>, class: usize, mark: usize) {
        if Self::FREES {
            // SAFETY: an object has a word.
            unsafe { Self::mark_of(object).write(mark) };
        }
        if !<<ChecksOf<I> as Checks>::Quarantine as Switch>::ON {
            // SAFETY: the caller's promise is the same.
            return unsafe { Self::put(class, object) };
        }
        let push = |front: &Front<I::Settings>| {
            // SAFETY: a class of the heap.
            let rested = unsafe { front.rest(class, object) }?;
            // SAFETY: as above.
            let bin = unsafe { front.bin(class) };
            // SAFETY: a free object of the class, which is in no other place any more.
            let is_pushed = unsafe { bin.push(rested.as_ptr()) };
            (!is_pushed).then_some(rested)
        };
        if let Some(left) = I::with_front(push).unwrap_or(Some(object)) {
            // SAFETY: as above.
            unsafe { Self::give_slow(class, left) };
        }
    }

    /// Looks at the red zone of an object of `len` bytes, and says whether it may be used as a live one.
    ///
    /// # Safety
    /// An object of this layout, with so many bytes.
    unsafe fn is_live_behind(object: NonNull<u8>, layout: Layout, len: usize) -> bool {
        // SAFETY: the caller's promise is the same.
        if unsafe { Self::is_whole_behind(object, layout, len) } {
            return true;
        }
        // SAFETY: as above.
        unsafe { Self::is_live_though_damaged(object, layout, len) }
    }

    /// Reports an object whose zone is damaged; says whether it may be used as a live one. If all behind its first word is zero, it is free: somebody has written over its mark, before it was
    /// freed again. (Or it is live, and zeroes were written over all of it and its zone. There is no telling.)
    ///
    /// # Safety
    /// The same.
    #[cold]
    #[inline(never)]
    unsafe fn is_live_though_damaged(object: NonNull<u8>, layout: Layout, len: usize) -> bool {
        // SAFETY: an object with a zone is longer than that.
        let rest = unsafe { object.add(8) };
        // SAFETY: the caller's promise.
        if Self::ZEROES && unsafe { first_other(rest, len - 8, 0) }.is_none() {
            let misuse = Misuse::new(Wrong::DoubleFree, object.addr().get(), layout);
            Self::tell(misuse.with_owner(Self::owner(len)));
            return false;
        }
        // SAFETY: the user's bytes are followed by the zone.
        let behind = unsafe { object.add(layout.size()) };
        // SAFETY: the caller's promise: the rest of the object.
        let may_be_free = Self::ZEROES && unsafe { first_other(behind, len - layout.size(), 0) }.is_none();
        // SAFETY: the caller's promise is the same.
        unsafe { Self::written_behind(object, layout, len) };
        // A zone that is all zero may be that of a free object, which has been written to in other places: nobody gets it twice.
        !may_be_free
    }

    /// Looks at the red zone of a block of `len` bytes, at both ends of what is behind the user's; says whether it is as it was.
    ///
    /// # Safety
    /// A live block of this layout, with so many bytes.
    #[inline(always)]
    unsafe fn is_whole_behind(block: NonNull<u8>, layout: Layout, len: usize) -> bool {
        // SAFETY: the user's bytes are followed by the zone.
        let behind = unsafe { block.add(layout.size()) };
        let other = |at: usize| {
            // SAFETY: inside.
            let place = unsafe { behind.add(at) };
            // SAFETY: the caller's promise.
            let found = unsafe { word_at(place.as_ptr()) };
            found ^ ZONES
        };
        let mut others = 0;
        for from in [0, len - layout.size() - Self::ZONE] {
            let mut at = 0;
            while at + 8 <= Self::ZONE {
                others |= other(from + at);
                at += 8;
            }
            if Self::ZONE % 8 != 0 {
                others |= other(from + Self::ZONE - 8);
            }
        }
        others == 0
    }

    /// Reports what [`is_whole_behind`](Malloc::is_whole_behind) has found.
    ///
    /// # Safety
    /// The same.
    #[cold]
    #[inline(never)]
    unsafe fn written_behind(block: NonNull<u8>, layout: Layout, len: usize) {
        let behind = len - layout.size();
        // None: whoever wrote there has put it right since.
        let damage = [0, behind - Self::ZONE].into_iter().find_map(|at| {
            // SAFETY: inside.
            let place = unsafe { block.add(layout.size() + at) };
            // SAFETY: the caller's promise.
            let (offset, found) = unsafe { first_other(place, Self::ZONE, ZONE) }?;
            Some(Damage { offset: (layout.size() + at + offset) as isize, expected: ZONE, found })
        });
        let misuse = Misuse::new(Wrong::WrittenBehind, block.addr().get(), layout);
        Self::tell(Misuse { damage, owner: Some(Self::owner(len)), ..misuse });
    }

    /// A live object is to have another size of the same class; says whether it may.
    ///
    /// # Safety
    /// As [`retire`](Malloc::retire); `new` has that class too.
    pub(super) unsafe fn resize_object(ptr: NonNull<u8>, class: usize, old: Layout, new: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        let may = unsafe { Self::is_live_object(ptr, class, old) };
        if may {
            // SAFETY: a live object, and the new size leaves room for the zone.
            unsafe { Self::enclose(ptr, class, new) };
        }
        may
    }

    /// Looks at an object that is to be resized, and says whether it may be used as a live one.
    ///
    /// # Safety
    /// As [`retire`](Malloc::retire).
    unsafe fn is_live_object(ptr: NonNull<u8>, class: usize, layout: Layout) -> bool {
        if Self::FREES && !Self::is_live(class, ptr.addr().get(), Self::mark(ptr.addr().get())) {
            // SAFETY: the caller's promise: nobody else uses what is there.
            unsafe { Self::misused(ptr, Some(class), layout) };
            return false;
        }
        // SAFETY: a live object, as has been seen or promised.
        Self::ZONE == 0
            || unsafe { Self::is_live_behind(renewed(ptr), layout, Numbers::<I::Settings>::size(class)) }
    }

    /// Writes the zone of a live object.
    ///
    /// # Safety
    /// A live object of this class, and `layout` has that class.
    unsafe fn enclose(ptr: NonNull<u8>, class: usize, layout: Layout) {
        if Self::ZONE > 0 {
            // SAFETY: the size leaves room for the zone.
            let behind = unsafe { renewed(ptr).add(layout.size()) };
            // SAFETY: the rest of the object.
            unsafe { Self::fill_zone(behind, Numbers::<I::Settings>::size(class) - layout.size()) };
        }
    }

    /// Whether a block may be moved elsewhere: looked at before a byte of it is read. Nothing is written there: if it comes to nothing, the block is as it was.
    ///
    /// # Safety
    /// As [`retire`](Malloc::retire).
    pub(super) unsafe fn may_move(ptr: NonNull<u8>, layout: Layout) -> bool {
        if layout.size() == 0 {
            return true;
        }
        if let Some(class) = ClassesOf::<I>::index(Self::with_zone(layout)) {
            // SAFETY: the caller's promise is the same.
            return unsafe { Self::is_live_object(ptr, class, layout) };
        }
        if Self::FREES {
            // SAFETY: the caller's promise is the same.
            let looked = unsafe { Self::books().look_at_block(ptr.addr().get(), Self::beyond(layout)) };
            if looked.is_err() {
                // SAFETY: the caller's promise is the same.
                unsafe { Self::misused(ptr, None, layout) };
                return false;
            }
        }
        if Self::ZONE > 0 {
            let block = renewed(ptr);
            // SAFETY: a live block, as has been seen or promised.
            let len = unsafe { I::shared().stock().usable_size(block) };
            // SAFETY: as above.
            unsafe { Self::look_behind_block(block, layout, len) };
        }
        true
    }

    /// A block which [may move](Malloc::may_move) has been: what was told of its zone then is not to be told when it is freed.
    ///
    /// # Safety
    /// A live block, with its layout, which is not of size zero.
    pub(super) unsafe fn moved(ptr: NonNull<u8>, layout: Layout) {
        if Self::ZONE == 0 {
            return;
        }
        if let Some(class) = ClassesOf::<I>::index(Self::with_zone(layout)) {
            // SAFETY: the caller's promise.
            return unsafe { Self::enclose(ptr, class, layout) };
        }
        let block = renewed(ptr);
        // SAFETY: the caller's promise.
        let len = unsafe { I::shared().stock().usable_size(block) };
        // SAFETY: as above.
        unsafe { Self::fill_behind_block(block, layout, len) };
    }

    /// A block without a class gets its zone and its guard; its user asked for `layout`.
    ///
    /// # Safety
    /// A block of so many bytes, for [`beyond`](Malloc::beyond) of this layout, the caller's alone.
    pub(super) unsafe fn fence(block: NonNull<[u8]>, layout: Layout) {
        let (start, len) = (block.cast::<u8>(), block.len());
        // SAFETY: the caller's promise is the same.
        unsafe { Self::fill_behind_block(start, layout, len) };
        // What can't be protected is a gap all the same.
        // SAFETY: as above; nobody touches the block's last page until it is unprotected.
        let _ = unsafe { Self::guard(start, len, true) };
    }

    /// Makes the guard of a block without a class fault when it is touched, or not any more; says whether that was possible.
    ///
    /// # Safety
    /// A block of so many bytes, the caller's alone.
    unsafe fn guard(block: NonNull<u8>, len: usize, protect: bool) -> bool {
        if !ChecksOf::<I>::GUARDS {
            return true;
        }
        // SAFETY: there is room for the guard.
        let guard = unsafe { block.add(len - GUARD_LEN) };
        // SAFETY: the caller's promise: the block's last page.
        unsafe { I::shared().stock().protect(guard, GUARD_LEN, protect) }
    }

    /// The pattern behind the bytes that its user asked for of a block without a class, of `len` with its guard.
    ///
    /// # Safety
    /// As [`fence`](Malloc::fence).
    unsafe fn fill_behind_block(block: NonNull<u8>, layout: Layout, len: usize) {
        // SAFETY: the caller's promise: there is room for the zone, and this is all of the block but the guard.
        unsafe { Self::fill_behind(block, layout.size(), Self::usable(len, false) + Self::ZONE) };
    }

    /// Looks at the zone of a block without a class.
    ///
    /// # Safety
    /// A live block of `len` bytes, fenced for this layout.
    unsafe fn look_behind_block(block: NonNull<u8>, layout: Layout, len: usize) {
        let with_zone = Self::usable(len, false) + Self::ZONE;
        // SAFETY: the caller's promise: the zone lies behind the user's bytes.
        if Self::ZONE > 0 && !unsafe { Self::is_whole_behind(block, layout, with_zone) } {
            // SAFETY: as above.
            unsafe { Self::written_behind(block, layout, with_zone) };
        }
    }

    /// Takes a block back that has no class, if it is one.
    ///
    /// # Safety
    /// As [`retire`](Malloc::retire).
    pub(super) unsafe fn give_block(ptr: NonNull<u8>, layout: Layout) {
        let (stock, room) = (I::shared().stock(), Self::beyond(layout));
        let len = if Self::FREES {
            // SAFETY: the caller's promise: nobody else uses what is there.
            match unsafe { Self::books().claim(ptr.addr().get(), room) } {
                Ok(len) => len,
                // SAFETY: as above.
                Err(_) => return unsafe { Self::misused(ptr, None, layout) },
            }
        } else if Self::THOROUGH || ChecksOf::<I>::GUARDS {
            // SAFETY: the caller's promise: a live block.
            unsafe { stock.usable_size(ptr) }
        } else {
            0
        };
        let block = renewed(ptr);
        // SAFETY: a live block of that length, as has been seen or promised.
        unsafe { Self::look_behind_block(block, layout, len) };
        // SAFETY: as above.
        if !unsafe { Self::guard(block, len, false) } {
            // Its last page faults, and can't be made usable: nobody gets it again.
            return;
        }
        // SAFETY: the caller's promise, or what has been seen; what has no class is from the stock.
        unsafe { I::shared().chunks().release(block, room) };
    }

    /// Changes the size of a block that has no class, where it stands or by moving its pages.
    ///
    /// # Errors
    /// When that can't be done; the block is as it was.
    ///
    /// # Safety
    /// A live block, which [may move](Malloc::may_move), `old` its layout; neither layout has a class, and both have one alignment.
    pub(super) unsafe fn resize_block(
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let (shared, mut chunks) = (I::shared(), I::shared().chunks());
        let (had, wanted) = (Self::beyond(old), Self::beyond(new));
        let (block, mut len) = (renewed(ptr), 0);
        if ChecksOf::<I>::GUARDS {
            // SAFETY: the caller's promise: a live block.
            len = unsafe { shared.stock().usable_size(block) };
            // SAFETY: as above.
            if !unsafe { Self::guard(block, len, false) } {
                return Err(AllocError);
            }
        }
        let resized = if wanted.size() > had.size() {
            // SAFETY: the caller's promise; what has no class is from the stock.
            unsafe { chunks.remap(block, had, wanted.size()) }
        } else {
            // SAFETY: as above.
            unsafe { chunks.shrink(block, had, wanted.size()) }
        };
        match resized {
            // SAFETY: the block as it is now, with room for zone and guard.
            Ok(resized) => unsafe { Self::fence(resized, new) },
            // What can't be protected is a gap all the same.
            // SAFETY: the block as it was.
            Err(AllocError) => _ = unsafe { Self::guard(block, len, true) },
        }
        resized
    }

    /// What a user may write of a block of `len` bytes.
    pub(super) const fn usable(len: usize, is_object: bool) -> usize {
        len - Self::ZONE - if ChecksOf::<I>::GUARDS && !is_object { GUARD_LEN } else { 0 }
    }

    /// Whether a block of unknown layout may be given back.
    ///
    /// # Safety
    /// No other thread resizes it.
    pub(super) unsafe fn is_known(ptr: NonNull<u8>) -> bool {
        if !Self::FREES {
            return true;
        }
        let address = ptr.addr().get();
        // SAFETY: the caller's promise is the same.
        let wrong = match unsafe { Self::books().look_up(address) } {
            Ok(ChunkPlace { start, len, is_large }) => {
                let is_slab = !is_large && ClassesOf::<I>::SIZES.binary_search(&len).is_ok();
                if is_slab || start == address {
                    return true;
                }
                Wrong::Interior
            }
            Err(wrong) => wrong,
        };
        Self::tell(Misuse::new(wrong, address, Layout::new::<()>()));
        false
    }

    /// What an address belongs to.
    fn owner(object_size: usize) -> Owner {
        Owner { heap: core::any::type_name::<I>(), object_size }
    }

    /// Finds out what is wrong with what was taken for an object of this class, or for a block without one, and tells.
    ///
    /// # Safety
    /// No other thread resizes what is there.
    #[cold]
    #[inline(never)]
    unsafe fn misused(ptr: NonNull<u8>, class: Option<usize>, layout: Layout) {
        let address = ptr.addr().get();
        let misuse = |wrong| Misuse::new(wrong, address, layout);
        // SAFETY: the caller's promise is the same.
        let found = match unsafe { Self::books().look_up(address) } {
            Err(wrong) => misuse(wrong),
            Ok(ChunkPlace { start, len, is_large }) => {
                let own = ClassesOf::<I>::SIZES.binary_search(&len).ok().filter(|_| !is_large);
                let starts =
                    own.map_or(start == address, |own| Self::number_of(own, address) < Self::capacity(own));
                let wrong = if !starts {
                    Wrong::Interior
                } else if own.is_some_and(|own| {
                    Some(own) == class || !Self::is_live(own, address, Self::mark(address))
                }) {
                    // One of this class was free when it was looked at, even if others use by now what this thread took for its own.
                    Wrong::DoubleFree
                } else {
                    Wrong::WrongLayout
                };
                misuse(wrong).with_owner(Self::owner(len))
            }
        };
        Self::tell(found);
    }

    /// Reports. No lock is held.
    #[cold]
    #[inline(never)]
    pub(super) fn tell(misuse: Misuse) {
        report::<<ChecksOf<I> as Checks>::Report>(&misuse);
    }
}
