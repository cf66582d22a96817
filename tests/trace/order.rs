//! What a sink is told makes sense at any time, whatever the threads do: no address has two blocks.

use std::alloc::Layout;
use std::collections::HashMap;
use std::sync::Mutex;
use std::thread;

use heapwright::AllocError;
use heapwright::arena::StaticArena;
use heapwright::heap::SharedHeap;
use heapwright::lock::SpinLock;
use heapwright::sizing::Sizing128KiB;
use heapwright::trace::{Block, Sink, Traced};

/// Keeps the live blocks, and fails if it is told of something that can't be.
#[derive(Default)]
struct Shadow {
    live: Mutex<HashMap<usize, Layout>>,
    wrong: Mutex<Option<String>>,
}

impl Shadow {
    fn check(&self, is_right: bool, what: &str, block: &Block) {
        if !is_right {
            self.wrong.lock().unwrap().get_or_insert_with(|| format!("{what}: {block}"));
        }
    }
}

impl Sink for Shadow {
    type Resizing = Option<Layout>;

    fn allocated(&self, block: &Block) {
        let before = self.live.lock().unwrap().insert(block.address, block.layout);
        self.check(before.is_none(), "a second block at one address", block);
    }

    fn freeing(&self, block: &Block) {
        let before = self.live.lock().unwrap().remove(&block.address);
        self.check(before == Some(block.layout), "freed without having been allocated", block);
    }

    fn resizing(&self, block: &Block, _: Layout) -> Option<Layout> {
        let before = self.live.lock().unwrap().remove(&block.address);
        self.check(before == Some(block.layout), "resized without having been allocated", block);
        before
    }

    fn resized(&self, begun: Option<Layout>, was: &Block, now: Result<&Block, AllocError>) {
        self.check(begun == Some(was.layout), "another block was begun with", was);
        self.allocated(now.unwrap_or(was));
    }
}

type Arena = StaticArena<{ 24 << 10 }, Sizing128KiB, SpinLock>;

#[test]
fn threads_that_reuse_each_others_addresses() {
    const STEPS: usize = if cfg!(miri) { 100 } else { 30_000 };
    let heap = Traced::new(Shadow::default(), Arena::new());
    let work = |seed: u64| {
        let mut random = seed;
        let mut blocks = Vec::new();
        for _ in 0..STEPS {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let layout = Layout::from_size_align(1 + (random >> 40) as usize % 700, 8).unwrap();
            match random >> 61 {
                0..=2 => blocks.extend(heap.try_alloc(layout).map(|block| (block.cast(), layout))),
                3..=4 if !blocks.is_empty() => {
                    let (block, layout) = blocks.swap_remove(random as usize % blocks.len());
                    // SAFETY: the block is live, and its layout this one.
                    unsafe { heap.free(block, layout) };
                }
                _ if !blocks.is_empty() => {
                    let idx = random as usize % blocks.len();
                    let (block, old) = blocks[idx];
                    // SAFETY: the block is live, and its layout this one.
                    if let Ok(block) = unsafe { heap.try_resize(block, old, layout) } {
                        blocks[idx] = (block.cast(), layout);
                    }
                }
                _ => {}
            }
        }
        for (block, layout) in blocks {
            // SAFETY: the block is live, and its layout this one.
            unsafe { heap.free(block, layout) };
        }
    };
    thread::scope(|scope| {
        for seed in 1..=3 {
            scope.spawn(move || work(seed));
        }
    });
    assert_eq!(*heap.sink().wrong.lock().unwrap(), None);
    assert!(heap.sink().live.lock().unwrap().is_empty());
    assert_eq!(heap.heap().usage().objects, 0);
}
