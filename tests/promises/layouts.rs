//! Every layout has an answer: a block that is aligned and long enough, or an error. Size zero, sizes near the largest, alignments above a page.

use std::alloc::{GlobalAlloc, Layout};
use std::mem::MaybeUninit;

use heapwright::arena::Teaspoon;
use heapwright::cache::{Classes, KeepAll, SlabHeap};
use heapwright::heap::{Heap, Locked, SharedHeap};
use heapwright::lock::{NoLock, SpinLock, TicketLock};
use heapwright::sizing::{Bounded, Checked, Sizing4KiB, Sizing16MiB, Sizing128KiB};
use heapwright::slab::AlignedSlabs;
use heapwright::source::{FromGlobalAlloc, SourceHeap};
use heapwright::trace::AnyGlobal;
use std::alloc::System;

use crate::books::Random;
use crate::scale;

/// Random layouts in all, over the heaps below.
const LAYOUTS: usize = 1_000_000;

type FromSystem = FromGlobalAlloc<'static, System>;
/// Slabs for what is small, and blocks of the system for what is not.
type General<L> = Locked<SlabHeap<Classes, AlignedSlabs<FromSystem>, SourceHeap<FromSystem>, KeepAll, 16>, L>;

fn general<L: heapwright::lock::Lock>() -> General<L> {
    let system = FromGlobalAlloc::new(&System);
    Locked::new(SlabHeap::new(system, SourceHeap::new(system)))
}

/// Sizes and alignments at all edges: each combination that is a layout.
fn table() -> Vec<Layout> {
    let max = isize::MAX as usize;
    let mut sizes = vec![0, max, max - 1, max - 7, max - 8, max - 4095, max / 2, max / 2 + 1, usize::MAX / 4];
    for doublings in 0..usize::BITS - 2 {
        sizes.extend([(1usize << doublings) - 1, 1 << doublings, (1 << doublings) + 1]);
    }
    sizes.extend(3..70);
    let aligns = (0..usize::BITS).map(|doublings| 1usize << doublings);
    let layouts =
        aligns.flat_map(|align| sizes.iter().map(move |&size| Layout::from_size_align(size, align)));
    layouts.flatten().collect()
}

/// Sizes that are worth a try with real memory: the larger ones are asked for where the answer can only be an error.
fn has_answer_in_memory(layout: Layout) -> bool {
    layout.size() <= 1 << 22 && layout.align() <= 1 << 22
}

/// Whether the table's layout is asked for. Windows takes what it promises from what there is, and Wine takes memory for what is asked for and not touched.
fn is_asked(layout: &Layout) -> bool {
    cfg!(not(windows)) || layout.size() > isize::MAX as usize / 8 || has_answer_in_memory(*layout)
}

/// Asks for a layout in every way; gives back what it got.
fn ask(heap: &impl SharedHeap, layout: Layout, zeroed: bool) -> bool {
    let made = if zeroed { heap.try_alloc_zeroed(layout) } else { heap.try_alloc(layout) };
    let Ok(made) = made else {
        assert!(layout.size() > 0, "size zero is never refused: {layout:?}");
        return false;
    };
    let ptr = made.cast::<u8>();
    assert_eq!(ptr.addr().get() % layout.align(), 0, "{layout:?}");
    assert!(made.len() >= layout.size(), "{} bytes for {layout:?}", made.len());
    if layout.size() == 0 {
        assert_eq!(made.len(), 0, "{layout:?}");
    } else {
        let places = [0, layout.size() / 2, layout.size() - 1, made.len() - 1];
        for at in places.into_iter().filter(|_| zeroed) {
            // SAFETY: a byte of a live block, all of which the heap says it has zeroed.
            assert_eq!(unsafe { ptr.add(at).read() }, 0, "byte {at} of {layout:?}");
        }
        for at in places {
            // SAFETY: a byte of a live block.
            unsafe { ptr.add(at).write(0xEE) };
        }
    }
    // SAFETY: the block is live, of this layout.
    unsafe { heap.free(ptr, layout) };
    true
}

/// From a layout to another and back, by way of resizes.
fn resized(heap: &impl SharedHeap, old: Layout, new: Layout) {
    let Ok(made) = heap.try_alloc(old) else { return };
    let ptr = made.cast::<u8>();
    let kept = old.size().min(new.size());
    if old.size() > 0 {
        // SAFETY: the block is live and so long.
        unsafe { ptr.write_bytes(0x5A, old.size()) };
    }
    // SAFETY: the block is live, of the old layout.
    let (ptr, layout) = match unsafe { heap.try_resize_zeroed(ptr, old, new) } {
        Ok(made) => {
            assert_eq!(made.cast::<u8>().addr().get() % new.align(), 0, "{old:?} to {new:?}");
            assert!(made.len() >= new.size());
            (made.cast::<u8>(), new)
        }
        Err(_) => {
            assert!(new.size() > 0, "size zero is never refused: {old:?} to {new:?}");
            (ptr, old)
        }
    };
    for at in [0, kept / 2, kept.saturating_sub(1)].into_iter().filter(|&at| at < kept) {
        // SAFETY: a byte of a live block that was written.
        assert_eq!(unsafe { ptr.add(at).read() }, 0x5A, "byte {at}, {old:?} to {new:?}");
    }
    if layout == new && new.size() > old.size() {
        // SAFETY: the last byte of a live block, which the heap says it has zeroed.
        assert_eq!(unsafe { ptr.add(new.size() - 1).read() }, 0, "{old:?} to {new:?}");
    }
    // SAFETY: the block is live, of this layout.
    unsafe { heap.free(ptr, layout) };
}

fn random_layout(random: &mut Random) -> Layout {
    let size = match random.below(64) {
        0 => 0,
        // Where addresses have 32 bits there may be room, which takes a second to write.
        1 if usize::BITS > 32 || random.below(500) == 0 => isize::MAX as usize - random.below(70_000),
        _ => random.size(14),
    };
    let align = 1
        << match random.below(4) {
            0 => random.below(17),
            _ => random.below(7),
        };
    Layout::from_size_align(size, align).unwrap_or(Layout::new::<()>())
}

/// The table, and random layouts.
fn every_layout(name: &str, heap: &impl SharedHeap, count: usize) {
    for layout in table().into_iter().filter(is_asked) {
        let met = ask(heap, layout, layout.size() % 2 == 1 && has_answer_in_memory(layout));
        assert!(!met || layout.size() as u64 <= 1 << 40, "{name}: {layout:?} is met");
    }
    let mut random = Random(0x1A70_0075);
    let (mut old, mut met) = (Layout::new::<u8>(), 0);
    for number in 0..count {
        let layout = random_layout(&mut random);
        if number % 4 == 0 {
            resized(heap, old, layout);
        }
        met += usize::from(ask(heap, layout, number % 3 == 0));
        old = layout;
    }
    assert!(met * 3 > count, "{name}: {met} of {count} are met");
}

/// The calls of `GlobalAlloc`, for size zero and for null too.
fn by_global_alloc(heap: &impl GlobalAlloc) {
    // Null is no block.
    let layout = Layout::new::<u64>();
    // SAFETY: heapwright defines frees and resizes of null.
    let grown = unsafe {
        heap.dealloc(std::ptr::null_mut(), layout);
        heap.realloc(std::ptr::null_mut(), layout, 100)
    };
    assert!(grown.is_null());
    let [mut met, mut refused] = [0; 2];
    // What is between is the source's to refuse, and would have to be zeroed.
    let (too_much, least_refused) =
        if usize::BITS > 32 { (isize::MAX as usize / 8, 100) } else { (isize::MAX as usize / 2 + 1, 20) };
    let is_asked = |layout: &Layout| layout.size() > too_much || has_answer_in_memory(*layout);
    for layout in table().into_iter().filter(is_asked) {
        // SAFETY: heapwright defines requests of size zero too.
        let block = unsafe { heap.alloc_zeroed(layout) };
        if block.is_null() {
            assert!(layout.size() > 0, "{layout:?}");
            refused += 1;
            continue;
        }
        met += 1;
        assert_eq!(block.addr() % layout.align(), 0, "{layout:?}");
        check_and_mark(block, layout.size(), 0, 0x6B);
        let (mut block, mut layout) = (block, layout);
        for size in [layout.size() + 9, layout.size() / 2 + 1] {
            // SAFETY: the block is live, of this layout; the size is no more than what a layout can have.
            let resized = unsafe { heap.realloc(block, layout, size) };
            if resized.is_null() {
                // A failed call has changed nothing.
                continue;
            }
            assert_eq!(resized.addr() % layout.align(), 0, "{layout:?}");
            check_and_mark(resized, layout.size().min(size), 0x6B, 0x6B);
            (block, layout) = (resized, Layout::from_size_align(size, layout.align()).unwrap());
            // SAFETY: all of a live block.
            unsafe { block.write_bytes(0x6B, size) };
        }
        let most = isize::MAX as usize - (layout.align() - 1);
        // SAFETY: the block is live, of this layout; the size is no more than what a layout can have.
        assert!(unsafe { heap.realloc(block, layout, most) }.is_null(), "{layout:?} to {most}");
        check_and_mark(block, layout.size(), 0x6B, 0x6B);
        // SAFETY: the block is live, of this layout.
        unsafe { heap.dealloc(block, layout) };
    }
    assert!(met > 500 && refused >= least_refused, "{met} are met, {refused} refused");
}

/// Looks at the ends and the middle of a block, all of which is to hold `old`, and writes `new` to all of it.
fn check_and_mark(block: *mut u8, len: usize, old: u8, new: u8) {
    for at in [0, len / 2, len.saturating_sub(1)].into_iter().filter(|&at| at < len) {
        // SAFETY: a byte of a live block that was written.
        assert_eq!(unsafe { block.add(at).read() }, old, "byte {at} of {len}");
    }
    if len > 0 && new != old {
        // SAFETY: all of a live block.
        unsafe { block.write_bytes(new, len) };
    }
}

/// Memory for arenas.
fn memory(len: usize) -> Vec<MaybeUninit<u8>> {
    vec![MaybeUninit::uninit(); len]
}

macro_rules! arenas {
    ($($name:ident: $sizing:ty, $lock:ty, $len:expr;)*) => {$(
        #[test]
        fn $name() {
            let mut memory = memory($len);
            let heap = Teaspoon::<$sizing, $lock>::from_slice(&mut memory);
            every_layout(stringify!($name), &heap, scale(LAYOUTS / 8));
            by_global_alloc(&heap);
            assert_eq!((heap.usage().objects, heap.verify()), (0, Ok(())));
        }
    )*};
}

arenas! {
    sizing_4kib: Sizing4KiB, NoLock, 12 << 10;
    sizing_128kib: Sizing128KiB, SpinLock, 200_000;
    sizing_16mib: Sizing16MiB, TicketLock, 4 << 20;
    bounded: Bounded<Sizing16MiB>, NoLock, 1 << 20;
    checked: Checked<Sizing128KiB>, SpinLock, 100_000;
}

#[test]
fn slabs_and_blocks() {
    every_layout("no lock", &general::<NoLock>(), scale(LAYOUTS / 8));
    every_layout("spin lock", &general::<SpinLock>(), scale(LAYOUTS / 8));
    by_global_alloc(&general::<SpinLock>());
}

#[test]
fn any_global_allocator() {
    let heap = AnyGlobal::new(System);
    every_layout("any global allocator", &heap, scale(LAYOUTS / 64));
    // Its core is not asked for size zero by the shell.
    // SAFETY: the work uses the core only, and leaves it in its place.
    let refused = unsafe { heap.enter(|core| core.alloc(Layout::new::<()>()).is_err()) };
    assert_eq!(refused, Ok(true));
}

#[cfg(all(feature = "std", any(unix, windows)))]
#[test]
fn general_allocators() {
    use heapwright::preset::{CheckedMalloc, CompactMalloc, HardenedMalloc, SlabMalloc};
    every_layout_of_global("SlabMalloc", &SlabMalloc, scale(LAYOUTS / 32));
    every_layout_of_global("CompactMalloc", &CompactMalloc, scale(LAYOUTS / 32));
    every_layout_of_global("CheckedMalloc", &CheckedMalloc, scale(LAYOUTS / 32));
    every_layout_of_global("HardenedMalloc", &HardenedMalloc, scale(LAYOUTS / 32));
    by_global_alloc(&SlabMalloc);
    by_global_alloc(&CompactMalloc);
    by_global_alloc(&CheckedMalloc);
    by_global_alloc(&HardenedMalloc);
}

#[cfg(all(feature = "std", any(unix, windows)))]
fn every_layout_of_global(name: &str, heap: &impl GlobalAlloc, count: usize) {
    let mut random = Random(0x1A70_0076);
    let random = (0..count).map(|_| random_layout(&mut random));
    let mut met = 0;
    for layout in table().into_iter().filter(is_asked).chain(random) {
        // SAFETY: heapwright defines requests of size zero too.
        let Some(block) = std::ptr::NonNull::new(unsafe { heap.alloc(layout) }) else {
            assert!(layout.size() > 0, "{name}: {layout:?}");
            continue;
        };
        met += 1;
        assert_eq!(block.addr().get() % layout.align(), 0, "{name}: {layout:?}");
        if layout.size() > 0 {
            // SAFETY: the last byte of a live block.
            unsafe { block.add(layout.size() - 1).write(1) };
        }
        // SAFETY: the block is live, of this layout.
        unsafe { heap.dealloc(block.as_ptr(), layout) };
    }
    assert!(met * 3 > count, "{name}: {met} of {count} are met");
}

/// What the collections of others make of layouts: values of no size, over-aligned ones, and vectors of both.
#[cfg(feature = "allocator-api2-04")]
#[test]
fn values_of_no_size_and_of_large_alignments() {
    use allocator_api2_04::{boxed::Box, vec::Vec};

    #[derive(Clone, Copy)]
    #[repr(align(4096))]
    struct Page(u8);
    #[derive(Clone, Copy)]
    #[repr(align(65536))]
    struct Nothing;

    let heap = general::<NoLock>();
    let pages: Vec<_, _> = (0..20).map(Page).fold(Vec::new_in(&heap), |mut pages, page| {
        pages.push(Box::new_in(page, &heap));
        pages
    });
    assert!(pages.iter().enumerate().all(|(number, page)| usize::from(page.0) == number));
    let mut inline = Vec::new_in(&heap);
    inline.resize(33, Page(7));
    inline.shrink_to_fit();
    assert!(inline.iter().all(|page| page.0 == 7 && std::ptr::from_ref(page).addr() % 4096 == 0));
    let mut nothings = Vec::new_in(&heap);
    nothings.resize(1000, Nothing);
    assert_eq!(nothings.len(), 1000);
    let nothing = Box::new_in(Nothing, &heap);
    assert_eq!(std::ptr::from_ref(&*nothing).addr() % 65536, 0);
}
