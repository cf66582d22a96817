//! Fronts per thread, for caches in a `static`.

use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

use super::layer::{Layer, Place, impl_object_alloc};
use crate::describe::{Bytes, Cost, Describe, Tree};

/// A type that stands for one [`Magazined`](super::Magazined) in a `static` and for each thread's front of it.
/// [`magazined!`](crate::magazined) writes it.
///
/// # Safety
/// An implementation keeps these:
/// - **T1** (one layer) every call of `magazined`, on any thread, gives the same layer; it does not unwind.
/// - **T2** (thread-local) `with_pointer` and `with_front` run their work, if at all, on values that the calling thread alone
///   has for this type, made by `new`, which do not move; they pass on what the work returns.
/// - **T3** (the end) the front is dropped on its thread before its memory is used for anything else, and `with_front` runs
///   nothing from then on.
pub unsafe trait ThreadFronts: Sized + 'static {
    /// The layer's type. `Sync`, because all threads use it.
    type Layer: Layer + Sync + 'static;

    /// The layer.
    fn magazined() -> &'static Self::Layer;

    /// Runs `work` on this thread's pointer to its front; `None` if the thread is so far gone that it has none.
    fn with_pointer<R>(work: impl FnOnce(&FrontPointer<Self>) -> R) -> Option<R>;

    /// Runs `work` on this thread's front, which is dropped when the thread ends; `None` once it has been.
    fn with_front<R>(work: impl FnOnce(&ThreadFront<Self>) -> R) -> Option<R>;
}

/// Where a thread's front is: the hot half of its thread-local state. It has no destructor, so that the fast path
/// tests nothing but whether there is a front.
pub struct FrontPointer<I: ThreadFronts> {
    /// Set while the thread's `ThreadFront` is registered to be dropped and has not been: then it points to its front.
    front: Cell<Option<NonNull<<I::Layer as Layer>::Front>>>,
    /// Set before the thread's `ThreadFront` is registered, which happens once: the standard library may allocate for that,
    /// from this very cache if the global allocator is made of it, and does without a front then.
    opened: Cell<bool>,
}

impl<I: ThreadFronts> FrontPointer<I> {
    /// To no front, all zero.
    #[must_use]
    pub const fn new() -> Self {
        FrontPointer { front: Cell::new(None), opened: Cell::new(false) }
    }

    /// Opens the thread's front, once.
    fn open(&self) {
        if !self.opened.replace(true) {
            self.front.set(I::with_front(|thread| NonNull::from(&thread.front)));
        }
    }
}

/// A thread's front: the cold half of its thread-local state, which gives all back when the thread ends.
pub struct ThreadFront<I: ThreadFronts> {
    front: <I::Layer as Layer>::Front,
}

impl<I: ThreadFronts> ThreadFront<I> {
    /// An empty front, all zero.
    #[must_use]
    pub const fn new() -> Self {
        ThreadFront { front: I::Layer::FRONT }
    }
}

impl<I: ThreadFronts> Drop for ThreadFront<I> {
    fn drop(&mut self) {
        // From here on the thread goes past the front: what its other destructors free, and what the inner cache's users do.
        I::with_pointer(|pointer| pointer.front.set(None));
        I::magazined().drain(&*self);
    }
}

impl<I: ThreadFronts> Place for ThreadFront<I> {
    type Layer = I::Layer;

    fn layer(&self) -> &I::Layer {
        I::magazined()
    }

    fn peek<R>(&self, work: impl FnOnce(&<I::Layer as Layer>::Front) -> R) -> Option<R> {
        Some(work(&self.front))
    }
}

/// A handle of size zero to the magazine layer that `I` stands for. Each thread that uses it has a front of its own.
///
/// Choose it for caches that live as long as the program; [`magazined!`](crate::magazined) declares cache and handle. Feature `std`.
///
/// **Cost.** That of a [`Handle`](super::Handle), and a test whether the thread has a front yet. The front is opened at the first use
/// and gives all back when the thread ends, also by a panic: nothing is lost. What the thread's other destructors
/// allocate and free after that goes to the inner cache at once. Whether the main thread's is
/// given back at the program's end is up to the OS.
///
/// **Memory.** `2 * N + 4` words of thread-local memory for each thread of the program and each such cache, used or not.
///
/// Like all that is shared by threads it is not for signal handlers.
///
/// ```
/// use heapwright::cache::{HeapSlots, Magazined, UntypedObjectAlloc};
/// use heapwright::{arena::StaticArena, sizing::Sizing128KiB};
///
/// type Arena = StaticArena<8192, Sizing128KiB>;
/// static ARENA: Arena = Arena::new();
/// heapwright::magazined! {
///     static NODES as Nodes: Magazined<HeapSlots<'static, Arena>> =
///         Magazined::new(HeapSlots::new(&ARENA, std::alloc::Layout::new::<[u64; 4]>()));
/// }
///
/// fn churn(cache: impl UntypedObjectAlloc) {
///     let node = cache.alloc_slot().unwrap();
///     // SAFETY: it was handed out just now.
///     unsafe { cache.free_slot(node) };
/// }
/// churn(Nodes);
/// assert!(ARENA.usage().objects > 0, "kept at hand");
/// Nodes.flush();
/// Nodes.magazined().reap();
/// assert_eq!(ARENA.usage().objects, 0);
/// ```
pub struct PerThread<I: ThreadFronts>(PhantomData<fn() -> I>);

impl<I: ThreadFronts> PerThread<I> {
    /// The handle.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(size_of::<Self>() == 0) };
        PerThread(PhantomData)
    }

    /// The layer behind the fronts: its numbers, its depot, its cache.
    #[must_use]
    pub fn magazined(self) -> &'static I::Layer {
        I::magazined()
    }

    /// Gives all that this thread's front holds back: whole magazines to the depot as far as there is room, the rest to the
    /// inner cache. For threads that will be idle for long.
    pub fn flush(self) {
        I::magazined().drain(&self);
    }
}

impl<I: ThreadFronts> Place for PerThread<I> {
    type Layer = I::Layer;

    #[inline(always)]
    fn layer(&self) -> &I::Layer {
        I::magazined()
    }

    #[inline(always)]
    fn peek<R>(&self, work: impl FnOnce(&<I::Layer as Layer>::Front) -> R) -> Option<R> {
        let front = I::with_pointer(|pointer| pointer.front.get())??;
        // SAFETY: the pointer is this thread's own (T2), and set only from when `with_front` has given the front to
        // when its `drop` begins (T3), which `work` does not outlive: it calls nothing that could end the thread. The
        // front's parts are cells, so that a reference is enough.
        Some(work(unsafe { front.as_ref() }))
    }

    fn visit<R>(&self, work: impl FnOnce(&<I::Layer as Layer>::Front) -> R) -> Option<R> {
        I::with_pointer(FrontPointer::open)?;
        self.peek(work)
    }
}

impl_object_alloc!([I: ThreadFronts] PerThread<I>, <I::Layer as Layer>::Cache);

impl<I: ThreadFronts<Layer: Describe>> Describe for PerThread<I> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let front = Bytes(size_of::<<I::Layer as Layer>::Front>());
        tree.part(
            format_args!("PerThread, a front of {front} for each thread"),
            Cost::NONE,
            &[("layer", I::Layer::describe)],
        )
    }
}

impl<I: ThreadFronts> Clone for PerThread<I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I: ThreadFronts> Copy for PerThread<I> {}

impl<I: ThreadFronts> Default for PerThread<I> {
    fn default() -> Self {
        PerThread::new()
    }
}

impl<I: ThreadFronts> Default for FrontPointer<I> {
    fn default() -> Self {
        FrontPointer::new()
    }
}

impl<I: ThreadFronts> Default for ThreadFront<I> {
    fn default() -> Self {
        ThreadFront::new()
    }
}

impl<I: ThreadFronts> fmt::Debug for PerThread<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PerThread<{}>", core::any::type_name::<I>())
    }
}

impl<I: ThreadFronts> fmt::Debug for FrontPointer<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrontPointer").field("open", &self.front.get().is_some()).finish_non_exhaustive()
    }
}

impl<I: ThreadFronts> fmt::Debug for ThreadFront<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadFront").finish_non_exhaustive()
    }
}

/// Declares caches with magazines in `static`s, each with a handle of size zero that has a front for each thread. Feature `std`.
///
/// `static LAYER as Handle: Type = value;`, where the type is a [`Magazined`](crate::cache::Magazined), declares
/// - the static `LAYER`, an ordinary one, for its numbers and its depot;
/// - the type `Handle`, an alias of [`PerThread`](crate::cache::PerThread), of size zero: the cache to use;
/// - the value `Handle`, its only one.
///
/// The names are in scope where the macro stands, with the visibility that is written before `static`.
///
/// ```
/// use heapwright::cache::{DefaultInit, Magazined, Obj, ObjectCache, PerThread};
/// use heapwright::{lock::SpinLock, slab::AlignedSlabs, source::GlobalHeap};
///
/// heapwright::magazined! {
///     /// Where all texts live.
///     pub static TEXTS as Texts: Magazined<ObjectCache<String, DefaultInit, AlignedSlabs<GlobalHeap, 4096>, SpinLock>> =
///         Magazined::new(ObjectCache::over(GlobalHeap));
/// }
///
/// let mut text = Obj::new(&Texts)?;
/// text.push_str("from one thread");
/// let elsewhere = std::thread::spawn(move || {
///     assert_eq!(*text, "from one thread");
///     drop(text); // goes into this thread's front, and when the thread ends, back
/// });
/// elsewhere.join().unwrap();
/// assert_eq!(TEXTS.cache().stats().live, 0);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// A cache that can't be shared between threads is an error:
/// ```compile_fail,E0277
/// use heapwright::cache::{HeapSlots, Magazined};
/// use heapwright::{arena::{StaticArena, Teaspoon}, lock::NoLock, sizing::Sizing4KiB};
///
/// fn spoon() -> &'static Teaspoon<'static, Sizing4KiB, NoLock> { unimplemented!() }
/// heapwright::magazined! {
///     static NODES as Nodes: Magazined<HeapSlots<'static, Teaspoon<'static, Sizing4KiB, NoLock>>> =
///         unimplemented!(); // error: `NoLock` is not `Sync`
/// }
/// ```
#[macro_export]
macro_rules! magazined {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis static $layer:ident as $handle:ident: $type:ty = $value:expr;
    )+) => {$(
        $(#[$attribute])*
        $visibility static $layer: $type = $value;

        // In the namespace of types only, so that the static may have the same name.
        #[doc(hidden)]
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the static's name, to tell them apart in messages")]
        #[derive(Debug)]
        $visibility enum $layer {}

        const _: () = {
            // The names are ones that nobody else has: what stands in the type and the value is looked up here, too.
            $crate::cache::magazine::thread_local! {
                static OF_HEAPWRIGHT_POINTER: $crate::cache::magazine::FrontPointer<$layer> =
                    const { $crate::cache::magazine::FrontPointer::new() };
                static OF_HEAPWRIGHT_FRONT: $crate::cache::magazine::ThreadFront<$layer> =
                    const { $crate::cache::magazine::ThreadFront::new() };
            }

            // SAFETY: T1: there is one static of this name. T2, T3: the standard library's thread-locals; nothing else names them.
            unsafe impl $crate::cache::magazine::ThreadFronts for $layer {
                type Layer = $type;

                #[inline(always)]
                fn magazined() -> &'static Self::Layer {
                    &$layer
                }

                #[inline(always)]
                fn with_pointer<R>(
                    work: impl FnOnce(&$crate::cache::magazine::FrontPointer<Self>) -> R,
                ) -> Option<R> {
                    OF_HEAPWRIGHT_POINTER.try_with(work).ok()
                }

                fn with_front<R>(
                    work: impl FnOnce(&$crate::cache::magazine::ThreadFront<Self>) -> R,
                ) -> Option<R> {
                    OF_HEAPWRIGHT_FRONT.try_with(work).ok()
                }
            }
        };

        #[doc = concat!("Handle of size zero to the cache [`static@", stringify!($layer), "`], with a front for each thread.")]
        $visibility type $handle = $crate::cache::PerThread<$layer>;

        #[doc = concat!("The handle to the cache [`static@", stringify!($layer), "`], with a front for each thread.")]
        #[allow(non_upper_case_globals, dead_code, reason = "a type and its only value share their name, as with a unit struct")]
        $visibility const $handle: $handle = $crate::cache::PerThread::new();
    )+};
}
