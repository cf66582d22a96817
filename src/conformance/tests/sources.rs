//! Broken sources.

use core::alloc::Layout;
use core::ptr::NonNull;

use super::all_found;
use crate::AllocError;
use crate::conformance::{Failure, Law, Source, source_over};
use crate::source::BackingSource;

/// What a [`Mutant`] does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// Gives a block that is live a second time.
    Overlaps,
    Short,
    Misaligned,
    /// Says that memory is zeroed, and it is not.
    Dirty,
    /// What is put behind an extended block is not zero.
    ExtendsDirty,
    ExtendMoves,
    ExtendShort,
    RemapLoses,
    /// A remap that is refused has released the block.
    RemapReleases,
    ShrinkWrites,
    AboveAlignMax,
    MeetsSizeZero,
    GoodSizeGrows,
    Unwinds,
    ForgetsOnRelease,
    ReleasesByAnotherSize,
}

/// A source of another one's blocks, which says that they are zeroed, and breaks one law.
struct Mutant {
    wrong: Wrong,
    source: Source<64, true>,
    last: Option<(NonNull<[u8]>, Layout)>,
    turn: usize,
}

// SAFETY: none for most, which is the point; all memory is the source's, and lasts longer than the run.
unsafe impl BackingSource for Mutant {
    const GRANULE: usize = 64;
    const ALIGN_MAX: usize = 4096;
    const ZEROED: bool = true;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let is = |wrong| self.wrong == wrong;
        assert!(!is(Wrong::Unwinds) || layout.size() < isize::MAX as usize / 2, "too much");
        if layout.align() > Self::ALIGN_MAX && !is(Wrong::AboveAlignMax) {
            return Err(AllocError);
        }
        if layout.size() == 0 && is(Wrong::MeetsSizeZero) {
            return self.source.acquire(Layout::new::<u8>());
        }
        self.turn += 1;
        if let (Some((block, old)), true) = (self.last, is(Wrong::Overlaps) && self.turn % 3 == 0) {
            if old.size() >= layout.size() && layout.align() <= old.align() {
                return Ok(block);
            }
        }
        let block = self.source.acquire(layout)?;
        self.last = Some((block, layout));
        let (ptr, len) = (block.cast::<u8>(), block.len());
        Ok(match self.wrong {
            Wrong::Short if layout.size() > 64 => NonNull::slice_from_raw_parts(ptr, layout.size() - 1),
            // SAFETY: the block is longer than that.
            Wrong::Misaligned if len > 64 => NonNull::slice_from_raw_parts(unsafe { ptr.add(1) }, len - 1),
            Wrong::Dirty => {
                // SAFETY: the block's first byte.
                unsafe { ptr.write(1) };
                block
            }
            _ => block,
        })
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        self.last = None;
        let layout = match self.wrong {
            Wrong::ForgetsOnRelease if layout.align() > 8 => return,
            Wrong::ReleasesByAnotherSize => {
                Layout::from_size_align(layout.size() + 64, layout.align()).unwrap()
            }
            _ => layout,
        };
        // SAFETY: the caller's promise, but for what is wrong.
        unsafe { self.source.release(block, layout) };
    }

    unsafe fn extend(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if self.wrong == Wrong::ExtendMoves {
            // SAFETY: the caller's promise is the same.
            return unsafe { self.source.remap(block, old, new_size) };
        }
        let old_len = old.size().next_multiple_of(64);
        // SAFETY: the caller's promise is the same.
        let made = unsafe { self.source.extend(block, old, new_size) }?;
        if self.wrong == Wrong::ExtendsDirty && made.len() > old_len {
            // SAFETY: the byte is in the block.
            let tail = unsafe { made.cast::<u8>().add(old_len) };
            // SAFETY: as above.
            unsafe { tail.write(9) };
        }
        let short = self.wrong == Wrong::ExtendShort && new_size > 1;
        Ok(if short { NonNull::slice_from_raw_parts(made.cast(), new_size - 1) } else { made })
    }

    unsafe fn shrink(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if self.wrong == Wrong::ShrinkWrites {
            // SAFETY: the block is live.
            unsafe { block.write(77) };
            return Err(AllocError);
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.source.shrink(block, old, new_size) }
    }

    unsafe fn remap(
        &mut self,
        block: NonNull<u8>,
        old: Layout,
        new_size: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise is the same.
        let made = unsafe { self.source.remap(block, old, new_size) };
        if made.is_err() && self.wrong == Wrong::RemapReleases {
            // SAFETY: none; the block is the caller's still.
            unsafe { self.source.release(block, old) };
        }
        let made = made?;
        if self.wrong == Wrong::RemapLoses {
            // SAFETY: the block's first byte.
            let byte = unsafe { made.cast::<u8>().read() };
            // SAFETY: as above.
            unsafe { made.cast::<u8>().write(!byte) };
        }
        Ok(made)
    }

    fn good_size(&self, layout: Layout) -> usize {
        let good = self.source.good_size(layout);
        if self.wrong == Wrong::GoodSizeGrows { good.saturating_add(64) } else { good }
    }
}

fn check(wrong: Wrong) -> Result<(), Failure> {
    source_over(|source| Mutant { wrong, source, last: None, turn: 0 }).run()
}

#[test]
fn a_sound_source_passes() {
    if let Err(failure) = check(Wrong::Nothing) {
        panic!("{failure}");
    }
}

const MUTANTS: &[(Wrong, Law)] = &[
    (Wrong::Overlaps, Law::Blocks),
    (Wrong::Short, Law::Blocks),
    (Wrong::Misaligned, Law::Blocks),
    (Wrong::Dirty, Law::Zeroed),
    (Wrong::ExtendsDirty, Law::Zeroed),
    (Wrong::ExtendMoves, Law::InPlace),
    (Wrong::ExtendShort, Law::Blocks),
    (Wrong::RemapLoses, Law::Kept),
    (Wrong::RemapReleases, Law::Whole),
    (Wrong::ShrinkWrites, Law::Whole),
    (Wrong::AboveAlignMax, Law::Promises),
    (Wrong::MeetsSizeZero, Law::SizeZero),
    (Wrong::GoodSizeGrows, Law::GoodSizes),
    (Wrong::Unwinds, Law::NoUnwinding),
    (Wrong::ForgetsOnRelease, Law::NothingLost),
    (Wrong::ReleasesByAnotherSize, Law::SourceUse),
];

#[test]
fn every_mutant_is_found() {
    all_found(MUTANTS, check);
}
