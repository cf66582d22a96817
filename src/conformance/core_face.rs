//! Heap cores under test.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::boxed::Box;
use std::format;
use std::string::{String, ToString};

use super::check::Check;
use super::script::Way;
use super::subject::{Face, Place, Subject, Traits, ZeroSize};
use crate::AllocError;
use crate::describe::{Describe, describe};
use crate::heap::{Chunk, ChunkKind, Cursor, Heap, Inspect, Owns, Reset, UsableSize, Usage};

/// What a core can do beside being a heap.
pub struct CoreFace<H> {
    owns: Option<OwnsFns<H>>,
    reset: Option<unsafe fn(&mut H)>,
    inspect: Option<InspectFns<H>>,
    usable_size: Option<unsafe fn(&H, NonNull<u8>) -> usize>,
    tree: Option<fn() -> String>,
    zero_size: ZeroSize,
    heap: PhantomData<fn(H)>,
}

impl<H> Clone for CoreFace<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for CoreFace<H> {}

impl<H> fmt::Debug for CoreFace<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CoreFace")
    }
}

struct OwnsFns<H> {
    owns: fn(&H, NonNull<u8>, Layout) -> bool,
    try_dealloc: unsafe fn(&mut H, NonNull<u8>, Layout) -> bool,
}

impl<H> Clone for OwnsFns<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for OwnsFns<H> {}

struct InspectFns<H> {
    usage: fn(&H) -> Usage,
    inspect: fn(&mut H) -> Result<(), String>,
}

impl<H> Clone for InspectFns<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for InspectFns<H> {}

impl<H> CoreFace<H> {
    pub(super) const NEW: Self = CoreFace {
        owns: None,
        reset: None,
        inspect: None,
        usable_size: None,
        tree: None,
        zero_size: ZeroSize::Refused,
        heap: PhantomData,
    };
}

/// Whether a heap finds itself in order, with chunks that follow each other and come to its usage.
fn inspect<H: Inspect>(heap: &mut H) -> Result<(), String> {
    heap.verify().map_err(|found| found.to_string())?;
    let (mut cursor, mut end, mut sums) = (Cursor::default(), None, [0usize; 3]);
    while let Some(Chunk { offset, len, kind }) = heap.next_chunk(&mut cursor) {
        if end.is_some_and(|end| end != offset) || len == 0 {
            return Err(format!("a chunk of {len} bytes at {offset}, after {end:?}"));
        }
        end = Some(offset + len);
        sums[kind_index(kind)] += len;
    }
    let usage = heap.usage();
    if sums != [usage.tables(), usage.used, usage.free] {
        return Err(format!("chunks of {sums:?} bytes of tables, used and free: {usage:?}"));
    }
    match heap.misuses() {
        0 => Ok(()),
        misuses => Err(format!("{misuses} proper calls are counted as misuse")),
    }
}

fn kind_index(kind: ChunkKind) -> usize {
    match kind {
        ChunkKind::Table => 0,
        ChunkKind::Used => 1,
        ChunkKind::Free => 2,
    }
}

/// What else the core can do, each to be checked as well.
impl<H: Heap> Check<'_, CoreFace<H>> {
    /// Checks [`Owns`]: `owns` and `try_dealloc`.
    pub fn owns(mut self) -> Self
    where
        H: Owns,
    {
        self.face.owns = Some(OwnsFns { owns: H::owns, try_dealloc: H::try_dealloc });
        self
    }

    /// Checks [`Reset`], in the middle of scripts.
    pub fn resets(mut self) -> Self
    where
        H: Reset,
    {
        self.face.reset = Some(H::reset);
        self
    }

    /// Checks [`Inspect`]: usage, chunks and `verify`.
    pub fn inspects(mut self) -> Self
    where
        H: Inspect,
    {
        self.face.inspect = Some(InspectFns { usage: H::usage, inspect });
        self
    }

    /// Checks [`UsableSize`].
    pub fn knows_sizes(mut self) -> Self
    where
        H: UsableSize,
    {
        self.face.usable_size = Some(H::usable_size);
        self
    }

    /// A request of size zero is met like one of size one. (It has no undefined behaviour then, which is what H6 is for.)
    pub fn size_zero_fits(mut self) -> Self {
        self.face.zero_size = ZeroSize::Met;
        self
    }

    /// Checks [`Describe`], and shows the tree when something fails.
    pub fn describes(mut self) -> Self
    where
        H: Describe,
    {
        self.face.tree = Some(|| describe::<H>().to_string());
        self
    }
}

/// A core in a box, which can move.
struct Core<H> {
    heap: Place<H>,
    face: CoreFace<H>,
}

impl<H: Heap> Subject for Core<H> {
    fn traits(&self) -> Traits {
        Traits { zero_size: self.face.zero_size, ..Traits::HEAP }
    }

    fn alloc(&mut self, layout: Layout, way: Way) -> Result<NonNull<[u8]>, AllocError> {
        if way == Way::Zeroed {
            self.heap.get_mut().alloc_zeroed(layout)
        } else {
            self.heap.get_mut().alloc(layout)
        }
    }

    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.get_mut().dealloc(ptr, layout) };
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        way: Way,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if way == Way::Special {
            // SAFETY: the caller's promise is the same.
            unsafe { self.heap.get_mut().resize_in_place(ptr, old, new) }
        } else {
            // SAFETY: the caller's promise is the same.
            unsafe { self.heap.get_mut().resize(ptr, old, new) }
        }
    }

    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        self.heap.get_mut().alloc_at_hand(layout)
    }

    unsafe fn free_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.get_mut().dealloc_at_hand(ptr, layout) }
    }

    fn good_size(&mut self, layout: Layout) -> Option<usize> {
        Some(self.heap.get().good_size(layout))
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> Option<usize> {
        Some(self.heap.get_mut().alloc_batch(layout, out))
    }

    unsafe fn free_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.heap.get_mut().dealloc_batch(layout, blocks) };
    }

    fn release_unused(&mut self) -> Option<usize> {
        Some(self.heap.get_mut().release_unused())
    }

    fn relocate(&mut self) {
        self.heap.relocate();
    }

    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> Option<bool> {
        self.face.owns.map(|fns| (fns.owns)(self.heap.get(), ptr, layout))
    }

    unsafe fn try_free(&mut self, ptr: NonNull<u8>, layout: Layout) -> Option<bool> {
        let fns = self.face.owns?;
        // SAFETY: the caller's promise is the same.
        Some(unsafe { (fns.try_dealloc)(self.heap.get_mut(), ptr, layout) })
    }

    unsafe fn reset(&mut self) -> bool {
        let Some(reset) = self.face.reset else { return false };
        // SAFETY: the caller's promise is the same.
        unsafe { reset(self.heap.get_mut()) };
        true
    }

    fn usage(&mut self) -> Option<Usage> {
        self.face.inspect.map(|fns| (fns.usage)(self.heap.get()))
    }

    fn inspect(&mut self) -> Result<(), String> {
        self.face.inspect.map_or(Ok(()), |fns| (fns.inspect)(self.heap.get_mut()))
    }

    unsafe fn usable_size(&self, ptr: NonNull<u8>) -> Option<usize> {
        let usable_size = self.face.usable_size?;
        // SAFETY: the caller's promise is the same.
        Some(unsafe { usable_size(self.heap.get(), ptr) })
    }
}

impl<H: Heap> Face for CoreFace<H> {
    type Heap = H;

    fn subject<'s>(&self, heap: H) -> Box<dyn Subject + 's>
    where
        H: 's,
    {
        Box::new(Core { heap: Place::new(heap), face: *self })
    }

    fn tree(&self) -> Option<String> {
        self.tree.map(|tree| tree())
    }
}
