//! What happened last to each block, for who wants to know whose mistake a misuse is.

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::format;
use std::io::Write;
use std::string::String;
use std::vec::Vec;

use super::profile::symbols::{Symbols, is_library};
use super::{Block, BySize, CallSites, Sink, Symbol, untraced};
use crate::AllocError;
use crate::check::{Misuse, Report, Wrong};
use crate::lock::{Lock, YieldLock};

/// Where each block was allocated and freed, as far as there is room: the sink that can tell whose mistake a misuse is. Feature `std`.
///
/// Choose it beside a heap that checks, while a mistake is looked for: a double free is found where the block is freed a second time, and the
/// question is where that was done first. [`explain`](Recall::explain) answers it; [`AbortWith`] is a report that does so.
///
/// It keeps `N` blocks. Each has a place by its address, and loses it to the next block with the same place, so that what happened to a block is known
/// for long, if not for ever. Of each it keeps the allocation, the free, and the free after that, each with the call site that `C` finds: `Backtraces`
/// with the feature `trace-backtrace`, or [`BySize`], none. A free by an address within a block is told beside that block's own.
///
/// ```
/// use heapwright::check::{Misuse, MisuseHook};
/// use heapwright::combine::Quarantine;
/// use heapwright::heap::{Locked, SharedHeap};
/// use heapwright::lock::SpinLock;
/// use heapwright::source::{GlobalHeap, SourceHeap};
/// use heapwright::trace::{Recall, Traced};
/// use std::alloc::Layout;
///
/// // Of blocks that wait in a quarantine it is known when they are freed again.
/// type Guarded = Locked<Quarantine<64, SourceHeap<GlobalHeap>, MisuseHook>, SpinLock>;
/// static HEAP: Traced<Recall, Guarded> = Traced::new(
///     Recall::new(),
///     // SAFETY: a `String` is not from this heap.
///     Locked::new(Quarantine::new(SourceHeap::new(GlobalHeap), unsafe { MisuseHook::new(told) })),
/// );
///
/// fn told(misuse: &Misuse) {
///     let text = HEAP.sink().explain(misuse).to_string();
///     let lines: Vec<_> = text.lines().collect();
///     assert!(lines[0].starts_with("freed twice: the block of 24 bytes, aligned to 1, at 0x"));
///     assert_eq!(lines[1..], [
///         "  allocated, with 24 bytes, aligned to 1: event 1 of 3",
///         "  freed: event 2 of 3",
///         "  freed again: event 3 of 3",
///     ]);
/// }
///
/// let layout = Layout::new::<[u8; 24]>();
/// let block = HEAP.try_alloc(layout)?.cast();
/// // SAFETY: the first free is right; the second is what is looked for, and the quarantine leaves it without effect.
/// unsafe {
///     HEAP.free(block, layout);
///     HEAP.free(block, layout);
/// }
/// # Ok::<(), heapwright::AllocError>(())
/// ```
///
/// # Cost
/// For each place three times `DEPTH` words, and 17 more: 1.1 KiB with the defaults, and 1.1 MiB for the 1,024 places, all zero, in `.bss` of a static, and not
/// touched before it is needed. Without call sites a `DEPTH` of 0 does. For each event a lock of that place, and what `C` takes to find the call site.
///
/// # Forks
/// As with a [`HeapProfile`](super::HeapProfile#forks).
///
/// The idea: the reports of AddressSanitizer, and of GWP-ASan.
pub struct Recall<C = BySize, const N: usize = 1024, const DEPTH: usize = 40> {
    /// Events so far.
    told: AtomicUsize,
    places: [Place<DEPTH>; N],
    call_sites: PhantomData<fn() -> C>,
}

/// Where what is known of a block stands.
struct Place<const DEPTH: usize> {
    lock: YieldLock,
    /// Touched under the lock only.
    life: UnsafeCell<Life<DEPTH>>,
}

// SAFETY: the life is touched under the lock only (L1, L2), and is nothing but numbers.
unsafe impl<const DEPTH: usize> Sync for Place<DEPTH> {}

/// What happened to a block.
#[derive(Clone, Copy)]
struct Life<const DEPTH: usize> {
    address: usize,
    allocated: Moment<DEPTH>,
    freed: Moment<DEPTH>,
    freed_again: Moment<DEPTH>,
}

/// When and where something happened.
#[derive(Clone, Copy)]
struct Moment<const DEPTH: usize> {
    /// Counted from 1; 0 if it has not happened.
    number: usize,
    /// Of the block.
    size: usize,
    align: usize,
    /// Whether it was a resize that did it.
    by_resize: bool,
    frames: [usize; DEPTH],
    /// How many of the frames there are.
    depth: usize,
}

impl<const DEPTH: usize> Moment<DEPTH> {
    const NEVER: Self =
        Moment { number: 0, size: 0, align: 0, by_resize: false, frames: [0; DEPTH], depth: 0 };

    const fn is_never(&self) -> bool {
        self.number == 0
    }
}

impl<const DEPTH: usize> Life<DEPTH> {
    const NONE: Self =
        Life { address: 0, allocated: Moment::NEVER, freed: Moment::NEVER, freed_again: Moment::NEVER };

    /// Whether a free came with the layout of the allocation.
    const fn is_own(&self, freed: &Moment<DEPTH>) -> bool {
        !self.allocated.is_never()
            && freed.size == self.allocated.size
            && freed.align == self.allocated.align
            && !freed.is_never()
    }

    /// Whether an address is one of the block's bytes.
    const fn has(&self, address: usize) -> bool {
        !self.allocated.is_never() && self.address <= address && address - self.address < self.allocated.size
    }
}

impl<const DEPTH: usize> Place<DEPTH> {
    /// Runs `work`, which neither unwinds nor waits, on what is known.
    fn with<R>(&self, work: impl FnOnce(&mut Life<DEPTH>) -> R) -> Option<R> {
        self.lock.with(|| {
            // SAFETY: the lock gives exclusion (L1).
            work(unsafe { &mut *self.life.get() })
        })
    }
}

impl<C: CallSites, const N: usize, const DEPTH: usize> Recall<C, N, DEPTH> {
    /// Nothing so far.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N > 0, "a Recall has room for at least 1 block: take `()` to keep none") };
        let places = [const { Place { lock: YieldLock::INIT, life: UnsafeCell::new(Life::NONE) } }; N];
        Recall { told: AtomicUsize::new(0), places, call_sites: PhantomData }
    }

    /// What is known of the block that an address is in; `None` if that is nothing.
    ///
    /// A block at the very address comes first, and then the newest one that it lies in. O(`N`) if there is none at the address itself.
    ///
    /// ```
    /// use heapwright::trace::{AnyGlobal, Recall, Traced};
    /// use std::alloc::System;
    ///
    /// #[global_allocator]
    /// static HEAP: Traced<Recall, AnyGlobal<System>> = Traced::new(Recall::new(), AnyGlobal::new(System));
    ///
    /// let numbers = vec![1u32; 1000];
    /// let known = HEAP.sink().recall(numbers[7..].as_ptr().addr()).expect("it is new");
    /// assert_eq!(known.address(), numbers.as_ptr().addr());
    /// assert!(known.to_string().contains("allocated, with 4000 bytes, aligned to 4: event "));
    /// ```
    pub fn recall(&self, address: usize) -> Option<Recollection> {
        let own = self.place(address).with(|life| *life);
        let own = own.filter(|life| life.address == address && address != 0);
        let block = own.filter(|life| !life.allocated.is_never()).or_else(|| self.around(address));
        // A call for what nobody has allocated is no more than that.
        let call = own.filter(|_| block.is_some_and(|block| block.address != address));
        let last = |life: Life<DEPTH>| {
            if life.freed_again.is_never() { life.freed } else { life.freed_again }
        };
        Some(self.recollection(&block.or(own)?, &call.map_or(Moment::NEVER, last)))
    }

    /// The newest block that an address lies in.
    fn around(&self, address: usize) -> Option<Life<DEPTH>> {
        let lives = self.places.iter().filter_map(|place| place.with(|life| *life));
        lives.filter(|life| life.has(address)).max_by_key(|life| life.allocated.number)
    }

    /// What is known of a block, and of a call for its middle.
    fn recollection(&self, life: &Life<DEPTH>, within: &Moment<DEPTH>) -> Recollection {
        let event = |moment: &Moment<DEPTH>| {
            (!moment.is_never()).then(|| Recalled {
                number: moment.number,
                size: moment.size,
                align: moment.align,
                by_resize: moment.by_resize,
                frames: moment.frames[..moment.depth].to_vec(),
            })
        };
        Recollection {
            address: life.address,
            told: self.told.load(Ordering::Relaxed),
            allocated: event(&life.allocated),
            freed: event(&life.freed),
            freed_again: event(&life.freed_again),
            freed_within: event(within),
            resolve: C::resolve,
        }
    }

    /// A misuse, and what is known of the block that it is about: where freed memory was written to, of the block that the byte was in.
    ///
    /// It takes memory from the program's heap. [`Report`]s may, also of the very heap that reports; an [`OnMisuse`](crate::check::OnMisuse) may if the
    /// heap that reports is another one.
    pub fn explain(&self, misuse: &Misuse) -> Explained {
        // Free memory may have been that of several blocks, and the byte in any of them.
        let written = misuse.damage.filter(|_| misuse.wrong == Wrong::WrittenAfterFree);
        let byte = written.map(|damage| misuse.address.wrapping_add_signed(damage.offset));
        let block = byte.and_then(|at| Some((at, self.around(at)?)));
        let (at, known) = match block {
            Some((at, life)) => (at, Some(self.recollection(&life, &Moment::NEVER))),
            None => (misuse.address, self.recall(misuse.address)),
        };
        Explained { misuse: *misuse, at, known }
    }

    /// The place of a block.
    fn place(&self, address: usize) -> &Place<DEPTH> {
        // The upper half of a product depends on all bits.
        let hash = (address as u64 >> 3).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        &self.places[(hash % N as u64) as usize]
    }

    /// Now, and here.
    fn moment(&self, block: &Block, by_resize: bool) -> Moment<DEPTH> {
        let mut frames = [0; DEPTH];
        let depth = if DEPTH == 0 { 0 } else { C::capture(&mut frames).min(DEPTH) };
        let number = self.told.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        Moment { number, size: block.layout.size(), align: block.layout.align(), by_resize, frames, depth }
    }

    /// A block's life begins.
    fn begin(&self, block: &Block, by_resize: bool) {
        let allocated = self.moment(block, by_resize);
        self.place(block.address)
            .with(|life| *life = Life { address: block.address, allocated, ..Life::NONE });
    }

    /// A block's life ends; or it should, and has ended already.
    fn end(&self, block: &Block, by_resize: bool) {
        let moment = self.moment(block, by_resize);
        self.place(block.address).with(|life| {
            if life.address != block.address {
                // Of a live block more is known than of a call for its middle.
                if !(life.has(block.address) && life.freed.is_never()) {
                    *life = Life { address: block.address, freed: moment, ..Life::NONE };
                }
            } else if life.freed.is_never() {
                life.freed = moment;
            } else {
                // What came with another layout than the block's may have been refused.
                if life.is_own(&life.freed_again) && !life.is_own(&life.freed) {
                    life.freed = life.freed_again;
                }
                life.freed_again = moment;
            }
        });
    }
}

impl<C: CallSites, const N: usize, const DEPTH: usize> Sink for Recall<C, N, DEPTH> {
    type Resizing = ();

    fn allocated(&self, block: &Block) {
        self.begin(block, false);
    }

    fn freeing(&self, block: &Block) {
        self.end(block, false);
    }

    /// As far as anybody knows the block goes.
    fn resizing(&self, block: &Block, _: Layout) {
        self.end(block, true);
    }

    fn resized(&self, (): (), was: &Block, now: Result<&Block, AllocError>) {
        match now {
            Ok(now) => self.begin(now, true),
            // It has been there all the time, so nobody else was given its place.
            Err(AllocError) => {
                self.place(was.address).with(|life| {
                    let last =
                        if life.freed_again.is_never() { &mut life.freed } else { &mut life.freed_again };
                    if life.address == was.address && last.by_resize {
                        *last = Moment::NEVER;
                    }
                });
            }
        }
    }
}

impl<C: CallSites, const N: usize, const DEPTH: usize> Default for Recall<C, N, DEPTH> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C, const N: usize, const DEPTH: usize> fmt::Debug for Recall<C, N, DEPTH> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recall").field("places", &N).field("told", &self.told).finish_non_exhaustive()
    }
}

/// An event that is remembered.
#[derive(Clone, Debug)]
struct Recalled {
    number: usize,
    size: usize,
    align: usize,
    by_resize: bool,
    frames: Vec<usize>,
}

/// What a [`Recall`] knows of a block: prints as lines that begin with two spaces, one for each event, and one for each call behind it.
///
/// [`Recall::recall`] has an example.
#[derive(Clone, Debug)]
pub struct Recollection {
    address: usize,
    /// Events until now.
    told: usize,
    allocated: Option<Recalled>,
    freed: Option<Recalled>,
    freed_again: Option<Recalled>,
    /// By an address in its middle.
    freed_within: Option<Recalled>,
    resolve: fn(usize) -> Vec<Symbol>,
}

impl Recollection {
    /// The address of the block's first byte.
    #[must_use]
    pub const fn address(&self) -> usize {
        self.address
    }

    /// Whether it has been freed since it was allocated, as far as is known.
    #[must_use]
    pub const fn is_freed(&self) -> bool {
        self.freed.is_some()
    }

    /// Lines for an event.
    fn event(&self, f: &mut fmt::Formatter<'_>, what: fmt::Arguments<'_>, event: &Recalled) -> fmt::Result {
        let by_resize = if event.by_resize { " by a resize" } else { "" };
        writeln!(f, "  {what}{by_resize}: event {} of {}", event.number, self.told)?;
        let symbols = Symbols::resolve(&event.frames, self.resolve);
        // Of the calls within libraries the innermost one only.
        for (depth, named) in symbols.stack(&event.frames).iter().enumerate() {
            if depth == 0 || !is_library(named.symbol) {
                writeln!(f, "      {}", named.symbol)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Recollection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = |event: &Recalled| format!(", with {} bytes, aligned to {}", event.size, event.align);
        if let Some(event) = &self.allocated {
            self.event(f, format_args!("allocated{}", with(event)), event)?;
        }
        if let Some(event) = &self.freed {
            // Nothing is said twice.
            let same = self.allocated.as_ref().is_some_and(|allocated| with(allocated) == with(event));
            let with = if same { String::new() } else { with(event) };
            self.event(f, format_args!("freed{with}"), event)?;
        }
        if let Some(event) = &self.freed_again {
            self.event(f, format_args!("freed again"), event)?;
        }
        if let Some(event) = &self.freed_within {
            self.event(f, format_args!("freed from its middle"), event)?;
        }
        Ok(())
    }
}

/// A misuse, and what a [`Recall`] knows of the block that it is about: prints as the misuse's line, and those of the [`Recollection`].
///
/// ```
/// use heapwright::check::{Misuse, Wrong};
/// use heapwright::trace::{BySize, Recall};
/// use std::alloc::Layout;
/// let recall: Box<Recall<BySize, 16, 0>> = Box::default();
/// let misuse = Misuse::new(Wrong::Foreign, 0x1000, Layout::new::<u8>());
/// assert_eq!(recall.explain(&misuse).to_string(), format!("{misuse}\n  nothing is known of this address\n"));
/// ```
#[derive(Clone, Debug)]
pub struct Explained {
    misuse: Misuse,
    /// The address in question.
    at: usize,
    known: Option<Recollection>,
}

impl Explained {
    /// The misuse.
    #[must_use]
    pub const fn misuse(&self) -> &Misuse {
        &self.misuse
    }

    /// What is known of the block.
    #[must_use]
    pub const fn known(&self) -> Option<&Recollection> {
        self.known.as_ref()
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.misuse)?;
        let Some(known) = &self.known else { return writeln!(f, "  nothing is known of this address") };
        if known.address != self.misuse.address {
            let distance = self.at - known.address;
            writeln!(f, "  {distance} bytes into the block at {:#x}", known.address)?;
        }
        write!(f, "{known}")
    }
}

/// Who knows what has happened to blocks: the name of a [`Recall`] in a static, for [`AbortWith`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say where a `Recall` is",
    label = "this type parameter takes a type that stands for a `Recall`",
    note = "implement `heapwright::trace::Witness`: one function, which calls `HEAP.sink().explain(misuse)`"
)]
pub trait Witness: 'static {
    /// [`Recall::explain`] of the one that this type stands for.
    fn explain(misuse: &Misuse) -> Explained;
}

/// Ends the process at the first misuse, and tells where the block was allocated and freed: [`Abort`](crate::check::Abort) for a traced heap, as a
/// [`Report`] of a policy: `Checked<AbortWith<Program>>`.
///
/// The misuse is written to standard error first, without memory from any heap, and then what [`Witness`] knows, which takes some.
///
/// ```no_run
/// use heapwright::check::{Misuse, Report, Wrong};
/// use heapwright::trace::{AbortWith, AnyGlobal, Explained, Recall, Traced, Witness};
/// use std::alloc::{Layout, System};
///
/// #[global_allocator]
/// static HEAP: Traced<Recall, AnyGlobal<System>> = Traced::new(Recall::new(), AnyGlobal::new(System));
///
/// struct Program;
/// impl Witness for Program {
///     fn explain(misuse: &Misuse) -> Explained {
///         HEAP.sink().explain(misuse)
///     }
/// }
///
/// let text = String::from("a text");
/// AbortWith::<Program>::report(&Misuse::new(Wrong::DoubleFree, text.as_ptr().addr(), Layout::new::<[u8; 6]>()));
/// unreachable!();
/// ```
pub struct AbortWith<W>(PhantomData<fn() -> W>);

impl<W: Witness> Report for AbortWith<W> {
    fn report(misuse: &Misuse) {
        untraced(|| {
            let mut out = std::io::stderr();
            // If standard error can't be written to, there is nobody left to be told.
            let _ = writeln!(out, "heapwright: {misuse}");
            let text = format!("{}", W::explain(misuse));
            let known = text.split_once('\n').map_or("", |(_, known)| known);
            let _ = out.write_all(known.as_bytes());
        });
        std::process::abort();
    }
}

impl<W> fmt::Debug for AbortWith<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AbortWith")
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use static_assertions::{assert_impl_all, const_assert_eq};

    use super::*;
    use crate::check::Damage;

    assert_impl_all!(Recall: Send, Sync);
    assert_impl_all!(Explained: Send, Sync);
    assert_impl_all!(AbortWith<std::rc::Rc<()>>: Send, Sync);
    const_assert_eq!(size_of::<Recall<BySize, 10, 40>>(), size_of::<[usize; 1 + 10 * (3 * 40 + 17)]>());
    const_assert_eq!(size_of::<Recall<BySize, 10, 0>>(), size_of::<[usize; 1 + 10 * 17]>());

    type Small<const N: usize> = Recall<BySize, N, 0>;

    fn block(address: usize, size: usize) -> Block {
        Block { address, layout: Layout::from_size_align(size, 8).unwrap(), len: size }
    }

    fn lines<const N: usize>(recall: &Small<N>, address: usize) -> Vec<String> {
        let text = recall.recall(address).map_or_else(String::new, |known| known.to_string());
        text.lines().map(|line| String::from(line.trim())).collect()
    }

    #[test]
    fn a_life_is_told_from_its_beginning() {
        let recall = Small::<64>::new();
        recall.allocated(&block(0x1000, 24));
        assert_eq!(lines(&recall, 0x1000), ["allocated, with 24 bytes, aligned to 8: event 1 of 1"]);
        recall.freeing(&block(0x1000, 32));
        recall.freeing(&block(0x1000, 24));
        assert_eq!(lines(&recall, 0x1000)[1], "freed, with 32 bytes, aligned to 8: event 2 of 3");
        recall.freeing(&block(0x1000, 24));
        let all = [
            "allocated, with 24 bytes, aligned to 8: event 1 of 4",
            "freed: event 3 of 4",
            "freed again: event 4 of 4",
        ];
        // The second event has been refused, if layouts are looked at: then the third has freed the block.
        assert_eq!(lines(&recall, 0x1000), all);
        recall.allocated(&block(0x1000, 16));
        assert_eq!(lines(&recall, 0x1000), ["allocated, with 16 bytes, aligned to 8: event 5 of 5"]);
    }

    #[test]
    fn a_resize_ends_one_life_and_begins_another_if_it_comes_to_something() {
        let recall = Small::<64>::new();
        let (was, now) = (block(0x1000, 24), block(0x2000, 48));
        recall.allocated(&was);
        recall.resizing(&was, now.layout);
        recall.resized((), &was, Err(AllocError));
        assert_eq!(lines(&recall, 0x1000), ["allocated, with 24 bytes, aligned to 8: event 1 of 2"]);
        recall.resizing(&was, now.layout);
        recall.resized((), &was, Ok(&now));
        assert_eq!(lines(&recall, 0x1000)[1], "freed by a resize: event 3 of 4");
        assert_eq!(
            lines(&recall, 0x2000),
            ["allocated, with 48 bytes, aligned to 8 by a resize: event 4 of 4"]
        );
    }

    #[test]
    fn an_address_within_a_block_is_found() {
        let recall = Small::<64>::new();
        recall.allocated(&block(0x1000, 64));
        recall.allocated(&block(0x1040, 64));
        let misuse = Misuse::new(Wrong::Interior, 0x103f, Layout::new::<u8>());
        let text = recall.explain(&misuse).to_string();
        assert_eq!(text.lines().nth(1), Some("  63 bytes into the block at 0x1000"), "{text}");
        assert!(recall.recall(0x1080).is_none() && recall.recall(0).is_none());
    }

    /// What is freed by its middle is not known by that address; and keeps its place, if it would have to share it.
    #[test]
    fn a_block_that_is_freed_by_its_middle_is_found() {
        let wide = Small::<1024>::new();
        wide.allocated(&block(0x1000, 64));
        wide.freeing(&block(0x1008, 64));
        let misuse = Misuse::new(Wrong::Interior, 0x1008, Layout::new::<u8>());
        let text = wide.explain(&misuse).to_string();
        let all = [
            "  8 bytes into the block at 0x1000",
            "  allocated, with 64 bytes, aligned to 8: event 1 of 2",
            "  freed from its middle: event 2 of 2",
        ];
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), all);
        let narrow = Small::<1>::new();
        narrow.allocated(&block(0x1000, 64));
        narrow.freeing(&block(0x1008, 64));
        let text = narrow.explain(&misuse).to_string();
        let all =
            ["  8 bytes into the block at 0x1000", "  allocated, with 64 bytes, aligned to 8: event 1 of 2"];
        assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), all);
    }

    /// Of free memory that two blocks have left it is the one that the byte was in.
    #[test]
    fn freed_memory_is_told_by_the_byte() {
        let recall = Small::<1024>::new();
        for at in [0x1000, 0x1040, 0x1040] {
            recall.allocated(&block(at, 64));
        }
        recall.freeing(&block(0x1000, 64));
        recall.freeing(&block(0x1040, 64));
        let written = |offset| {
            let misuse = Misuse::new(Wrong::WrittenAfterFree, 0x1000, Layout::new::<u8>());
            let text =
                recall.explain(&misuse.with_damage(Damage { offset, expected: 0, found: 1 })).to_string();
            Vec::from_iter(text.lines().skip(1).map(String::from))
        };
        let first = ["  allocated, with 64 bytes, aligned to 8: event 1 of 5", "  freed: event 4 of 5"];
        assert_eq!(written(63), first);
        let second = [
            "  6 bytes into the block at 0x1040",
            "  allocated, with 64 bytes, aligned to 8: event 3 of 5",
            "  freed: event 5 of 5",
        ];
        assert_eq!(written(70), second);
        // Where nothing was, it is what is known of the place as such.
        assert_eq!(written(128), first);
    }

    #[test]
    fn the_next_block_takes_the_place_of_the_last() {
        let recall = Small::<1>::new();
        recall.allocated(&block(0x1000, 64));
        recall.freeing(&block(0x2000, 8));
        assert!(recall.recall(0x1000).is_none());
        assert_eq!(lines(&recall, 0x2000), ["freed, with 8 bytes, aligned to 8: event 2 of 2"]);
    }

    #[test]
    fn a_resize_of_what_was_freed_that_fails_leaves_it_freed() {
        let recall = Small::<64>::new();
        let (was, new) = (block(0x1000, 24), Layout::new::<[u64; 6]>());
        recall.allocated(&was);
        recall.freeing(&was);
        recall.resizing(&was, new);
        assert_eq!(lines(&recall, 0x1000)[2], "freed again by a resize: event 3 of 3");
        recall.resized((), &was, Err(AllocError));
        assert_eq!(lines(&recall, 0x1000)[1..], ["freed: event 2 of 3"]);
    }

    #[test]
    fn a_resize_that_fails_takes_back_only_what_it_has_said() {
        let recall = Small::<1>::new();
        let (was, other, new) = (block(0x1000, 24), block(0x2000, 8), Layout::new::<[u64; 6]>());
        recall.allocated(&was);
        recall.resizing(&was, new);
        recall.allocated(&other); // takes the place
        recall.resized((), &was, Err(AllocError));
        assert_eq!(lines(&recall, 0x2000), ["allocated, with 8 bytes, aligned to 8: event 3 of 3"]);
        // And where a free has come in between, from another thread.
        recall.resizing(&was, new);
        recall.freeing(&was);
        recall.resized((), &was, Err(AllocError));
        let all =
            ["freed, with 24 bytes, aligned to 8 by a resize: event 4 of 5", "freed again: event 5 of 5"];
        assert_eq!(lines(&recall, 0x1000), all);
    }

    #[test]
    fn of_calls_within_libraries_the_innermost_is_told() {
        struct Known;
        impl CallSites for Known {
            fn capture(frames: &mut [usize]) -> usize {
                frames.copy_from_slice(&[1, 2, 3, 4]);
                4
            }
            fn resolve(frame: usize) -> Vec<Symbol> {
                let name = ["", "alloc::vec::push", "std::io::read", "program::load", "program::main"][frame];
                Vec::from([Symbol { name: name.into(), ..Symbol::default() }])
            }
        }
        let recall = Recall::<Known, 1, 4>::new();
        recall.allocated(&block(0x1000, 24));
        let text = recall.recall(0x1000).unwrap().to_string();
        let calls: Vec<_> = text.lines().skip(1).map(str::trim).collect();
        assert_eq!(calls, ["alloc::vec::push", "program::load", "program::main"]);
    }
}
