//! One arena at work: its region, its shape and its state, and the only code that touches the region.
//!
//! Invariants of a [`View`]:
//! - **A1** (region) from `origin - shape.tables` to `origin + shape.granules * granule` is one live allocation of which
//!   this arena alone uses the tables and the free granules; `origin` is aligned to the granule, and has provenance for all of it.
//! - **A2** (tables) the tables' words are initialised: all of them under `BitmapRuns`; under `Bins` the list
//!   heads, and the bits of all words that hold a granule below `state.frontier`.
//! - **A3** (indices) every index that is stored (a list head, a link, the frontier, the quick table) is that of a granule of this
//!   region, plus one in heads and links, where 0 means none.
//! - **A4** (bits) under `BitmapRuns` a granule's bit is set iff it is taken. Under `Bins` it is set iff the granule is the
//!   first or the last of a free block below the frontier. The hot block, blocks in quick lists, and the quick table count as taken.
//! - **A5** (merged) under `Bins` no two free blocks touch, and none touches the frontier.
//! - **A6** (links) the first granule of a free block under `Bins` holds its links in the list of its class, and its
//!   length, which also stands in its last four bytes; see [`Node`]. Under `ENCODE` all of these words are encoded; see [`super::links`].
//! - **A8** (zero) under `ZERO_FREED` the free granules before `notes.high` are zero, but for the words of A6, and none from there on was ever handed out.

use core::fmt;
use core::marker::PhantomData;

use super::notes::NotesOf;
use super::shape::Shape;
use crate::check::{Checks, Fresh, Switch};
use crate::describe::{Cost, Describe, Tree};
use crate::sizing::{Link, Sizing, describe_sizing};

/// What an arena remembers outside its region. All zero is an empty arena.
pub(super) struct State<S: Sizing> {
    /// Blocks that are out in the upper half, granules of them in the lower. Out are live objects and the hot block.
    pub(super) tally: u64,
    /// The hot block: the last one freed, still unmerged and still in the tally. First granule in the upper half, granules in the
    /// lower; 0: none; [`HOT_OFF`]: there shall be none. A free and the next request of that size touch this word and nothing
    /// else.
    pub(super) hot: u64,
    /// Granules of the last hot block; 0: none since it was last allowed.
    pub(super) hot_size: u32,
    /// Classes whose list is not empty, one bit each (`Bins`).
    pub(super) classes: [u64; 2],
    /// Granules from here on have never been handed out, or all came back (`Bins`).
    pub(super) frontier: u32,
    /// Runs of this many granules were not to be had, whatever their alignment, and nothing has come back since; 0: not known.
    pub(super) dry: u32,
    /// No word of bits before this one has a free granule (`BitmapRuns`).
    pub(super) hint: u32,
    /// Objects of up to this many granules go to and come from the quick lists; 0 while those are off.
    pub(super) quick_max: u16,
    /// Where the quick table begins, in bytes from the origin, while `quick_max > 0`.
    pub(super) quick_table: usize,
    /// Frees still to come before the quick lists may be switched on again.
    pub(super) quick_pause: u8,
    /// Wrong calls, and bytes that are not as they were left, that were found (`CHECKED`).
    pub(super) misuses: u32,
    /// What the sizing's checks need beside.
    pub(super) notes: NotesOf<S>,
    /// Whether blocks have come or gone since the last step of a walk: it has to find its place anew then.
    pub(super) changed: bool,
    /// Where the last step of a walk ended: the first granule of a chunk, or the region's end, unless `changed`.
    pub(super) walked: u32,
}

impl<S: Sizing> State<S> {
    pub(super) const EMPTY: Self = State {
        tally: 0,
        hot: 0,
        hot_size: 0,
        classes: [0; 2],
        frontier: 0,
        dry: 0,
        hint: 0,
        quick_max: 0,
        quick_table: 0,
        quick_pause: 0,
        misuses: 0,
        notes: Fresh::NEW,
        changed: false,
        walked: 0,
    };

    /// Granules in live objects.
    pub(super) const fn used(&self) -> u32 {
        self.tally as u32 - self.hot as u32
    }

    /// The first class from `class` on whose list is not empty.
    #[inline]
    pub(super) const fn next_class(&self, class: usize) -> Option<usize> {
        if class >= 128 {
            return None;
        }
        let here = self.classes[class / 64] & (u64::MAX << (class % 64));
        if here != 0 {
            return Some((class & !63) + here.trailing_zeros() as usize);
        }
        if class < 64 && self.classes[1] != 0 {
            return Some(64 + self.classes[1].trailing_zeros() as usize);
        }
        None
    }

    /// Enters whether a class's list has blocks.
    #[inline]
    pub(super) const fn mark_class(&mut self, class: usize, has_blocks: bool) {
        let mask = 1 << (class % 64);
        if has_blocks {
            self.classes[(class / 64) & 1] |= mask;
        } else {
            self.classes[(class / 64) & 1] &= !mask;
        }
    }

    /// Live objects.
    pub(super) const fn objects(&self) -> u32 {
        (self.tally >> 32) as u32 - (self.hot as u32 != 0) as u32
    }
}

impl<S: Sizing> fmt::Debug for State<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("used", &self.used())
            .field("objects", &self.objects())
            .field("frontier", &self.frontier)
            .field("quick_max", &self.quick_max)
            .field("misuses", &self.misuses)
            .finish_non_exhaustive()
    }
}

/// No block of any size, so that nothing matches it, and not 0, so that nothing replaces it.
///
/// With requests of mixed sizes a hot block that is taken every now and then costs two mispredicted branches each time, more than it
/// saves. So when a second size would become hot while there are quick lists, none is until one of those runs dry.
pub(super) const HOT_OFF: u64 = 1 << 32;

/// The links of a free block, as indices plus one (A3, A6).
///
/// ```text
/// Link::Bits15, 4 bytes:   next:15 prev:15 .. single:1
/// Link::Bits31, 8 bytes:   next:31 ..  prev:31 single:1
/// then, unless `single`:   length in granules, 4 bytes;  ..  the same again in the block's last 4 bytes
/// ```
/// `single` says that the block is one granule and that one has room for the links only. It is the top bit of the
/// block's last four bytes, where a longer block has its length, which never has that bit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) next: u32,
    pub(super) prev: u32,
}

const SINGLE: u32 = 1 << 31;
const LINK15: u32 = (1 << 15) - 1;

/// A bitmap over the granules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bitmap {
    /// Taken granules or block boundaries (A4).
    Bits,
    /// First granules of live objects (`CHECKED`).
    Starts,
}

/// An arena at work: what an arena's lock guards, put together for one operation.
///
/// It is the core that [`SharedHeap::enter`](crate::heap::SharedHeap::enter) of a [`StaticArena`](super::StaticArena) gives; there is no other
/// way to get one.
///
/// ```
/// use heapwright::arena::StaticArena;
/// use heapwright::heap::{Inspect, SharedHeap};
/// use heapwright::{lock::NoLock, sizing::Sizing4KiB};
/// let arena = StaticArena::<1024, Sizing4KiB, NoLock>::new();
/// // SAFETY: the closure only looks.
/// let usage = unsafe { arena.enter(|view| view.usage()) }?;
/// assert_eq!(usage, arena.usage());
/// # Ok::<(), heapwright::AllocError>(())
/// ```
pub struct View<'s, S: Sizing> {
    pub(super) origin: *mut u8,
    /// Bytes from the region's first byte to the origin.
    pub(super) lead: u32,
    pub(super) shape: &'s Shape,
    pub(super) state: &'s mut State<S>,
    pub(super) sizing: PhantomData<fn() -> S>,
}

impl<S: Sizing> View<'_, S> {
    /// Whether there is a mark on the start of each live object, by which wrong calls are told.
    pub(super) const CHECKED: bool = <S::Checks as Checks>::Frees::ON;
    /// At least so many bytes behind each object hold a pattern.
    pub(super) const ZONE: usize = <S::Checks as Checks>::RED_ZONE;
    /// Whether free memory is zero, but for links and lengths.
    pub(super) const ZERO: bool = <S::Checks as Checks>::ZERO_FREED;
    /// Whether links are encoded, and looked at before they are followed. Where there are no links, there is nothing to be done.
    pub(super) const ENCODE: bool =
        <S::Checks as Checks>::ENCODE && matches!(S::PLACEMENT, crate::sizing::Placement::Bins);
    /// Whether there is more to be done than to tell wrong calls.
    pub(super) const HARDENED: bool = Self::ZONE > 0 || Self::ZERO || Self::ENCODE;

    /// log2 of the granule; a constant unless the sizing has two granules.
    #[inline(always)]
    pub(super) fn shift(&self) -> u32 {
        if S::GRANULE == S::GRANULE_SMALL { S::GRANULE.trailing_zeros() } else { u32::from(self.shape.shift) }
    }

    /// Bytes of one granule.
    #[inline(always)]
    pub(super) fn granule(&self) -> usize {
        1 << self.shift()
    }

    /// The address of granule `index`, as a pointer with the region's provenance.
    #[inline(always)]
    pub(super) fn at(&self, index: u32) -> *mut u8 {
        self.origin.wrapping_add((index as usize) << self.shift())
    }

    /// Reads the four bytes at `ptr`, which lie in this arena's tables or free granules.
    #[inline(always)]
    pub(super) fn load(&self, ptr: *mut u8) -> u32 {
        debug_assert!(self.is_inside(ptr, 4));
        // SAFETY: by A1 and A3 the bytes are in the region and the arena's own, initialised (A2, A6), and granules and
        // tables are multiples of four bytes long and aligned.
        unsafe { ptr.cast::<u32>().read() }
    }

    /// Writes the four bytes at `ptr`, which lie in this arena's tables or free granules.
    #[inline(always)]
    fn store(&mut self, ptr: *mut u8, value: u32) {
        debug_assert!(self.is_inside(ptr, 4));
        // SAFETY: by A1 and A3 the bytes are in the region and the arena's own; aligned as in `load`.
        unsafe { ptr.cast::<u32>().write(value) }
    }

    /// Whether the bytes lie in the region (for debug builds).
    fn is_inside(&self, ptr: *mut u8, len: usize) -> bool {
        let offset = ptr.addr().wrapping_sub(self.origin.addr() - self.shape.tables as usize);
        let whole = self.shape.tables as usize + ((self.shape.granules as usize) << self.shift());
        offset <= whole && len <= whole - offset
    }

    // ---- tables -----------------------------------------------------------------------------------------------

    fn bit_word_ptr(&self, map: Bitmap, word: usize) -> *mut u8 {
        let base = self.origin.wrapping_sub(self.shape.tables as usize);
        let first = if map == Bitmap::Bits { 0 } else { Shape::words(self.shape.granules) };
        base.wrapping_add((first + word) * 4)
    }

    /// One word of a bitmap; bit `i % 32` of word `i / 32` is granule `i`'s.
    #[inline]
    pub(super) fn word(&self, map: Bitmap, word: usize) -> u32 {
        self.load(self.bit_word_ptr(map, word))
    }

    #[inline]
    pub(super) fn set_word(&mut self, map: Bitmap, word: usize, value: u32) {
        self.store(self.bit_word_ptr(map, word), value);
    }

    /// The bit of one granule.
    #[inline]
    pub(super) fn bit(&self, map: Bitmap, index: u32) -> bool {
        self.word(map, index as usize / 32) >> (index % 32) & 1 != 0
    }

    #[inline]
    pub(super) fn set_bit(&mut self, map: Bitmap, index: u32, on: bool) {
        let word = self.word(map, index as usize / 32);
        let mask = 1 << (index % 32);
        self.set_word(map, index as usize / 32, if on { word | mask } else { word & !mask });
    }

    /// The first granule from `from` on, and below `end`, whose bit is `on`; `end` if there is none.
    pub(super) fn find_bit(&self, map: Bitmap, from: u32, end: u32, on: bool) -> u32 {
        let flip = if on { 0 } else { u32::MAX };
        let mut index = from;
        while index < end {
            let rest = (self.word(map, index as usize / 32) ^ flip) >> (index % 32);
            if rest != 0 {
                return end.min(index + rest.trailing_zeros());
            }
            index = (index | 31) + 1;
        }
        end
    }

    /// The last granule up to `from` whose bit is set.
    pub(super) fn find_bit_back(&self, map: Bitmap, from: u32) -> Option<u32> {
        let mut word = from as usize / 32;
        // The bits up to that one, moved up so that it is the top one.
        let mut bits = self.word(map, word) << (31 - from % 32);
        let mut top = from;
        while bits == 0 {
            word = word.checked_sub(1)?;
            bits = self.word(map, word);
            top = word as u32 * 32 + 31;
        }
        Some(top - bits.leading_zeros())
    }

    /// Whether no bit of `from..end` is set.
    pub(super) fn none_set(&self, map: Bitmap, from: u32, end: u32) -> bool {
        self.find_bit(map, from, end, true) == end
    }

    /// Sets or clears the bits of `from..end`.
    pub(super) fn fill_bits(&mut self, map: Bitmap, from: u32, end: u32, on: bool) {
        let mut index = from;
        while index < end {
            let word = index as usize / 32;
            let last = end.min((index | 31) + 1);
            let mask = (u32::MAX >> (32 - (last - index))) << (index % 32);
            let old = self.word(map, word);
            self.set_word(map, word, if on { old | mask } else { old & !mask });
            index = last;
        }
    }

    /// Clears words `from..end` of every bitmap there is.
    pub(super) fn clear_words(&mut self, from: usize, end: usize) {
        for word in from..end {
            self.set_word(Bitmap::Bits, word, 0);
            if Self::CHECKED {
                self.set_word(Bitmap::Starts, word, 0);
            }
        }
    }

    /// Brings the tables into the state of an empty arena (A2). The region may hold anything before.
    pub(super) fn clear_tables(&mut self) {
        match S::PLACEMENT {
            crate::sizing::Placement::BitmapRuns => self.clear_words(0, Shape::words(self.shape.granules)),
            crate::sizing::Placement::Bins => self.clear_class_heads(),
        }
    }

    /// Makes all lists of free blocks empty.
    pub(super) fn clear_class_heads(&mut self) {
        let heads = self.shape.heads_bytes::<S>(self.shape.granules);
        // SAFETY: by A1 and the shape the list heads are the last bytes of the tables.
        unsafe { self.origin.wrapping_sub(heads).write_bytes(0, heads) }
    }

    // ---- list heads -------------------------------------------------------------------------------------------

    /// Reads the list head at `ptr`: an index plus one, or 0.
    #[inline(always)]
    fn head_at(&self, ptr: *mut u8) -> u32 {
        debug_assert!(self.is_inside(ptr, Shape::head_bytes::<S>()));
        match S::LINK {
            // SAFETY: by A1 and A2 an initialised head of two bytes, aligned to two.
            Link::Bits15 => u32::from(unsafe { ptr.cast::<u16>().read() }),
            // SAFETY: by A1 and A2 an initialised head of four bytes, aligned to four.
            Link::Bits31 => unsafe { ptr.cast::<u32>().read() },
        }
    }

    #[inline(always)]
    fn set_head_at(&mut self, ptr: *mut u8, value: u32) {
        debug_assert!(self.is_inside(ptr, Shape::head_bytes::<S>()));
        match S::LINK {
            // SAFETY: by A1 two bytes of the arena's own, aligned to two.
            Link::Bits15 => unsafe { ptr.cast::<u16>().write(value as u16) },
            // SAFETY: by A1 four bytes of the arena's own, aligned to four.
            Link::Bits31 => unsafe { ptr.cast::<u32>().write(value) },
        }
    }

    #[inline(always)]
    fn class_ptr(&self, class: usize) -> *mut u8 {
        self.origin.wrapping_sub((class + 1) * Shape::head_bytes::<S>())
    }

    /// The first block of a class's list, plus one.
    #[inline]
    pub(super) fn class_head(&self, class: usize) -> u32 {
        self.head_at(self.class_ptr(class))
    }

    #[inline]
    pub(super) fn set_class_head(&mut self, class: usize, value: u32) {
        self.set_head_at(self.class_ptr(class), value);
    }

    /// The head of the quick list for `granules`, in the quick table.
    #[inline(always)]
    fn quick_ptr(&self, granules: u32) -> *mut u8 {
        let offset = self.state.quick_table + (granules as usize - 1) * Shape::head_bytes::<S>();
        self.origin.wrapping_add(offset)
    }

    #[inline(always)]
    pub(super) fn quick_head(&self, granules: u32) -> u32 {
        self.head_at(self.quick_ptr(granules))
    }

    #[inline(always)]
    pub(super) fn set_quick_head(&mut self, granules: u32, value: u32) {
        self.set_head_at(self.quick_ptr(granules), value);
    }

    /// Makes the first `sizes` quick lists empty.
    pub(super) fn clear_quick_heads(&mut self, sizes: u32) {
        let table = self.origin.wrapping_add(self.state.quick_table);
        // SAFETY: the table is a taken block of the arena's own, of one head per size.
        unsafe { table.write_bytes(0, sizes as usize * Shape::head_bytes::<S>()) }
    }

    /// The link of a block in a quick list.
    #[inline(always)]
    pub(super) fn quick_next(&self, index: u32) -> u32 {
        self.load(self.at(index))
    }

    /// Puts the block at `address`, whose index is `index`, into the quick list of its size.
    #[inline(always)]
    pub(super) fn push_quick(&mut self, address: usize, index: u32, granules: u32) {
        let head = self.quick_head(granules);
        // The pointer from the origin, not the caller's: that one may be good for fewer bytes than a link.
        self.store(self.origin.wrapping_add(address.wrapping_sub(self.origin.addr())), head);
        self.set_quick_head(granules, index + 1);
    }

    // ---- free blocks (A6) -------------------------------------------------------------------------------------

    /// Reads a word of links or a length, encoded if that is asked for.
    #[inline(always)]
    fn load_link(&self, ptr: *mut u8) -> u32 {
        self.load(ptr) ^ self.key(ptr)
    }

    #[inline(always)]
    fn store_link(&mut self, ptr: *mut u8, value: u32) {
        let key = self.key(ptr);
        self.store(ptr, value ^ key);
    }

    /// The links of the free block at `index`.
    #[inline]
    pub(super) fn node(&self, index: u32) -> Node {
        let node = self.raw_node(index);
        if Self::ENCODE { self.believed(index, node) } else { node }
    }

    /// The links as they stand there.
    #[inline]
    pub(super) fn raw_node(&self, index: u32) -> Node {
        let ptr = self.at(index);
        let low = self.load_link(ptr);
        match S::LINK {
            // The bit that nobody uses is looked at where links are not believed.
            Link::Bits15 if Self::ENCODE => Node { next: low & LINK15, prev: low >> 15 & 0xffff },
            Link::Bits15 => Node { next: low & LINK15, prev: low >> 15 & LINK15 },
            Link::Bits31 => Node { next: low, prev: self.load_link(ptr.wrapping_add(4)) & !SINGLE },
        }
    }

    /// Whether links and length are all that a free block of so many granules has room for.
    #[inline]
    fn is_single(&self, granules: u32) -> bool {
        granules == 1 && self.granule() == S::LINK.bytes()
    }

    /// Writes the links and the length of the free block at `index`.
    #[inline]
    pub(super) fn set_node(&mut self, index: u32, node: Node, granules: u32) {
        let single = self.is_single(granules);
        if Self::ZERO {
            self.look_at_node(index, granules);
        }
        self.set_links(index, node, if single { SINGLE } else { 0 });
        if !single {
            let ptr = self.at(index);
            self.store_link(ptr.wrapping_add(S::LINK.bytes()), granules);
            let end = self.at(index + granules);
            self.store_link(end.wrapping_sub(4), granules);
        }
    }

    /// Makes links and length of a block that leaves its list zero, where free memory is to be that.
    #[inline]
    pub(super) fn clear_node(&mut self, index: u32, granules: u32) {
        if Self::ZERO {
            for offset in self.node_words(granules) {
                self.store(self.at(index).wrapping_add(offset), 0);
            }
        }
    }

    /// Where the words of links and lengths are in a free block of so many granules, in bytes from its first.
    pub(super) fn node_words(&self, granules: u32) -> impl Iterator<Item = usize> + use<S> {
        let words = S::LINK.bytes() / 4 + usize::from(!self.is_single(granules));
        let last = ((granules as usize) << self.shift()) - 4;
        (0..words).map(|word| word * 4).chain([last])
    }

    #[inline]
    fn set_links(&mut self, index: u32, node: Node, single: u32) {
        let ptr = self.at(index);
        match S::LINK {
            Link::Bits15 => self.store_link(ptr, node.next | node.prev << 15 | single),
            Link::Bits31 => {
                self.store_link(ptr, node.next);
                self.store_link(ptr.wrapping_add(4), node.prev | single);
            }
        }
    }

    /// Changes the link to the next block of the free block at `index`.
    #[inline]
    pub(super) fn set_next(&mut self, index: u32, next: u32) {
        let ptr = self.at(index);
        match S::LINK {
            Link::Bits15 => {
                let word = self.load_link(ptr);
                self.store_link(ptr, word & !LINK15 | next);
            }
            Link::Bits31 => self.store_link(ptr, next),
        }
    }

    /// Changes the link to the previous block of the free block at `index`.
    #[inline]
    pub(super) fn set_prev(&mut self, index: u32, prev: u32) {
        let ptr = self.at(index);
        match S::LINK {
            Link::Bits15 => {
                let word = self.load_link(ptr);
                self.store_link(ptr, word & !(LINK15 << 15) | prev << 15);
            }
            Link::Bits31 => {
                let single = self.load_link(ptr.wrapping_add(4)) & SINGLE;
                self.store_link(ptr.wrapping_add(4), prev | single);
            }
        }
    }

    /// The length in granules of the free block that starts at `index`.
    #[inline]
    pub(super) fn len_from_start(&self, index: u32) -> u32 {
        if Self::ENCODE {
            return self.believed_len(index);
        }
        let ptr = self.at(index);
        // The top bit of the links' last word.
        let tag = self.load_link(ptr.wrapping_add(S::LINK.bytes() - 4));
        if tag & SINGLE != 0 { 1 } else { self.load_link(ptr.wrapping_add(S::LINK.bytes())) }
    }

    /// The length in granules of the free block that ends before granule `end`.
    #[inline]
    pub(super) fn len_from_end(&self, end: u32) -> u32 {
        if Self::ENCODE {
            return self.believed_len_back(end);
        }
        self.last_len(end)
    }

    /// What the first words of a free block of more than one granule tell of its length: not less than two.
    pub(super) fn first_len(&self, index: u32) -> Option<u32> {
        let len = self.load_link(self.at(index).wrapping_add(S::LINK.bytes()));
        (len > 1).then_some(len)
    }

    /// What the last word of the free block that ends before granule `end` tells of its length.
    #[inline]
    pub(super) fn last_len(&self, end: u32) -> u32 {
        let len = self.load_link(self.at(end).wrapping_sub(4));
        if len & SINGLE != 0 { 1 } else { len }
    }

    /// Whether the words of the free block at `index`, which has so many granules, tell that.
    pub(super) fn tells_len(&self, index: u32, granules: u32) -> bool {
        let ptr = self.at(index);
        let single = self.load_link(ptr.wrapping_add(S::LINK.bytes() - 4)) & SINGLE != 0;
        if self.is_single(granules) {
            return single;
        }
        let first = self.load_link(ptr.wrapping_add(S::LINK.bytes()));
        let last = self.load_link(self.at(index + granules).wrapping_sub(4));
        !single && first == granules && last == granules
    }

    // ---- alignment --------------------------------------------------------------------------------------------

    /// The first granule from `index` on whose address is a multiple of `align`; past the region's end if there is none.
    #[inline]
    pub(super) fn align_index(&self, index: u32, align: usize) -> u32 {
        if align <= self.granule() {
            return index;
        }
        let address = self.at(index).addr();
        let pad = address.wrapping_neg() & (align - 1);
        u32::try_from(pad >> self.shift()).map_or(u32::MAX, |pad| index.saturating_add(pad))
    }
    /// The last granule up to `index` whose address is a multiple of `align`, which is known to exist.
    #[inline]
    pub(super) fn align_index_down(&self, index: u32, align: usize) -> u32 {
        if align <= self.granule() {
            return index;
        }
        let excess = self.at(index).addr() & (align - 1);
        index - (excess >> self.shift()) as u32
    }
}

impl<S: Sizing> Describe for View<'_, S> {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        let what = format_args!("View of an arena");
        tree.part(what, Cost::state_of::<Self>(), &[("sizing", describe_sizing::<S>)])
    }
}

#[cfg(test)]
mod tests {
    use super::State;
    use crate::arena::StaticArena;
    use crate::heap::SharedHeap;
    use crate::lock::NoLock;
    use crate::sizing::Sizing4KiB;

    #[test]
    fn the_region_is_tables_and_granules() {
        let arena = StaticArena::<1024, Sizing4KiB, NoLock>::new();
        // SAFETY: the closure only looks.
        let done = unsafe {
            arena.enter(|view| {
                let first = view.origin.wrapping_sub(view.shape.tables as usize);
                let end = view.at(view.shape.granules);
                for (ptr, len) in [(first, 4), (view.origin, 4), (end.wrapping_sub(4), 4), (end, 0)] {
                    assert!(view.is_inside(ptr, len));
                }
                for (ptr, len) in [(first.wrapping_sub(1), 1), (end.wrapping_sub(3), 4), (end, 1)] {
                    assert!(!view.is_inside(ptr, len));
                }
            })
        };
        assert_eq!(done, Ok(()));
    }

    #[test]
    fn classes_are_found_from_any_other_on() {
        let mut state = State::<Sizing4KiB>::EMPTY;
        let all = [0, 1, 63, 64, 65, 127];
        for class in all {
            state.mark_class(class, true);
            for from in 0..=130 {
                assert_eq!(state.next_class(from), (from <= class).then_some(class));
            }
            state.mark_class(class, false);
            assert_eq!(state.next_class(0), None);
        }
        for class in all {
            state.mark_class(class, true);
        }
        for from in 0..=130 {
            assert_eq!(state.next_class(from), all.into_iter().find(|&class| class >= from));
        }
    }
}
