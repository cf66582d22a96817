//! Chunks of a source, each with a header at its start, in lists.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::AllocError;
use crate::source::BackingSource;

/// What stands at a chunk's start.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Chunk {
    /// The next one of its list.
    pub(super) next: Option<NonNull<Chunk>>,
    /// Bytes of the chunk, this header included.
    pub(super) len: usize,
}

/// Bytes of a header.
pub(super) const HEADER: usize = size_of::<Chunk>();
const ALIGN: usize = align_of::<Chunk>();

impl Chunk {
    /// A chunk of at least `least` bytes, better `wanted`; its address is exposed.
    ///
    /// # Errors
    /// When the source has none.
    pub(super) fn acquire<B: BackingSource>(
        source: &mut B,
        least: usize,
        wanted: usize,
    ) -> Result<NonNull<Chunk>, AllocError> {
        const { assert!(B::ALIGN_MAX >= ALIGN, "this source can't align chunks: take one that aligns to a word") };
        let ask = |source: &mut B, size: usize| {
            let layout = Layout::from_size_align(size, ALIGN).map_err(|_| AllocError)?;
            // A size that a layout can't have is beyond any source.
            let good = Layout::from_size_align(source.good_size(layout), ALIGN).unwrap_or(layout);
            source.acquire(good)
        };
        let block = match ask(source, wanted.max(least)) {
            Err(AllocError) if wanted > least => ask(source, least),
            given => given,
        }?;
        block.cast::<u8>().as_ptr().expose_provenance();
        let chunk = block.cast::<Chunk>();
        // SAFETY: the block is fresh, ours, aligned as asked, and `least` bytes hold a header.
        unsafe { chunk.write(Chunk { next: None, len: block.len() }) };
        Ok(chunk)
    }

    /// Gives a chunk back.
    ///
    /// # Safety
    /// It is from `acquire` with this source, in no list, and nobody uses a byte of it any more.
    pub(super) unsafe fn release<B: BackingSource>(chunk: NonNull<Chunk>, source: &mut B) {
        // SAFETY: chunks begin with a header, by `acquire`.
        let len = unsafe { chunk.read() }.len;
        // SAFETY: a length that the source gave, with an alignment that made a layout.
        let layout = unsafe { Layout::from_size_align_unchecked(len, ALIGN) };
        // SAFETY: the caller's promise; the length is the one that was given.
        unsafe { source.release(chunk.cast(), layout) };
    }
}

/// Chunks, linked through their headers. All are live chunks of one source, and each is in one list only.
#[derive(Debug)]
pub(super) struct List {
    head: Option<NonNull<Chunk>>,
}

impl List {
    pub(super) const EMPTY: List = List { head: None };

    /// The first chunk.
    pub(super) const fn head(&self) -> Option<NonNull<Chunk>> {
        self.head
    }

    /// Puts a chunk first.
    ///
    /// # Safety
    /// It is live, in no list, and stays so until it is taken out.
    pub(super) unsafe fn push(&mut self, chunk: NonNull<Chunk>) {
        // SAFETY: the caller's promise: chunks begin with a header, which is nobody else's.
        unsafe { (*chunk.as_ptr()).next = self.head };
        self.head = Some(chunk);
    }

    /// Takes the first chunk out.
    pub(super) fn pop(&mut self) -> Option<NonNull<Chunk>> {
        let chunk = self.head?;
        // SAFETY: it is in the list, hence live.
        self.head = unsafe { chunk.read() }.next;
        Some(chunk)
    }

    /// Takes the first chunk out, unless it is `last`.
    pub(super) fn pop_unless(&mut self, last: Option<NonNull<Chunk>>) -> Option<NonNull<Chunk>> {
        if self.head == last { None } else { self.pop() }
    }

    /// Takes the first chunk of `least` bytes or more out.
    pub(super) fn take(&mut self, least: usize) -> Option<NonNull<Chunk>> {
        let mut before: Option<NonNull<Chunk>> = None;
        let mut at = self.head;
        while let Some(chunk) = at {
            // SAFETY: it is in the list, hence live.
            let Chunk { next, len } = unsafe { chunk.read() };
            if len >= least {
                match before {
                    None => self.head = next,
                    // SAFETY: as above.
                    Some(before) => unsafe { (*before.as_ptr()).next = next },
                }
                return Some(chunk);
            }
            (before, at) = (at, next);
        }
        None
    }

    /// The chunks' addresses and lengths.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut at = self.head;
        core::iter::from_fn(move || {
            let chunk = at?;
            // SAFETY: it is in the list, hence live; the list is borrowed.
            let Chunk { next, len } = unsafe { chunk.read() };
            at = next;
            Some((chunk.addr().get(), len))
        })
    }

    /// Gives all chunks back; says how many bytes they had.
    ///
    /// # Safety
    /// They are of `source`, and nobody uses a byte of them any more.
    pub(super) unsafe fn release<B: BackingSource>(&mut self, source: &mut B) -> usize {
        let mut bytes = 0;
        while let Some(chunk) = self.pop() {
            // SAFETY: it was in the list, hence live.
            bytes += unsafe { chunk.read() }.len;
            // SAFETY: the caller's promise, and it is in no list any more.
            unsafe { Chunk::release(chunk, source) };
        }
        bytes
    }
}
