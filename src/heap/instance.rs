//! Handles of size zero: a heap in a `static`, named by a type.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;

use super::SharedHeap;
use super::shared::forward_shared_heap;
use crate::alloc::{impl_allocators, impl_global_alloc};
use crate::describe::{Cost, Describe, Tree, name};

/// A type that stands for one heap in a `static`. [`instance!`](crate::instance) writes it.
///
/// Implement it by hand only where the heap can't be a plain `static`, such as a field of a larger one.
///
/// ```
/// use heapwright::arena::{Arena, Teaspoon};
/// use heapwright::heap::{Instance, Of};
/// use heapwright::lock::SpinLock;
/// use heapwright::sizing::Sizing4KiB;
/// use std::sync::LazyLock;
///
/// type Spoon = Teaspoon<'static, Sizing4KiB, SpinLock>;
/// struct Board {
///     nodes: Spoon,
/// }
/// static BOARD: LazyLock<Board> =
///     LazyLock::new(|| Board { nodes: Spoon::from(Box::leak(Box::new([0; 1024]))) });
///
/// struct Nodes;
/// // SAFETY: I1: a `LazyLock` makes its value once, and nothing takes it out. I2: the making does not panic.
/// unsafe impl Instance for Nodes {
///     type Heap = Spoon;
///     fn heap() -> &'static Spoon {
///         &BOARD.nodes
///     }
/// }
/// # #[cfg(feature = "allocator-api2-04")] {
/// let boxed = allocator_api2_04::boxed::Box::new_in(7, Of::<Nodes>::new());
/// assert_eq!(*boxed, 7);
/// assert!(size_of_val(&boxed) == size_of::<usize>());
/// # }
/// ```
///
/// # Safety
/// An implementation keeps these:
/// - **I1** (one heap) every call of `heap`, on any thread, gives the same heap, or one that frees the other's blocks.
/// - **I2** (no unwinding) `heap` does not unwind, nor does it allocate from the heap that it gives.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not stand for a heap in a `static`",
    label = "this type parameter takes an instance",
    note = "declare one with `heapwright::instance! {{ static HEAP as Handle: Type = value; }}` and use `Handle`"
)]
pub unsafe trait Instance: 'static {
    /// The heap's type. `Sync`, because the handle may be copied to any thread.
    type Heap: SharedHeap + Sync + 'static;

    /// The heap.
    fn heap() -> &'static Self::Heap;
}

/// A handle of size zero to the heap that `I` stands for: `Box<T, Of<I>>` is one word.
///
/// It is an `Allocator` of every version that is switched on and a `GlobalAlloc`. As it is `'static`, its boxes can be
/// pinned and leaked; as it is `Default`, collections that ask for a default allocator work. Calls go to the static without a
/// pointer in between, so it costs nothing over the heap itself.
///
/// Any two `Of<I>` are *equivalent*: what one allocated any other may grow and free. They compare equal. Handles to
/// different heaps have different types, so that mixing them up does not compile.
///
/// [`instance!`](crate::instance) declares heap and handle.
///
/// ```
/// use heapwright::{arena::StaticArena, heap::Of, sizing::Sizing4KiB};
/// heapwright::instance! {
///     static NODES as Nodes: StaticArena<1024, Sizing4KiB> = StaticArena::new();
/// }
/// let handle = Of::new();
/// assert_eq!(handle, Nodes);
/// assert_eq!(size_of_val(&handle), 0);
/// assert_eq!(handle.heap().usage(), NODES.usage());
/// ```
pub struct Of<I: Instance>(PhantomData<fn() -> I>);

impl<I: Instance> Of<I> {
    /// The handle.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(size_of::<Self>() == 0) };
        Of(PhantomData)
    }

    /// The heap behind the handle: for its usage, its chunks, or to borrow it.
    #[inline]
    #[must_use]
    pub fn heap(self) -> &'static I::Heap {
        I::heap()
    }
}

impl<I: Instance> Clone for Of<I> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I: Instance> Copy for Of<I> {}

impl<I: Instance> Default for Of<I> {
    fn default() -> Self {
        Of::new()
    }
}

impl<I: Instance> fmt::Debug for Of<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Of<{}>", core::any::type_name::<I>())
    }
}

/// Always equal: there is one heap per `I`.
impl<I: Instance> PartialEq for Of<I> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<I: Instance> Eq for Of<I> {}

impl<I: Instance> Hash for Of<I> {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

// SAFETY: all calls go to the one heap (I1), for which S1 to S3 hold, and finding it does not unwind (I2). The handle
// holds nothing, so moving it moves nothing (S2).
unsafe impl<I: Instance> SharedHeap for Of<I> {
    type Core<'a> = <I::Heap as SharedHeap>::Core<'a>;

    forward_shared_heap!(I::Heap, |_this| I::heap());
}

impl<I: Instance<Heap: Describe>> Describe for Of<I> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(format_args!("Of<{}>, a handle", name::<I>()), Cost::NONE, &[("heap", I::Heap::describe)])
    }
}

impl_allocators!([I: Instance] Of<I>);
impl_global_alloc!([I: Instance] Of<I>);

/// Declares heaps in `static`s, each with a handle of size zero.
///
/// `static HEAP as Handle: Type = value;` declares
/// - the static `HEAP`, an ordinary one; attributes go to it (`#[global_allocator]` or `#[unsafe(link_section = "..")]`,
///   say), and `&HEAP` is an allocator of one word;
/// - the type `Handle`, an alias of [`Of`](crate::heap::Of), of size zero;
/// - the value `Handle`, its only one, so that `Handle` can be written where an allocator is wanted, as with a unit struct.
///
/// Choose it for heaps that live as long as the program: boxes become one word instead of two, and can be
/// pinned and leaked. The names are in scope where the macro stands, with the visibility that is written before `static`.
///
/// ```
/// use heapwright::heap::{Heap, Locked};
/// use heapwright::lock::SpinLock;
/// # use core::alloc::Layout;
/// # use core::ptr::NonNull;
/// # use heapwright::AllocError;
/// # pub struct Nodes;
/// # // SAFETY: forwards to the system, which keeps H1 to H6.
/// # unsafe impl Heap for Nodes {
/// #     fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
/// #         use std::alloc::{GlobalAlloc, System};
/// #         let ptr = NonNull::new(unsafe { System.alloc(layout) }).ok_or(AllocError)?;
/// #         Ok(NonNull::slice_from_raw_parts(ptr, layout.size()))
/// #     }
/// #     unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
/// #         unsafe { std::alloc::GlobalAlloc::dealloc(&std::alloc::System, ptr.as_ptr(), layout) }
/// #     }
/// # }
///
/// heapwright::instance! {
///     /// Where the nodes of all trees live.
///     pub static NODES as NodeHeap: Locked<Nodes, SpinLock> = Locked::new(Nodes);
/// }
///
/// # #[cfg(feature = "allocator-api2-04")] {
/// use allocator_api2_04::boxed::Box;
///
/// struct Node {
///     key: u32,
///     next: Option<Box<Node, NodeHeap>>,
/// }
/// let last = Box::new_in(Node { key: 2, next: None }, NodeHeap);
/// let first = Box::pin_in(Node { key: 1, next: Some(last) }, NodeHeap);
/// assert_eq!(first.key + first.next.as_ref().unwrap().key, 3);
/// assert_eq!(size_of_val(&first), size_of::<usize>());
/// # }
/// ```
///
/// A heap that can't be shared between threads is an error:
/// ```compile_fail,E0277
/// # use heapwright::{AllocError, heap::{Heap, Locked}, lock::NoLock};
/// # pub struct Nodes;
/// # unsafe impl Heap for Nodes {
/// #     fn alloc(&mut self, _: std::alloc::Layout) -> Result<std::ptr::NonNull<[u8]>, AllocError> { Err(AllocError) }
/// #     unsafe fn dealloc(&mut self, _: std::ptr::NonNull<u8>, _: std::alloc::Layout) {}
/// # }
/// heapwright::instance! {
///     static NODES as NodeHeap: Locked<Nodes, NoLock> = Locked::new(Nodes); // error: `NoLock` is not `Sync`
/// }
/// ```
#[macro_export]
macro_rules! instance {
    ($(
        $(#[$attribute:meta])*
        $visibility:vis static $heap:ident as $handle:ident: $type:ty = $value:expr;
    )+) => {$(
        $(#[$attribute])*
        $visibility static $heap: $type = $value;

        // In the namespace of types only, so that the static may have the same name.
        #[doc(hidden)]
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "the static's name, to tell them apart in messages")]
        #[derive(Debug)]
        $visibility enum $heap {}

        // SAFETY: I1: there is one static of this name. I2: naming it neither unwinds nor allocates.
        unsafe impl $crate::heap::Instance for $heap {
            type Heap = $type;

            #[inline]
            fn heap() -> &'static Self::Heap {
                &$heap
            }
        }

        #[doc = concat!("Handle of size zero to the heap [`static@", stringify!($heap), "`].")]
        $visibility type $handle = $crate::heap::Of<$heap>;

        #[doc = concat!("The handle to the heap [`static@", stringify!($heap), "`].")]
        #[allow(non_upper_case_globals, dead_code, reason = "a type and its only value share their name, as with a unit struct")]
        $visibility const $handle: $handle = $crate::heap::Of::new();
    )+};
}
