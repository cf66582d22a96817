//! What a sink does is told to nobody, and does not unwind.

use std::alloc::{Layout, System};
use std::io::{self, Write};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use heapwright::AllocError;
use heapwright::heap::SharedHeap;
use heapwright::trace::{AnyGlobal, Block, LockedWriter, Sink, TextLog, Traced, untraced};

type Heap<S> = Traced<S, AnyGlobal<System>>;

/// Allocates from the heap that it listens to, for each event.
struct Greedy {
    told: AtomicUsize,
    heap: fn() -> &'static Heap<Greedy>,
}

impl Greedy {
    fn take_note(&self) {
        self.told.fetch_add(1, Relaxed);
        let (short, long) = (Layout::new::<u64>(), Layout::new::<[u64; 9]>());
        let block = (self.heap)().try_alloc(short).unwrap();
        // SAFETY: the block is live, and `short` its layout.
        let block = unsafe { (self.heap)().try_resize(block.cast(), short, long) }.unwrap();
        // SAFETY: the block is live, and `long` its layout.
        unsafe { (self.heap)().free(block.cast(), long) };
    }
}

impl Sink for Greedy {
    type Resizing = ();
    fn allocated(&self, _: &Block) {
        self.take_note();
    }
    fn freeing(&self, _: &Block) {
        self.take_note();
    }
    fn resizing(&self, _: &Block, _: Layout) {
        self.take_note();
    }
    fn resized(&self, (): (), _: &Block, _: Result<&Block, AllocError>) {
        self.take_note();
    }
}

static HEAP: Heap<Greedy> =
    Traced::new(Greedy { told: AtomicUsize::new(0), heap: || &HEAP }, AnyGlobal::new(System));

#[test]
fn a_sink_may_use_the_heap_that_it_listens_to() {
    let (short, long) = (Layout::new::<u64>(), Layout::new::<[u64; 9]>());
    let block = HEAP.try_alloc(short).unwrap();
    // SAFETY: the block is live, and `short` its layout.
    let block = unsafe { HEAP.try_resize(block.cast(), short, long) }.unwrap();
    // SAFETY: the block is live, and `long` its layout.
    unsafe { HEAP.free(block.cast(), long) };
    assert_eq!(HEAP.sink().told.load(Relaxed), 4);
    untraced(|| {
        let block = HEAP.try_alloc(short).unwrap();
        // SAFETY: the block is live, and `short` its layout.
        unsafe { HEAP.free(block.cast(), short) };
    });
    assert_eq!(HEAP.sink().told.load(Relaxed), 4);
}

/// Panics.
struct Broken;

impl Sink for Broken {
    type Resizing = ();
    fn allocated(&self, _: &Block) {
        panic!("a sink that is broken");
    }
    fn freeing(&self, _: &Block) {}
    fn resizing(&self, _: &Block, _: Layout) {}
    fn resized(&self, (): (), _: &Block, _: Result<&Block, AllocError>) {}
}

#[test]
#[cfg_attr(miri, ignore = "starts a process")]
fn a_panic_in_a_sink_aborts() {
    const CHILD: &str = "HEAPWRIGHT_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        let heap = Traced::new(Broken, AnyGlobal::new(System));
        let _ = heap.try_alloc(Layout::new::<u64>());
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "reentry::a_panic_in_a_sink_aborts"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(!output.status.success(), "the child went on: {output:?}");
    assert_ne!(output.status.code(), Some(101), "the child unwound instead of aborting: {output:?}");
}

/// Allocates from the heap whose log it is.
struct Grown(u64);

static LOGGED: Traced<TextLog<LockedWriter<Grown>>, AnyGlobal<System>> =
    Traced::new(TextLog::new(LockedWriter::new(Grown(0))), AnyGlobal::new(System));

impl Write for Grown {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let layout = Layout::new::<[u64; 9]>();
        let block = LOGGED.try_alloc(layout).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // SAFETY: the block is live, and this its layout.
        unsafe { LOGGED.free(block.cast(), layout) };
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line of one's own in a log whose writer allocates from the heap that is logged.
#[test]
fn a_writer_may_use_the_heap_whose_log_it_is() {
    LOGGED.sink().writer().write_all(b"a line").unwrap();
    let layout = Layout::new::<u64>();
    let block = LOGGED.try_alloc(layout).unwrap();
    // SAFETY: the block is live, and this its layout.
    unsafe { LOGGED.free(block.cast(), layout) };
    assert_eq!(LOGGED.sink().lost(), 0);
}
