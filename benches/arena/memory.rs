//! The regions that heaps work in.

use std::mem::MaybeUninit;
use std::slice;

/// Bytes of a page: no workload asks for a larger alignment.
const PAGE: usize = 4096;

#[derive(Clone)]
#[repr(align(4096))]
struct Page(#[expect(dead_code, reason = "read through the pointer to all pages")] [MaybeUninit<u8>; PAGE]);

/// A page-aligned stretch of memory, all of it touched, none of it zero: no heap may count on zeroes.
pub(crate) struct Memory {
    pages: Vec<Page>,
}

impl Memory {
    /// Room for `len` bytes at an offset of up to one page.
    pub(crate) fn new(len: usize) -> Self {
        Memory { pages: vec![Page([MaybeUninit::new(0xa5); PAGE]); len.div_ceil(PAGE) + 1] }
    }

    /// The `len` bytes that start `offset` bytes after a page boundary.
    pub(crate) fn region(&mut self, offset: usize, len: usize) -> &mut [MaybeUninit<u8>] {
        assert!(offset + len <= self.pages.len() * PAGE, "the region does not fit into its memory");
        let start = self.pages.as_mut_ptr().cast::<MaybeUninit<u8>>().wrapping_add(offset);
        // SAFETY: the range lies in the pages (asserted), which are bytes, borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(start, len) }
    }
}

/// The region sizes of the comparisons; each has its own arena sizing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Region {
    Kib4,
    Kib128,
    Mib1,
    Mib16,
}

impl Region {
    pub(crate) const fn len(self) -> usize {
        match self {
            Region::Kib4 => 4 << 10,
            Region::Kib128 => 128 << 10,
            Region::Mib1 => 1 << 20,
            Region::Mib16 => 16 << 20,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Region::Kib4 => "4 KiB",
            Region::Kib128 => "128 KiB",
            Region::Mib1 => "1 MiB",
            Region::Mib16 => "16 MiB",
        }
    }

    /// Room for this region.
    pub(crate) fn memory(self) -> Memory {
        Memory::new(self.len())
    }
}
