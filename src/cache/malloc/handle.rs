//! The heap as a value of size zero.

use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

use super::checked::ChecksOf;
use super::front::Front;
use super::late::Outcome;
use super::settings::MallocSettings;
use super::shared::SharedMalloc;
use super::stats::MallocStats;
use super::stock::ChunkStock;
use crate::AllocError;
use crate::cache::SizeClasses;
use crate::cache::front::renewed;
use crate::check::Follows;
use crate::describe::{Describe, Tree};
use crate::heap::UsableSize;
use crate::mem;

/// A type that stands for one heap in a `static` and for each thread's front of it. [`malloc!`](crate::malloc) writes it.
///
/// # Safety
/// An implementation keeps these:
/// - **M1** (one heap) every call of `shared`, on any thread, gives the same heap, which no other type stands for.
/// - **M2** (thread-local) `with_front` runs its work, if at all, on a front that the calling thread alone has for this type, made by `new`, which does not
///   move and lives until its thread has no more code to run; it passes on what the work returns.
/// - **M3** (the end) after `see_to_end` has given `true`, a [`ThreadEnd`] of this type is dropped on this thread before it ends. (It is asked where the
///   C library does not tell this heap of a thread's end.)
/// - **M4** no method unwinds, unless work does.
pub unsafe trait MallocInstance: Sized + 'static {
    /// The heap's parts and numbers.
    type Settings: MallocSettings;

    /// The heap.
    fn shared() -> &'static SharedMalloc<Self::Settings>;

    /// Runs `work` on this thread's front; `None` if the thread is so far gone that it has none.
    fn with_front<R>(work: impl FnOnce(&Front<Self::Settings>) -> R) -> Option<R>;

    /// Has a [`ThreadEnd`] dropped when this thread ends; `false` if it is too late for that.
    fn see_to_end() -> bool;
}

/// What gives back all that a thread has at hand when it is dropped, at the thread's end. [`malloc!`](crate::malloc) declares it.
pub struct ThreadEnd<I: MallocInstance>(PhantomData<fn() -> I>);

impl<I: MallocInstance> ThreadEnd<I> {
    /// One for the thread that makes it.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it is of use as a thread-local only")]
    pub const fn new() -> Self {
        ThreadEnd(PhantomData)
    }
}

impl<I: MallocInstance> Drop for ThreadEnd<I> {
    fn drop(&mut self) {
        I::with_front(|front| front.close(I::shared()));
    }
}

impl<I: MallocInstance> fmt::Debug for ThreadEnd<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThreadEnd")
    }
}

/// A heap for all layouts and all threads, with some objects at hand for each thread: a general allocator, as a value of size zero.
///
/// [`malloc!`](crate::malloc) declares one; [`preset::SlabMalloc`](crate::preset) is one that is ready-made. It is a `GlobalAlloc` and an
/// `Allocator`. [The module's docs](super) tell how it works and what it costs.
///
/// # Errors, panics
/// Running out is an error (null from `GlobalAlloc`); before that all that no thread has at hand goes back to the source, and the request is tried again.
/// Nothing panics.
pub struct Malloc<I: MallocInstance>(PhantomData<fn() -> I>);

type ClassesOf<I> = <<I as MallocInstance>::Settings as MallocSettings>::Classes;

impl<I: MallocInstance> Malloc<I> {
    /// The handle.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(size_of::<Self>() == 0) };
        Malloc(PhantomData)
    }

    /// What all threads share.
    #[must_use]
    pub fn shared(self) -> &'static SharedMalloc<I::Settings> {
        I::shared()
    }

    /// How much there is, and where. O(classes × threads); takes the locks of the classes one after the other, for a moment each, and holds up
    /// no thread that finds its objects at hand. So the numbers are of slightly different moments.
    #[must_use]
    pub fn stats(self) -> MallocStats<ClassesOf<I>> {
        super::fork::prepare::<I>();
        I::shared().stats()
    }

    /// Gives what this thread has at hand back to the others. For threads that will be idle for long.
    pub fn flush(self) {
        I::with_front(|front| front.flush(I::shared()));
    }

    /// Gives all that can be given back to the OS: what this thread has at hand, and what no thread has. What other threads have at hand stays theirs.
    pub fn release(self) {
        super::fork::prepare::<I>();
        self.flush();
        I::shared().release();
    }

    /// Asks the policy again how much free memory is to stay, and gives the rest back to the OS. For a timer; without one the policy is asked when
    /// memory is freed.
    pub fn tick(self) {
        super::fork::prepare::<I>();
        I::shared().stock().tick();
    }

    /// Takes a block back whose layout is not known: C's `free`.
    ///
    /// # Safety
    /// `ptr` is a live block of this heap, not of size zero.
    #[inline]
    pub unsafe fn free_unsized(self, ptr: NonNull<u8>) {
        // SAFETY: the caller's promise: nobody else uses what is there.
        if !unsafe { Self::is_known(ptr) } {
            return;
        }
        // SAFETY: the caller's promise is the same.
        let size = unsafe { self.usable_size(ptr) };
        // SAFETY: one is a power of two, and no block is so long that its size, which is one of the heap's, has no layout.
        let layout = unsafe { Layout::from_size_align_unchecked(size, 1) };
        // SAFETY: the caller's promise; V1: a size that may come back. The alignment makes no difference: an object's size is that of its class, which
        // has this class (K3), and other blocks are longer than all classes (K2), so that they are the stock's, which goes by their length.
        unsafe { self.give(ptr, layout) };
    }

    /// A block, or null.
    #[inline(always)]
    pub(super) fn take(self, layout: Layout) -> *mut u8 {
        let room = Self::with_zone(layout);
        let Some(class) = ClassesOf::<I>::index(room) else { return Self::take_other(layout, false) };
        // SAFETY: K2: a class of the heap.
        match I::with_front(|front| unsafe { front.bin(class) }.pop()) {
            // SAFETY: an object of that class.
            Some(object) if !object.is_null() => unsafe { Self::ready(object, class, layout.size()) },
            _ if ChecksOf::<I>::NONE => Self::take_slow(class),
            _ => Self::take_slow_and_ready(class, layout.size()),
        }
    }

    /// As [`take_slow`](Malloc::take_slow), and ready for its user: an end of its own, for which the short way saves no register.
    #[cold]
    #[inline(never)]
    fn take_slow_and_ready(class: usize, size: usize) -> *mut u8 {
        let object = Self::take_slow(class);
        // SAFETY: an object of that class, or null.
        unsafe { Self::ready(object, class, size) }
    }

    /// An object of a class, or null.
    ///
    /// # Safety
    /// `class` is less than `COUNT`.
    #[inline(always)]
    unsafe fn take_of(class: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        match I::with_front(|front| unsafe { front.bin(class) }.pop()) {
            Some(object) if !object.is_null() => object,
            _ => Self::take_slow(class),
        }
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// A live block of this heap, with its layout, not of size zero.
    #[inline(always)]
    pub(super) unsafe fn give(self, ptr: NonNull<u8>, layout: Layout) {
        let Some(class) = ClassesOf::<I>::index(Self::with_zone(layout)) else {
            // SAFETY: the caller's promise; it has no class.
            return unsafe { Self::give_other(ptr, layout) };
        };
        if ChecksOf::<I>::NONE {
            // SAFETY: the caller's promise; K2, K3: an object of this class, which is free now.
            unsafe { Self::put(class, ptr) };
        } else {
            // SAFETY: the caller's promise; K2, K3: an object of this class, if it is one at all.
            unsafe { Self::retire(ptr, class, layout) };
        }
    }

    /// Puts a free object where this thread has it at hand.
    ///
    /// # Safety
    /// `class` is less than `COUNT`; it is a free object of this class, in no other place.
    #[inline(always)]
    pub(super) unsafe fn put(class: usize, object: NonNull<u8>) {
        let push = |front: &Front<I::Settings>| {
            // SAFETY: a class of the heap.
            let bin = unsafe { front.bin(class) };
            // SAFETY: the caller's promise.
            unsafe { bin.push(object.as_ptr()) }
        };
        if I::with_front(push) != Some(true) {
            // SAFETY: the caller's promise is the same.
            unsafe { Self::give_slow(class, object) };
        }
    }

    /// An object of a class that the thread has none of at hand, or null.
    #[cold]
    #[inline(never)]
    fn take_slow(class: usize) -> *mut u8 {
        Self::begin();
        let taken = I::with_front(|front| front.refill(I::shared(), class));
        taken.unwrap_or(Err(AllocError)).map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    /// Takes an object back for which the thread has no room at hand.
    ///
    /// # Safety
    /// A free object of this class, in no other place.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn give_slow(class: usize, object: NonNull<u8>) {
        if I::with_front(Front::opens_to_free) == Some(true) {
            Self::begin();
        }
        // SAFETY: the caller's promise is the same.
        let push = |front: &Front<I::Settings>| unsafe { front.push_when_full(I::shared(), class, object) };
        if I::with_front(push).is_none() {
            // SAFETY: the caller's promise is the same.
            unsafe { I::shared().flush(class, 0, &[object]) };
        }
    }

    /// Opens this thread's front, if it has none.
    #[inline]
    fn begin() {
        if I::with_front(Front::is_open) == Some(false) {
            Self::open();
        }
    }

    /// Opens this thread's front, if it has not had one, and sees to the thread's end. The C library may allocate here, and the standard library by the front that has just been opened.
    #[cold]
    fn open() {
        // Before the first lock is taken.
        super::fork::prepare::<I>();
        if I::with_front(|front| front.open(I::shared())) != Some(true) {
            return;
        }
        match super::late::see_to::<I>() {
            Outcome::Seen => {}
            Outcome::Elsewhere if I::see_to_end() => {}
            Outcome::Elsewhere => {
                I::with_front(|front| front.close(I::shared()));
            }
            Outcome::Refused => {
                I::with_front(|front| front.put_off(I::shared()));
            }
        }
    }

    /// A block without a class, or null; of size zero, a dangling one.
    #[cold]
    #[inline(never)]
    fn take_other(layout: Layout, zeroed: bool) -> *mut u8 {
        if layout.size() == 0 {
            return mem::dangling(layout).as_ptr();
        }
        // A thread that has blocks without a class only has no front.
        super::fork::prepare::<I>();
        let Ok(block) = I::shared().acquire(Self::beyond(layout), zeroed) else { return ptr::null_mut() };
        // SAFETY: the block is for that, and nobody else's.
        unsafe { Self::fence(block, layout) };
        block.cast().as_ptr()
    }

    /// Takes a block back that has no class.
    ///
    /// # Safety
    /// A live block of this heap, with its layout.
    #[cold]
    #[inline(never)]
    unsafe fn give_other(ptr: NonNull<u8>, layout: Layout) {
        if layout.size() > 0 {
            // SAFETY: the caller's promise; what has no class is from the stock.
            unsafe { Self::give_block(ptr, layout) };
        }
    }

    /// A block of another size, elsewhere if need be; null if there is no room.
    ///
    /// # Safety
    /// A live block of this heap, with its layout; on success it is dead.
    #[cold]
    #[inline(never)]
    unsafe fn resize_slow(self, ptr: NonNull<u8>, old: Layout, new: Layout) -> *mut u8 {
        // SAFETY: the caller's promise: nobody else uses what is there.
        if !unsafe { Self::may_move(ptr, old) } {
            return ptr::null_mut();
        }
        let without_class =
            |layout: Layout| layout.size() > 0 && ClassesOf::<I>::index(Self::with_zone(layout)).is_none();
        if without_class(old) && without_class(new) && old.align() == new.align() {
            // SAFETY: the caller's promise; what has no class is from the stock.
            if let Ok(block) = unsafe { Self::resize_block(ptr, old, new) } {
                return block.cast::<u8>().as_ptr();
            }
        }
        let Some(block) = NonNull::new(self.take(new)) else { return ptr::null_mut() };
        // SAFETY: both are live blocks of at least so many bytes, and do not overlap.
        unsafe { block.copy_from_nonoverlapping(ptr, old.size().min(new.size())) };
        if old.size() > 0 {
            // SAFETY: the caller's promise.
            unsafe { Self::moved(ptr, old) };
            // SAFETY: the caller's promise; the copy has been made.
            unsafe { self.give(ptr, old) };
        }
        block.as_ptr()
    }

    /// A block of another size: the same one if it has the same class.
    ///
    /// # Safety
    /// As [`resize_slow`](Malloc::resize_slow).
    #[inline(always)]
    pub(super) unsafe fn resize(self, ptr: NonNull<u8>, old: Layout, new: Layout) -> *mut u8 {
        let class = ClassesOf::<I>::index(Self::with_zone(new));
        if let Some(class) = class.filter(|_| class == ClassesOf::<I>::index(Self::with_zone(old))) {
            // SAFETY: the caller's promise; K3: an object of this class.
            if !ChecksOf::<I>::NONE && !unsafe { Self::resize_object(ptr, class, old, new) } {
                return ptr::null_mut();
            }
            // Y5: the provenance of every object is exposed; the caller's pointer may be good for less than the new size.
            return renewed(ptr).as_ptr();
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.resize_slow(ptr, old, new) }
    }

    /// A block, all zero, or null.
    #[inline(always)]
    pub(super) fn take_zeroed(self, layout: Layout) -> *mut u8 {
        let room = Self::with_zone(layout);
        let Some(class) = ClassesOf::<I>::index(room) else { return Self::take_other(layout, true) };
        // SAFETY: K2: a class of the heap.
        let block = unsafe { Self::take_of(class) };
        // SAFETY: an object of that class, or null.
        let block = unsafe { Self::ready(block, class, layout.size()) };
        if !block.is_null() && !Self::ZEROES {
            // SAFETY: the block is the caller's alone, and so long.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        block
    }
}

// SAFETY: blocks fit their layouts: objects of a class do (K2), and those of the stock (B1). They stay valid until freed, as the heap is a static.
// Nothing unwinds (Y4, B3), and null is what failure gives.
unsafe impl<I: MallocInstance> GlobalAlloc for Malloc<I> {
    #[inline(always)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout)
    }

    #[inline(always)]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        self.take_zeroed(layout)
    }

    #[inline(always)]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // Null is never a block: freeing it does nothing, as in C.
        if let Some(ptr) = NonNull::new(ptr) {
            // SAFETY: the caller's promise is the same; a size of zero has no class, and is nothing.
            unsafe { self.give(ptr, layout) };
        }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (Some(ptr), Ok(new)) = (NonNull::new(ptr), Layout::from_size_align(new_size, layout.align()))
        else {
            return ptr::null_mut();
        };
        // SAFETY: the caller's promise is the same.
        unsafe { self.resize(ptr, layout, new) }
    }
}

/// What red zones take is not counted in. Of a block that comes back with the size that was asked for, what lies behind that is taken for zone, though: who has written there brings the usable size back.
// SAFETY: V1: the stock's, which knows the size of a slab's objects, and of its own blocks.
unsafe impl<I: MallocInstance> UsableSize for Malloc<I> {
    #[inline]
    unsafe fn usable_size(&self, ptr: NonNull<u8>) -> usize {
        // SAFETY: the caller's promise: objects lie in slabs of the stock, other blocks are its own.
        let len = unsafe { I::shared().stock().usable_size(ptr) };
        Self::usable(len, len <= ClassesOf::<I>::SIZE_MAX)
    }
}

/// What stands in the static; the handle has nothing of its own.
impl<I: MallocInstance> Describe for Malloc<I>
where
    SharedMalloc<I::Settings>: Describe,
{
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        <SharedMalloc<I::Settings>>::describe(tree)
    }
}

impl<I: MallocInstance> Clone for Malloc<I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I: MallocInstance> Copy for Malloc<I> {}

impl<I: MallocInstance> Default for Malloc<I> {
    fn default() -> Self {
        Malloc::new()
    }
}

impl<I: MallocInstance> fmt::Debug for Malloc<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Malloc<{}>", core::any::type_name::<I>())
    }
}

/// Declares general allocators in `static`s, each with a handle of size zero. Feature `std`.
///
/// `static HEAP as Handle: Settings = stock;`, where the type implements [`MallocSettings`](crate::cache::MallocSettings) and the value is its stock of
/// chunks, declares
/// - the static `HEAP`, a [`SharedMalloc`](crate::cache::malloc::SharedMalloc);
/// - the type `Handle`, an alias of [`Malloc`](crate::cache::Malloc), of size zero: the allocator;
/// - the value `Handle`, its only one.
///
/// ```
/// # #[cfg(feature = "os")] {
/// use heapwright::cache::{ChunkHeap, Classes, MallocSettings, StdClock, WorkingSet};
/// use heapwright::{lock::YieldLock, source::Pages};
///
/// pub struct General;
/// impl MallocSettings for General {
///     type Classes = Classes;
///     type Chunks = ChunkHeap<Pages, YieldLock, WorkingSet<StdClock, 1000>>;
///     type Lock = YieldLock;
/// }
/// heapwright::malloc! {
///     /// The program's heap.
///     pub static GENERAL as GeneralMalloc: General = ChunkHeap::new(Pages);
/// }
///
/// #[global_allocator]
/// static GLOBAL: GeneralMalloc = GeneralMalloc;
///
/// let text = String::from("in slabs");
/// assert!(GeneralMalloc.stats().bytes_live >= text.len());
/// # }
/// ```
#[macro_export]
macro_rules! malloc {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis static $heap:ident as $handle:ident: $settings:ty = $stock:expr;
    )+) => {$(
        $(#[$attribute])*
        $visibility static $heap: $crate::cache::malloc::SharedMalloc<$settings> =
            $crate::cache::malloc::SharedMalloc::new($stock);

        // In the namespace of types only, so that the static may have the same name.
        #[doc(hidden)]
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the static's name, to tell them apart in messages")]
        #[derive(Debug)]
        $visibility enum $heap {}

        const _: () = {
            // The names are ones that nobody else has: what stands in the type is looked up here, too.
            static OF_HEAPWRIGHT_NO_BINS: $crate::cache::malloc::NoBins<$settings> =
                $crate::cache::malloc::NoBins::new();

            $crate::cache::malloc::thread_local! {
                static OF_HEAPWRIGHT_FRONT: $crate::cache::malloc::Front<$settings> =
                    const { $crate::cache::malloc::Front::new(&OF_HEAPWRIGHT_NO_BINS) };
                static OF_HEAPWRIGHT_END: $crate::cache::malloc::ThreadEnd<$heap> =
                    const { $crate::cache::malloc::ThreadEnd::new() };
            }

            // SAFETY: M1: there is one static of this name. M2, M3: the standard library's thread-locals, the first without a destructor; nothing else
            // names them. M4: as one sees.
            unsafe impl $crate::cache::malloc::MallocInstance for $heap {
                type Settings = $settings;

                #[inline(always)]
                fn shared() -> &'static $crate::cache::malloc::SharedMalloc<Self::Settings> {
                    &$heap
                }

                #[inline(always)]
                fn with_front<R>(
                    work: impl FnOnce(&$crate::cache::malloc::Front<Self::Settings>) -> R,
                ) -> Option<R> {
                    OF_HEAPWRIGHT_FRONT.try_with(work).ok()
                }

                fn see_to_end() -> bool {
                    OF_HEAPWRIGHT_END.try_with(|_| ()).is_ok()
                }
            }
        };

        #[doc = concat!("Handle of size zero to the heap [`static@", stringify!($heap), "`].")]
        $(#[$attribute])*
        $visibility type $handle = $crate::cache::Malloc<$heap>;

        #[doc = concat!("The handle to the heap [`static@", stringify!($heap), "`].")]
        #[allow(non_upper_case_globals, dead_code, reason = "a type and its only value share their name, as with a unit struct")]
        $visibility const $handle: $handle = $crate::cache::Malloc::new();
    )+};
}
