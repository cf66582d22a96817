//! Each method of a shared heap goes to the same method of the heap within, with a sink and without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::RefCell;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::describe::describe;
use heapwright::heap::{NoHeap, SharedHeap};
use heapwright::trace::{AnyGlobal, Event, LastEvents, LockedWriter, Sink, TextLog, Traced};

use crate::profile::beyond;

/// A heap that notes which of its methods was called. Its blocks are those of the system.
#[derive(Default)]
struct Probe {
    called: RefCell<Vec<&'static str>>,
}

impl Probe {
    fn note(&self, name: &'static str) {
        self.called.borrow_mut().push(name);
    }

    fn block(layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: no test asks for size zero here.
        let start = unsafe { System.alloc_zeroed(layout) };
        NonNull::new(start).map(|start| NonNull::slice_from_raw_parts(start, layout.size())).ok_or(AllocError)
    }
}

// SAFETY: S1: there is no core to be entered. S2: blocks are the system's. S3: nothing unwinds. S4: blocks are as asked for.
unsafe impl SharedHeap for Probe {
    type Core<'a> = NoHeap;

    unsafe fn enter<'s, R>(&'s self, _: impl FnOnce(&mut Self::Core<'s>) -> R) -> Result<R, AllocError> {
        self.note("enter");
        Err(AllocError)
    }

    fn try_alloc(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.note("alloc");
        Probe::block(layout)
    }

    fn try_alloc_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.note("alloc_zeroed");
        Probe::block(layout)
    }

    unsafe fn free(&self, ptr: NonNull<u8>, layout: Layout) {
        self.note("free");
        if layout.size() > 0 {
            // SAFETY: the block is the system's, with this layout.
            unsafe { System.dealloc(ptr.as_ptr(), layout) };
        }
    }

    unsafe fn try_resize(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.note("resize");
        // SAFETY: the block is the system's, with this layout; the new size is not zero.
        let start = unsafe { System.realloc(ptr.as_ptr(), old, new.size()) };
        NonNull::new(start).map(|start| NonNull::slice_from_raw_parts(start, new.size())).ok_or(AllocError)
    }

    unsafe fn try_resize_zeroed(
        &self,
        ptr: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.note("resize_zeroed");
        // SAFETY: the block is the system's, with this layout; the new size is not zero.
        let start = unsafe { System.realloc(ptr.as_ptr(), old, new.size()) };
        NonNull::new(start).map(|start| NonNull::slice_from_raw_parts(start, new.size())).ok_or(AllocError)
    }

    fn try_alloc_batch(&self, layout: Layout, out: &mut [MaybeUninit<NonNull<u8>>]) -> usize {
        self.note("alloc_batch");
        // One fewer than was asked for.
        let count = out.len() - 1;
        for place in &mut out[..count] {
            place.write(Probe::block(layout).unwrap().cast());
        }
        count
    }

    unsafe fn free_batch(&self, layout: Layout, blocks: &[NonNull<u8>]) {
        self.note("free_batch");
        for block in blocks {
            // SAFETY: the block is the system's, with this layout.
            unsafe { System.dealloc(block.as_ptr(), layout) };
        }
    }

    fn release_unused(&self) -> usize {
        self.note("release_unused");
        17
    }
}

/// Calls each method once.
fn use_all<T: Sink>(heap: &Traced<T, Probe>) {
    let (short, long) = (Layout::new::<[u64; 4]>(), Layout::new::<[u64; 40]>());
    let block = heap.try_alloc(short).unwrap();
    // SAFETY: the block is live, and `short` its layout.
    let block = unsafe { heap.try_resize(block.cast(), short, long) }.unwrap();
    // SAFETY: the block is live, and `long` its layout.
    let block = unsafe { heap.try_resize_zeroed(block.cast(), long, short) }.unwrap();
    // SAFETY: the block is live, and `short` its layout.
    unsafe { heap.free(block.cast(), short) };
    let block = heap.try_alloc_zeroed(long).unwrap();
    // SAFETY: the block is live, and `long` its layout.
    unsafe { heap.free(block.cast(), long) };
    let mut out = [MaybeUninit::uninit(); 3];
    assert_eq!(heap.try_alloc_batch(short, &mut out), 2);
    // SAFETY: the first two are blocks.
    let blocks = [unsafe { out[0].assume_init() }, unsafe { out[1].assume_init() }];
    // SAFETY: both are live, and `short` their layout.
    unsafe { heap.free_batch(short, &blocks) };
    assert_eq!(heap.release_unused(), 17);
    // SAFETY: the closure does nothing.
    assert_eq!(unsafe { heap.enter(|_| ()) }, Err(AllocError));
}

const CALLS: [&str; 10] = [
    "alloc",
    "resize",
    "resize_zeroed",
    "free",
    "alloc_zeroed",
    "free",
    "alloc_batch",
    "free_batch",
    "release_unused",
    "enter",
];

#[test]
fn every_method_is_the_heaps_own() {
    let silent = Traced::new((), Probe::default());
    use_all(&silent);
    assert_eq!(*silent.heap().called.borrow(), CALLS);
    let traced = Traced::new(LastEvents::<32>::new(), Probe::default());
    use_all(&traced);
    assert_eq!(*traced.heap().called.borrow(), CALLS);
    let text = traced.sink().to_string();
    let words: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let expected = [
        "alloc", "resize", "resized", "resize", "resized", "free", "alloc", "free", "alloc", "alloc",
        "refused", "free", "free",
    ];
    assert_eq!(words, expected, "{text}");
    for event in traced.sink().iter().map(|numbered| numbered.event) {
        assert_eq!(event.address().is_none(), event.to_string().starts_with("refused"), "{event}");
    }
}

/// Sinks beside each other are told the same, one by reference as well, and nobody beside them changes nothing.
#[test]
fn sinks_beside_each_other_are_told_the_same() {
    let alone = LastEvents::<32>::new();
    let heap = Traced::new((&alone, ((), TextLog::new(LockedWriter::new(Vec::new())))), Probe::default());
    use_all(&heap);
    assert_eq!(*heap.heap().called.borrow(), CALLS);
    let ((_, (_, log)), _) = heap.into_parts();
    assert_eq!(log.lost(), 0);
    let text = String::from_utf8(log.into_inner().into_inner()).unwrap();
    let numbered: String =
        text.lines().enumerate().map(|(number, line)| format!("{number} {line}\n")).collect();
    let words = |text: &str| text.split_whitespace().map(String::from).collect::<Vec<_>>();
    assert_eq!(words(&alone.to_string()), words(&numbered));
    assert!(text.contains(&format!("refused size 32 align {}\n", align_of::<u64>())), "{text}");
}

/// What can't be resized stays, and its sinks are told so.
#[test]
fn a_block_that_stays_is_told() {
    let heap = Traced::new(
        (LastEvents::<8>::new(), TextLog::new(LockedWriter::new(Vec::new()))),
        AnyGlobal::new(System),
    );
    let this = Layout::new::<u64>();
    let block = heap.try_alloc(this).unwrap().cast();
    // SAFETY: the block is live, and its layout this one.
    assert!(unsafe { heap.try_resize(block, this, beyond()) }.is_err());
    // SAFETY: as above: it has stayed as it was.
    unsafe { heap.free(block, this) };
    let events: Vec<_> = heap.sink().0.iter().map(|numbered| numbered.event).collect();
    assert!(matches!(events[2], Event::NotResized(stays) if stays.layout == this), "{events:?}");
    assert!(events.iter().all(|event| event.address() == Some(block.addr().get())), "{events:?}");
    let ((_, log), _) = heap.into_parts();
    let text = String::from_utf8(log.into_inner().into_inner()).unwrap();
    assert_eq!(text, events.iter().map(|event| format!("{event}\n")).collect::<String>());
    assert!(text.lines().nth(2).unwrap().starts_with("stays "), "{text}");
}

/// A writer that takes a byte at a time, and counts how often it was flushed.
#[derive(Default)]
struct Slow {
    bytes: Vec<u8>,
    flushed: usize,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(1);
        self.bytes.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flushed += 1;
        Ok(())
    }
}

#[test]
fn a_writer_behind_a_lock_is_written_to_and_flushed() {
    let log = TextLog::new(LockedWriter::new(Slow::default()));
    let mut writer = log.writer();
    assert_eq!(writer.write(b"ab").unwrap(), 1);
    writer.write_all(b"bc").unwrap();
    writer.flush().unwrap();
    log.refused(Layout::new::<u16>());
    let slow = log.into_inner().into_inner();
    assert_eq!((slow.bytes, slow.flushed), (b"abcrefused size 2 align 2\n".to_vec(), 1));
}

/// A general allocator knows the sizes of its blocks, and is asked.
#[test]
#[cfg(not(miri))]
fn sizes_are_those_of_the_heap_within() {
    use heapwright::heap::UsableSize;
    use heapwright::preset::SlabMalloc;

    let (heap, layout) = (Traced::new((), SlabMalloc), Layout::new::<[u8; 100]>());
    // SAFETY: the size is not zero.
    let block = NonNull::new(unsafe { SlabMalloc.alloc(layout) }).unwrap();
    // SAFETY: the block is live.
    let size = unsafe { heap.usable_size(block) };
    assert!((100..200).contains(&size), "{size}");
    // SAFETY: as above.
    assert_eq!(size, unsafe { SlabMalloc.usable_size(block) });
    // SAFETY: the block is live, and its layout this one.
    unsafe { SlabMalloc.dealloc(block.as_ptr(), layout) };
}

#[test]
fn size_zero_is_no_block() {
    let traced = Traced::new(LastEvents::<32>::new(), Probe::default());
    let (none, some) = (Layout::new::<()>(), Layout::new::<u32>());
    // SAFETY: a block of size zero, and `none` its layout.
    let block = unsafe { traced.try_resize(NonNull::dangling(), none, some) }.unwrap();
    // SAFETY: the block is live, and `some` its layout.
    let block = unsafe { traced.try_resize(block.cast(), some, none) }.unwrap();
    assert_eq!(block.len(), 0);
    // SAFETY: a block of size zero, and `none` its layout.
    unsafe { traced.free(block.cast(), none) };
    // SAFETY: a block of size zero, and `none` its layout.
    let block = unsafe { traced.try_resize_zeroed(NonNull::dangling(), none, some) }.unwrap();
    // SAFETY: the block is live, and `some` its layout.
    let block = unsafe { traced.try_resize_zeroed(block.cast(), some, none) }.unwrap();
    assert_eq!(block.len(), 0);
    assert_eq!(*traced.heap().called.borrow(), ["alloc", "free", "free", "alloc_zeroed", "free"]);
    assert_eq!(traced.sink().told(), 4);
}

#[test]
fn it_says_what_it_is() {
    let tree = describe::<Traced<(), NoHeap>>().to_string();
    assert_eq!(tree, "Traced, nobody is told\n└─ heap: NoHeap, refuses every request\n");
    let tree = describe::<Traced<LastEvents<2>, NoHeap>>().to_string();
    let bytes = size_of::<LastEvents<2>>();
    assert_eq!(
        tree,
        format!(
            "Traced, each block is told to a sink ({bytes} bytes)\n└─ heap: NoHeap, refuses every request\n"
        )
    );
}
