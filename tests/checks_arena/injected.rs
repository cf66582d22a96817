//! Wrong calls among right ones: each is refused, told once, and does nothing.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::check::Wrong;
use heapwright::lock::{NoLock, SpinLock};
use heapwright::sizing::{Bounded, Sizing4KiB, Sizing16MiB, Sizing128KiB};

use crate::subject::{Borrowed, Found, Hard, Inline, Live, Look, Play, Sourced, times, told};

/// A wrong call: where it points, its layout, and what is wrong.
type Call = (NonNull<u8>, Layout, Wrong);

fn double_free<H: Look>(play: &mut Play<'_, H>) -> Option<Call> {
    let live = play.pick()?;
    play.free(live);
    Some((live.ptr, live.layout, Wrong::DoubleFree))
}

fn foreign<H: Look>(play: &mut Play<'_, H>) -> Option<Call> {
    let layout = play.layout();
    let outside = match play.random.below(3) {
        0 => NonNull::from(&mut *Box::leak(Box::new(0u64))).cast(),
        1 => NonNull::dangling(),
        // One past the region, or before its first granule.
        _ => {
            let total = play.heap.usage().total;
            let tables = play.heap.usage().tables();
            let lead = play.heap.chunks()[0].len - tables;
            let offset = if play.random.below(2) == 0 { lead + total } else { lead + tables - 1 };
            NonNull::new(play.heap.byte(offset))?
        }
    };
    Some((outside, layout, Wrong::Foreign))
}

fn interior<H: Look>(play: &mut Play<'_, H>) -> Option<Call> {
    let live = some(play, |live| live.layout.size() > 1)?;
    let offset = 1 + play.random.below(live.layout.size() - 1);
    // SAFETY: inside the block.
    let inside = unsafe { live.ptr.add(offset) };
    let layout = if play.random.below(2) == 0 { live.layout } else { play.layout() };
    Some((inside, layout, Wrong::Interior))
}

fn wrong_layout<H: Look>(play: &mut Play<'_, H>) -> Option<Call> {
    let live = some(play, |_| true)?;
    let (size, align) = (live.layout.size(), live.layout.align());
    let layout = match play.random.below(4) {
        // An alignment that the address lacks.
        0 => Layout::from_size_align(size, 2 << live.ptr.addr().get().trailing_zeros()),
        // More granules, of whatever size, or as many as there can be.
        1 => Layout::from_size_align(size + 16 + play.random.below(100), align),
        2 => Layout::from_size_align(isize::MAX as usize / 64 * 64, align),
        _ => Layout::from_size_align(
            size.checked_sub(16 + play.random.below(16)).filter(|&size| size > 0)?,
            align,
        ),
    };
    Some((live.ptr, layout.ok()?, Wrong::WrongLayout))
}

/// A live block of a kind, which stays in the list.
fn some<H: Look>(play: &mut Play<'_, H>, fits: impl Fn(&Live) -> bool) -> Option<Live> {
    let idx = play.random.below(play.live.len().max(1));
    play.live.get(idx).copied().filter(fits)
}

/// So many wrong calls of a kind, as frees and as resizes in turn.
fn inject<H: Look>(heap: &H, count: usize, seed: u64, wrong: fn(&mut Play<'_, H>) -> Option<Call>) {
    let mut play = Play::new(heap, seed);
    let mut done = 0;
    while done < count {
        play.step();
        let Some((ptr, layout, expected)) = wrong(&mut play) else { continue };
        assert_eq!(told(), []);
        let before = (heap.usage(), heap.misuses());
        if done % 3 == 0 {
            let new = play.layout();
            // SAFETY: none: that it is refused is what is tested.
            assert!(unsafe { heap.try_resize(ptr, layout, new) }.is_err());
        } else if done % 3 == 1 {
            // SAFETY: as above.
            unsafe { heap.free_batch(layout, &[ptr]) };
        } else {
            // SAFETY: as above.
            unsafe { heap.free(ptr, layout) };
        }
        let found = told();
        let [misuse] = found.as_slice() else { panic!("{found:?} for {expected:?} of {ptr:?}, {layout:?}") };
        assert_eq!((misuse.wrong, misuse.address, misuse.layout), (expected, ptr.addr().get(), layout));
        assert_eq!(misuse.owner.is_some(), expected != Wrong::Foreign);
        assert!(misuse.owner.is_none_or(|owner| owner.heap.contains("Arena")), "{misuse}");
        assert_eq!((heap.usage(), heap.misuses()), (before.0, before.1 + 1));
        done += 1;
    }
    assert_eq!(heap.verify(), Ok(()));
    play.end();
    assert_eq!(told(), []);
}

/// All kinds of arenas: three sizings, two policies, three types.
macro_rules! injected {
    ($($name:ident: $kind:ident;)*) => {$(
        #[test]
        fn $name() {
            let count = times(11);
            let mut memory = vec![MaybeUninit::uninit(); 4099];
            inject(&Borrowed::<Found<Sizing4KiB>, NoLock>::new(&mut memory), count, 1, $kind);
            inject(&Borrowed::<Found<Sizing128KiB>, NoLock>::new(&mut memory), count, 2, $kind);
            inject(&Borrowed::<Found<Sizing16MiB>, SpinLock>::new(&mut memory), count, 3, $kind);
            inject(&Borrowed::<Found<Bounded<Sizing4KiB>>, NoLock>::new(&mut memory), count, 4, $kind);
            inject(&Borrowed::<Hard<Sizing4KiB>, NoLock>::new(&mut memory), count, 5, $kind);
            inject(&Borrowed::<Hard<Sizing128KiB>, SpinLock>::new(&mut memory), count, 6, $kind);
            inject(&Borrowed::<Hard<Sizing16MiB>, NoLock>::new(&mut memory), count, 7, $kind);
            inject(&Inline::<5000, Found<Sizing4KiB>>(Box::default()), count, 8, $kind);
            inject(&Inline::<5000, Hard<Sizing128KiB>>(Box::default()), count, 9, $kind);
            inject(&Sourced::<Found<Sizing128KiB>>::new(5000), count, 10, $kind);
            inject(&Sourced::<Hard<Sizing16MiB>>::new(5000), count, 11, $kind);
        }
    )*};
}

injected! {
    every_double_free_is_found: double_free;
    every_foreign_pointer_is_found: foreign;
    every_interior_pointer_is_found: interior;
    every_wrong_layout_is_found: wrong_layout;
}

/// Right calls, and no report.
fn valid<H: Look>(heap: &H, seed: u64) {
    for round in 0..3 {
        let mut play = Play::new(heap, seed + 100 * round);
        for _ in 0..times(24) {
            play.step();
        }
        assert_eq!(heap.verify(), Ok(()));
        play.end();
    }
    assert_eq!((told(), heap.misuses()), (Vec::new(), 0));
}

#[test]
fn nothing_else_is_found() {
    let mut memory = vec![MaybeUninit::uninit(); 3001];
    valid(&Borrowed::<Found<Sizing4KiB>, NoLock>::new(&mut memory), 1);
    valid(&Borrowed::<Found<Sizing128KiB>, NoLock>::new(&mut memory), 2);
    valid(&Borrowed::<Hard<Sizing4KiB>, NoLock>::new(&mut memory), 3);
    valid(&Borrowed::<Hard<Sizing128KiB>, NoLock>::new(&mut memory), 4);
    valid(&Borrowed::<Hard<Sizing16MiB>, SpinLock>::new(&mut memory), 5);
    valid(&Borrowed::<Hard<Bounded<Sizing4KiB>>, NoLock>::new(&mut memory), 6);
    valid(&Inline::<3000, Hard<Sizing4KiB>>(Box::default()), 7);
    valid(&Sourced::<Hard<Sizing128KiB>>::new(3000), 8);
}
