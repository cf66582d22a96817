//! Arenas as cases of the model: every sizing, every lock, every place where the region can be.

use std::alloc::Layout;
use std::any::type_name;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::arena::{SourceTeaspoon, StaticArena, Teaspoon};
use heapwright::heap::{Inspect, Locked, Owns, Reset, SharedHeap};
use heapwright::lock::{Lock, NoLock, SpinLock};
use heapwright::sizing::{Bounded, Link, Placement, Sizing, Sizing16MiB};
use heapwright::source::BackingSource;

use super::drive::Case;
use super::region::Region;
use super::run::{self, Fault};
use super::script::Script;
use super::subject::{Face, Facts, Under};

/// A user's own sizing: 16-byte granules, few quick lists, coarse bins.
#[derive(Debug)]
pub(crate) struct Own16;

impl Sizing for Own16 {
    type Checks = heapwright::check::Unchecked;
    const GRANULE: usize = 16;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = 100_000;
    const REGION_SIZE_MAX: usize = 1 << 20;
    const QUICK_SIZES: usize = 5;
    const BIN_STEPS: u32 = 1;
}

/// A user's own sizing: bitmap runs over more than the shipped one's region, two granules.
#[derive(Debug)]
pub(crate) struct OwnRuns;

impl Sizing for OwnRuns {
    type Checks = heapwright::check::Unchecked;
    const GRANULE: usize = 16;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = 50_001;
    const REGION_SIZE_MAX: usize = 60_000;
    const GRANULE_SMALL: usize = 8;
    const REGION_SMALL_MAX: usize = 3000;
    const PLACEMENT: Placement = Placement::BitmapRuns;
    const QUICK_SIZES: usize = 3;
}

/// A user's own sizing: objects so small that all of them may have a quick list, and of no whole number of granules.
#[derive(Debug)]
pub(crate) struct OwnSmall;

impl Sizing for OwnSmall {
    type Checks = heapwright::check::Unchecked;
    const GRANULE: usize = 8;
    const LINK: Link = Link::Bits31;
    const OBJECT_SIZE_MAX: usize = 101;
    const REGION_SIZE_MAX: usize = 8192;
    const QUICK_SIZES: usize = 256;
}

/// What sizing `S` promises of an arena in a region of `len` bytes.
fn facts<S: Sizing>(len: usize, region: Option<Range<usize>>) -> Facts {
    let granule = if len <= S::REGION_SMALL_MAX { S::GRANULE_SMALL } else { S::GRANULE };
    let bounded = S::PLACEMENT == Placement::Bins && S::QUICK_SIZES == 0;
    Facts { granule, object_size_max: S::OBJECT_SIZE_MAX, region, fixed: true, slides: true, bounded }
}

/// Runs a script on an arena in `region`.
fn run_in<S: Sizing, H: Inspect + Owns + Reset, L: Lock>(
    region: &Region,
    heap: Locked<H, L>,
    script: &Script,
) -> Result<(), Fault> {
    let start = region.start().addr().get();
    let facts = facts::<S>(region.len(), Some(start..start + region.len()));
    run::run(&mut Under { heap, face: Face::of_locked(), facts }, &|| region.untouched(), script)
}

/// Where an arena's region is, and how the arena is told.
pub(crate) trait Place: 'static {
    fn arena<'a, S: Sizing, L: Lock>(region: &'a Region) -> Teaspoon<'a, S, L>;
}

/// In bytes.
pub(crate) struct InSlice;

impl Place for InSlice {
    fn arena<'a, S: Sizing, L: Lock>(region: &'a Region) -> Teaspoon<'a, S, L> {
        // SAFETY: the borrow lasts as long as the region's, and each case makes one arena of a region.
        let bytes = unsafe { region.filled(0xC3) };
        // SAFETY: nobody reads what lies between the sentinels afterwards.
        unsafe { Teaspoon::<S, L>::from_bytes(bytes) }
    }
}

/// In a slice that is not initialised.
pub(crate) struct InUninit;

impl Place for InUninit {
    fn arena<'a, S: Sizing, L: Lock>(region: &'a Region) -> Teaspoon<'a, S, L> {
        let start = region.start().as_ptr().cast::<MaybeUninit<u8>>();
        // SAFETY: the region is that long and lasts for `'a`; each case makes one arena of a region.
        Teaspoon::<S, L>::from_slice(unsafe { std::slice::from_raw_parts_mut(start, region.len()) })
    }
}

/// In raw memory, full of ones.
pub(crate) struct InRawParts;

impl Place for InRawParts {
    fn arena<'a, S: Sizing, L: Lock>(region: &'a Region) -> Teaspoon<'a, S, L> {
        // SAFETY: the borrow ends at once.
        unsafe { region.filled(0xFF) };
        // SAFETY: the region lasts for `'a`; each case makes one arena of a region.
        unsafe { Teaspoon::<S, L>::from_raw_parts(region.start(), region.len()) }
    }
}

/// In raw memory, named by a slice pointer.
pub(crate) struct InPtr;

impl Place for InPtr {
    fn arena<'a, S: Sizing, L: Lock>(region: &'a Region) -> Teaspoon<'a, S, L> {
        let memory = std::ptr::slice_from_raw_parts_mut(region.start().as_ptr(), region.len());
        // SAFETY: the region lasts for `'a`; each case makes one arena of a region.
        unsafe { Teaspoon::<S, L>::from_ptr(memory) }
    }
}

/// In raw memory, named by its address.
pub(crate) struct InAddr;

impl Place for InAddr {
    fn arena<'a, S: Sizing, L: Lock>(region: &'a Region) -> Teaspoon<'a, S, L> {
        let address = region.start().as_ptr().expose_provenance();
        // SAFETY: the region lasts for `'a` and its provenance is exposed; each case makes one arena of a region.
        unsafe { Teaspoon::<S, L>::from_addr_size(address, region.len()) }
    }
}

/// An arena of at most `LEN` bytes of sizing `S` under lock `L` in `P`.
pub(crate) struct In<P, S, L, const LEN: usize>(PhantomData<(P, S, L)>);

impl<P: Place, S: Sizing, L: Lock + 'static, const LEN: usize> Case for In<P, S, L, LEN> {
    fn name() -> String {
        type_name::<Self>().into()
    }

    fn run(script: &Script) -> Result<(), Fault> {
        let region = Region::new(LEN - script.trim, script.skew);
        run_in::<S, _, _>(&region, P::arena::<S, L>(&region), script)
    }
}

/// A source of one block: the region, as a source with alignment `ALIGN_MAX` would give it.
#[derive(Debug)]
struct OneBlock {
    start: NonNull<u8>,
    len: usize,
    out: bool,
}

// SAFETY: B1: one block at a time, all of the region, checked against the layout. B2: any layout that fits is met once.
// B3: nothing unwinds. B4: a flag is set on success only. B5: it calls nothing.
unsafe impl BackingSource for OneBlock {
    const GRANULE: usize = 1;
    const ALIGN_MAX: usize = 1;

    fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let fits = layout.size() <= self.len && layout.align() == 1 && !self.out;
        self.out |= fits;
        if fits { Ok(NonNull::slice_from_raw_parts(self.start, self.len)) } else { Err(AllocError) }
    }

    unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        assert!(self.out && block == self.start && layout.size() <= self.len, "released as it was given");
        self.out = false;
    }
}

/// An arena over a block of a source.
pub(crate) struct InSource<S, L, const LEN: usize>(PhantomData<(S, L)>);

impl<S: Sizing, L: Lock + 'static, const LEN: usize> Case for InSource<S, L, LEN> {
    fn name() -> String {
        type_name::<Self>().into()
    }

    fn run(script: &Script) -> Result<(), Fault> {
        let region = Region::new(LEN - script.trim, script.skew);
        let source = OneBlock { start: region.start(), len: region.len(), out: false };
        let Ok(heap) = SourceTeaspoon::<OneBlock, S, L>::with_size(source, region.len()) else {
            panic!("a source of {} bytes gives them", region.len());
        };
        run_in::<S, _, _>(&region, heap, script)
    }
}

/// An arena over a block of an arena over a block of an arena, under other sizings and locks.
pub(crate) struct Nested<S, L, const LEN: usize>(PhantomData<(S, L)>);

impl<S: Sizing, L: Lock + 'static, const LEN: usize> Case for Nested<S, L, LEN> {
    fn name() -> String {
        type_name::<Self>().into()
    }

    fn run(script: &Script) -> Result<(), Fault> {
        let region = Region::new(LEN + LEN / 16 + 2048, script.skew);
        // SAFETY: the region outlives the arena, and this is the only one in it.
        let outer =
            unsafe { Teaspoon::<Sizing16MiB, SpinLock>::from_raw_parts(region.start(), region.len()) };
        let fresh = outer.usage();
        // A live block on each side, so that the one between is not special.
        let beside =
            [1, 2].map(|_| Layout::from_size_align(40, 8).ok().and_then(|l| outer.try_alloc(l).ok()));
        assert!(beside.iter().all(Option::is_some), "the outer arena has room");
        let Ok(middle) =
            SourceTeaspoon::<_, Bounded<Sizing16MiB>, NoLock>::with_size(&outer, LEN + LEN / 32 + 512)
        else {
            panic!("the outer arena has room for the middle one");
        };
        let len = LEN - script.trim;
        let Ok(heap) = SourceTeaspoon::<_, S, L>::with_size(&middle, len) else {
            panic!("the middle arena has room for {len} bytes");
        };
        let mut under = Under { heap, face: Face::of_locked(), facts: facts::<S>(len, None) };
        run::run(&mut under, &|| region.untouched(), script)?;
        drop(under);
        assert_eq!((middle.usage().objects, middle.verify()), (0, Ok(())));
        drop(middle);
        let usage = outer.usage();
        assert_eq!((usage.objects, usage.free, outer.verify()), (2, fresh.free - 80, Ok(())));
        Ok(())
    }
}

/// An arena over a block of a source that gets its memory elsewhere.
#[cfg(any(feature = "os", feature = "alloc"))]
pub(crate) struct Over<B, S, L, const LEN: usize>(PhantomData<(B, S, L)>);

#[cfg(any(feature = "os", feature = "alloc"))]
impl<B: BackingSource + Default + 'static, S: Sizing, L: Lock + 'static, const LEN: usize> Case
    for Over<B, S, L, LEN>
{
    fn name() -> String {
        type_name::<Self>().into()
    }

    fn run(script: &Script) -> Result<(), Fault> {
        let len = LEN - script.trim;
        let Ok(heap) = SourceTeaspoon::<B, S, L>::with_size(B::default(), len) else {
            panic!("the source has {len} bytes");
        };
        run::run(
            &mut Under { heap, face: Face::of_locked(), facts: facts::<S>(len, None) },
            &|| Ok(()),
            script,
        )
    }
}

/// An arena that contains its region.
pub(crate) struct Inline<S, L, const LEN: usize>(PhantomData<(S, L)>);

impl<S: Sizing, L: Lock + 'static, const LEN: usize> Case for Inline<S, L, LEN> {
    fn name() -> String {
        type_name::<Self>().into()
    }

    fn run(script: &Script) -> Result<(), Fault> {
        let face = Face {
            usage: |heap: &StaticArena<LEN, S, L>| heap.usage(),
            owns: |heap, ptr, layout| heap.owns(ptr, layout),
            verify: |heap| heap.verify().map_err(|found| found.to_string()),
            misuses: |heap| heap.misuses(),
            chunks: |heap| heap.chunks().collect(),
            reset: |heap| {
                heap.reset();
                true
            },
            global: Some(|heap| heap),
            // By value it is none, as its blocks would move with it.
            #[cfg(feature = "allocator-api2-04")]
            allocator: None,
        };
        let mut under = Box::new(Under { heap: StaticArena::new(), face, facts: facts::<S>(LEN, None) });
        // The region is the first of its fields; the arena stays where it is from here on.
        let start = (&raw const under.heap).addr();
        under.facts.region = Some(start..start + LEN);
        run::run(&mut *under, &|| Ok(()), script)
    }
}
