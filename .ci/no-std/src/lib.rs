//! Compiles only if nothing below it links std (which has a panic handler, of which there can be one) or liballoc (which
//! asks for a global allocator, of which there is none).
#![no_std]

use core::alloc::Layout;
use core::panic::PanicInfo;
use core::ptr::{self, NonNull};

use heapwright::AllocError;
use heapwright::heap::{Heap, Locked, SharedHeap};
use heapwright::lock::{NoLock, SpinLock};

/// The smallest core: it has nothing to give.
struct Exhausted;

// SAFETY: H1 to H6: there are no blocks.
unsafe impl Heap for Exhausted {
    fn alloc(&mut self, _: Layout) -> Result<NonNull<[u8]>, AllocError> {
        Err(AllocError)
    }

    unsafe fn dealloc(&mut self, _: NonNull<u8>, _: Layout) {}
}

static HEAP: Locked<Exhausted, SpinLock> = Locked::new(Exhausted);

/// Uses the crate, so that it is linked and not only named.
#[unsafe(no_mangle)]
pub extern "C" fn request(size: usize) -> *mut u8 {
    let own = Locked::<_, NoLock>::new(Exhausted);
    let Ok(layout) = Layout::from_size_align(size, 8) else { return ptr::null_mut() };
    let block = own.try_alloc(layout).or_else(|_| HEAP.try_alloc(layout));
    block.map_or(ptr::null_mut(), |block| block.as_ptr().cast())
}

#[panic_handler]
fn panicked(_: &PanicInfo<'_>) -> ! {
    loop {}
}
