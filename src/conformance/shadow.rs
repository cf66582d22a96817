//! What is known of the blocks that are live: where they are, and what was written to them.

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::law::Law;
use super::pattern;

/// How it went: what was found wrong, and the text for it.
pub(super) type Outcome<T = ()> = Result<T, (Law, String)>;

/// A check, its text made only if it fails.
macro_rules! ensure {
    ($holds:expr, $law:ident, $($text:tt)+) => {
        if !$holds {
            return Err((crate::conformance::Law::$law, std::format!($($text)+)));
        }
    };
}

pub(super) use ensure;

/// A live block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// As it was given, good for the whole length.
    pub(super) ptr: NonNull<u8>,
    /// What was asked for.
    pub(super) layout: Layout,
    /// The returned length, all of it filled.
    pub(super) len: usize,
    /// Which pattern it is filled with; its name in reports.
    pub(super) id: u32,
}

// SAFETY: a plain record; whoever uses the block has it alone.
unsafe impl Send for Block {}

impl Block {
    /// The layout that the block comes back with: by so many 255ths between the requested and the returned size.
    pub(super) fn between(&self, slack: u8) -> Layout {
        let (size, align) = (self.layout.size(), self.layout.align());
        let extra = ((self.len - size) as u128 * u128::from(slack) / 255) as usize;
        Layout::from_size_align(size + extra, align).unwrap_or(self.layout)
    }

    /// The pointer as a user has it who made a `Box` of the block: good for `size` bytes and no more.
    pub(super) fn narrow(&self, size: usize) -> NonNull<u8> {
        let bytes = NonNull::slice_from_raw_parts(self.ptr.cast::<MaybeUninit<u8>>(), size);
        // SAFETY: the block is live and no shorter, or `size` is zero; nobody else uses it.
        let borrowed: &mut [MaybeUninit<u8>] = unsafe { &mut *bytes.as_ptr() };
        NonNull::from(borrowed).cast()
    }

    /// Checks that the first `upto` bytes at `at` are those that this block was filled with.
    pub(super) fn holds(&self, at: NonNull<u8>, upto: usize, law: Law) -> Outcome {
        // SAFETY: the caller's blocks are live and so long, and were filled.
        let lost = unsafe { pattern::first_difference(at, self.len, self.id, upto) };
        match lost {
            None => Ok(()),
            Some(byte) => {
                let text = format!(
                    "b{}: byte {byte} of {upto} is not what was written, of {:?}",
                    self.id, self.layout
                );
                Err((law, text))
            }
        }
    }
}

/// All live blocks of one owner.
#[derive(Default)]
pub(super) struct Shadow {
    blocks: Vec<Block>,
    /// Start and end of those that have bytes.
    spans: BTreeMap<usize, usize>,
}

impl Shadow {
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Blocks that have bytes, and the bytes that were asked for.
    pub(super) fn sums(&self) -> (usize, usize) {
        let full = self.blocks.iter().filter(|block| block.len > 0);
        (full.clone().count(), full.map(|block| block.layout.size()).sum())
    }

    /// Takes the block of that number, modulo how many there are.
    pub(super) fn take(&mut self, pick: usize) -> Option<Block> {
        let idx = pick.checked_rem(self.blocks.len())?;
        let block = self.blocks.swap_remove(idx);
        if block.len > 0 {
            self.spans.remove(&block.ptr.addr().get());
        }
        Some(block)
    }

    /// Takes a block of that layout.
    pub(super) fn take_like(&mut self, layout: Layout) -> Option<Block> {
        let idx = self.blocks.iter().position(|block| block.layout == layout)?;
        self.take(idx)
    }

    /// Puts back what was taken.
    pub(super) fn put(&mut self, block: Block) {
        if block.len > 0 {
            let start = block.ptr.addr().get();
            self.spans.insert(start, start + block.len);
        }
        self.blocks.push(block);
    }

    pub(super) fn clear(&mut self) {
        self.blocks.clear();
        self.spans.clear();
    }

    /// Checks where a new block is: aligned, and apart from all others.
    pub(super) fn check_place(&self, block: &Block) -> Outcome {
        let (start, layout) = (block.ptr.addr().get(), block.layout);
        ensure!(start % layout.align() == 0, Blocks, "{start:#x} is not aligned as {layout:?} asks");
        ensure!(block.len >= layout.size(), Blocks, "{} bytes for {layout:?}", block.len);
        let end = start.checked_add(block.len).filter(|_| isize::try_from(block.len).is_ok());
        let Some(end) = end else { return Err((Law::Blocks, format!("a length of {} bytes", block.len))) };
        if block.len == 0 {
            return Ok(());
        }
        if let Some((from, to)) = self.spans.range(..end).next_back() {
            ensure!(*to <= start, Blocks, "{start:#x}..{end:#x} for {layout:?} overlaps {from:#x}..{to:#x}");
        }
        Ok(())
    }

    /// Checks what all blocks hold.
    pub(super) fn check_contents(&self, law: Law) -> Outcome {
        self.blocks.iter().try_for_each(|block| block.holds(block.ptr, block.len, law))
    }
}
