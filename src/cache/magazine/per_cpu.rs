//! Fronts per CPU, for systems without threads of their own.

use core::fmt;

use super::layer::{Layer, Place, impl_object_alloc};
use crate::describe::{Cost, Describe, Tree};
use crate::lock::Lock;

/// A [`Magazined`](super::Magazined) with one front for each CPU: `PerCpu<Magazined<Cache>, 4>`.
///
/// Choose it without std, in a kernel, say, or where threads outnumber CPUs by far: what is kept idle depends on the number of CPUs and not
/// on that of threads. A function of yours tells the CPU that the caller is on (`mpidr_el1`, `tp`, the APIC's id). Whatever it
/// answers is safe, since each front is behind a lock of its own (of the depot's type); a wrong answer, or a thread that moves
/// to another CPU in between, costs time only. Answers are taken modulo `CPUS`.
///
/// **Cost.** A use of a lock that nobody else wants, on a line that no other CPU touches, and the call of the function. With a
/// `CriticalSectionLock` interrupt handlers may use the cache.
///
/// **Memory.** `2 * N + 1` words for each CPU, and the lock's, rounded up to 128 bytes (two cache lines, which CPUs fetch together): 1,152 bytes as
/// it is set by default.
///
/// ```
/// use heapwright::cache::{HeapSlots, Magazined, PerCpu, UntypedObjectAlloc};
/// use heapwright::{arena::StaticArena, sizing::Sizing128KiB};
/// use std::alloc::Layout;
///
/// fn this_cpu() -> usize {
///     0 // ask the machine here
/// }
/// static ARENA: StaticArena<8192, Sizing128KiB> = StaticArena::new();
/// static NODES: PerCpu<Magazined<HeapSlots<'static, StaticArena<8192, Sizing128KiB>>>, 4> =
///     PerCpu::new(Magazined::new(HeapSlots::new(&ARENA, Layout::new::<[u64; 4]>())), this_cpu);
///
/// let node = NODES.alloc_slot()?;
/// // SAFETY: it was handed out just now.
/// unsafe { NODES.free_slot(node) };
/// assert_eq!(NODES.alloc_slot()?, node);
/// # unsafe { NODES.free_slot(node) };
/// # Ok::<(), heapwright::AllocError>(())
/// ```
pub struct PerCpu<P: Layer, const CPUS: usize> {
    fronts: [CpuFront<P>; CPUS],
    this_cpu: fn() -> usize,
    layer: P,
}

/// A front behind a lock, on cache lines of its own.
#[repr(align(128))]
struct CpuFront<P: Layer> {
    lock: P::Lock,
    /// Touched only under `lock`. Its parts are cells, so that a reference is enough.
    front: P::Front,
}

// SAFETY: the slots in the fronts are free ones of the layer's cache, and go with it to the other thread, as those in its depot do.
unsafe impl<P: Layer + Send, const CPUS: usize> Send for PerCpu<P, CPUS> where P::Lock: Send {}

// SAFETY: a front is touched under its lock only, which may be shared (L1, L2). It passes free slots of a cache between threads that may
// be shared, as the layer's depot does.
unsafe impl<P: Layer + Sync, const CPUS: usize> Sync for PerCpu<P, CPUS> where P::Lock: Sync {}

impl<P: Layer, const CPUS: usize> PerCpu<P, CPUS> {
    /// Puts empty fronts before a layer. `this_cpu` tells the CPU that its caller is on; it must not use this cache. If it panics, the
    /// program aborts, since nothing may unwind out of an allocator.
    #[must_use]
    pub const fn new(layer: P, this_cpu: fn() -> usize) -> Self {
        const { assert!(CPUS > 0, "there is one CPU at least: take CPUS > 0") };
        PerCpu {
            fronts: [const { CpuFront { lock: P::Lock::INIT, front: P::FRONT } }; CPUS],
            this_cpu,
            layer,
        }
    }

    /// The layer behind the fronts: its numbers, its depot, its cache.
    pub const fn magazined(&self) -> &P {
        &self.layer
    }

    /// Gives all that the fronts hold back, those of all CPUs: whole magazines to the depot as far as there is room, the rest
    /// to the inner cache.
    pub fn flush(&self) {
        // If a destructor in the inner cache unwinds, the others are drained all the same.
        drop(self.fronts.each_ref().map(|front| Drained(OneCpu { front, layer: &self.layer })));
    }
}

/// What the function says. An `extern "C"` function aborts the process where another would unwind (since Rust 1.81), and nothing may unwind
/// out of an allocator, least of all with slots in hand.
extern "C" fn cpu_or_abort(this_cpu: &fn() -> usize) -> usize {
    this_cpu()
}

impl<P: Layer, const CPUS: usize> Drop for PerCpu<P, CPUS> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The front of a certain CPU as a place.
struct OneCpu<'a, P: Layer> {
    front: &'a CpuFront<P>,
    layer: &'a P,
}

impl<P: Layer> Place for OneCpu<'_, P> {
    type Layer = P;

    fn layer(&self) -> &P {
        self.layer
    }

    #[inline(always)]
    fn peek<R>(&self, work: impl FnOnce(&P::Front) -> R) -> Option<R> {
        self.front.lock.with(|| work(&self.front.front))
    }
}

/// A front that is drained when this is dropped.
struct Drained<'a, P: Layer>(OneCpu<'a, P>);

impl<P: Layer> Drop for Drained<'_, P> {
    fn drop(&mut self) {
        self.0.layer.drain(&self.0);
    }
}

impl<P: Layer, const CPUS: usize> Place for PerCpu<P, CPUS> {
    type Layer = P;

    #[inline(always)]
    fn layer(&self) -> &P {
        &self.layer
    }

    /// The caller may be on another CPU as soon as it has asked; the lock keeps the front whole all the same.
    #[inline(always)]
    fn peek<R>(&self, work: impl FnOnce(&P::Front) -> R) -> Option<R> {
        let front = &self.fronts[cpu_or_abort(&self.this_cpu) % CPUS];
        OneCpu { front, layer: &self.layer }.peek(work)
    }
}

impl_object_alloc!([P: Layer, const CPUS: usize] PerCpu<P, CPUS>, P::Cache);

impl<P: Layer + fmt::Debug, const CPUS: usize> fmt::Debug for PerCpu<P, CPUS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerCpu").field("layer", &self.layer).field("cpus", &CPUS).finish_non_exhaustive()
    }
}

impl<P: Layer + Describe, const CPUS: usize> Describe for PerCpu<P, CPUS> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        tree.part(
            format_args!("PerCpu, {CPUS} fronts"),
            Cost::state_around::<Self, P>(),
            &[("layer", P::describe)],
        )
    }
}
