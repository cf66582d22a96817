//! Bytes become operations on a heap, and each answer is held against a shadow that knows which blocks are live and what was written to them.
//!
//! Whatever the bytes are, the operations are valid ones: what fails is the heap. A failure is a panic, which says what was broken. Nothing here
//! needs std or allocates.

#![no_std]

mod bytes;
mod global;
mod shadow;

use core::alloc::Layout;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

use heapwright::heap::{Heap, Inspect};

pub use self::bytes::{Bytes, Random};
pub use self::global::ByGlobal;
use self::shadow::{Live, Shadow};

/// Puts a heap through what the bytes say, then frees all blocks.
pub fn drive<H: Heap>(heap: &mut H, bytes: &[u8]) {
    drive_and_look(heap, bytes, |_, _| ());
}

/// The same for a heap that can be looked into: it has to be in order, and to know how many blocks there are.
pub fn drive_inspected<H: Inspect>(heap: &mut H, bytes: &[u8]) {
    drive_and_look(heap, bytes, |heap, live| {
        assert_eq!(heap.verify(), Ok(()), "the heap finds itself broken");
        assert_eq!(heap.misuses(), 0, "a misuse is reported, and there was none");
        let usage = heap.usage();
        assert_eq!(usage.objects, live.0, "the number of blocks is wrong");
        assert!(usage.used >= live.1, "the bytes of blocks are too few");
        assert!(usage.used + usage.free <= usage.total, "more bytes than there are");
    });
}

/// The same; `look` gets the heap, how many blocks there are, and the bytes that were asked for.
pub fn drive_and_look<H: Heap>(heap: &mut H, bytes: &[u8], mut look: impl FnMut(&mut H, (usize, usize))) {
    let mut bytes = Bytes::new(bytes);
    let mut shadow = Shadow::new();
    while let Some(op) = bytes.next() {
        step(heap, &mut bytes, &mut shadow, op);
        if op >= 0xE0 {
            shadow.check_all();
            look(heap, shadow.sums());
        }
    }
    shadow.check_all();
    look(heap, shadow.sums());
    while let Some(block) = shadow.take(0) {
        free(heap, block, 0);
    }
    look(heap, shadow.sums());
}

/// One operation.
fn step<H: Heap>(heap: &mut H, bytes: &mut Bytes<'_>, shadow: &mut Shadow, op: u8) {
    match op % 8 {
        0 | 1 => alloc(heap, shadow, bytes.layout(), false),
        2 => alloc(heap, shadow, bytes.layout(), true),
        3 | 4 => {
            if let Some(block) = shadow.take(bytes.byte()) {
                block.check(block.len);
                free(heap, block, op);
            }
        }
        5 => resize(heap, shadow, bytes, true),
        6 => resize(heap, shadow, bytes, false),
        _ => several(heap, shadow, bytes, op),
    }
}

fn alloc<H: Heap>(heap: &mut H, shadow: &mut Shadow, layout: Option<Layout>, zeroed: bool) {
    let Some(layout) = layout.filter(|_| shadow.has_room(1)) else { return };
    let good = heap.good_size(layout);
    assert!(good >= layout.size(), "a good size of {good} for {layout:?}");
    let answer = if zeroed { heap.alloc_zeroed(layout) } else { heap.alloc(layout) };
    if let Ok(block) = answer {
        let block = Live { ptr: block.cast(), layout, len: block.len(), mark: shadow.mark() };
        shadow.check_place(&block);
        if zeroed {
            block.check_zero();
        }
        block.fill();
        shadow.put(block);
    }
}

/// Gives a block back with a size between the requested and the returned one.
fn free<H: Heap>(heap: &mut H, block: Live, slack: u8) {
    let layout = block.between(slack);
    // SAFETY: the block is live, and that a size which may come back.
    unsafe { heap.dealloc(block.ptr, layout) };
}

fn resize<H: Heap>(heap: &mut H, shadow: &mut Shadow, bytes: &mut Bytes<'_>, may_move: bool) {
    let (pick, slack) = (bytes.byte(), bytes.byte());
    let Some(new) = bytes.layout().filter(|new| new.size() > 0) else { return };
    let Some(block) = shadow.take(pick) else { return };
    let old = block.between(slack);
    let answer = if may_move {
        // SAFETY: the block is live, `old` a layout of it, and `new` not empty.
        unsafe { heap.resize(block.ptr, old, new) }
    } else {
        // SAFETY: the same.
        unsafe { heap.resize_in_place(block.ptr, old, new) }
    };
    let Ok(changed) = answer else {
        block.check(block.len);
        shadow.put(block);
        return;
    };
    assert!(may_move || changed.cast() == block.ptr, "resized where it stands, and moved");
    let changed = Live { ptr: changed.cast(), layout: new, len: changed.len(), mark: block.mark };
    shadow.check_place(&changed);
    changed.check(old.size().min(new.size()));
    changed.fill();
    shadow.put(changed);
}

/// Several blocks at once: taken, and sometimes given back at once; or memory that is not needed is given back.
fn several<H: Heap>(heap: &mut H, shadow: &mut Shadow, bytes: &mut Bytes<'_>, op: u8) {
    const SEVERAL: usize = 6;
    if op >= 0xC0 {
        heap.release_unused();
        return;
    }
    let Some(layout) = bytes.layout().filter(|_| shadow.has_room(SEVERAL)) else { return };
    let mut blocks = [const { MaybeUninit::uninit() }; SEVERAL];
    let count = heap.alloc_batch(layout, &mut blocks);
    assert!(count <= SEVERAL, "more than asked for");
    let mut given = [NonNull::dangling(); SEVERAL];
    for (block, given) in blocks.iter().zip(&mut given).take(count) {
        // SAFETY: so many have been written.
        let ptr = unsafe { block.assume_init() };
        *given = ptr;
        let block = Live { ptr, layout, len: layout.size(), mark: shadow.mark() };
        shadow.check_place(&block);
        block.fill();
        shadow.put(block);
    }
    if op >= 0x60 {
        for _ in 0..count {
            if let Some(block) = shadow.take_last() {
                block.check(block.len);
            }
        }
        // SAFETY: all are live, of this layout, and forgotten above.
        unsafe { heap.dealloc_batch(layout, &given[..count]) };
    }
}
