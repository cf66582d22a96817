//! Random operations against a shadow of the heap: blocks are aligned, overlap nothing, keep their bytes, and are in the buffer when
//! they can be.

use std::alloc::Layout;
use std::ptr::NonNull;

use heapwright::arena::SourceTeaspoon;
use heapwright::combine::StackFirst;
use heapwright::heap::{Locked, SharedHeap};
use heapwright::lock::{Lock, NoLock, SpinLock, TicketLock};
use heapwright::sizing::{Checked, Sizing16MiB};
use heapwright::source::{Counted, GlobalHeap, SourceHeap};
use quickcheck::{Arbitrary, Gen, QuickCheck};

use super::{bytes, layout};

#[derive(Clone, Copy, Debug)]
enum Op {
    /// A new block: its size in sixteenths of the buffer, and so many bytes more.
    Alloc { sixteenths: u8, bytes: u8, align: u8, zeroed: bool },
    /// A block goes; `slack` says where between the requested and the returned size the layout lies.
    Free { pick: u8, slack: u8 },
    /// A block changes size, and alignment if there is one.
    Resize { pick: u8, slack: u8, sixteenths: u8, bytes: u8, align: Option<u8>, zeroed: bool },
}

fn below(g: &mut Gen, end: u8) -> u8 {
    u8::arbitrary(g) % end
}

impl Arbitrary for Op {
    fn arbitrary(g: &mut Gen) -> Self {
        // Mostly small; up to twice the buffer.
        let sixteenths = *g.choose(&[0, 0, 0, 1, 2, 4, 8, 15, 16, 17, 31, 32]).unwrap_or(&0);
        let bytes = below(g, 24);
        // Mostly a word's at most; up to a page.
        let end = *g.choose(&[4, 4, 4, 5, 7, 13]).unwrap_or(&4);
        let align = below(g, end);
        let zeroed = below(g, 4) == 0;
        let (pick, slack) = (u8::arbitrary(g), u8::arbitrary(g));
        match below(g, 10) {
            0..3 => Op::Alloc { sixteenths, bytes, align, zeroed },
            3..6 => Op::Free { pick, slack },
            _ => {
                let align = (below(g, 3) == 0).then_some(align);
                Op::Resize { pick, slack, sixteenths, bytes, align, zeroed }
            }
        }
    }
}

/// A live block: where it is, what it was asked for, how long it is, and the number that its bytes come from.
struct Block {
    at: NonNull<u8>,
    layout: Layout,
    len: usize,
    number: u8,
}

impl Block {
    fn byte(&self, offset: usize) -> u8 {
        (offset as u8).wrapping_mul(31) ^ self.number.wrapping_mul(97)
    }

    fn fill(&self) {
        for offset in 0..self.len {
            // SAFETY: the block is live and longer than that.
            let at = unsafe { self.at.add(offset) };
            // SAFETY: as above.
            unsafe { at.write(self.byte(offset)) };
        }
    }

    /// Whether the first `len` bytes are as `fill` left them.
    fn is_whole(&self, len: usize) -> bool {
        let block = NonNull::slice_from_raw_parts(self.at, len);
        bytes(block).iter().enumerate().all(|(offset, &byte)| byte == self.byte(offset))
    }

    /// A layout between what was asked for and what was given, by so many 255ths.
    fn between(&self, slack: u8) -> Layout {
        let more = (self.len - self.layout.size()) * usize::from(slack) / 255;
        layout(self.layout.size() + more, self.layout.align())
    }
}

struct Shadow<'a, const N: usize, A, L> {
    heap: &'a StackFirst<N, A, L>,
    blocks: Vec<Block>,
    number: u8,
}

impl<const N: usize, A: SharedHeap, L: Lock> Shadow<'_, N, A, L> {
    fn is_inline(&self, block: &Block) -> bool {
        self.heap.is_inline(block.at.as_ptr())
    }

    /// Notes a block that was handed out, and checks it against all others.
    fn note(&mut self, given: NonNull<[u8]>, layout: Layout) {
        let block = Block { at: given.cast(), layout, len: given.len(), number: self.number };
        self.number = self.number.wrapping_add(1);
        let start = block.at.addr().get();
        assert!(start % layout.align() == 0 && block.len >= layout.size(), "{layout:?} at {start:#x}");
        if layout.size() == 0 {
            assert_eq!(block.len, 0);
        } else if self.is_inline(&block) {
            assert!(self.heap.is_inline(block.at.as_ptr().wrapping_add(block.len - 1)), "past the buffer");
        }
        for other in &self.blocks {
            let from = other.at.addr().get();
            assert!(
                start + block.len <= from || from + other.len <= start,
                "{layout:?} overlaps {:?}",
                other.layout
            );
        }
        block.fill();
        self.blocks.push(block);
    }

    fn check_zeroed(given: NonNull<[u8]>, from: usize) {
        let found = bytes(given)[from..].iter().position(|&byte| byte != 0);
        assert_eq!(found, None, "not zero from byte {from} on");
    }

    /// What must be in the buffer: whatever fits there when no other block is in it.
    fn must_be_inline(&self, layout: Layout) -> bool {
        let empty = self.blocks.iter().all(|block| block.layout.size() == 0 || !self.is_inline(block));
        empty && layout.size() > 0 && layout.size() <= N && layout.align() <= 16
    }

    fn alloc(&mut self, layout: Layout, zeroed: bool) {
        let given = if zeroed { self.heap.try_alloc_zeroed(layout) } else { self.heap.try_alloc(layout) };
        let Ok(given) = given else { panic!("there is room for {layout:?}") };
        if zeroed {
            Self::check_zeroed(given, 0);
        }
        let must = self.must_be_inline(layout);
        self.note(given, layout);
        assert!(!must || self.heap.is_inline(given.cast().as_ptr()), "{layout:?} has room in the buffer");
    }

    fn free(&mut self, pick: u8, slack: u8) {
        let block = self.blocks.swap_remove(usize::from(pick) % self.blocks.len());
        assert!(block.is_whole(block.len), "a block of {:?} is no longer whole", block.layout);
        // SAFETY: the block is live, and the layout one of its own.
        unsafe { self.heap.free(block.at, block.between(slack)) };
    }

    fn resize(&mut self, pick: u8, slack: u8, new: Layout, zeroed: bool) {
        let block = self.blocks.swap_remove(usize::from(pick) % self.blocks.len());
        assert!(block.is_whole(block.len), "a block of {:?} is no longer whole", block.layout);
        let old = block.between(slack);
        let must = self.is_inline(&block) && block.layout.size() > 0 && self.must_be_inline(new);
        let given = if zeroed {
            // SAFETY: the block is live, and the layout one of its own.
            unsafe { self.heap.try_resize_zeroed(block.at, old, new) }
        } else {
            // SAFETY: as above.
            unsafe { self.heap.try_resize(block.at, old, new) }
        };
        let Ok(given) = given else { panic!("there is room for {new:?}") };
        let kept = old.size().min(new.size());
        let moved = Block { at: given.cast(), ..block };
        assert!(moved.is_whole(kept), "{old:?} to {new:?} lost its bytes");
        if zeroed {
            Self::check_zeroed(given, old.size().min(given.len()));
        }
        assert!(!must || self.heap.is_inline(given.cast().as_ptr()), "{new:?} has room in the buffer");
        self.note(given, new);
    }

    fn apply(&mut self, op: Op) {
        let size = |sixteenths: u8, bytes: u8| N * usize::from(sixteenths) / 16 + usize::from(bytes);
        match op {
            Op::Alloc { sixteenths, bytes, align, zeroed } => {
                self.alloc(layout(size(sixteenths, bytes), 1 << align), zeroed);
            }
            Op::Free { .. } | Op::Resize { .. } if self.blocks.is_empty() => {}
            Op::Free { pick, slack } => self.free(pick, slack),
            Op::Resize { pick, slack, sixteenths, bytes, align, zeroed } => {
                let old = self.blocks[usize::from(pick) % self.blocks.len()].layout;
                let align = align.map_or(old.align(), |align| 1 << align);
                self.resize(pick, slack, layout(size(sixteenths, bytes), align), zeroed);
            }
        }
        let inline = self.blocks.iter().filter(|block| block.len > 0 && self.is_inline(block));
        let usage = self.heap.usage();
        assert_eq!(usage.objects, inline.clone().count());
        assert!(usage.used + usage.free == N && usage.used >= inline.map(|block| block.len).sum());
    }

    fn finish(mut self) {
        while !self.blocks.is_empty() {
            self.free(self.number.wrapping_mul(5), self.number);
            self.number = self.number.wrapping_add(77);
        }
        assert_eq!((self.heap.usage().used, self.heap.usage().objects), (0, 0));
    }
}

fn run<const N: usize, A: SharedHeap, L: Lock>(heap: &StackFirst<N, A, L>, script: &[Op]) {
    let mut shadow = Shadow { heap, blocks: Vec::new(), number: 0 };
    for &op in script {
        shadow.apply(op);
    }
    shadow.finish();
}

/// Before a heap that counts what is not given back.
fn counted<const N: usize, L: Lock>(script: &[Op]) {
    let behind = Locked::<_, L>::new(SourceHeap::new(Counted::new(GlobalHeap)));
    let heap = StackFirst::<N, _, L>::new(behind);
    run(&heap, script);
    let counts = heap.into_inner().into_inner().into_inner().counts();
    assert_eq!((counts.blocks, counts.bytes), (0, 0));
}

/// Before an arena that counts wrong frees.
fn checked<const N: usize>(script: &[Op]) {
    let behind = SourceTeaspoon::<_, Checked<Sizing16MiB>, NoLock>::with_size(GlobalHeap, 4 << 20);
    let behind = behind.expect("there is room");
    run(&StackFirst::<N, _>::new(&behind), script);
    assert_eq!((behind.usage().objects, behind.misuses(), behind.verify()), (0, 0, Ok(())));
}

fn global<const N: usize>(script: &[Op]) {
    run(&StackFirst::<N, GlobalHeap>::new(GlobalHeap), script);
}

/// A buffer behind a buffer.
fn nested<const N: usize>(script: &[Op]) {
    let outer = StackFirst::<512, GlobalHeap>::new(GlobalHeap);
    let heap = StackFirst::<N, _>::new(&outer);
    run(&heap, script);
    assert_eq!(outer.usage().used, 0);
    run(&StackFirst::<N, StackFirst<100, GlobalHeap>>::default(), script);
}

macro_rules! models {
    ($($name:ident: $run:expr;)*) => {$(
        #[test]
        fn $name() {
            fn holds(script: Vec<Op>) -> bool {
                $run(&script);
                true
            }
            let tests = if cfg!(miri) { 2 } else { 150 };
            let seed = 0x57AC_0000;
            let mut driver = QuickCheck::new().rng(Gen::from_size_and_seed(150, seed)).tests(tests);
            driver.quicktest(holds as fn(Vec<Op>) -> bool).expect("no script fails");
        }
    )*};
}

models! {
    no_bytes: counted::<0, NoLock>;
    one_byte: counted::<1, NoLock>;
    seven_bytes: counted::<7, NoLock>;
    bytes_64: counted::<64, NoLock>;
    bytes_100: counted::<100, NoLock>;
    bytes_256: counted::<256, NoLock>;
    bytes_1000: counted::<1000, NoLock>;
    bytes_4096: counted::<4096, NoLock>;
    bytes_16384: counted::<16_384, NoLock>;
    spin_lock: counted::<256, SpinLock>;
    ticket_lock: counted::<256, TicketLock>;
    checked_64: checked::<64>;
    checked_256: checked::<256>;
    checked_4096: checked::<4096>;
    global_64: global::<64>;
    global_1000: global::<1000>;
    nested_64: nested::<64>;
    nested_256: nested::<256>;
}

#[cfg(feature = "std")]
models! {
    std_lock: counted::<256, heapwright::lock::StdLock>;
    owner_checked: counted::<256, heapwright::lock::OwnerChecked<SpinLock>>;
}

#[cfg(feature = "critical-section")]
models! {
    critical_section: counted::<256, heapwright::lock::CriticalSectionLock>;
}
