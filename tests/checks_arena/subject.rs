//! What is tested: arenas of all kinds, what is done with them, and what they tell.

use std::alloc::Layout;
use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::arena::{SourceTeaspoon, StaticArena, Teaspoon};
use heapwright::check::{Checked as Frees, Hardened, Misuse, Report};
use heapwright::heap::{Chunk, Corruption, SharedHeap, Usage};
use heapwright::lock::{Lock, NoLock, SpinLock};
use heapwright::sizing::{Checked, Sizing};
use heapwright::source::GlobalHeap;

thread_local! {
    static TOLD: RefCell<Vec<Misuse>> = const { RefCell::new(Vec::new()) };
}

/// Keeps what it is told, by thread.
pub(crate) struct Note;

impl Report for Note {
    fn report(misuse: &Misuse) {
        TOLD.with_borrow_mut(|told| told.push(*misuse));
    }
}

/// What was told since this was last asked.
pub(crate) fn told() -> Vec<Misuse> {
    TOLD.take()
}

/// `S` with checks of frees, and with all there are.
pub(crate) type Found<S> = Checked<S, Frees<Note>>;
pub(crate) type Hard<S> = Checked<S, Hardened<Note>>;

/// A heap that can be looked into.
pub(crate) trait Look: SharedHeap {
    fn usage(&self) -> Usage;
    fn misuses(&self) -> usize;
    fn verify(&self) -> Result<(), Corruption>;
    fn chunks(&self) -> Vec<Chunk>;
    /// A byte of the region.
    fn byte(&self, offset: usize) -> *mut u8;
}

/// An arena over borrowed memory, and where that begins.
pub(crate) struct Borrowed<'a, S: Sizing, L> {
    heap: Teaspoon<'a, S, L>,
    start: *mut u8,
}

impl<'a, S: Sizing, L: Lock> Borrowed<'a, S, L> {
    pub(crate) fn new(memory: &'a mut [MaybeUninit<u8>]) -> Self {
        let start = memory.as_mut_ptr().cast::<u8>();
        let len = memory.len();
        // SAFETY: the slice is borrowed for as long as this lives, and not used otherwise.
        let heap = unsafe { Teaspoon::from_ptr_size(start, len) };
        Borrowed { heap, start }
    }
}

macro_rules! look {
    ([$($generics:tt)*] $type:ty, |$this:ident| $heap:expr, $core:ty, $start:expr) => {
        // SAFETY: all is the arena's.
        unsafe impl<$($generics)*> SharedHeap for $type {
            type Core<'c>
                = $core
            where
                Self: 'c;

            unsafe fn enter<'s, R>(
                &'s self,
                work: impl FnOnce(&mut Self::Core<'s>) -> R,
            ) -> Result<R, heapwright::AllocError> {
                let $this = self;
                // SAFETY: the caller's promise is the same.
                unsafe { $heap.enter(work) }
            }
        }

        impl<$($generics)*> Look for $type {
            fn usage(&self) -> Usage {
                let $this = self;
                $heap.usage()
            }

            fn misuses(&self) -> usize {
                let $this = self;
                $heap.misuses()
            }

            fn verify(&self) -> Result<(), Corruption> {
                let $this = self;
                $heap.verify()
            }

            fn chunks(&self) -> Vec<Chunk> {
                let $this = self;
                $heap.chunks().collect()
            }

            fn byte(&self, offset: usize) -> *mut u8 {
                let $this = self;
                let start: *mut u8 = $start;
                start.wrapping_add(offset)
            }
        }
    };
}

/// A `StaticArena` on the heap.
pub(crate) struct Inline<const N: usize, S: Sizing>(pub(crate) Box<StaticArena<N, S, SpinLock>>);

/// An arena over the program's heap.
pub(crate) struct Sourced<S: Sizing>(SourceTeaspoon<GlobalHeap, S, NoLock>, *mut u8);

impl<S: Sizing> Sourced<S> {
    pub(crate) fn new(len: usize) -> Self {
        let heap = SourceTeaspoon::with_size(GlobalHeap, len).expect("memory");
        let probe = Layout::new::<u8>();
        let chunk = heap.chunks().next().expect("tables");
        let block = heap.try_alloc(probe).expect("an empty arena");
        // SAFETY: the block is live. The first one lies behind the tables.
        unsafe { heap.free(block.cast(), probe) };
        let start = block.cast::<u8>().as_ptr().wrapping_sub(chunk.len);
        Sourced(heap, start)
    }
}

look!(['a, S: Sizing, L: Lock] Borrowed<'a, S, L>, |this| this.heap, heapwright::arena::Arena<'a, S>, this.start);
look!([const N: usize, S: Sizing] Inline<N, S>, |this| this.0, heapwright::arena::View<'c, S>, std::ptr::from_ref(&*this.0).cast_mut().cast());
look!([S: Sizing] Sourced<S>, |this| this.0, heapwright::arena::SourceArena<GlobalHeap, S>, this.1);

/// A live block and what it is filled with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Live {
    pub(crate) ptr: NonNull<u8>,
    pub(crate) layout: Layout,
    pub(crate) fill: u8,
}

impl Live {
    /// A block, filled to its last byte.
    pub(crate) fn new(block: NonNull<[u8]>, layout: Layout, fill: u8) -> Live {
        let ptr = block.cast::<u8>();
        assert!(block.len() >= layout.size() && ptr.addr().get() % layout.align() == 0);
        // SAFETY: the block is live, and so long.
        unsafe { ptr.write_bytes(fill, layout.size()) };
        Live { ptr, layout, fill }
    }

    /// Whether the first bytes are as they were left.
    pub(crate) fn is_whole(&self, len: usize) -> bool {
        // SAFETY: the block is live, and its bytes were written.
        let bytes = unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), len) };
        bytes.iter().all(|&byte| byte == self.fill)
    }
}

/// Marsaglia's xorshift.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 33) as usize) % count
    }
}

/// A heap in use: random right calls, which have to be right for it too.
pub(crate) struct Play<'h, H> {
    pub(crate) heap: &'h H,
    pub(crate) live: Vec<Live>,
    pub(crate) random: Random,
}

impl<'h, H: Look> Play<'h, H> {
    pub(crate) fn new(heap: &'h H, seed: u64) -> Self {
        Play { heap, live: Vec::new(), random: Random(seed) }
    }

    pub(crate) fn layout(&mut self) -> Layout {
        let size = 1 + self.random.below([8, 40, 200][self.random.0 as usize % 3]);
        Layout::from_size_align(size, 1 << self.random.below(6)).expect("a small layout")
    }

    /// A block, if there is room.
    pub(crate) fn alloc(&mut self) -> Option<Live> {
        let (layout, fill) = (self.layout(), self.random.below(255) as u8 + 1);
        let live = Live::new(self.heap.try_alloc(layout).ok()?, layout, fill);
        self.live.push(live);
        Some(live)
    }

    /// Takes one out of the list, whole.
    pub(crate) fn pick(&mut self) -> Option<Live> {
        let idx = self.random.below(self.live.len().max(1));
        let live = (!self.live.is_empty()).then(|| self.live.swap_remove(idx))?;
        assert!(live.is_whole(live.layout.size()), "{live:?}");
        Some(live)
    }

    pub(crate) fn free(&mut self, live: Live) {
        // SAFETY: the block was live, and is in the list no more.
        unsafe { self.heap.free(live.ptr, live.layout) };
    }

    /// A right call of some kind.
    pub(crate) fn step(&mut self) {
        match self.random.below(if self.live.len() > 24 { 4 } else { 6 }) {
            0 | 1 => {
                if let Some(live) = self.pick() {
                    self.free(live);
                }
            }
            2 => {
                let Some(live) = self.pick() else { return };
                let new = self.layout();
                // SAFETY: the block is live, and its layout this one.
                match unsafe { self.heap.try_resize(live.ptr, live.layout, new) } {
                    Ok(block) => {
                        let moved = Live { ptr: block.cast(), ..live };
                        assert!(moved.is_whole(live.layout.size().min(new.size())), "{live:?} to {new:?}");
                        self.live.push(Live::new(block, new, live.fill));
                    }
                    Err(_) => self.live.push(live),
                }
            }
            _ => {
                self.alloc();
            }
        }
    }

    /// All blocks are whole and go back; the heap is empty and sound.
    pub(crate) fn end(mut self) {
        while let Some(live) = self.pick() {
            self.free(live);
        }
        assert_eq!((self.heap.usage().objects, self.heap.usage().used), (0, 0));
        assert_eq!(self.heap.verify(), Ok(()));
    }
}

/// How often what is done at random is done, in all parts of a test together: 20,000 times; 1,000,000 times with `HEAPWRIGHT_LONG=1`, and 1000 times with
/// `HEAPWRIGHT_SHORT=1`.
pub(crate) fn times(parts: usize) -> usize {
    let long = std::env::var_os("HEAPWRIGHT_LONG").is_some_and(|value| value == "1");
    let all = if cfg!(miri) {
        300
    } else if long {
        1_000_000
    } else if std::env::var_os("HEAPWRIGHT_SHORT").is_some() {
        1000
    } else {
        20_000
    };
    all / parts + 1
}
