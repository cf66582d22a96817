//! What a policy of checks comes to in caches of raw memory, and in heaps of them.

use core::alloc::Layout;
use core::cell::Cell;
use core::fmt;
use core::ptr::NonNull;

use crate::check::{Checks, Damage, Finding, Fresh, Misuse, Switch, Wrong, ZONE, first_other};

/// Bytes of a free object in which its slab may keep a link.
const LINK_LEN: usize = size_of::<u64>();

/// What a policy says about slabs. All of it goes with [`Checks::Frees`]: without, there is nobody to tell what is found.
pub(super) trait SlabChecks: Checks {
    /// Whether what comes back is looked at.
    const LOOKS: bool = Self::Frees::ON;
    /// Bytes behind each block, at least, that are not its user's.
    const ZONE: usize = if Self::LOOKS { Self::RED_ZONE } else { 0 };
    /// That a block is as long as its slot: no program with a policy of which this is not true can ask for it.
    const BLOCKS_ARE_SLOTS: () = assert!(
        Self::ZONE == 0,
        "a red zone begins where a block ends, which its pointer does not tell: remember the size that was asked for, or take a policy whose `RED_ZONE` is 0"
    );
    /// Whether free objects are zero.
    const ZEROES: bool = Self::LOOKS && Self::ZERO_FREED;
    /// Whether objects at hand are left there until there are some.
    const RESTS: bool = Self::LOOKS && Self::Quarantine::ON;
    /// Whether it is a matter of chance which object of those at hand goes out.
    const CHANCE: bool = Self::LOOKS && (Self::SHUFFLE || Self::Quarantine::ON);
    /// Whether objects have to come out of their slabs as they came in.
    const RESTORES: bool = Self::LOOKS && (Self::ENCODE || Self::ZERO_FREED);
}

impl<P: Checks> SlabChecks for P {}

/// What was found and not told yet, and how much there was in all.
#[derive(Debug)]
struct Found {
    misuses: Cell<u32>,
    /// The first that was not told yet.
    untold: Cell<Option<Misuse>>,
}

impl Fresh for Found {
    const NEW: Self = Found { misuses: Cell::new(0), untold: Cell::new(None) };
}

/// What a heap of slabs remembers for its policy: nothing, unless that looks at what comes back.
pub(super) struct Watch<P: Checks> {
    found: <P::Frees as Switch>::Of<Found>,
}

impl<P: Checks> Watch<P> {
    /// Nothing was found.
    pub(super) const NEW: Self = Watch { found: Fresh::NEW };

    /// How much was found.
    pub(super) fn misuses(&self) -> usize {
        P::Frees::get(&self.found).map_or(0, |found| found.misuses.get() as usize)
    }

    /// What is to be told, once.
    #[inline(always)]
    pub(super) fn take(&self) -> Option<Finding> {
        P::Frees::get(&self.found)?.untold.take().map(Finding::new::<P::Report>)
    }

    /// Notes a misuse.
    pub(super) fn note(&self, misuse: Misuse) {
        self.note_some(misuse, 1);
    }

    /// Notes so many misuses, of which this is the first.
    #[cold]
    #[inline(never)]
    pub(super) fn note_some(&self, misuse: Misuse, count: usize) {
        if let Some(found) = P::Frees::get(&self.found) {
            found.misuses.set(found.misuses.get().saturating_add(u32::try_from(count).unwrap_or(u32::MAX)));
            found.untold.set(found.untold.take().or(Some(misuse)));
        }
    }

    /// Whether a block of `layout`, at the `object` of `stride` bytes, may come back: it does unless it is wrong, or may be free already, and then stays as it is. What is wrong, and what was
    /// written behind it, is noted.
    ///
    /// # Safety
    /// Unless `place` is an error, `object` is a live block, which `ready` has seen, and `layout` fits into it.
    pub(super) unsafe fn lets_back(
        &self,
        place: Result<(), Misuse>,
        object: NonNull<u8>,
        layout: Layout,
        stride: usize,
    ) -> bool {
        if let Err(misuse) = place {
            self.note(misuse);
            return false;
        }
        // SAFETY: the caller's promise.
        let damage = unsafe { differing(object, layout.size(), Self::zone_end(stride), ZONE) };
        let Some(damage) = damage else { return true };
        self.note(Misuse::new(Wrong::WrittenBehind, object.addr().get(), layout).with_damage(damage));
        // A zone that is all zero may be that of a free object, which its slab has lost with its own link, in the first word: nobody gets it twice.
        let from = if stride > LINK_LEN { layout.size().max(LINK_LEN) } else { layout.size() };
        // SAFETY: the caller's promise.
        let back = !P::ZEROES || unsafe { differing(object, from, stride, 0) }.is_some();
        if back && layout.size() > 0 {
            // What has been noted is not to be found again, if the block stays after all.
            // SAFETY: the caller's promise, and nobody needs what lies behind its size. (No block has the size zero: such a one says nothing of where it ends.)
            unsafe { Self::enclose(object, layout.size(), stride) };
        }
        back
    }

    /// Makes an object ready to be a block of `layout`; that it was written to while it was free is noted.
    ///
    /// # Safety
    /// The object, of `stride` bytes, is the caller's alone, and `layout` fits. `zero` says whether it has been zero since it was free.
    #[inline]
    pub(super) unsafe fn ready(&self, object: NonNull<u8>, layout: Layout, stride: usize, zero: bool) {
        if P::ZEROES && zero {
            // SAFETY: the caller's promise: it is ours, and initialised.
            if let Some(damage) = unsafe { differing(object, 0, stride, 0) } {
                let misuse = Misuse::new(Wrong::WrittenAfterFree, object.addr().get(), layout);
                self.note(misuse.with_damage(damage));
            }
        }
        // SAFETY: the caller's promise.
        unsafe { Self::enclose(object, layout.size(), stride) };
    }

    /// Writes the pattern behind a block's `size` bytes.
    ///
    /// # Safety
    /// The object, of `stride` bytes, is the caller's, and what lies behind `size` is nobody's.
    #[inline]
    pub(super) unsafe fn enclose(object: NonNull<u8>, size: usize, stride: usize) {
        let len = Self::zone_end(stride).saturating_sub(size);
        if len > 0 {
            // SAFETY: `size` is below the stride.
            let zone = unsafe { object.add(size) };
            // SAFETY: it ends where the object does.
            unsafe { zone.write_bytes(ZONE, len) };
        }
    }

    /// Does to the memory of an object that comes back what is to be done.
    ///
    /// # Safety
    /// The object, of `stride` bytes, is free from now on, and nowhere yet.
    #[inline]
    pub(super) unsafe fn clear(object: NonNull<u8>, stride: usize) {
        if P::ZEROES {
            // SAFETY: the caller's promise.
            unsafe { object.write_bytes(0, stride) };
        }
    }

    /// Where the zone of an object of `stride` bytes ends: at its own end, if there are any zones.
    const fn zone_end(stride: usize) -> usize {
        if P::ZONE > 0 { stride } else { 0 }
    }
}

impl<P: Checks> fmt::Debug for Watch<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("misuses", &self.misuses()).finish_non_exhaustive()
    }
}

/// The first byte of those from `from` to below `to` that is not `expected`.
///
/// # Safety
/// The bytes lie in an object that begins at `object`, are initialised, and nobody else's.
unsafe fn differing(object: NonNull<u8>, from: usize, to: usize, expected: u8) -> Option<Damage> {
    let len = to.checked_sub(from)?;
    // SAFETY: within the object.
    let first = unsafe { object.add(from) };
    // SAFETY: the caller's promise.
    let (at, found) = unsafe { first_other(first, len, expected) }?;
    Some(Damage { offset: (from + at) as isize, expected, found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{Checked, Hardened, Ignore, Unchecked};

    static_assertions::const_assert_eq!(size_of::<Watch<Unchecked>>(), 0);
    static_assertions::assert_impl_all!(Watch<Hardened>: Send);
    const _: () = assert!(!<Unchecked as SlabChecks>::LOOKS && <Checked<Ignore> as SlabChecks>::LOOKS);
    const _: () = assert!(<Hardened as SlabChecks>::ZONE == 8 && <Checked as SlabChecks>::ZONE == 0);

    /// One wrong byte, wherever it is, whatever is looked at.
    #[test]
    fn a_wrong_byte_is_found() {
        for (from, to) in [(0, 0), (0, 1), (0, 40), (3, 21), (8, 16), (7, 40), (39, 40)] {
            for wrong in 0..40 {
                let mut bytes = [ZONE; 40];
                bytes[wrong] ^= 0x10;
                let start = NonNull::from(&mut bytes).cast();
                // SAFETY: no more than the array is read.
                let damage = unsafe { differing(start, from, to, ZONE) };
                let found = damage.map(|damage| damage.offset as usize);
                assert_eq!(found, (from..to).contains(&wrong).then_some(wrong), "{wrong} in {from}..{to}");
            }
        }
    }

    /// The first is told, once; all are counted.
    #[test]
    fn what_is_found_is_told_once() {
        let watch = Watch::<Checked<Ignore>>::NEW;
        assert!(watch.take().is_none());
        for address in [0x1000, 0x2000] {
            watch.note(Misuse::new(Wrong::DoubleFree, address, Layout::new::<u8>()));
        }
        assert_eq!(watch.take().map(|finding| finding.misuse().address), Some(0x1000));
        assert_eq!((watch.take().is_none(), watch.misuses()), (true, 2));
        let blind = Watch::<Unchecked>::NEW;
        blind.note(Misuse::new(Wrong::DoubleFree, 0x1000, Layout::new::<u8>()));
        assert_eq!((blind.take().is_none(), blind.misuses()), (true, 0));
    }
}
