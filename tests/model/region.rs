//! Memory for a heap under test, with sentinels on both sides.

use std::alloc::Layout;
use std::ptr::NonNull;

/// Bytes of sentinel on each side.
const GUARD: usize = 256;
/// What the sentinels hold.
const SENTINEL: u8 = 0xA5;
/// The region starts `skew` bytes after a multiple of this.
const BOUNDARY: usize = 4096;

/// A stretch of memory of any length at any distance from a 4 KiB boundary, between two sentinels.
///
/// All access is through raw pointers of the one allocation, so that the sentinels can be read while a heap borrows
/// what lies between.
#[derive(Debug)]
pub(crate) struct Region {
    whole: NonNull<u8>,
    layout: Layout,
    start: usize,
    len: usize,
}

impl Region {
    /// A region of `len` bytes that starts `skew` bytes after a 4 KiB boundary; its bytes are uninitialised.
    pub(crate) fn new(len: usize, skew: usize) -> Self {
        let start = BOUNDARY + skew;
        let Ok(layout) = Layout::from_size_align(start + len + GUARD, BOUNDARY) else {
            panic!("a region of {len} bytes has no layout");
        };
        // SAFETY: the size is above zero.
        let whole = unsafe { std::alloc::alloc(layout) };
        let Some(whole) = NonNull::new(whole) else { panic!("no memory for a region of {len} bytes") };
        let region = Region { whole, layout, start, len };
        for side in region.guards() {
            // SAFETY: the sentinel lies in the allocation, which is this region's alone.
            unsafe { side.cast::<u8>().write_bytes(SENTINEL, side.len()) };
        }
        region
    }

    /// The sentinels before and after.
    fn guards(&self) -> [NonNull<[u8]>; 2] {
        let at = |offset: usize| {
            // SAFETY: both offsets lie in the allocation, or at its end.
            unsafe { self.whole.add(offset) }
        };
        [
            NonNull::slice_from_raw_parts(at(self.start - GUARD), GUARD),
            NonNull::slice_from_raw_parts(at(self.start + self.len), GUARD),
        ]
    }

    /// The first byte between the sentinels. The pointer may reach the sentinels too.
    pub(crate) fn start(&self) -> NonNull<u8> {
        // SAFETY: the start lies in the allocation.
        unsafe { self.whole.add(self.start) }
    }

    /// Bytes between the sentinels.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The memory between the sentinels, all of it `byte` now.
    ///
    /// The borrow is not tied to the region, so that the sentinels can be looked at while it lasts.
    ///
    /// # Safety
    /// The region outlives `'a`, and nothing else uses the memory between the sentinels meanwhile.
    pub(crate) unsafe fn filled<'a>(&self, byte: u8) -> &'a mut [u8] {
        // SAFETY: `len` bytes from the start on lie in the allocation.
        unsafe { self.start().write_bytes(byte, self.len) };
        // SAFETY: just initialised; lifetime and exclusion are the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr(), self.len) }
    }

    /// Whether nobody wrote past either end.
    pub(crate) fn untouched(&self) -> Result<(), String> {
        for (side, name) in self.guards().into_iter().zip(["before", "after"]) {
            // SAFETY: the sentinel lies in the allocation, is initialised, and nobody should be writing it.
            let bytes = unsafe { side.as_ref() };
            if bytes != [SENTINEL; GUARD] {
                let idx = bytes.iter().position(|&byte| byte != SENTINEL);
                return Err(format!("byte {idx:?} of the sentinel {name} the region was written"));
            }
        }
        Ok(())
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.whole.as_ptr(), self.layout) }
    }
}
