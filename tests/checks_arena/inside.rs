//! What is written where it must not be: behind a block, to a free one, to the links of one.

use std::alloc::Layout;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::arena::Arena;
use heapwright::check::{Damage, Wrong};
use heapwright::heap::{Chunk, ChunkKind, Heap, Inspect, SharedHeap};
use heapwright::lock::NoLock;
use heapwright::sizing::{Bounded, Sizing, Sizing4KiB, Sizing16MiB, Sizing128KiB};

use crate::subject::{Borrowed, Found, Hard, Inline, Live, Look, Play, Sourced, times, told};

/// Writes behind a block are found when it is freed, and when it is resized.
fn behind<H: Look>(heap: &H, count: usize, seed: u64) {
    let mut play = Play::new(heap, seed);
    let mut done = 0;
    while done < count {
        play.step();
        let Some(live) = play.pick() else { continue };
        let before = heap.misuses();
        let (offset, flip) = (live.layout.size() + play.random.below(8), 1 << play.random.below(8));
        let byte = live.ptr.as_ptr().wrapping_add(offset);
        // SAFETY: the zone of a live block, which is at least eight bytes long; nobody uses it meanwhile.
        let was = unsafe { byte.read() };
        // SAFETY: as above.
        unsafe { byte.write(was ^ flip) };
        if done % 2 == 0 {
            play.free(live);
        } else {
            let new = play.layout();
            // SAFETY: the block is live, and its layout this one.
            match unsafe { heap.try_resize(live.ptr, live.layout, new) } {
                Ok(block) => play.live.push(Live::new(block, new, live.fill)),
                Err(_) => {
                    // SAFETY: the block is live, and the byte its zone's.
                    unsafe { byte.write(was) };
                    play.live.push(live);
                }
            }
        }
        let found = told();
        let [misuse] = found.as_slice() else { panic!("{found:?} at {offset} of {live:?}") };
        assert_eq!((misuse.wrong, misuse.address), (Wrong::WrittenBehind, live.ptr.addr().get()));
        let damage = misuse.damage.expect("a byte");
        // What was overwritten may be what tells the pattern; then it is the last byte.
        assert!(damage.offset >= live.layout.size() as isize && damage.expected != damage.found, "{misuse}");
        if heap.usage().objects > 0 {
            assert_eq!(heap.misuses(), before + 1);
        }
        done += 1;
    }
    play.end();
    assert_eq!(told(), []);
}

#[test]
fn every_write_behind_is_found() {
    let count = times(6);
    let mut memory = vec![MaybeUninit::uninit(); 4099];
    behind(&Borrowed::<Hard<Sizing4KiB>, NoLock>::new(&mut memory), count, 1);
    behind(&Borrowed::<Hard<Sizing128KiB>, NoLock>::new(&mut memory), count, 2);
    behind(&Borrowed::<Hard<Sizing16MiB>, NoLock>::new(&mut memory), count, 3);
    behind(&Borrowed::<Hard<Bounded<Sizing4KiB>>, NoLock>::new(&mut memory), count, 4);
    behind(&Inline::<5000, Hard<Sizing4KiB>>(Box::default()), count, 5);
    behind(&Sourced::<Hard<Sizing16MiB>>::new(5000), count, 6);
}

/// Takes all memory there is, in blocks as large as can be had.
fn drain<H: Look>(heap: &H) -> Vec<Live> {
    let mut taken = Vec::new();
    for size in [1000, 300, 100, 30, 10, 1] {
        let layout = Layout::from_size_align(size, 1).expect("a small layout");
        while let Ok(block) = heap.try_alloc(layout) {
            taken.push(Live::new(block, layout, 0x5a));
        }
    }
    taken
}

/// Free memory between live blocks, which the heap has had before.
fn holes<H: Look>(play: &mut Play<'_, H>, len_min: usize) -> Vec<Chunk> {
    let chunks = play.heap.chunks();
    let last = chunks.iter().rposition(|chunk| chunk.kind == ChunkKind::Used).unwrap_or(0);
    let free = |chunk: &&Chunk| chunk.kind == ChunkKind::Free && chunk.len >= len_min;
    chunks[..last].iter().filter(free).copied().collect()
}

/// Writes to free memory are found when it is used again, at the latest, and nobody's block is touched.
fn after_free<H: Look>(
    heap: &H,
    count: usize,
    seed: u64,
    len_min: usize,
    write: fn(&mut Play<'_, H>, Chunk) -> (usize, usize),
    expected: &[Wrong],
) {
    let mut play = Play::new(heap, seed);
    let mut done = 0;
    while done < count {
        for _ in 0..8 {
            play.step();
        }
        let holes = holes(&mut play, len_min);
        if holes.is_empty() {
            continue;
        }
        let hole = holes[play.random.below(holes.len())];
        let (from, len) = write(&mut play, hole);
        for offset in from..from + len {
            let byte = heap.byte(offset);
            // SAFETY: free memory of the region, which the heap has written to.
            let was = unsafe { byte.read() };
            // SAFETY: as above; what is written there is the misuse that this test is about.
            unsafe { byte.write(was ^ (1 + play.random.below(255) as u8)) };
        }
        // Whatever is done next.
        for _ in 0..play.random.below(6) {
            play.step();
        }
        let mut taken = drain(heap);
        let mut found = told();
        if found.is_empty() {
            // What is shorter than any block with its zone is handed out when it has merged with others.
            taken.drain(..).for_each(|live| play.free(live));
            while let Some(live) = play.pick() {
                play.free(live);
            }
            taken = drain(heap);
            found = told();
        }
        assert!(!found.is_empty(), "{len} bytes at {from} of {hole:?}");
        assert!(found.iter().all(|misuse| expected.contains(&misuse.wrong)), "{found:?}");
        for live in taken {
            assert!(live.is_whole(live.layout.size()));
            play.free(live);
        }
        let name = std::any::type_name::<H>();
        assert_eq!(
            (told(), heap.verify()),
            (Vec::new(), Ok(())),
            "{len} bytes at {from} of {hole:?}, {name}: {found:?}"
        );
        assert!(play.live.iter().all(|live| live.is_whole(live.layout.size())));
        done += 1;
    }
    play.end();
    assert_eq!(told(), []);
}

/// One byte, anywhere.
fn one_byte<H: Look>(play: &mut Play<'_, H>, hole: Chunk) -> (usize, usize) {
    (hole.offset + play.random.below(hole.len), 1)
}

/// One byte of the first word of links.
fn a_link<H: Look>(play: &mut Play<'_, H>, hole: Chunk) -> (usize, usize) {
    (hole.offset + play.random.below(4), 1)
}

/// One byte of the last word, a length or a link.
fn a_length<H: Look>(play: &mut Play<'_, H>, hole: Chunk) -> (usize, usize) {
    (hole.offset + hole.len - 4 + play.random.below(4), 1)
}

/// All of it.
fn everything<H: Look>(_: &mut Play<'_, H>, hole: Chunk) -> (usize, usize) {
    (hole.offset, hole.len)
}

#[test]
fn every_write_to_free_memory_is_found() {
    let (count, all) = (times(12), [Wrong::WrittenAfterFree, Wrong::Metadata]);
    let mut memory = vec![MaybeUninit::uninit(); 2051];
    let zero = [Wrong::WrittenAfterFree];
    after_free(&Borrowed::<Hard<Sizing4KiB>, NoLock>::new(&mut memory), count, 1, 4, one_byte, &zero);
    after_free(&Borrowed::<Hard<Sizing128KiB>, NoLock>::new(&mut memory), count, 2, 4, one_byte, &all);
    after_free(&Borrowed::<Hard<Sizing16MiB>, NoLock>::new(&mut memory), count, 3, 8, one_byte, &all);
    after_free(&Inline::<2100, Hard<Sizing4KiB>>(Box::default()), count, 4, 4, everything, &zero);
    after_free(&Inline::<2100, Hard<Sizing128KiB>>(Box::default()), count, 5, 4, everything, &all);
    after_free(&Sourced::<Hard<Sizing16MiB>>::new(2100), count, 6, 8, everything, &all);
}

/// A bit in a link or a length is found as what it is, and the lists are whole again.
#[test]
fn every_broken_link_is_found() {
    let (count, books) = (times(12), [Wrong::Metadata]);
    let mut memory = vec![MaybeUninit::uninit(); 2051];
    after_free(&Borrowed::<Hard<Sizing128KiB>, NoLock>::new(&mut memory), count, 1, 4, a_link, &books);
    after_free(&Borrowed::<Hard<Sizing128KiB>, NoLock>::new(&mut memory), count, 2, 4, a_length, &books);
    after_free(&Borrowed::<Hard<Sizing16MiB>, NoLock>::new(&mut memory), count, 3, 8, a_link, &books);
    after_free(
        &Borrowed::<Hard<Bounded<Sizing4KiB>>, NoLock>::new(&mut memory),
        count,
        4,
        4,
        a_length,
        &books,
    );
    after_free(&Inline::<2100, Hard<Sizing16MiB>>(Box::default()), count, 5, 8, a_length, &books);
    after_free(&Sourced::<Hard<Sizing128KiB>>::new(2100), count, 6, 4, a_link, &books);
}

/// Every value that a byte of the first link of a lone hole can have, be it the number of a granule that is another end of a free block.
#[test]
fn a_link_of_any_value_is_found() {
    any_value_is_found(|_| 0, |[before, behind]| (before, behind));
}

/// The same of the last word, which tells how long the hole is to whoever frees the block behind it.
#[test]
fn a_length_of_any_value_is_found() {
    any_value_is_found(|len| len - 4, |[before, behind]| (behind, before));
    any_value_is_found(|len| len - 1, |[before, behind]| (behind, before));
}

/// Gives a byte of a hole, found by the hole's length, each value, and frees the first of the two neighbours that `order` names.
fn any_value_is_found(byte: fn(usize) -> usize, order: fn([Live; 2]) -> (Live, Live)) {
    let step = if cfg!(miri) { 51 } else { 1 };
    let layout = |len: usize| Layout::from_size_align(len, 1).expect("a small layout");
    for before in 0..4 {
        for len in 1..6 {
            for value in (1..256).step_by(step) {
                let mut memory = vec![MaybeUninit::uninit(); 400];
                let heap = Borrowed::<Hard<Sizing16MiB>, NoLock>::new(&mut memory);
                let take = |len: usize| Live::new(heap_alloc(&heap, layout(len)), layout(len), 7);
                let mut live: Vec<_> = (0..before).map(|_| take(8)).collect();
                let neighbour = take(8);
                let hole = take(8 * len);
                let (freed, kept) = order([neighbour, take(8)]);
                live.push(kept);
                let start = hole.ptr.addr().get() - heap.byte(0).addr();
                let free = |live: Live| {
                    // SAFETY: a live block, with its layout.
                    unsafe { heap.free(live.ptr, live.layout) };
                };
                free(hole);
                let hole =
                    heap.chunks().into_iter().find(|chunk| chunk.offset == start).expect("what was freed");
                let byte = heap.byte(start + byte(hole.len));
                // SAFETY: free memory of the region, which the heap has written to.
                let was = unsafe { byte.read() };
                // SAFETY: as above; what is written there is the misuse that this test is about.
                unsafe { byte.write(was ^ value as u8) };
                free(freed);
                live.extend(drain(&heap));
                let found: Vec<_> = told().iter().map(|misuse| misuse.wrong).collect();
                assert_eq!(found, [Wrong::Metadata], "{value} after {before} before {len}");
                assert!(live.iter().all(|live| live.is_whole(live.layout.size())));
                live.into_iter().for_each(free);
                assert_eq!((told(), heap.verify(), heap.usage().objects), (Vec::new(), Ok(()), 0));
            }
        }
    }
}

/// The same of a hole of one granule, what is left of a larger one, with another hole before the live block before it.
#[test]
fn a_link_of_a_short_hole_is_found() {
    let step = if cfg!(miri) { 51 } else { 1 };
    let layout = |len: usize| Layout::from_size_align(len, 1).expect("a small layout");
    for byte in 0..8 {
        for value in (1..256).step_by(step) {
            let mut memory = vec![MaybeUninit::uninit(); 400];
            let heap = Borrowed::<Hard<Sizing16MiB>, NoLock>::new(&mut memory);
            let take = |len: usize| Live::new(heap_alloc(&heap, layout(len)), layout(len), 7);
            let [first, second, hole, behind] = [8, 8, 16, 8].map(take);
            let mut live = vec![second, take(8)];
            let free = |live: Live| {
                // SAFETY: a live block, with its layout.
                unsafe { heap.free(live.ptr, live.layout) };
            };
            free(hole);
            live.push(take(8));
            free(first);
            let rest =
                heap.chunks().into_iter().find(|chunk| chunk.kind == ChunkKind::Free && chunk.len == 8);
            let byte = heap.byte(rest.expect("what is left of the hole").offset + byte);
            // SAFETY: free memory of the region, which the heap has written to.
            let was = unsafe { byte.read() };
            // SAFETY: as above; what is written there is the misuse that this test is about.
            unsafe { byte.write(was ^ value as u8) };
            free(behind);
            live.extend(drain(&heap));
            let found: Vec<_> = told().iter().map(|misuse| misuse.wrong).collect();
            assert_eq!(found, [Wrong::Metadata], "{value}");
            assert!(live.iter().all(|live| live.is_whole(live.layout.size())));
            live.into_iter().for_each(free);
            assert_eq!((told(), heap.verify(), heap.usage().objects), (Vec::new(), Ok(()), 0));
        }
    }
}

/// Who asks before a free is told as the free would be, and the free has nothing to tell any more.
#[test]
fn what_is_asked_for_is_told_once() {
    fn asked<S: Sizing>(memory: &mut [MaybeUninit<u8>], damage: bool) {
        let layout = Layout::new::<[u8; 20]>();
        let mut arena = Arena::<S>::from_slice(memory);
        let [gone, block, last] = [(); 3].map(|()| arena.alloc(layout).expect("room").cast::<u8>());
        // SAFETY: the block is live, and its layout this one.
        unsafe { arena.dealloc(gone, layout) };
        let interior = block.map_addr(|address| address.checked_add(8).expect("an address"));
        let wrong = [
            (gone, layout, Wrong::DoubleFree),
            (interior, layout, Wrong::Interior),
            (block, Layout::new::<[u8; 90]>(), Wrong::WrongLayout),
            (NonNull::dangling(), layout, Wrong::Foreign),
        ];
        for (ptr, layout, kind) in wrong {
            // SAFETY: none: that it is refused is what is tested.
            assert!(!unsafe { arena.judge(ptr, layout) });
            assert_eq!(arena.take_finding().map(|finding| finding.misuse().wrong), Some(kind));
        }
        // SAFETY: a byte behind a live block, in its last granule.
        unsafe { last.as_ptr().wrapping_add(23).write(1) };
        for (block, found) in [(block, false), (last, damage), (last, false)] {
            // SAFETY: the block is live, and its layout this one.
            assert!(unsafe { arena.judge(block, layout) });
            assert_eq!(arena.take_finding().is_some(), found);
        }
        for block in [block, last] {
            // SAFETY: the block is live, and its layout this one.
            unsafe { arena.dealloc(block, layout) };
        }
        assert!(arena.take_finding().is_none());
        assert_eq!((arena.misuses(), arena.usage().objects), (4 + usize::from(damage), 0));
    }
    let mut memory = vec![MaybeUninit::uninit(); 2051];
    asked::<Hard<Sizing4KiB>>(&mut memory, true);
    asked::<Hard<Sizing128KiB>>(&mut memory, true);
    asked::<Hard<Sizing16MiB>>(&mut memory, true);
    asked::<Found<Sizing16MiB>>(&mut memory, false);
    // Who does not look asks nobody.
    let mut arena = Arena::<Sizing16MiB>::from_slice(&mut memory);
    // SAFETY: nothing is done with it.
    assert!(unsafe { arena.judge(NonNull::dangling(), Layout::new::<u64>()) });
}

/// Without zones a block is as long as its granules, and all of it stays as it is when it can't be resized.
#[test]
fn a_resize_that_is_refused_changes_nothing() {
    fn refused<S: Sizing>(memory: &mut [MaybeUninit<u8>]) {
        let layout = Layout::new::<[u8; 21]>();
        let heap = Borrowed::<S, NoLock>::new(memory);
        let block = heap.try_alloc(layout).unwrap();
        assert_eq!(block.len(), 24);
        // SAFETY: the block is so long.
        unsafe { block.cast::<u8>().write_bytes(7, block.len()) };
        // SAFETY: the block is live, and its layout this one.
        assert!(unsafe { heap.try_resize(block.cast(), layout, Layout::new::<[u8; 100_000]>()) }.is_err());
        // SAFETY: it has been written, and is not used otherwise.
        assert_eq!(unsafe { block.as_ref() }, [7; 24]);
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.free(block.cast(), layout) };
    }
    let mut memory = vec![MaybeUninit::uninit(); 2051];
    refused::<Found<Sizing16MiB>>(&mut memory);
    refused::<Sizing16MiB>(&mut memory);
}

/// A size that takes as many granules is told by the zone.
#[test]
fn a_wrong_size_in_the_right_granules_is_found() {
    let mut memory = vec![MaybeUninit::uninit(); 2051];
    let heap = Borrowed::<Hard<Sizing16MiB>, NoLock>::new(&mut memory);
    for size in 1..60 {
        let layout = Layout::from_size_align(size, 1).expect("a small layout");
        let live = Live::new(heap_alloc(&heap, layout), layout, 1);
        for other in 1..70 {
            if other == size {
                continue;
            }
            let wrong = Layout::from_size_align(other, 1).expect("a small layout");
            // SAFETY: none: that it is refused is what is tested.
            unsafe { heap.free(live.ptr, wrong) };
            let found = told();
            let [misuse] = found.as_slice() else { panic!("{found:?} for {other} of {size}") };
            assert_eq!(misuse.wrong, Wrong::WrongLayout, "{other} of {size}: {misuse}");
        }
        assert!(live.is_whole(size));
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.free(live.ptr, layout) };
        assert_eq!(told(), []);
    }
}

fn heap_alloc<H: Look>(heap: &H, layout: Layout) -> NonNull<[u8]> {
    heap.try_alloc(layout).expect("an empty arena")
}

/// The damage tells the first byte.
#[test]
fn the_first_wrong_byte_is_told() {
    let mut memory = vec![MaybeUninit::uninit(); 2051];
    let heap = Borrowed::<Hard<Sizing16MiB>, NoLock>::new(&mut memory);
    let layout = Layout::new::<[u8; 3]>();
    let block = heap_alloc(&heap, layout).cast::<u8>();
    // SAFETY: the zone behind the block, of 13 bytes.
    unsafe { block.as_ptr().wrapping_add(4).write_bytes(0x11, 2) };
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.free(block, layout) };
    let found = told();
    let damage = Damage { offset: 4, expected: 0xbb ^ 13, found: 0x11 };
    assert_eq!(found.iter().map(|misuse| misuse.damage).collect::<Vec<_>>(), [Some(damage)]);
}

/// A resize that finds damage, and has no room, tells of it; the free does not tell again.
#[test]
fn damage_is_told_once() {
    fn once<S: Sizing>(memory: &mut [MaybeUninit<u8>]) {
        let layout = Layout::new::<[u8; 20]>();
        let heap = Borrowed::<S, NoLock>::new(memory);
        // Too large for the region, and for what is left of it.
        for new in [Layout::new::<[u8; 100_000]>(), Layout::new::<[u8; 2000]>()] {
            let block = heap_alloc(&heap, layout).cast::<u8>();
            let rest: Vec<_> = std::iter::from_fn(|| heap.try_alloc(layout).ok()).collect();
            let byte = block.as_ptr().wrapping_add(23);
            // SAFETY: the zone of a live block; nobody uses it meanwhile.
            unsafe { byte.write(1) };
            for found in [1, 0] {
                // SAFETY: the block is live, and its layout this one.
                assert!(unsafe { heap.try_resize(block, layout, new) }.is_err());
                let told = told();
                assert!(
                    told.len() == found && told.iter().all(|misuse| misuse.wrong == Wrong::WrittenBehind)
                );
            }
            for block in rest.into_iter().map(|block| block.cast()).chain([block]) {
                // SAFETY: the block is live, and its layout this one.
                unsafe { heap.free(block, layout) };
            }
            assert_eq!((told(), heap.usage().objects), (vec![], 0));
        }
        assert_eq!(heap.misuses(), 2);
        // The same where the block stands, of a core, which tells who asks.
        let mut arena = Arena::<S>::from_slice(memory);
        let block = arena.alloc(layout).expect("room").cast::<u8>();
        let _behind = arena.alloc(layout).expect("room");
        // SAFETY: the zone of a live block; nobody uses it meanwhile.
        unsafe { block.as_ptr().wrapping_add(23).write(1) };
        for found in [true, false] {
            // SAFETY: the block is live, and its layout this one.
            assert!(unsafe { arena.resize_in_place(block, layout, Layout::new::<[u8; 2000]>()) }.is_err());
            assert_eq!(arena.take_finding().is_some(), found);
        }
        assert_eq!(arena.misuses(), 1);
    }
    let mut memory = vec![MaybeUninit::uninit(); 4099];
    once::<Hard<Sizing4KiB>>(&mut memory);
    once::<Hard<Sizing128KiB>>(&mut memory);
    once::<Hard<Sizing16MiB>>(&mut memory);
}

/// The first block, of two granules, whose last bit is changed: from its second granule its lengths look like links of a block of one to itself.
#[test]
fn the_first_block_is_not_taken_for_its_second_granule() {
    for bit in 0..32 {
        let mut memory = vec![MaybeUninit::uninit(); 2051];
        let heap = Borrowed::<Hard<Sizing16MiB>, NoLock>::new(&mut memory);
        let layout = Layout::new::<[u8; 8]>();
        let [first, second, third] = [(); 3].map(|()| heap.try_alloc(layout).expect("room").cast::<u8>());
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.free(first, layout) };
        let hole = heap.chunks().into_iter().find(|chunk| chunk.kind == ChunkKind::Free).expect("a hole");
        assert_eq!(hole.len, 16);
        let last = heap.byte(hole.offset + 12 + bit / 8);
        // SAFETY: free memory of the region, which the heap has written to.
        let was = unsafe { last.read() };
        // SAFETY: as above; what is written there is the misuse that this test is about.
        unsafe { last.write(was ^ 1 << (bit % 8)) };
        // SAFETY: the block is live, and its layout this one.
        unsafe { heap.free(second, layout) };
        assert_eq!(
            told().iter().map(|misuse| misuse.wrong).collect::<Vec<_>>(),
            [Wrong::Metadata],
            "bit {bit}"
        );
        assert_eq!(heap.verify(), Ok(()), "bit {bit}");
        // SAFETY: as above.
        unsafe { heap.free(third, layout) };
        assert_eq!((told(), heap.verify()), (Vec::new(), Ok(())), "bit {bit}");
    }
}
