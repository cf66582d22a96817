//! Heaps with lists of freed blocks.

use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;

use heapwright::AllocError;
use heapwright::cache::{Classes, SizeClasses};
use heapwright::combine::Totals;
use heapwright::heap::{Heap, Owns};

use super::arenas::{count, uncount};
use super::{empty, slice};
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
    arena: &RefCell<Arena>,
    lists: &[impl Pop],
    class: usize,
) -> Result<NonNull<[u8]>, AllocError> {
    let mut arena = arena.try_borrow_mut().map_err(|_| AllocError)?;
    let slot = slot::<C>(class);
    let block = arena.alloc(slot).or_else(|AllocError| {
        drain::<C>(&mut arena, lists);
        arena.alloc(slot)
    })?;
    Ok(slice(block.cast(), slot.size()))
}

fn drain<C: SizeClasses>(arena: &mut Arena, lists: &[impl Pop]) {
    for (class, list) in lists.iter().enumerate() {
        while let Some(block) = list.pop() {
            // SAFETY: a block of the arena, asked for with this.
            unsafe { arena.dealloc(block, slot::<C>(class)) };
        }
    }
}

/// A block that has no class.
#[inline(never)]
fn fetch_other<C: SizeClasses>(
    arena: &RefCell<Arena>,
    lists: &[impl Pop],
    layout: Layout,
) -> Result<NonNull<[u8]>, AllocError> {
    let mut arena = arena.try_borrow_mut().map_err(|_| AllocError)?;
    arena.alloc(layout).or_else(|AllocError| {
        drain::<C>(&mut arena, lists);
        arena.alloc(layout)
    })
}

/// Gives a block back to the arena.
///
/// # Safety
/// A live block of the arena, and what it was asked for with.
#[inline(never)]
unsafe fn give_back(arena: &RefCell<Arena>, ptr: NonNull<u8>, layout: Layout) {
    if let Ok(mut arena) = arena.try_borrow_mut() {
        // SAFETY: the caller's promise is the same.
        unsafe { arena.dealloc(ptr, layout) };
    }
}

/// Lists for many sizes before an arena. They call nobody, so that the arena alone needs to be told that it is in use.
pub(crate) struct ListsByHand {
    lists: [List; Classes::COUNT],
    arena: RefCell<Arena>,
}

impl ListsByHand {
    pub(crate) fn new(arena: Arena) -> Self {
        ListsByHand { lists: [const { List::new() }; Classes::COUNT], arena: RefCell::new(arena) }
    }
}

impl Face for ListsByHand {
    #[inline(always)]
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
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
        if layout.size() == 0 {
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
    arena: RefCell<Arena>,
}

impl BoundedListsByHand {
    pub(crate) fn new(arena: Arena) -> Self {
        BoundedListsByHand { lists: [const { Short::new() }; Classes::COUNT], arena: RefCell::new(arena) }
    }
}

impl Face for BoundedListsByHand {
    #[inline(always)]
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
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
        if layout.size() == 0 {
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
    few_arena: RefCell<Arena>,
    medium: [List; Medium::COUNT],
    medium_arena: RefCell<Arena>,
    large: RefCell<Arena>,
    largest: RefCell<Arena>,
}

impl FourWaysByHand {
    pub(crate) fn new(arenas: [Arena; 4]) -> Self {
        let [few_arena, medium_arena, large, largest] = arenas.map(RefCell::new);
        FourWaysByHand {
            few: [const { List::new() }; Few::COUNT],
            few_arena,
            medium: [const { List::new() }; Medium::COUNT],
            medium_arena,
            large,
            largest,
        }
    }

    /// A block for one of two ranges.
    #[inline(always)]
    fn listed<C: SizeClasses>(
        lists: &[List],
        arena: &RefCell<Arena>,
        layout: Layout,
        up_to: usize,
    ) -> Result<NonNull<[u8]>, AllocError> {
        let block = match class_of::<C>(layout) {
            None => fetch_other::<C>(arena, lists, layout)?,
            // SAFETY: there is such a class, and a list for each.
            Some(class) => match unsafe { lists.get_unchecked(class) }.pop() {
                // SAFETY: there is such a class.
                Some(block) => unsafe { sized::<C>(block, class) },
                None => fetch::<C>(arena, lists, class)?,
            },
        };
        Ok(slice(block.cast(), block.len().min(up_to)))
    }

    /// # Safety
    /// A live block of this range, and its layout.
    #[inline(always)]
    unsafe fn list<C: SizeClasses>(lists: &[List], arena: &RefCell<Arena>, ptr: NonNull<u8>, layout: Layout) {
        match class_of::<C>(layout) {
            // SAFETY: the caller's promise: it has no class, so it was asked for as it is.
            None => unsafe { give_back(arena, ptr, layout) },
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
        match layout.size() {
            0 => Ok(empty(layout)),
            1..=64 => Self::listed::<Few>(&self.few, &self.few_arena, layout, 64),
            65..=512 => Self::listed::<Medium>(&self.medium, &self.medium_arena, layout, 512),
            513..=4096 => {
                let block = self.large.try_borrow_mut().map_err(|_| AllocError)?.alloc(layout)?;
                Ok(slice(block.cast(), block.len().min(4096)))
            }
            _ => self.largest.try_borrow_mut().map_err(|_| AllocError)?.alloc(layout),
        }
    }

    #[inline(always)]
    unsafe fn give(&self, ptr: NonNull<u8>, layout: Layout) {
        match layout.size() {
            0 => {}
            // SAFETY: the caller's promise, and this is its range.
            1..=64 => unsafe { Self::list::<Few>(&self.few, &self.few_arena, ptr, layout) },
            // SAFETY: as above.
            65..=512 => unsafe { Self::list::<Medium>(&self.medium, &self.medium_arena, ptr, layout) },
            // SAFETY: as above.
            513..=4096 => unsafe { give_back(&self.large, ptr, layout) },
            // SAFETY: as above.
            _ => unsafe { give_back(&self.largest, ptr, layout) },
        }
    }
}

/// Limited lists before two arenas for what is small, an arena for what is not; all counted, and never more than so many bytes.
pub(crate) struct EverythingByHand {
    limit: usize,
    used: Cell<usize>,
    totals: Cell<Totals>,
    lists: [Short; Classes::COUNT],
    first: RefCell<Arena>,
    second: RefCell<Arena>,
    large: RefCell<Arena>,
}

impl EverythingByHand {
    pub(crate) fn new(limit: usize, arenas: [Arena; 3]) -> Self {
        let [first, second, large] = arenas.map(RefCell::new);
        EverythingByHand {
            limit,
            used: Cell::new(0),
            totals: Cell::new(Totals::new()),
            lists: [const { Short::new() }; Classes::COUNT],
            first,
            second,
            large,
        }
    }

    /// The first arena, or the second.
    #[cold]
    #[inline(never)]
    fn fetch(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let block = self.first.try_borrow_mut().map_err(|_| AllocError)?.alloc(layout);
        block.or_else(|AllocError| self.second.try_borrow_mut().map_err(|_| AllocError)?.alloc(layout))
    }

    /// # Safety
    /// A live block of one of the two, and what it was asked for with.
    #[cold]
    #[inline(never)]
    unsafe fn give_back(&self, ptr: NonNull<u8>, layout: Layout) {
        let arena = if self.first.borrow().owns(ptr, layout) { &self.first } else { &self.second };
        // SAFETY: the caller's promise, and the arena that it is of.
        unsafe { give_back(arena, ptr, layout) };
    }

    /// Where a block of this size comes from, and how many bytes it counts.
    #[inline(always)]
    fn place(&self, layout: Layout) -> (Option<usize>, usize) {
        if layout.size() > 512 {
            return (None, self.large.borrow().good_size(layout));
        }
        match class_of::<Classes>(layout) {
            Some(class) => (Some(class), Classes::SIZES[class].min(512)),
            None => {
                let (first, second) =
                    (self.first.borrow().good_size(layout), self.second.borrow().good_size(layout));
                (None, first.min(second).min(512))
            }
        }
    }
}

impl Face for EverythingByHand {
    #[inline(always)]
    fn get(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        let (class, cost) = self.place(layout);
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
            None if layout.size() > 512 => {
                self.large.try_borrow_mut().map_err(|_| AllocError).and_then(|mut large| large.alloc(layout))
            }
            None => self.fetch(layout),
        };
        // SAFETY: nobody else refers to it: the type is for one thread, and nothing is called meanwhile.
        let totals = unsafe { &mut *self.totals.as_ptr() };
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
        if layout.size() == 0 {
            return;
        }
        let (class, cost) = self.place(layout);
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
            // SAFETY: the caller's promise, and the arena for this size.
            None if layout.size() > 512 => unsafe { give_back(&self.large, ptr, layout) },
            // SAFETY: the caller's promise: asked for as it is.
            None => unsafe { self.give_back(ptr, layout) },
        }
        // SAFETY: nobody else refers to it: the type is for one thread, and nothing is called meanwhile.
        uncount(unsafe { &mut *self.totals.as_ptr() }, cost);
        self.used.set(self.used.get() - cost);
    }
}
