//! Broken cores. Their memory is the system's and theirs until they are dropped, so that what they break is the contract and not the test.

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::collections::BTreeMap;
use std::vec::Vec;

use super::all_found;
use crate::AllocError;
use crate::conformance::{Failure, Law, Source, heap_over};
use crate::describe::{Cost, Describe, Tree};
use crate::heap::{Chunk, ChunkKind, Corruption, Cursor, Heap, Inspect, Owns, Reset, UsableSize, Usage};
use crate::source::BackingSource;

/// What a [`Mutant`] does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// Every fourth block is one that is live already.
    Overlaps,
    /// A block begins in the middle of another one.
    OverlapsInPart,
    /// A length of less than was asked for.
    Short,
    Misaligned,
    /// Alignments above a page are not kept.
    MisalignedAbovePages,
    /// A free writes to another block.
    FreeWrites,
    /// The first byte of a block is changed by the next request.
    Touches,
    ResizeLoses,
    ResizeLosesItsTail,
    ShrinkLoses,
    ResizeInPlaceMoves,
    ResizeShort,
    ResizeIgnoresAlignment,
    NotZeroed,
    /// The tail past the request is not zeroed.
    TailNotZeroed,
    /// Sizes above the requested one free another block.
    SizesBack,
    /// Sizes above the requested one are lost.
    SizesBackLost,
    ErrorFrees,
    ErrorWrites,
    /// A refused resize has changed the size already.
    ErrorResizes,
    /// A refused resize keeps the new block that it had.
    ErrorLeaks,
    UnwindsOnHuge,
    UnwindsOnAlign,
    UnwindsOnFree,
    GivesSizeZero,
    BatchesSizeZero,
    GoodSizeTooSmall,
    GoodSizeGrows,
    GoodSizeChanges,
    GoodSizeOverflows,
    BatchSaysTooMany,
    BatchStopsShort,
    BatchTwice,
    BatchFreeForgets,
    AtHandAsksTheSource,
    FreesNothing,
    FreesTwice,
    SourceAlign,
    KeepsAtDrop,
    ReleaseLies,
    ReleaseTakesLive,
    DeniesOwn,
    ClaimsForeign,
    TakesForeign,
    TryDeallocLies,
    ResetForgetsNothing,
    UsageTooLow,
    CountsZeroObjects,
    VerifyFails,
    UsableTooSmall,
    UsableTooLarge,
    MovesItsBlocks,
    ReleaseKeeps,
    /// A length past the end of memory.
    Endless,
    AtHandGoesToTheSource,
    /// At its end the source gets what it has never given.
    ReleasesAtDrop,
    ChunksApart,
    ChunkOfNothing,
    ChunksOfFree,
}

/// A block of a mutant: the source's memory.
#[derive(Clone, Copy)]
struct Piece {
    base: NonNull<u8>,
    block: Layout,
    layout: Layout,
}

/// Bytes more than asked for.
const MORE: usize = 24;

/// A heap of the source's blocks, all a bit longer than asked, that breaks one law.
struct Mutant {
    wrong: Wrong,
    source: Source,
    live: BTreeMap<usize, Piece>,
    kept: Vec<Piece>,
    turn: usize,
    inline: [u8; 64],
    inline_out: bool,
}

impl Mutant {
    fn new(wrong: Wrong, source: Source) -> Self {
        Mutant {
            wrong,
            source,
            live: BTreeMap::new(),
            kept: Vec::new(),
            turn: 0,
            inline: [0; 64],
            inline_out: false,
        }
    }

    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == wrong
    }

    /// A live block's memory, not the one at `but`.
    fn other(&self, but: usize) -> Option<Piece> {
        self.live.iter().find(|(at, piece)| **at != but && piece.layout.size() > 0).map(|(_, piece)| *piece)
    }

    fn take(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 && !self.is(Wrong::GivesSizeZero) {
            return Err(AllocError);
        }
        self.turn += 1;
        let size = layout.size().checked_add(MORE).ok_or(AllocError)?;
        let block = Layout::from_size_align(size, layout.align().max(8)).map_err(|_| AllocError)?;
        if layout.align() > 4096 && self.is(Wrong::MisalignedAbovePages) {
            return self.put(layout, Layout::from_size_align(size, 8).map_err(|_| AllocError)?, 8);
        }
        let skew = if self.is(Wrong::Misaligned) && layout.align() == 8 { 4 } else { 0 };
        if self.turn % 4 == 0 {
            if let Some(piece) = self.live.values().find(|piece| piece.layout.size() >= layout.size()) {
                let start = if self.is(Wrong::OverlapsInPart) { 8 } else { 0 };
                let fits = piece.base.addr().get() % layout.align() == 0 && layout.align() <= 8;
                if fits && (self.is(Wrong::Overlaps) || self.is(Wrong::OverlapsInPart)) {
                    // SAFETY: within the block, which has so many bytes more.
                    let base = unsafe { piece.base.add(start) };
                    return Ok(NonNull::slice_from_raw_parts(base, layout.size()));
                }
            }
        }
        self.put(layout, block, skew)
    }

    fn put(&mut self, layout: Layout, block: Layout, skew: usize) -> Result<NonNull<[u8]>, AllocError> {
        let base = self.source.acquire(block)?.cast::<u8>();
        // SAFETY: the block has that many bytes more than were asked for.
        let start = unsafe { base.add(skew) };
        self.live.insert(start.addr().get(), Piece { base, block, layout });
        let len = match self.wrong {
            Wrong::Short if layout.size() % 5 == 4 => layout.size() - 1,
            Wrong::Endless if layout.size() % 5 == 4 => isize::MAX as usize + 1,
            _ => layout.size() + MORE - skew,
        };
        Ok(NonNull::slice_from_raw_parts(start, len))
    }

    fn give(&mut self, at: usize, layout: Layout) {
        let Some(piece) = self.live.remove(&at) else { return };
        if self.is(Wrong::FreesNothing) && layout.align() > 16 {
            return;
        }
        let slack = layout.size() > piece.layout.size();
        if slack && self.is(Wrong::SizesBackLost) {
            return;
        }
        let mut block = piece.block;
        if slack && self.is(Wrong::SizesBack) {
            block = Layout::from_size_align(layout.size() + MORE, block.align()).unwrap();
        }
        if self.is(Wrong::SourceAlign) && block.align() == 32 {
            block = Layout::from_size_align(block.size(), 16).unwrap();
        }
        if self.is(Wrong::ReleaseLies) || self.is(Wrong::ReleaseTakesLive) || self.is(Wrong::ReleaseKeeps) {
            self.kept.push(piece);
            return;
        }
        // SAFETY: the block is live, and its layout this one where nothing is to be found.
        unsafe { self.source.release(piece.base, block) };
        if self.is(Wrong::FreesTwice) && self.turn % 8 == 0 {
            // SAFETY: none, but the source notes it.
            unsafe { self.source.release(piece.base, block) };
        }
    }

    /// Writes to a live block that nobody has named.
    fn scribble(&self, but: usize) {
        if let Some(piece) = self.other(but) {
            // SAFETY: the block is live; its owner finds it changed.
            let byte = unsafe { piece.base.read() };
            // SAFETY: as above.
            unsafe { piece.base.write(!byte) };
        }
    }
}

impl Drop for Mutant {
    fn drop(&mut self) {
        if self.is(Wrong::ReleasesAtDrop) {
            // SAFETY: none, but the source notes it.
            unsafe { self.source.release(NonNull::from(&mut self.inline).cast(), Layout::new::<[u8; 64]>()) };
        }
        let keeps = self.is(Wrong::KeepsAtDrop);
        for piece in self.kept.drain(..).filter(|_| !keeps) {
            // SAFETY: the block is live.
            unsafe { self.source.release(piece.base, piece.block) };
        }
    }
}

// SAFETY: none for most, which is the point; all memory is the source's, and lasts longer than the run.
unsafe impl Heap for Mutant {
    const AT_HAND: bool = true;

    fn alloc(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        assert!(!self.is(Wrong::UnwindsOnHuge) || layout.size() < isize::MAX as usize / 2, "too much");
        assert!(!self.is(Wrong::UnwindsOnAlign) || layout.align() < 1 << (usize::BITS - 3), "too aligned");
        if self.is(Wrong::Touches) {
            self.scribble(0);
        }
        if self.is(Wrong::MovesItsBlocks)
            && layout.align() == 1
            && (1..=64).contains(&layout.size())
            && !self.inline_out
        {
            self.inline_out = true;
            return Ok(NonNull::from(&mut self.inline[..]));
        }
        let made = self.take(layout);
        if made.is_err() && layout.size() > 0 {
            match self.wrong {
                Wrong::ErrorWrites => self.scribble(0),
                Wrong::ErrorFrees => {
                    if let Some((&at, piece)) = self.live.iter().next() {
                        self.give(at, piece.layout);
                    }
                }
                _ => {}
            }
        }
        if self.is(Wrong::KeepsAtDrop) && self.kept.is_empty() {
            let block = Layout::new::<[u64; 9]>();
            if let Ok(base) = self.source.acquire(block) {
                self.kept.push(Piece { base: base.cast(), block, layout: block });
            }
        }
        made
    }

    unsafe fn dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) {
        assert!(!self.is(Wrong::UnwindsOnFree) || layout.size() % 7 != 3, "not this one");
        if self.is(Wrong::FreeWrites) {
            self.scribble(ptr.addr().get());
        }
        self.give(ptr.addr().get(), layout);
    }

    fn alloc_at_hand(&mut self, layout: Layout) -> Option<NonNull<[u8]>> {
        if self.is(Wrong::AtHandAsksTheSource) { self.take(layout).ok() } else { None }
    }

    unsafe fn dealloc_at_hand(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let takes = self.is(Wrong::AtHandGoesToTheSource);
        if takes {
            self.give(ptr.addr().get(), layout);
        }
        takes
    }

    fn alloc_zeroed(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = self.alloc(layout)?;
        let len = match self.wrong {
            Wrong::NotZeroed => 0,
            Wrong::TailNotZeroed | Wrong::Endless => layout.size(),
            _ => block.len(),
        };
        // SAFETY: the block is fresh, and no shorter.
        unsafe { block.cast::<u8>().write_bytes(0, len) };
        Ok(block)
    }

    unsafe fn resize_in_place(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let Some(piece) = self.live.get_mut(&ptr.addr().get()) else { return Err(AllocError) };
        if self.wrong == Wrong::ResizeInPlaceMoves {
            // SAFETY: the caller's promise is the same.
            return unsafe { self.resize(ptr, old, new) };
        }
        let aligned = new.align() == piece.layout.align() || self.wrong == Wrong::ResizeIgnoresAlignment;
        if piece.block.size() < new.size() {
            if self.wrong == Wrong::ErrorResizes {
                piece.block =
                    Layout::from_size_align(new.size(), piece.block.align()).map_err(|_| AllocError)?;
            }
            return Err(AllocError);
        }
        if !aligned {
            return Err(AllocError);
        }
        piece.layout = new;
        let len = if self.wrong == Wrong::ResizeShort { new.size() - 1 } else { piece.block.size() };
        Ok(NonNull::slice_from_raw_parts(piece.base, len))
    }

    unsafe fn resize(
        &mut self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if self.wrong != Wrong::ResizeInPlaceMoves {
            // SAFETY: the caller's promise is the same.
            if let Ok(block) = unsafe { self.resize_in_place(ptr, old, new) } {
                return Ok(block);
            }
        }
        let made = self.alloc(new);
        if made.is_err() && self.is(Wrong::ErrorLeaks) {
            let _ = self.source.acquire(Layout::new::<u64>());
        }
        let block = made?;
        let kept = old.size().min(new.size());
        let copied = match self.wrong {
            Wrong::ResizeLoses => 0,
            Wrong::ResizeLosesItsTail => kept.saturating_sub(1),
            Wrong::ShrinkLoses if new.size() < old.size() => kept / 2,
            _ => kept,
        };
        // SAFETY: both are live, so long, and apart where the heap is sound.
        unsafe { block.cast::<u8>().as_ptr().copy_from(ptr.as_ptr(), copied) };
        self.give(ptr.addr().get(), old);
        Ok(block)
    }

    fn good_size(&self, layout: Layout) -> usize {
        let size = layout.size();
        match self.wrong {
            Wrong::GoodSizeTooSmall => size / 2,
            Wrong::GoodSizeGrows => size.saturating_add(size / 2 + 1),
            Wrong::GoodSizeChanges => size.checked_next_multiple_of(1 << (self.turn % 3 + 3)).unwrap_or(size),
            Wrong::GoodSizeOverflows => size.checked_mul(4).unwrap() / 4,
            _ => size.checked_next_multiple_of(16).unwrap_or(size),
        }
    }

    fn alloc_batch(&mut self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        if self.is(Wrong::BatchesSizeZero) && layout.size() == 0 {
            out.fill(MaybeUninit::new(NonNull::dangling()));
            return out.len();
        }
        let most = if self.is(Wrong::BatchStopsShort) { out.len().min(5) } else { out.len() };
        let mut count = 0;
        while count < most {
            let Ok(block) = self.alloc(layout) else { break };
            out[count].write(block.cast());
            count += 1;
        }
        if self.is(Wrong::BatchTwice) && count > 2 {
            out[count - 1] = out[0];
        }
        if self.is(Wrong::BatchSaysTooMany) { count + 1 } else { count }
    }

    unsafe fn dealloc_batch(&mut self, layout: Layout, blocks: &[NonNull<u8>]) {
        let forgotten = usize::from(self.is(Wrong::BatchFreeForgets));
        for block in blocks.iter().skip(forgotten) {
            self.give(block.addr().get(), layout);
        }
    }

    fn release_unused(&mut self) -> usize {
        if self.is(Wrong::ReleaseTakesLive) {
            self.scribble(0);
        }
        if self.is(Wrong::ReleaseKeeps) || self.is(Wrong::KeepsAtDrop) {
            return 0;
        }
        let lies = self.is(Wrong::ReleaseLies);
        let pieces: Vec<_> = self.kept.drain(..).collect();
        for piece in &pieces {
            // SAFETY: the block is live, and this its layout.
            unsafe { self.source.release(piece.base, piece.block) };
        }
        if lies { 0 } else { pieces.iter().map(|piece| piece.block.size()).sum() }
    }
}

// SAFETY: as above.
unsafe impl Owns for Mutant {
    fn owns(&self, ptr: NonNull<u8>, layout: Layout) -> bool {
        match self.wrong {
            Wrong::DeniesOwn => layout.align() < 16 && self.live.contains_key(&ptr.addr().get()),
            Wrong::ClaimsForeign => true,
            _ => self.live.contains_key(&ptr.addr().get()),
        }
    }

    unsafe fn try_dealloc(&mut self, ptr: NonNull<u8>, layout: Layout) -> bool {
        let owned = self.live.contains_key(&ptr.addr().get());
        self.give(ptr.addr().get(), layout);
        match self.wrong {
            Wrong::TakesForeign => true,
            Wrong::TryDeallocLies => false,
            _ => owned,
        }
    }
}

impl Reset for Mutant {
    unsafe fn reset(&mut self) {
        if self.is(Wrong::ResetForgetsNothing) {
            return;
        }
        for (at, piece) in self.live.clone() {
            self.give(at, piece.layout);
        }
    }
}

impl Inspect for Mutant {
    fn usage(&self) -> Usage {
        let objects = self.live.len() + usize::from(self.is(Wrong::CountsZeroObjects));
        let bytes: usize = self.live.values().map(|piece| piece.block.size()).sum();
        let used = if self.is(Wrong::UsageTooLow) { bytes / 4 } else { bytes };
        Usage { total: used, used, free: 0, objects }
    }

    fn next_chunk(&mut self, cursor: &mut Cursor) -> Option<Chunk> {
        let left = self.usage().total - cursor.offset;
        let (gap, len) = match self.wrong {
            Wrong::ChunksApart if cursor.offset == 0 => (0, left / 2),
            Wrong::ChunksApart => (1, left),
            _ => (0, left),
        };
        let kind = if self.is(Wrong::ChunksOfFree) { ChunkKind::Free } else { ChunkKind::Used };
        let chunk = Chunk { offset: cursor.offset + gap, len, kind };
        cursor.offset += len;
        (len > 0 || self.is(Wrong::ChunkOfNothing)).then_some(chunk)
    }

    fn verify(&mut self) -> Result<(), Corruption> {
        if self.is(Wrong::VerifyFails) && self.live.len() == 3 {
            return Err(Corruption { rule: "three is too many", offset: 0 });
        }
        Ok(())
    }
}

// SAFETY: as above.
unsafe impl UsableSize for Mutant {
    unsafe fn usable_size(&self, ptr: NonNull<u8>) -> usize {
        let Some(piece) = self.live.get(&ptr.addr().get()) else { return 0 };
        match self.wrong {
            Wrong::UsableTooSmall => piece.layout.size() - 1,
            // Into the sentinels of the source.
            Wrong::UsableTooLarge => piece.block.size() + 40,
            _ => piece.layout.size(),
        }
    }
}

impl Describe for Mutant {
    fn describe(tree: &mut Tree<'_>) -> core::fmt::Result {
        tree.part(
            format_args!("Mutant"),
            Cost::state_of::<Self>(),
            &[("source", Source::<1, false>::describe)],
        )
    }
}

fn check(wrong: Wrong) -> Result<(), Failure> {
    let check = heap_over(|source| Mutant::new(wrong, source)).describes();
    if wrong == Wrong::MovesItsBlocks {
        return check.run(); // the blocks within are in no account
    }
    let check = check.owns().resets().inspects().knows_sizes();
    let check = if matches!(wrong, Wrong::ReleaseKeeps | Wrong::ReleaseLies) {
        check.gives_all_back()
    } else {
        check
    };
    check.run()
}

#[test]
fn a_sound_heap_passes() {
    if let Err(failure) = check(Wrong::Nothing) {
        panic!("{failure}");
    }
}

/// Each mutant, and the law that it breaks: whatever else it breaks by that.
const MUTANTS: &[(Wrong, Law)] = &[
    (Wrong::Overlaps, Law::Blocks),
    (Wrong::OverlapsInPart, Law::Blocks),
    (Wrong::Short, Law::Blocks),
    (Wrong::Misaligned, Law::Blocks),
    (Wrong::MisalignedAbovePages, Law::Blocks),
    (Wrong::FreeWrites, Law::Blocks),
    (Wrong::Touches, Law::Blocks),
    (Wrong::ResizeLoses, Law::Kept),
    (Wrong::ResizeLosesItsTail, Law::Kept),
    (Wrong::ShrinkLoses, Law::Kept),
    (Wrong::ResizeInPlaceMoves, Law::InPlace),
    (Wrong::ResizeShort, Law::Blocks),
    (Wrong::ResizeIgnoresAlignment, Law::Blocks),
    (Wrong::NotZeroed, Law::Zeroed),
    (Wrong::TailNotZeroed, Law::Zeroed),
    (Wrong::SizesBack, Law::SizesBack),
    (Wrong::SizesBackLost, Law::SizesBack),
    (Wrong::ErrorFrees, Law::Whole),
    (Wrong::ErrorWrites, Law::Whole),
    (Wrong::ErrorResizes, Law::SourceUse),
    (Wrong::ErrorLeaks, Law::NothingLost),
    (Wrong::UnwindsOnHuge, Law::NoUnwinding),
    (Wrong::UnwindsOnAlign, Law::NoUnwinding),
    (Wrong::UnwindsOnFree, Law::NoUnwinding),
    (Wrong::GivesSizeZero, Law::SizeZero),
    (Wrong::BatchesSizeZero, Law::SizeZero),
    (Wrong::GoodSizeTooSmall, Law::GoodSizes),
    (Wrong::GoodSizeGrows, Law::GoodSizes),
    (Wrong::GoodSizeChanges, Law::GoodSizes),
    (Wrong::GoodSizeOverflows, Law::NoUnwinding),
    (Wrong::BatchSaysTooMany, Law::Batches),
    (Wrong::BatchStopsShort, Law::Batches),
    (Wrong::BatchTwice, Law::Blocks),
    (Wrong::BatchFreeForgets, Law::Inspect),
    (Wrong::AtHandAsksTheSource, Law::NoWayBack),
    (Wrong::FreesNothing, Law::NothingLost),
    (Wrong::FreesTwice, Law::SourceUse),
    (Wrong::SourceAlign, Law::SourceUse),
    (Wrong::KeepsAtDrop, Law::NothingLost),
    (Wrong::ReleaseLies, Law::Releases),
    (Wrong::ReleaseTakesLive, Law::Releases),
    (Wrong::ReleaseKeeps, Law::Releases),
    (Wrong::DeniesOwn, Law::Owns),
    (Wrong::ClaimsForeign, Law::Owns),
    (Wrong::TakesForeign, Law::Owns),
    (Wrong::TryDeallocLies, Law::Owns),
    (Wrong::ResetForgetsNothing, Law::Reset),
    (Wrong::UsageTooLow, Law::Inspect),
    (Wrong::CountsZeroObjects, Law::Inspect),
    (Wrong::VerifyFails, Law::Inspect),
    (Wrong::UsableTooSmall, Law::UsableSizes),
    (Wrong::UsableTooLarge, Law::SourceUse),
    (Wrong::MovesItsBlocks, Law::Outside),
    (Wrong::Endless, Law::Blocks),
    (Wrong::AtHandGoesToTheSource, Law::NoWayBack),
    (Wrong::ReleasesAtDrop, Law::SourceUse),
    (Wrong::ChunksApart, Law::Inspect),
    (Wrong::ChunkOfNothing, Law::Inspect),
    (Wrong::ChunksOfFree, Law::Inspect),
];

#[test]
fn every_mutant_is_found() {
    all_found(MUTANTS, check);
}
