//! Reports of misuse that tell where a block was allocated and freed.

use std::alloc::{Layout, System};
use std::process::Command;
use std::ptr::NonNull;
use std::sync::{Mutex, OnceLock};

use heapwright::check::{Hardened, Misuse, MisuseHook, Report, Wrong};
use heapwright::combine::Quarantine;
use heapwright::heap::{Locked, SharedHeap};
use heapwright::lock::YieldLock;
use heapwright::source::{GlobalHeap, SourceHeap};
use heapwright::trace::{AbortWith, AnyGlobal, Explained, Recall, Traced, Witness};

#[cfg(feature = "trace-backtrace")]
type Sites = heapwright::trace::Backtraces;
#[cfg(not(feature = "trace-backtrace"))]
type Sites = heapwright::trace::BySize;

/// Blocks that wait in a quarantine, where it is found out when they are freed again.
type Guarded = Locked<Quarantine<16, SourceHeap<GlobalHeap>, MisuseHook>, YieldLock>;

static HEAP: Traced<Recall<Sites>, Guarded> = Traced::new(
    Recall::new(),
    // SAFETY: what the report allocates is from the program's heap, and not from this one.
    Locked::new(Quarantine::new(SourceHeap::new(GlobalHeap), unsafe {
        MisuseHook::new(AbortWith::<Program>::report)
    })),
);

struct Program;
impl Witness for Program {
    fn explain(misuse: &Misuse) -> Explained {
        HEAP.sink().explain(misuse)
    }
}

const LAYOUT: Layout = Layout::new::<[u8; 24]>();

#[inline(never)]
fn place_of_birth() -> NonNull<u8> {
    HEAP.try_alloc(LAYOUT).unwrap().cast()
}

#[inline(never)]
fn place_of_death(block: NonNull<u8>) {
    // SAFETY: the block is live, and its layout this one.
    unsafe { HEAP.free(block, LAYOUT) };
}

#[inline(never)]
fn scene_of_crime(block: NonNull<u8>) {
    // SAFETY: this is the mistake. The block is in the quarantine, which looks at its address only.
    unsafe { HEAP.free(block, LAYOUT) };
}

/// What tells the test's own process from the one that is to be aborted.
const CULPRIT: &str = "HEAPWRIGHT_TEST_FREES_TWICE";

#[test]
#[cfg(not(any(miri, target_family = "wasm")))]
fn a_double_free_under_a_traced_heap_tells_where_it_was_allocated_and_freed() {
    if std::env::var_os(CULPRIT).is_some() {
        let block = place_of_birth();
        place_of_death(block);
        scene_of_crime(block);
        return;
    }
    let name = "recall::a_double_free_under_a_traced_heap_tells_where_it_was_allocated_and_freed";
    let program = std::env::current_exe().unwrap();
    let output =
        Command::new(program).args(["--exact", name, "--nocapture"]).env(CULPRIT, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{text}");
    let mut rest = &*text;
    let mut parts = vec![
        "heapwright: freed twice: the block of 24 bytes, aligned to 1, at 0x",
        "\n  allocated, with 24 bytes, aligned to 1: event 1 of 3\n",
        "\n  freed: event 2 of 3\n",
        "\n  freed again: event 3 of 3\n",
    ];
    if cfg!(feature = "trace-backtrace") {
        parts.insert(2, "place_of_birth (");
        parts.insert(4, "place_of_death (");
        parts.push("scene_of_crime (");
    }
    for part in parts {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not, or too early, in {text}"));
        // Its last byte may be the next part's first.
        rest = &rest[at + part.len() - 1..];
    }
}

/// What is known of a block is told while it lives and when it is freed; of others nothing.
#[test]
fn what_is_known_can_be_asked() {
    let heap = Traced::new(Recall::<Sites, 64, 8>::new(), AnyGlobal::new(System));
    let block = heap.try_alloc(LAYOUT).unwrap().cast::<u8>();
    let misuse = Misuse::new(Wrong::DoubleFree, block.addr().get(), LAYOUT);
    let freed = || {
        let explained = heap.sink().explain(&misuse);
        assert_eq!(explained.misuse(), &misuse);
        explained.known().map(|known| (known.address(), known.is_freed()))
    };
    assert_eq!(freed(), Some((misuse.address, false)));
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.free(block, LAYOUT) };
    assert_eq!(freed(), Some((misuse.address, true)));
    let elsewhere = Misuse::new(Wrong::Foreign, 0x1000, LAYOUT);
    assert!(heap.sink().explain(&elsewhere).known().is_none());
}

/// Looked at where it comes back: what is wrong is told by the block that it is about.
#[test]
fn wrong_calls_are_explained_by_the_block_that_they_are_about() {
    use heapwright::arena::SourceArena;
    use heapwright::sizing::{Checked, Sizing16MiB};

    struct Told;
    static EXPLAINED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    impl Report for Told {
        fn report(misuse: &Misuse) {
            EXPLAINED.lock().unwrap().push(LOOKING.get().unwrap().sink().explain(misuse).to_string());
        }
    }
    type Looking = Locked<SourceArena<GlobalHeap, Checked<Sizing16MiB, Hardened<Told>>>, YieldLock>;
    static LOOKING: OnceLock<Traced<Recall<Sites, 256, 8>, Looking>> = OnceLock::new();

    let arena = SourceArena::with_size(GlobalHeap, 65_536).unwrap();
    let heap = LOOKING.get_or_init(|| Traced::new(Recall::new(), Locked::new(arena)));
    // The lines that are no call sites.
    let explained = || {
        let all = std::mem::take(&mut *EXPLAINED.lock().unwrap());
        assert_eq!(all.len(), 1, "{all:?}");
        let lines = all[0].lines().skip(1).filter(|line| !line.starts_with("      "));
        Vec::from_iter(lines.map(|line| line.split(": event").next().unwrap().trim().to_string()))
    };
    let layout = |size| Layout::from_size_align(size, 8).unwrap();
    let [first, second] = [0; 2].map(|_| heap.try_alloc(layout(64)).unwrap().cast::<u8>());

    // SAFETY: inside of the block.
    let middle = unsafe { first.add(16) };
    // SAFETY: none: that it is found is what is tested.
    unsafe { heap.free(middle, layout(64)) };
    let here = format!("16 bytes into the block at {:#x}", first.addr());
    let born = "allocated, with 64 bytes, aligned to 8";
    assert_eq!(explained(), [&*here, born, "freed from its middle"]);

    // A free that was refused is not taken for that of the block.
    for wrong in [layout(640), layout(64), layout(64)] {
        // SAFETY: none, but for the second.
        unsafe { heap.free(second, wrong) };
        if wrong.size() != 64 {
            assert_eq!(explained(), [born, "freed, with 640 bytes, aligned to 8"]);
        }
    }
    assert_eq!(explained(), [born, "freed", "freed again"]);

    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.free(first, layout(64)) };
    let byte = second.as_ptr().wrapping_add(5);
    // SAFETY: none: the block has been freed.
    unsafe { byte.write(1) };
    // Both have become one piece of free memory.
    let long = heap.try_alloc(layout(128)).unwrap().cast::<u8>();
    let here = format!("5 bytes into the block at {:#x}", second.addr());
    assert_eq!(explained()[..2], [&*here, born]);
    // SAFETY: the block is live, and its layout this one.
    unsafe { heap.free(long, layout(128)) };
}
