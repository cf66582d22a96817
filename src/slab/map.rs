//! The pointer map: finds the slab that an address lies in.

use core::alloc::Layout;
use core::ptr::NonNull;

use crate::AllocError;
use crate::check::Fresh;
use crate::source::BackingSource;

/// A place for one slab: its first byte. All zero bytes are an empty one.
type Slot = Option<NonNull<u8>>;

/// Slabs that are kept in the map itself, without a table.
const INLINE: usize = 4;

/// Slots of the smallest table.
const TABLE_MIN: usize = 16;

/// Two to the bits of a word, divided by the golden ratio and made odd (Knuth, The Art of Computer Programming 3, 6.4: Fibonacci hashing).
const FACTOR: usize = (0x9E37_79B9_7F4A_7C15_u64 >> (64 - usize::BITS)) as usize | 1;

/// A set of slabs, all of one length, that finds the slab of an address.
///
/// Choose it where slabs are not aligned to their size, so that an object's address can't be masked. The length is not kept: each call
/// brings it, always the same one, from 1 to `isize::MAX` bytes. It need not be a power of two, nor need the slabs be aligned. The slabs'
/// bytes are never touched.
///
/// Up to four slabs are kept in the map itself, 48 bytes in all on a 64-bit machine. From the fifth on there is a table in a block of
/// the source: one pointer per slot, a power of two of slots, 16 at least, of which 3/4 are taken at most. That is 11 to 21 bytes for each
/// slab while they become more, and up to 64 after removals; more only where the source's smallest block is longer (a page of `Pages`).
///
/// It has raw pointers, so it is neither `Send` nor `Sync`: what is made of it says so, if it is.
///
/// # How a slab is found
/// Addresses are cut into cells; a cell's length in bytes is that of a slab, rounded up to a power of two. So a slab touches two cells at
/// most, and the slab of an address begins in the address's own cell or in the one before. A slab is entered under the cell that it
/// begins in: the top bits of the cell's number times [`FACTOR`] tell a slot, the cell's home. Where that is taken, the slab stands in
/// the next slot that is not (linear probing). No key is stored: it is the right entry if the address is less than a length above it.
///
/// ```text
///   cells       |      7      |      8      |      9      |     10      |
///   addresses   ......[====A=====][====B=====]..............[====C=====].    and D, far off, in cell 15
///
///   table       |     |  C  |  A  |  D  |     |     |     |  B  |            homes: 7 -> 2, 8 -> 7, 9 -> 4, 10 -> 1, 15 -> 2
///                  0     1     2     3     4     5     6     7
/// ```
/// The last bytes of B are in cell 9: slot 4, its home, is empty, and slot 7, the home of cell 8, has B. D's home is slot 2 as well
/// as A's, so it stands in slot 3.
///
/// # Cost
/// `find` is O(1): it loads the slots at both homes, compares both without a jump, and is done if it was one of them; else it goes on
/// from there, 2.5 slots on average when 3/4 are taken at random. Neighbouring slabs hardly ever meet in the table, as multiples of
/// the golden ratio lie far apart. Slabs at one and the same great distance from each other may meet often: the worst is a large
/// Fibonacci number of cells.
///
/// `reserve`, `insert` and `remove` are O(1), amortised. A growth acquires a table twice as long, clears it (unless the source is `ZEROED`),
/// reads the old one once, enters each slab anew, and only then releases the old one. A table of which less than 1/8 is taken is exchanged for
/// one of which 1/4 is. So between two exchanges lie at least 1/8 as many calls as the table has slots. Only the smallest table that the
/// source has is kept until one slab is left, then given back: the fifth slab brings one again.
#[derive(Debug)]
pub(crate) struct SlabMap {
    slots: Slots,
    /// Slabs in the map.
    len: usize,
}

/// Where the slabs are.
#[derive(Debug)]
enum Slots {
    /// In the map itself, anywhere.
    Inline([Slot; INLINE]),
    /// In a block of the source.
    Table(Table),
}

/// A table in a block of the source.
///
/// - **M1** (slots) `start` is the first of [`capacity`](Table::capacity) initialised slots, a power of two. They are a live block of
///   the source, acquired with just their layout, and nobody else reads or writes it.
/// - **M2** (an end) one slot at least is empty, so that every run ends.
/// - **M3** (runs) from each entry's home on, no slot before the entry is empty; behind the last slot comes the first.
#[derive(Debug)]
struct Table {
    start: NonNull<Slot>,
    /// The bits of a word that are not of a slot's number: `usize::BITS - shift` is the binary logarithm of the slots. From 1 to
    /// `usize::BITS - 4`.
    shift: u32,
}

/// The product of which the top bits are the home of slabs that begin in the cell of `addr`. One [`FACTOR`] less, and it is that of the cell
/// before.
#[inline(always)]
fn product(addr: usize, len: usize) -> usize {
    debug_assert!((1..=isize::MAX as usize).contains(&len));
    let cell_bits = usize::BITS - (len - 1).leading_zeros();
    (addr >> cell_bits).wrapping_mul(FACTOR)
}

/// How far `addr` lies above the slab in a slot, or above 0 if there is none.
#[inline(always)]
fn offset(slot: Slot, addr: usize) -> usize {
    addr.wrapping_sub(slot.map_or(0, |slab| slab.addr().get()))
}

impl Fresh for SlabMap {
    const NEW: Self = SlabMap::EMPTY;
}

impl SlabMap {
    /// A map of no slabs.
    pub(crate) const EMPTY: Self = SlabMap { slots: Slots::Inline([None; INLINE]), len: 0 };

    /// Makes room for one more slab: after `Ok`, the next `insert` has it, whatever is removed before.
    ///
    /// Where the table should grow but the source has no more, its last slots are used, all but one: `find` then takes longer, and each
    /// `reserve` asks the source again. O(1) if there is room; the type's docs tell what a growth costs, and how rare it is.
    ///
    /// # Errors
    /// When there is no slot left, and the source has no block for a larger table or can't align one to a pointer. Nothing has
    /// changed then.
    ///
    /// # Safety
    /// `source` and `len` are those of all other calls since the map was empty: the old table goes back to `source`.
    #[inline]
    pub(crate) unsafe fn reserve<B: BackingSource>(
        &mut self,
        source: &mut B,
        len: usize,
    ) -> Result<(), AllocError> {
        let room = match &self.slots {
            Slots::Inline(_) => INLINE,
            Slots::Table(table) => table.capacity() / 4 * 3,
        };
        if self.len < room {
            return Ok(());
        }
        // SAFETY: the caller's promise is the same.
        unsafe { self.grow(source, len) }
    }

    /// Enters a slab. O(1).
    ///
    /// # Safety
    /// - There is room: a `reserve` went well since the last `insert`.
    /// - `slab` is the first of `len` bytes that do not go past the end of the address space, and that overlap no slab in the map.
    /// - `len` is that of all other calls since the map was empty.
    #[inline]
    pub(crate) unsafe fn insert(&mut self, slab: NonNull<u8>, len: usize) {
        debug_assert!(self.find(slab.addr().get(), len).is_none());
        match &mut self.slots {
            Slots::Inline(slots) => {
                let free = slots.iter_mut().filter(|slot| slot.is_none());
                free.take(1).for_each(|slot| *slot = Some(slab));
            }
            Slots::Table(table) => table.enter(slab, len),
        }
        self.len += 1;
    }

    /// The slab that `addr` lies in, by the very pointer that was inserted; `None` if it lies in none, whatever number it is. O(1).
    ///
    /// `len` is that of all other calls since the map was empty; with another one the answer is any slab or none.
    #[inline]
    pub(crate) fn find(&self, addr: usize, len: usize) -> Option<NonNull<u8>> {
        match &self.slots {
            // All are compared, without a jump: which it is can't be foretold.
            Slots::Inline(slots) => slots.iter().fold(None, |found, &slot| {
                if slot.is_some() & (offset(slot, addr) < len) { slot } else { found }
            }),
            Slots::Table(table) => table.find(addr, len),
        }
    }

    /// Takes a slab out of the map. O(1); now and then the table is exchanged for a smaller one, or for none at all. That the source
    /// has no block for a smaller one does no harm: the large one stays, and the next `remove` tries again.
    ///
    /// # Safety
    /// - `slab` is in the map.
    /// - `source` and `len` are those of all other calls since the map was empty.
    #[inline]
    pub(crate) unsafe fn remove<B: BackingSource>(&mut self, source: &mut B, slab: NonNull<u8>, len: usize) {
        debug_assert!(self.find(slab.addr().get(), len) == Some(slab));
        self.len -= 1;
        match &mut self.slots {
            Slots::Inline(slots) => {
                slots.iter_mut().filter(|slot| **slot == Some(slab)).for_each(|slot| *slot = None);
            }
            Slots::Table(table) => {
                table.remove(slab, len);
                if self.len < table.capacity() / 8 {
                    // SAFETY: the caller's promise is the same.
                    unsafe { self.shrink(source, len) };
                }
            }
        }
    }

    /// Gives the table back, and forgets all slabs; they themselves stay as they are. O(1). The map is empty then and can be used again.
    ///
    /// # Safety
    /// `source` is that of all calls since the map was empty.
    pub(crate) unsafe fn release<B: BackingSource>(&mut self, source: &mut B) {
        let SlabMap { slots, .. } = core::mem::replace(self, Self::EMPTY);
        if let Slots::Table(table) = slots {
            // SAFETY: the table is of this source: the caller's promise. It is in no map any more.
            unsafe { table.release(source) };
        }
    }

    /// Slabs in the map. O(1).
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes of the block that the map has from its source, as they were asked for; 0 if it has none. O(1).
    pub(crate) fn table_bytes(&self) -> usize {
        match &self.slots {
            Slots::Inline(_) => 0,
            Slots::Table(table) => table.capacity() * size_of::<Slot>(),
        }
    }

    /// The slabs, in no particular order, by the very pointers that were inserted. A whole walk is O(slots of the table).
    pub(crate) fn iter(&self) -> impl Iterator<Item = NonNull<u8>> + '_ {
        let slots = match &self.slots {
            Slots::Inline(slots) => slots.as_slice(),
            Slots::Table(table) => table.slots(),
        };
        slots.iter().copied().flatten()
    }

    /// Makes a larger table, or finds that the present one will do.
    ///
    /// # Safety
    /// As for [`reserve`](SlabMap::reserve).
    #[cold]
    #[inline(never)]
    unsafe fn grow<B: BackingSource>(&mut self, source: &mut B, len: usize) -> Result<(), AllocError> {
        let (wanted, capacity) = match &self.slots {
            Slots::Inline(_) => (TABLE_MIN, 0),
            Slots::Table(table) => (table.capacity() * 2, table.capacity()),
        };
        match Table::acquire(source, Table::good_capacity(source, wanted)) {
            // SAFETY: the new table is the source's, so is the old one (the caller's promise), and `wanted` is more than `self.len` slots.
            Ok(table) => unsafe { self.move_to(Slots::Table(table), source, len) },
            // M2: one is empty after the next insert, too.
            Err(_) if self.len + 1 < capacity => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Exchanges a table of which less than 1/8 is taken for one of which 1/4 is, if that is smaller, or for none.
    ///
    /// # Safety
    /// The map has a table, and `source` and `len` are those of all other calls since it was empty.
    #[cold]
    #[inline(never)]
    unsafe fn shrink<B: BackingSource>(&mut self, source: &mut B, len: usize) {
        // Fewer than go inline: it takes some more before there is a table again.
        if self.len < TABLE_MIN / 8 {
            // SAFETY: the table is the source's (the caller's promise), and the slabs are no more than `INLINE`.
            unsafe { self.move_to(Slots::Inline([None; INLINE]), source, len) };
            return;
        }
        let capacity = Table::good_capacity(source, (self.len * 4).next_power_of_two().max(TABLE_MIN));
        if capacity * size_of::<Slot>() >= self.table_bytes() {
            return;
        }
        if let Ok(table) = Table::acquire(source, capacity) {
            // SAFETY: the new table is the source's, so is the old one (the caller's promise), and it has four times `self.len` slots.
            unsafe { self.move_to(Slots::Table(table), source, len) };
        }
    }

    /// Moves all slabs to `slots`, which are empty, and releases the table where they were, if they were in one.
    ///
    /// # Safety
    /// - `slots` has room for all slabs: as many slots, and in a table one more (M2).
    /// - The present table, if there is one, is a block of `source`.
    unsafe fn move_to<B: BackingSource>(&mut self, slots: Slots, source: &mut B, len: usize) {
        let old = core::mem::replace(self, SlabMap { slots, len: 0 });
        for slab in old.iter() {
            // SAFETY: there is room (the caller's promise), and the slabs and the length are those of earlier inserts.
            unsafe { self.insert(slab, len) };
        }
        if let Slots::Table(table) = old.slots {
            // SAFETY: a block of the source (the caller's promise), and in no map any more.
            unsafe { table.release(source) };
        }
    }
}

impl Table {
    /// The slots that a table of `wanted`, a power of two, has as well for no more of the source's memory; a power of two.
    fn good_capacity<B: BackingSource>(source: &B, wanted: usize) -> usize {
        let good = Layout::array::<Slot>(wanted).map_or(0, |layout| source.good_size(layout));
        1 << (good / size_of::<Slot>()).max(wanted).ilog2()
    }

    /// An empty table of `capacity` slots, a power of two from [`TABLE_MIN`] on.
    fn acquire<B: BackingSource>(source: &mut B, capacity: usize) -> Result<Self, AllocError> {
        debug_assert!(capacity.is_power_of_two());
        debug_assert!(capacity >= TABLE_MIN);
        let layout = Layout::array::<Slot>(capacity).map_err(|_| AllocError)?;
        let start = source.acquire(layout)?.cast::<Slot>();
        if !B::ZEROED {
            // SAFETY: the block is as long and as aligned as `capacity` slots (B1), and nobody else's.
            unsafe { start.write_bytes(0, capacity) };
        }
        // M1: all bytes are zero, written or arrived as such (B2), and a slot of zero bytes is `None`.
        Ok(Table { start, shift: usize::BITS - capacity.ilog2() })
    }

    /// Gives the block back.
    ///
    /// # Safety
    /// The table is `source`'s.
    unsafe fn release<B: BackingSource>(self, source: &mut B) {
        let layout = Layout::for_value(self.slots());
        // SAFETY: a live block, acquired with this layout (M1), of this source (the caller's promise). `self` ends here.
        unsafe { source.release(self.start.cast(), layout) };
    }

    #[inline]
    fn capacity(&self) -> usize {
        1 << (usize::BITS - self.shift)
    }

    fn slots(&self) -> &[Slot] {
        // SAFETY: M1: so many initialised slots in one live block, which nobody writes while `self` is borrowed.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.capacity()) }
    }

    fn slots_mut(&mut self) -> &mut [Slot] {
        // SAFETY: M1: so many initialised slots in one live block, which nobody else touches while `self` is borrowed.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.capacity()) }
    }

    /// The first slot for slabs that begin in the cell of this product.
    #[inline(always)]
    fn home(&self, product: usize) -> usize {
        product >> self.shift
    }

    /// What stands in the home of a product.
    #[inline(always)]
    fn at_home(&self, product: usize) -> Slot {
        // SAFETY: a home is a number of `usize::BITS - shift` bits, so it is below the capacity, and lies in the block (M1).
        let place = unsafe { self.start.add(self.home(product)) };
        // SAFETY: an initialised slot of ours (M1).
        unsafe { place.read() }
    }

    #[inline]
    fn find(&self, addr: usize, len: usize) -> Slot {
        match self.find_at_home(addr, len) {
            None => self.find_further(addr, len),
            slot => slot,
        }
    }

    /// The slab of `addr` if it stands at its home.
    #[inline]
    fn find_at_home(&self, addr: usize, len: usize) -> Slot {
        let product = product(addr, len);
        let here = self.at_home(product);
        let before = self.at_home(product.wrapping_sub(FACTOR));
        let (is_here, is_before) = (offset(here, addr) < len, offset(before, addr) < len);
        // Which of the two it is can't be foretold, and a jump foretold wrongly costs more than a load and a compare: no `||`.
        if is_here | is_before {
            // It may be an empty slot yet, if the address is a small number: that says nothing.
            return if is_here { here } else { before };
        }
        None
    }

    /// The slab of `addr`, wherever it stands.
    #[inline(never)]
    fn find_further(&self, addr: usize, len: usize) -> Slot {
        let product = product(addr, len);
        let is_it = |slab: &NonNull<u8>| offset(Some(*slab), addr) < len;
        self.run(product).find(is_it).or_else(|| self.run(product.wrapping_sub(FACTOR)).find(is_it))
    }

    /// The entries from the home of a product to the next empty slot (M2): all slabs that begin in its cell are among them (M3).
    fn run(&self, product: usize) -> impl Iterator<Item = NonNull<u8>> + '_ {
        let (slots, mut place) = (self.slots(), self.home(product));
        core::iter::from_fn(move || {
            let slot = slots[place & (slots.len() - 1)];
            place += 1;
            slot
        })
    }

    /// Enters a slab: there is room for it.
    fn enter(&mut self, slab: NonNull<u8>, len: usize) {
        let mut place = self.home(product(slab.addr().get(), len));
        let slots = self.slots_mut();
        let mask = slots.len() - 1;
        while slots[place & mask].is_some() {
            place += 1;
        }
        slots[place & mask] = Some(slab);
    }

    /// Takes a slab out. No mark is left in its place: later entries of the run move up (Knuth, 6.4, algorithm R).
    fn remove(&mut self, slab: NonNull<u8>, len: usize) {
        let shift = self.shift;
        let home = |slab: NonNull<u8>| product(slab.addr().get(), len) >> shift;
        let slots = self.slots_mut();
        let mask = slots.len() - 1;
        let mut hole = home(slab);
        loop {
            match slots[hole & mask] {
                Some(entry) if entry == slab => break,
                Some(_) => hole += 1,
                None => return,
            }
        }
        let mut place = hole;
        loop {
            place += 1;
            let Some(entry) = slots[place & mask] else { break };
            // M3: the entry may move to the hole unless its home lies behind that.
            if place.wrapping_sub(home(entry)) & mask >= place - hole {
                slots[hole & mask] = Some(entry);
                hole = place;
            }
        }
        slots[hole & mask] = None;
    }
}

#[cfg(test)]
#[expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each map has one source and one length, room before each insert, and its model knows what it has"
)]
mod tests {
    extern crate std;

    use core::ptr;
    use std::alloc::System;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    use quickcheck::quickcheck;
    use static_assertions::const_assert;

    use super::*;
    use crate::source::{Counted, Failing, FromGlobalAlloc};

    type Heap = FromGlobalAlloc<'static, System>;

    const fn heap() -> Heap {
        FromGlobalAlloc::new(&System)
    }

    const_assert!(size_of::<SlabMap>() == 6 * size_of::<usize>());

    /// A slab that is only an address: the map reads none of its bytes.
    fn slab(addr: usize) -> NonNull<u8> {
        NonNull::new(ptr::without_provenance_mut(addr)).unwrap()
    }

    /// A map with its source and its length, and what it should have.
    struct Tried<B: BackingSource> {
        map: SlabMap,
        source: B,
        len: usize,
        model: BTreeSet<usize>,
    }

    impl<B: BackingSource> Tried<B> {
        fn new(source: B, len: usize) -> Self {
            Tried { map: SlabMap::EMPTY, source, len, model: BTreeSet::new() }
        }

        fn insert(&mut self, base: usize) -> Result<(), AllocError> {
            unsafe { self.map.reserve(&mut self.source, self.len) }?;
            unsafe { self.map.insert(slab(base), self.len) };
            assert!(self.model.insert(base));
            Ok(())
        }

        fn remove(&mut self, base: usize) {
            unsafe { self.map.remove(&mut self.source, slab(base), self.len) };
            assert!(self.model.remove(&base));
        }

        /// Inserts the slab, or removes it if it is there; says whether it could.
        fn toggle(&mut self, base: usize) -> bool {
            if self.model.contains(&base) {
                self.remove(base);
                return true;
            }
            self.insert(base).is_ok()
        }

        /// Looks an address up, in the map and in the model.
        fn find(&self, addr: usize) {
            let below = self.model.range(..=addr).next_back();
            let expected = below.filter(|&&base| addr - base < self.len).map(|&base| slab(base));
            assert_eq!(self.map.find(addr, self.len), expected, "{addr:#x}");
        }

        /// Looks up both ends of a slab, the bytes outside of them, and one within.
        fn find_around(&self, base: usize) {
            let last = base + (self.len - 1);
            for addr in [base - 1, base, base + self.len / 2, last, last.wrapping_add(1)] {
                self.find(addr);
            }
        }

        /// Compares all that the map has with the model, and checks its invariants.
        fn check(&self) {
            let slabs: Vec<_> = self.map.iter().map(|slab| slab.addr().get()).collect();
            assert_eq!((slabs.len(), self.map.len()), (self.model.len(), self.model.len()));
            assert_eq!(BTreeSet::from_iter(slabs), self.model);
            let Slots::Table(table) = &self.map.slots else {
                assert_eq!(self.map.table_bytes(), 0);
                return;
            };
            assert_eq!(self.map.table_bytes(), size_of_val(table.slots()));
            assert!(table.slots().contains(&None), "M2");
            for base in &self.model {
                assert!(
                    table.run(product(*base, self.len)).any(|entry| entry == slab(*base)),
                    "M3: {base:#x}"
                );
            }
        }

        /// Gives all back.
        fn end(mut self) -> B {
            unsafe { self.map.release(&mut self.source) };
            self.model.clear();
            self.check();
            self.source
        }
    }

    /// Numbers without a pattern (Marsaglia's xorshift).
    struct Random(u64);

    impl Random {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % end
        }
    }

    /// Lengths of slabs: the shortest, odd ones, pages, powers of two and others, and as long as many of them can be.
    const LENGTHS: [usize; 12] =
        [1, 2, 3, 7, 100, 4095, 4096, 3 * 4096, 65_535, 65_536, 65_537, usize::MAX >> 12];

    /// Slabs that a model test chooses from.
    const CHOICE: usize = 1000;

    #[test]
    fn agrees_with_a_sorted_set() {
        let steps = if cfg!(miri) { 200 } else { 10_000 };
        for (number, len) in LENGTHS.into_iter().enumerate() {
            // Neighbours without a gap, with one byte, with the same again, and aligned.
            for stride in [len, len + 1, 2 * len, len.next_power_of_two()] {
                let mut random = Random(0x5EED + number as u64);
                let first = len.min(4096) + 1;
                let mut tried = Tried::new(Counted::new(heap()), len);
                // How many there are wanders up and down, over all sizes of the table.
                let mut wanted = 0;
                for step in 0..steps {
                    if step % 1000 == 0 {
                        wanted = random.below(CHOICE);
                    }
                    let base = first + stride * random.below(CHOICE);
                    if tried.model.contains(&base) != (tried.model.len() < wanted) {
                        assert!(tried.toggle(base));
                    }
                    tried.find_around(base);
                    tried.find(first.wrapping_add(random.below(CHOICE * 2).wrapping_mul(len / 2 + 1)));
                    if step % 97 == 0 {
                        tried.check();
                    }
                }
                tried.check();
                assert_eq!(tried.end().counts().blocks, 0);
            }
        }
    }

    quickcheck! {
        fn any_script_agrees_with_a_sorted_set(len: u16, first: u8, script: Vec<u8>) -> bool {
            let (len, first) = (usize::from(len) + 1, usize::from(first) + 1);
            let mut tried = Tried::new(heap(), len);
            for place in script {
                let base = first + usize::from(place) * len;
                assert!(tried.toggle(base));
                tried.check();
                tried.find_around(base);
            }
            tried.end();
            true
        }
    }

    #[test]
    fn every_address_of_dense_slabs_is_found() {
        // Every address there is, of slabs side by side, around the middle one of which a slab may be missing.
        for len in [1, 2, 3, 5, 8, 13, 31, 32, 33] {
            for count in [1, 4, 5, 40, 200] {
                let mut tried = Tried::new(heap(), len);
                let first = 1 + 5 * len;
                for number in 0..count {
                    tried.insert(first + number * len).unwrap();
                }
                for _ in 0..2 {
                    (0..first + (count + 5) * len).for_each(|addr| tried.find(addr));
                    tried.check();
                    if tried.model.contains(&(first + count / 2 * len)) {
                        tried.remove(first + count / 2 * len);
                    }
                }
                tried.end();
            }
        }
    }

    #[test]
    fn the_ends_of_the_address_space() {
        for len in [1, 3, 4096, 5000, 65_536, isize::MAX as usize] {
            let mut tried = Tried::new(heap(), len);
            // The lowest slab there can be, and the highest.
            tried.insert(1).unwrap();
            tried.insert(usize::MAX - len).unwrap();
            for others in [0, 20] {
                for number in 0..if len == isize::MAX as usize { 0 } else { others } {
                    tried.insert(10 * len + 2 * number * len).unwrap();
                }
                for addr in [
                    0,
                    1,
                    len - 1,
                    len,
                    len + 1,
                    usize::MAX - len - 1,
                    usize::MAX - len,
                    usize::MAX - 1,
                    usize::MAX,
                ] {
                    tried.find(addr);
                }
                tried.check();
            }
            tried.end();
        }
    }

    #[test]
    fn small_addresses_are_in_no_empty_slot() {
        // An empty slot is the number 0, and all of these are less than a length above that.
        let len = 1 << 20;
        let mut tried = Tried::new(heap(), len);
        for number in 1..200 {
            (0..64).for_each(|part| tried.find(part * (len / 64)));
            tried.insert(number * len + 5).unwrap();
        }
        // And here one of them is in a slab that begins there.
        tried.insert(5).unwrap();
        (0..128).for_each(|part| tried.find(part * (len / 64)));
        tried.end();
    }

    #[test]
    fn many() {
        let (count, len) = (if cfg!(miri) { 1 << 9 } else { 1 << 17 }, 3 * 4096);
        let base = |number: usize| 0x1_0000 + number * len;
        let (mut map, mut source) = (SlabMap::EMPTY, Counted::new(heap()));
        for number in 0..count {
            unsafe { map.reserve(&mut source, len) }.unwrap();
            unsafe { map.insert(slab(base(number)), len) };
        }
        assert!((0..count).all(|number| map.find(base(number) + len - 1, len) == Some(slab(base(number)))));
        assert!(map.table_bytes() <= count * 64 / 3 && map.table_bytes() == source.counts().bytes);
        for number in (0..count).step_by(2) {
            unsafe { map.remove(&mut source, slab(base(number)), len) };
        }
        for number in 0..count {
            let expected = (number % 2 == 1).then(|| slab(base(number)));
            assert_eq!(map.find(base(number), len), expected);
            assert_eq!(map.find(base(number) + len - 1, len), expected);
        }
        assert_eq!((map.len(), map.iter().count()), (count / 2, count / 2));
        for number in (1..count).step_by(2) {
            unsafe { map.remove(&mut source, slab(base(number)), len) };
        }
        // Nothing is left to release, and no more tables were made than there are sizes of them, each twice.
        let counts = source.counts();
        assert_eq!((map.len(), map.table_bytes(), counts.blocks), (0, 0, 0));
        assert!(counts.acquired <= 2 * u64::from(count.ilog2()), "{counts:?}");
    }

    #[test]
    fn neighbours_stand_at_home() {
        // In a table that is as full as can be, and whichever page the slabs begin on.
        let (len, count) = (1 << 16, TABLE_MIN * 16 / 4 * 3);
        for page in 0..16 {
            let mut tried = Tried::new(heap(), len);
            (1..=count).for_each(|number| tried.insert(number * len + page * 4096).unwrap());
            let Slots::Table(table) = &tried.map.slots else { panic!("no table") };
            let at_home = |base: &&usize| {
                // Both ends, which are in two cells on all pages but the first.
                let ends = [**base, **base + len - 1];
                ends.iter().all(|&addr| table.find_at_home(addr, len) == Some(slab(**base)))
            };
            let at_home = tried.model.iter().filter(at_home).count();
            assert!(at_home * 10 > count * 9, "{at_home} of {count}");
            tried.end();
        }
    }

    #[test]
    fn few_need_no_table() {
        let mut tried = Tried::new(Counted::new(heap()), 100);
        for number in 1..=INLINE {
            tried.insert(number * 100).unwrap();
            assert_eq!(tried.source.counts().acquired, 0);
        }
        tried.insert(1000).unwrap();
        assert_eq!(
            (tried.source.counts().blocks, tried.map.table_bytes()),
            (1, TABLE_MIN * size_of::<Slot>())
        );
        (2..=INLINE).for_each(|number| tried.remove(number * 100));
        assert_eq!(tried.source.counts().blocks, 1);
        tried.remove(100);
        assert_eq!((tried.source.counts().blocks, tried.map.table_bytes()), (0, 0));
        tried.find_around(1000);
        assert_eq!(tried.end().counts().acquired, 1);
    }

    #[test]
    fn to_and_fro_makes_one_table_at_most() {
        let (len, most) = (4096, if cfg!(miri) { 60 } else { 900 });
        let mut tried = Tried::new(Counted::new(heap()), len);
        // Up to each number of slabs and down again to each, and there to and fro, by one and by two.
        for number in (1..most).chain((1..most).rev()) {
            let acquired = tried.source.counts().acquired;
            for _ in 0..10 {
                for base in
                    [number, number, most + 1, most + 2, most + 2, most + 1].map(|place| (place + 1) * len)
                {
                    assert!(tried.toggle(base));
                }
            }
            assert!(tried.source.counts().acquired - acquired <= 1, "at {number}");
            assert!(tried.toggle((number + 1) * len));
        }
        assert_eq!((tried.map.len(), tried.source.counts().blocks), (0, 0));
    }

    #[test]
    fn a_source_that_fails() {
        let (len, most) = (5000, if cfg!(miri) { 50 } else { 500 });
        let work = |source: Failing<Heap>| {
            let mut tried = Tried::new(Failing::never(Counted::new(source)), len);
            let mut refused = 0;
            for number in (0..most).chain(0..most) {
                let before = tried.map.table_bytes();
                let base = (number + 1) * len;
                if !tried.model.contains(&base) && number % 7 == 6 {
                    continue;
                }
                if !tried.toggle(base) {
                    refused += 1;
                    assert_eq!(tried.map.table_bytes(), before);
                    let room = if before == 0 { INLINE } else { before / size_of::<Slot>() - 1 };
                    assert_eq!(tried.map.len(), room, "refused only when there is no room");
                }
                tried.find_around(base);
                tried.check();
            }
            for base in tried.model.clone() {
                tried.remove(base);
            }
            let requests = tried.source.requests();
            let counted = tried.end().into_inner();
            assert_eq!(counted.counts().blocks, 0);
            (requests, refused)
        };
        let (requests, refused) = work(Failing::never(heap()));
        assert!(requests > 8 && refused == 0);
        for n in 0..requests {
            // One failure is made good by the next call; without an end to them, some slabs find no room.
            let (_, refused) = work(Failing::nth(heap(), n));
            assert!(refused <= 1);
            work(Failing::after(heap(), n));
        }
        assert!(work(Failing::after(heap(), 0)).1 > 0);
    }

    #[test]
    fn a_full_table_goes_on_to_the_last_slot_but_one() {
        let len = 4096;
        let mut tried = Tried::new(Failing::after(Counted::new(heap()), 1), len);
        let fits = (1..100).take_while(|number| tried.insert(number * len).is_ok()).count();
        assert_eq!(fits, TABLE_MIN - 1);
        (1..100).for_each(|number| tried.find_around(number * len));
        // Room that comes back is used again; the source can't stop that, nor that the table goes.
        for _ in 0..50 {
            tried.remove(5 * len);
            assert_eq!(tried.insert(200 * len), Ok(()));
            assert_eq!(tried.insert(300 * len), Err(AllocError));
            tried.remove(200 * len);
            assert_eq!(tried.insert(5 * len), Ok(()));
            tried.check();
        }
        (1..=fits).for_each(|number| tried.remove(number * len));
        assert_eq!((tried.map.table_bytes(), tried.source.source().counts().blocks), (0, 0));
    }

    #[test]
    fn a_table_that_could_not_shrink_does_later() {
        // Tables of 16 to 1024 slots are acquired, then ten smaller ones are refused.
        let (len, most) = (4096, 700);
        let tables = 7;
        let mut tried = Tried::new(Failing::never(heap()), len);
        for number in 1..=most {
            tried.insert(number * len).unwrap();
        }
        assert_eq!((tried.source.requests(), tried.map.table_bytes()), (tables, 1024 * size_of::<Slot>()));
        let mut source = Failing::after(heap(), 0);
        core::mem::swap(&mut tried.source, &mut source);
        (101..=most).for_each(|number| tried.remove(number * len));
        assert_eq!(tried.map.table_bytes(), 1024 * size_of::<Slot>());
        assert!(tried.source.requests() > 0);
        core::mem::swap(&mut tried.source, &mut source);
        tried.remove(100 * len);
        assert_eq!(tried.map.table_bytes(), 512 * size_of::<Slot>());
        tried.check();
        tried.end();
    }

    #[test]
    fn a_source_that_can_not_align_pointers_serves_few() {
        struct Bytes(Heap);
        unsafe impl BackingSource for Bytes {
            const GRANULE: usize = 1;
            const ALIGN_MAX: usize = 1;
            fn acquire(&mut self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
                if layout.align() > 1 { Err(AllocError) } else { self.0.acquire(layout) }
            }
            unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
                unsafe { self.0.release(block, layout) };
            }
        }
        let mut tried = Tried::new(Bytes(heap()), 10);
        let fits = (1..100).take_while(|number| tried.insert(number * 10).is_ok()).count();
        assert_eq!(fits, INLINE);
        tried.check();
    }

    #[cfg(all(feature = "os", not(miri)))]
    #[test]
    fn a_page_is_used_up_before_a_second_one() {
        use crate::source::Pages;
        let page = Pages::page_size();
        let mut tried = Tried::new(Counted::new(Pages), 4096);
        let room = page / size_of::<Slot>() / 4 * 3;
        (1..=room).for_each(|number| tried.insert(number * 4096).unwrap());
        assert_eq!((tried.map.table_bytes(), tried.source.counts().acquired), (page, 1));
        tried.check();
        tried.insert((room + 1) * 4096).unwrap();
        assert_eq!((tried.map.table_bytes(), tried.source.counts().bytes), (2 * page, 2 * page));
        tried.check();
        // Half of a page is no less than a page: it stays until none is needed.
        (3..=room + 1).for_each(|number| tried.remove(number * 4096));
        assert_eq!((tried.map.table_bytes(), tried.source.counts().acquired), (page, 3));
        tried.remove(2 * 4096);
        assert_eq!((tried.map.table_bytes(), tried.source.counts().blocks), (0, 0));
        tried.find_around(4096);
        assert_eq!(tried.end().counts().acquired, 3);
    }
}
