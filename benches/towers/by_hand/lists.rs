//! Heaps with lists of freed blocks.

use std::alloc::Layout;
use std::cell::{Cell, UnsafeCell};
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::cache::{Classes, SizeClasses};
use heapwright::combine::Totals;
use heapwright::heap::{Heap, Owns};

use super::arenas::{count, uncount};
use super::{Behind, empty, slice};
use crate::pair::Face;
use crate::rows::{Arena, Few, KEPT, Medium};

/// Freed blocks of one size, linked through their first words.
struct List {
    first: Cell<Option<NonNull<u8>>>,
}

/// A list that is told how long it is.
struct Short {
    list: List,
    len: Cell<u32>,
}

/// What can be emptied.
trait Pop {
    fn pop(&self) -> Option<NonNull<u8>>;
}

impl Pop for List {
    #[inline(always)]
    fn pop(&self) -> Option<NonNull<u8>> {
        let first = self.first.get()?;
        // SAFETY: a block of the list, which begins with its link.
        self.first.set(unsafe { first.cast().read() });
        Some(first)
    }
}

impl Pop for Short {
    #[inline(always)]
    fn pop(&self) -> Option<NonNull<u8>> {
        let block = self.list.pop()?;
        self.len.set(self.len.get() - 1);
        Some(block)
    }
}

impl List {
    const fn new() -> Self {
        List { first: Cell::new(None) }
    }

    /// # Safety
    /// The block is nobody's any more, a word long or more, and aligned to it.
    #[inline(always)]
    unsafe fn push(&self, block: NonNull<u8>) {
        // SAFETY: the caller's promise.
        unsafe { block.cast().write(self.first.get()) };
        self.first.set(Some(block));
    }
}

impl Short {
    const fn new() -> Self {
        Short { list: List::new(), len: Cell::new(0) }
    }

    /// Takes a block if the list is not too long.
    ///
    /// # Safety
    /// As with [`List::push`].
    #[inline(always)]
    unsafe fn push(&self, block: NonNull<u8>) -> bool {
        if self.len.get() >= KEPT as u32 {
            return false;
        }
        self.len.set(self.len.get() + 1);
        // SAFETY: the caller's promise is the same.
        unsafe { self.list.push(block) };
        true
    }
}

/// The list of a layout: none where more is to be aligned than slots are.
#[inline(always)]
fn class_of<C: SizeClasses>(layout: Layout) -> Option<usize> {
    if layout.align() > 16 { None } else { C::index(layout) }
}

/// What a class's blocks are asked for with.
#[inline(always)]
fn slot<C: SizeClasses>(class: usize) -> Layout {
    let size = C::SIZES[class];
    // The least power of two in it, up to 16.
    let align = (1 << size.trailing_zeros()).min(16);
    // SAFETY: a power of two, of which the size is a multiple.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

/// # Safety
/// There is such a class.
#[inline(always)]
unsafe fn sized<C: SizeClasses>(block: NonNull<u8>, class: usize) -> NonNull<[u8]> {
    // SAFETY: the caller's promise.
    slice(block, *unsafe { C::SIZES.get_unchecked(class) })
}

/// A block out of the arena; where it has none, all lists go back to it first.
#[cold]
#[inline(never)]
fn fetch<C: SizeClasses>(
    arena: &Behind<Arena>,
    lists: &[impl Pop],
    class: usize,
) -> Result<NonNull<[u8]>, AllocError> {
    let slot = slot::<C>(class);
    let block = fetch_other::<C>(arena, lists, slot)?;
    Ok(slice(block.cast(), slot.size()))
}

/// A block that has no class.
#[inline(never)]
fn fetch_other<C: SizeClasses>(
    arena: &Behind<Arena>,
    lists: &[impl Pop],
    layout: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    arena.enter(|arena| {
        arena.alloc(layout).or_else(|AllocError| {
            drain::<C>(arena, lists);
            arena.alloc(layout)
        })
    })?
}

fn drain<C: SizeClasses>(arena: &mut Arena, lists: &[impl Pop]) {
    for (class, list) in lists.iter().enumerate() {
        while let Some(block) = list.pop() {
            // SAFETY: a block of the arena, asked for with this.
            unsafe { arena.dealloc(block, slot::<C>(class)) };
        }
    }
}

/// Gives a block back to the arena.
///
/// # Safety
/// A live block of the arena, and what it was asked for with.
#[inline(never)]
unsafe fn give_back(arena: &Behind<Arena>, ptr: NonNull<u8>, layout: Layout) {
    // SAFETY: the caller's promise is the same.
    let _ = arena.enter(|arena| unsafe { arena.dealloc(ptr, layout) });
}

/// Lists for many sizes before an arena.
pub(crate) struct ListsByHand {
    lists: [List; Classes::COUNT],
    arena: Behind<Arena>,
}

impl ListsByHand {
    pub(crate) fn new(arena: Arena) -> Self {
        ListsByHand { lists: [const { List::new() }; Classes::COUNT], arena: Behind::new(arena) }
    }
}

impl Face for ListsByHand {
    #[inline(always)]
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        if self.arena.is_busy() {
            return Err(AllocError);
        }
        let Some(class) = class_of::<Classes>(layout) else {
            return fetch_other::<Classes>(&self.arena, &self.lists, layout);
        };
        // SAFETY: there is such a class, and a list for each.
        match unsafe { self.lists.get_unchecked(class) }.pop() {
            // SAFETY: there is such a class.
            Some(block) => Ok(unsafe { sized::<Classes>(block, class) }),
            None => fetch::<Classes>(&self.arena, &self.lists, class),
        }
    }

    #[inline(always)]
    unsafe fn give(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 || self.arena.is_busy() {
            return;
        }
        let Some(class) = class_of::<Classes>(layout) else {
            // SAFETY: the caller's promise: it has no class, so it was asked for as it is.
            return unsafe { give_back(&self.arena, ptr, layout) };
        };
        // SAFETY: there is such a class, and a list for each.
        let list = unsafe { self.lists.get_unchecked(class) };
        // SAFETY: the caller's promise; classes are words long, and aligned.
        unsafe { list.push(ptr) };
    }
}

/// The same with lists of limited length.
pub(crate) struct BoundedListsByHand {
    lists: [Short; Classes::COUNT],
    arena: Behind<Arena>,
}

impl BoundedListsByHand {
    pub(crate) fn new(arena: Arena) -> Self {
        BoundedListsByHand { lists: [const { Short::new() }; Classes::COUNT], arena: Behind::new(arena) }
    }
}

impl Face for BoundedListsByHand {
    #[inline(always)]
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        if self.arena.is_busy() {
            return Err(AllocError);
        }
        let Some(class) = class_of::<Classes>(layout) else {
            return fetch_other::<Classes>(&self.arena, &self.lists, layout);
        };
        // SAFETY: there is such a class, and a list for each.
        match unsafe { self.lists.get_unchecked(class) }.pop() {
            // SAFETY: there is such a class.
            Some(block) => Ok(unsafe { sized::<Classes>(block, class) }),
            None => fetch::<Classes>(&self.arena, &self.lists, class),
        }
    }

    #[inline(always)]
    unsafe fn give(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 || self.arena.is_busy() {
            return;
        }
        let Some(class) = class_of::<Classes>(layout) else {
            // SAFETY: the caller's promise: it has no class, so it was asked for as it is.
            return unsafe { give_back(&self.arena, ptr, layout) };
        };
        // SAFETY: there is such a class, and a list for each.
        let list = unsafe { self.lists.get_unchecked(class) };
        // SAFETY: the caller's promise; classes are words long, and aligned.
        if !unsafe { list.push(ptr) } {
            // SAFETY: the caller's promise, and what the class's blocks are asked for with.
            unsafe { give_back(&self.arena, ptr, slot::<Classes>(class)) };
        }
    }
}

/// Four ranges of sizes: lists before an arena of their own for two, an arena for each of the others.
pub(crate) struct FourWaysByHand {
    few: [List; Few::COUNT],
    medium: [List; Medium::COUNT],
    arenas: Behind<[Arena; 4]>,
}

impl FourWaysByHand {
    pub(crate) fn new(arenas: [Arena; 4]) -> Self {
        FourWaysByHand {
            few: [const { List::new() }; Few::COUNT],
            medium: [const { List::new() }; Medium::COUNT],
            arenas: Behind::new(arenas),
        }
    }

    /// A block of the arena of this range, or of one that is empty until its lists have been given back.
    #[inline(never)]
    fn fetch<C: SizeClasses>(
        &self,
        range: usize,
        lists: &[List],
        layout: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        self.arenas.enter(|arenas| {
            let arena = arenas.get_mut(range).ok_or(AllocError)?;
            arena.alloc(layout).or_else(|AllocError| {
                drain::<C>(arena, lists);
                arena.alloc(layout)
            })
        })?
    }

    /// # Safety
    /// A live block of the arena of this range, and what it was asked for with.
    #[inline(never)]
    unsafe fn give_back(&self, range: usize, ptr: NonNull<u8>, layout: Layout) {
        let _ = self.arenas.enter(|arenas| {
            if let Some(arena) = arenas.get_mut(range) {
                // SAFETY: the caller's promise is the same.
                unsafe { arena.dealloc(ptr, layout) };
            }
        });
    }

    /// A block for a range with lists, which ends with `up_to`.
    #[inline(always)]
    fn listed<C: SizeClasses>(
        &self,
        range: usize,
        lists: &[List],
        layout: Layout,
        up_to: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let block = match class_of::<C>(layout) {
            None => self.fetch::<C>(range, lists, layout)?,
            // SAFETY: there is such a class, and a list for each.
            Some(class) => match unsafe { lists.get_unchecked(class) }.pop() {
                // SAFETY: there is such a class.
                Some(block) => unsafe { sized::<C>(block, class) },
                None => {
                    let slot = slot::<C>(class);
                    slice(self.fetch::<C>(range, lists, slot)?.cast(), slot.size())
                }
            },
        };
        Ok(slice(block.cast(), block.len().min(up_to)))
    }

    /// # Safety
    /// A live block of this range, and its layout.
    #[inline(always)]
    unsafe fn list<C: SizeClasses>(&self, range: usize, lists: &[List], ptr: NonNull<u8>, layout: Layout) {
        match class_of::<C>(layout) {
            // SAFETY: the caller's promise: it has no class, so it was asked for as it is.
            None => unsafe { self.give_back(range, ptr, layout) },
            Some(class) => {
                // SAFETY: there is such a class, and a list for each.
                let list = unsafe { lists.get_unchecked(class) };
                // SAFETY: the caller's promise; classes are words long, and aligned.
                unsafe { list.push(ptr) };
            }
        }
    }
}

impl Face for FourWaysByHand {
    #[inline(always)]
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        if self.arenas.is_busy() {
            return Err(AllocError);
        }
        match layout.size() {
            ..=64 => self.listed::<Few>(0, &self.few, layout, 64),
            65..=512 => self.listed::<Medium>(1, &self.medium, layout, 512),
            513..=4096 => {
                let block = self.arenas.enter(|arenas| arenas[2].alloc(layout))??;
                Ok(slice(block.cast(), block.len().min(4096)))
            }
            _ => self.arenas.enter(|arenas| arenas[3].alloc(layout))?,
        }
    }

    #[inline(always)]
    unsafe fn give(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 || self.arenas.is_busy() {
            return;
        }
        match layout.size() {
            // SAFETY: the caller's promise, and this is its range.
            ..=64 => unsafe { self.list::<Few>(0, &self.few, ptr, layout) },
            // SAFETY: as above.
            65..=512 => unsafe { self.list::<Medium>(1, &self.medium, ptr, layout) },
            // SAFETY: as above.
            513..=4096 => unsafe { self.give_back(2, ptr, layout) },
            // SAFETY: as above.
            _ => unsafe { self.give_back(3, ptr, layout) },
        }
    }
}

/// Limited lists before two arenas for what is small, an arena for what is not; all counted, and never more than so many bytes.
pub(crate) struct EverythingByHand {
    limit: usize,
    used: Cell<usize>,
    totals: UnsafeCell<Totals>,
    lists: [Short; Classes::COUNT],
    arenas: Behind<Arenas>,
}

/// Two arenas for small blocks, and one for large ones.
pub(crate) struct Arenas {
    pub(crate) first: Arena,
    pub(crate) second: Arena,
    pub(crate) large: Arena,
}

impl EverythingByHand {
    pub(crate) fn new(limit: usize, arenas: Arenas) -> Self {
        EverythingByHand {
            limit,
            used: Cell::new(0),
            totals: UnsafeCell::new(Totals::new()),
            lists: [const { Short::new() }; Classes::COUNT],
            arenas: Behind::new(arenas),
        }
    }

    /// A block of an arena.
    #[inline(never)]
    fn fetch(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        self.arenas.enter(|arenas| {
            if layout.size() > 512 {
                return arenas.large.alloc(layout);
            }
            let mut alloc = || arenas.first.alloc(layout).or_else(|AllocError| arenas.second.alloc(layout));
            alloc().or_else(|AllocError| {
                self.drain(arenas);
                arenas.first.alloc(layout).or_else(|AllocError| arenas.second.alloc(layout))
            })
        })?
    }

    fn drain(&self, arenas: &mut Arenas) {
        for (class, list) in self.lists.iter().enumerate() {
            while let Some(block) = list.pop() {
                // SAFETY: what it was asked for with.
                unsafe { Self::give_small(arenas, block, slot::<Classes>(class)) };
            }
        }
    }

    /// # Safety
    /// A live block of one of the two arenas, and what it was asked for with.
    unsafe fn give_small(arenas: &mut Arenas, ptr: NonNull<u8>, layout: Layout) {
        let owner = if arenas.first.owns(ptr, layout) { &mut arenas.first } else { &mut arenas.second };
        // SAFETY: the caller's promise, and the arena that it is of.
        unsafe { owner.dealloc(ptr, layout) }
    }

    /// # Safety
    /// A live block of one of the arenas, and what it was asked for with.
    #[inline(never)]
    unsafe fn give_back(&self, ptr: NonNull<u8>, layout: Layout) {
        let _ = self.arenas.enter(|arenas| {
            if layout.size() > 512 {
                // SAFETY: the caller's promise: it is one of this arena.
                unsafe { arenas.large.dealloc(ptr, layout) }
            } else {
                // SAFETY: the caller's promise.
                unsafe { Self::give_small(arenas, ptr, layout) }
            }
        });
    }

    /// The list of a layout, if it has one, and how many bytes it counts.
    #[inline(always)]
    fn place(&self, layout: Layout) -> Result<(Option<usize>, usize), AllocError> {
        if layout.size() <= 512 {
            if let Some(class) = class_of::<Classes>(layout) {
                // SAFETY: there is such a class.
                let size = *unsafe { Classes::SIZES.get_unchecked(class) };
                return Ok((Some(class), size.min(512)));
            }
        }
        Ok((None, self.cost(layout)?))
    }

    /// What a block without a list counts.
    #[inline(never)]
    fn cost(&self, layout: Layout) -> Result<usize, AllocError> {
        self.arenas.enter(|arenas| {
            if layout.size() > 512 {
                return arenas.large.good_size(layout);
            }
            arenas.first.good_size(layout).min(arenas.second.good_size(layout)).min(512)
        })
    }
}

impl Face for EverythingByHand {
    #[inline(always)]
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        if self.arenas.is_busy() {
            return Err(AllocError);
        }
        let (class, cost) = self.place(layout)?;
        let used = self.used.get();
        if cost > self.limit.saturating_sub(used) {
            return Err(AllocError);
        }
        let found = match class {
            // SAFETY: there is such a class, and a list for each.
            Some(class) => match unsafe { self.lists.get_unchecked(class) }.pop() {
                // SAFETY: there is such a class.
                Some(block) => Ok(unsafe { sized::<Classes>(block, class) }),
                None => self.fetch(slot::<Classes>(class)),
            },
            None => self.fetch(layout),
        };
        // SAFETY: nobody else refers to it: the type is for one thread, and nothing is called meanwhile.
        let totals = unsafe { &mut *self.totals.get() };
        let Ok(block) = found else {
            totals.refused += 1;
            return Err(AllocError);
        };
        count(totals, cost);
        self.used.set(used + cost);
        Ok(slice(block.cast(), block.len().min(cost)))
    }

    #[inline(always)]
    unsafe fn give(&self, ptr: NonNull<u8>, layout: Layout) {
        if layout.size() == 0 || self.arenas.is_busy() {
            return;
        }
        let Ok((class, cost)) = self.place(layout) else { return };
        match class {
            Some(class) => {
                // SAFETY: there is such a class, and a list for each.
                let list = unsafe { self.lists.get_unchecked(class) };
                // SAFETY: the caller's promise; classes are words long, and aligned.
                if !unsafe { list.push(ptr) } {
                    // SAFETY: the caller's promise, and what the class's blocks are asked for with.
                    unsafe { self.give_back(ptr, slot::<Classes>(class)) };
                }
            }
            // SAFETY: the caller's promise: asked for as it is.
            None => unsafe { self.give_back(ptr, layout) },
        }
        // SAFETY: nobody else refers to it: the type is for one thread, and nothing is called meanwhile.
        uncount(unsafe { &mut *self.totals.get() }, cost);
        self.used.set(self.used.get() - cost);
    }
}
