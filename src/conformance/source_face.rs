//! Backing sources under test.

use core::alloc::Layout;
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use std::boxed::Box;
use std::string::{String, ToString};

use super::check::Check;
use super::script::Way;
use super::subject::{Face, Place, Subject, Tail, Traits, ZeroSize};
use crate::AllocError;
use crate::describe::{Describe, describe};
use crate::source::BackingSource;

/// What is known of a source.
pub struct SourceFace<B> {
    tree: Option<fn() -> String>,
    source: PhantomData<fn(B)>,
}

impl<B> fmt::Debug for SourceFace<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceFace")
    }
}

impl<B> SourceFace<B> {
    pub(super) const NEW: Self = SourceFace { tree: None, source: PhantomData };
}

/// What else the source can do, to be checked as well.
impl<B: BackingSource> Check<'_, SourceFace<B>> {
    /// Checks [`Describe`], and shows the tree when something fails.
    pub fn describes(mut self) -> Self
    where
        B: Describe,
    {
        self.face.tree = Some(|| describe::<B>().to_string());
        self
    }
}

/// A source in a box, which can move.
struct Sourced<B> {
    source: Place<B>,
}

impl<B: BackingSource> Subject for Sourced<B> {
    fn traits(&self) -> Traits {
        let tail = if B::ZEROED { Tail::PastLen } else { Tail::Undefined };
        Traits {
            align_max: B::ALIGN_MAX,
            zero_size: ZeroSize::Refused,
            aligns: false,
            zeroes: false,
            zeroed: B::ZEROED,
            tail,
            in_place: true,
            slack: true,
        }
    }

    fn alloc(&mut self, layout: Layout, _: Way) -> Result<NonNull<[u8]>, AllocError> {
        self.source.get_mut().acquire(layout)
    }

    unsafe fn free(&mut self, ptr: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise is the same.
        unsafe { self.source.get_mut().release(ptr, layout) };
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
        way: Way,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let source = self.source.get_mut();
        if new.size() < old.size() {
            // SAFETY: the caller's promise, and the new size is the smaller one.
            return unsafe { source.shrink(ptr, old, new.size()) };
        }
        // SAFETY: the caller's promise, and the new size is not the smaller one.
        let extended = unsafe { source.extend(ptr, old, new.size()) };
        if extended.is_ok() || way == Way::Special {
            return extended;
        }
        // SAFETY: as above.
        unsafe { source.remap(ptr, old, new.size()) }
    }

    fn good_size(&mut self, layout: Layout) -> Option<usize> {
        Some(self.source.get_mut().good_size(layout))
    }

    fn relocate(&mut self) {
        self.source.relocate();
    }
}

impl<B: BackingSource> Face for SourceFace<B> {
    type Heap = B;

    fn subject<'s>(&self, source: B) -> Box<dyn Subject + 's>
    where
        B: 's,
    {
        Box::new(Sourced { source: Place::new(source) })
    }

    fn tree(&self) -> Option<String> {
        self.tree.map(|tree| tree())
    }
}
