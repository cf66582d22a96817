//! How long a list of freed blocks may get.

/// How many freed blocks a list of [`FreeLists`](super::FreeLists) keeps. Each list has a policy of its own, which hears of all that joins and leaves it.
///
/// Ready ones are [`Unbounded`], [`AtMost`] and [`Adaptive`].
///
/// # Write your own in three steps
/// 1. A type with what has to be counted.
/// 2. `unsafe impl Bound`.
/// 3. Hand it to [`FreeLists`](super::FreeLists).
///
/// ```
/// use heapwright::cache::Classes;
/// use heapwright::combine::{Bound, FreeLists};
/// use heapwright::heap::NoHeap;
///
/// // 1. keeps every other block
/// #[derive(Debug)]
/// struct Half(bool);
///
/// // 2. SAFETY: nothing here unwinds or uses a heap.
/// unsafe impl Bound for Half {
///     const NEW: Self = Half(false);
///     fn taken(&mut self) {}
///     fn keep(&mut self) -> bool {
///         self.0 = !self.0;
///         self.0
///     }
///     fn surplus(&mut self) -> usize {
///         1
///     }
///     fn joined(&mut self, _: usize) {}
///     fn left(&mut self, _: usize) {}
/// }
///
/// // 3. use it
/// let heap = FreeLists::<Classes, NoHeap, Half>::new(NoHeap);
/// ```
///
/// # Safety
/// No method unwinds, or uses a heap.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how many freed blocks to keep",
    label = "this type parameter takes `Unbounded`, `AtMost<N>` or `Adaptive<WINDOW>`",
    note = "or implement `heapwright::combine::Bound`: see its docs"
)]
pub unsafe trait Bound {
    /// The policy of a list without blocks.
    const NEW: Self;

    /// The most blocks that a list ever has by this policy.
    const MAX: usize = usize::MAX;

    /// A block of the list has been handed out.
    fn taken(&mut self);

    /// A block comes back. Whether it simply joins the list; it has joined it then.
    ///
    /// It may be asked twice for one block, if it says no.
    fn keep(&mut self) -> bool;

    /// A block that was not simply kept: how many are to go, this one first and then others of the list. If none, it joins the list, as
    /// [`joined`](Bound::joined) tells.
    fn surplus(&mut self) -> usize;

    /// So many blocks have joined the list that were not live before, or that `surplus` let in.
    fn joined(&mut self, count: usize);

    /// So many blocks have left the list and gone where they are from.
    fn left(&mut self, count: usize);
}

/// Keeps every block until it is used again, or until `release_unused`. The fastest: nothing is counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unbounded;

// SAFETY: nothing unwinds or uses a heap.
unsafe impl Bound for Unbounded {
    const NEW: Self = Unbounded;

    #[inline(always)]
    fn taken(&mut self) {}

    #[inline(always)]
    fn keep(&mut self) -> bool {
        true
    }

    #[inline(always)]
    fn surplus(&mut self) -> usize {
        0
    }

    #[inline(always)]
    fn joined(&mut self, _: usize) {}

    #[inline(always)]
    fn left(&mut self, _: usize) {}
}

/// Keeps at most `N` blocks of each size. One more goes where it is from.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtMost<const N: usize> {
    len: u32,
}

// SAFETY: nothing unwinds or uses a heap.
unsafe impl<const N: usize> Bound for AtMost<N> {
    const NEW: Self = {
        assert!(N > 0 && N <= u32::MAX as usize, "a list of no blocks keeps nothing: leave out the lists");
        AtMost { len: 0 }
    };
    const MAX: usize = N;

    #[inline(always)]
    fn taken(&mut self) {
        self.len = self.len.wrapping_sub(1);
    }

    #[inline(always)]
    fn keep(&mut self) -> bool {
        if self.len as usize >= N {
            return false;
        }
        self.len += 1;
        true
    }

    #[inline(always)]
    fn surplus(&mut self) -> usize {
        1
    }

    #[inline(always)]
    fn joined(&mut self, count: usize) {
        self.len = self.len.wrapping_add(count as u32);
    }

    #[inline(always)]
    fn left(&mut self, count: usize) {
        self.len = self.len.wrapping_sub(count as u32);
    }
}

/// Keeps what is used: of the blocks that a list has had over and above all need during its last `WINDOW` frees, half go.
///
/// The list's shortest length within the window says how many blocks nobody needed. So a list that serves a steady load keeps its hit rate whatever its
/// length, and one whose load is gone halves with each window; a free of that size has to come now and then for that, or a `release_unused`. Where blocks
/// come and go in waves, the window has to be longer than a wave.
///
/// The idea: the low-water mark of tcmalloc's thread caches (Ghemawat, Menage). The adaptive `FreeList` of D's `std.experimental.allocator` estimates the
/// miss rate instead, by a model in which every block is as likely to be needed as any other.
///
/// ```
/// use heapwright::combine::{Adaptive, Bound};
/// let mut list = Adaptive::<4>::NEW;
/// assert!((0..4).all(|_| list.keep())); // four frees, and no block was needed
/// list.taken();
/// assert!(!list.keep(), "the window is over");
/// assert_eq!(list.surplus(), 0, "it began with an empty list: nothing was there that nobody needed");
/// list.joined(1);
/// assert!((0..4).all(|_| list.keep()));
/// assert!(!list.keep());
/// assert_eq!(list.surplus(), 2, "three of eight blocks were there all the time: half of them go");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Adaptive<const WINDOW: u32 = 256> {
    len: u32,
    /// The least `len` of this window.
    fewest: u32,
    /// Frees in this window.
    frees: u32,
}

// SAFETY: nothing unwinds or uses a heap.
unsafe impl<const WINDOW: u32> Bound for Adaptive<WINDOW> {
    const NEW: Self = {
        assert!(WINDOW > 0, "a window of no frees never says what is needed: take 100 to 1000");
        Adaptive { len: 0, fewest: 0, frees: 0 }
    };

    #[inline(always)]
    fn taken(&mut self) {
        self.len = self.len.wrapping_sub(1);
        self.fewest = self.fewest.min(self.len);
    }

    #[inline(always)]
    fn keep(&mut self) -> bool {
        if self.frees >= WINDOW {
            return false;
        }
        self.frees += 1;
        self.len = self.len.wrapping_add(1);
        true
    }

    fn surplus(&mut self) -> usize {
        let idle = self.fewest.min(self.len);
        self.frees = 0;
        self.fewest = self.len;
        idle.div_ceil(2) as usize
    }

    #[inline]
    fn joined(&mut self, count: usize) {
        self.len = self.len.wrapping_add(count as u32);
    }

    #[inline]
    fn left(&mut self, count: usize) {
        self.len = self.len.wrapping_sub(count as u32);
        self.fewest = self.fewest.min(self.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list that is only counted.
    struct Model<B: Bound> {
        bound: B,
        len: usize,
        misses: usize,
    }

    impl<B: Bound> Model<B> {
        const fn new() -> Self {
            Model { bound: B::NEW, len: 0, misses: 0 }
        }

        fn alloc(&mut self) {
            if self.len == 0 {
                self.misses += 1;
            } else {
                self.len -= 1;
                self.bound.taken();
            }
        }

        fn free(&mut self) {
            if self.bound.keep() {
                self.len += 1;
                return;
            }
            assert!(!self.bound.keep(), "the answer stays the same");
            match self.bound.surplus() {
                0 => {
                    self.len += 1;
                    self.bound.joined(1);
                }
                count => {
                    let others = (count - 1).min(self.len);
                    self.len -= others;
                    self.bound.left(others);
                }
            }
        }

        fn wave(&mut self, count: usize) {
            (0..count).for_each(|_| self.alloc());
            (0..count).for_each(|_| self.free());
        }
    }

    #[test]
    fn a_bounded_list_is_no_longer_than_its_bound() {
        let mut list = Model::<AtMost<10>>::new();
        list.wave(25);
        assert_eq!((list.len, list.bound.len), (10, 10));
        list.wave(10);
        assert_eq!(list.misses, 25);
    }

    #[test]
    fn a_steady_load_is_never_trimmed() {
        let mut list = Model::<Adaptive<256>>::new();
        (0..100).for_each(|_| list.wave(100));
        assert_eq!(list.misses, 100, "what is used stays");
        assert_eq!((list.len, list.bound.len), (100, 100));
    }

    #[test]
    fn a_list_whose_load_is_gone_goes_too() {
        let mut list = Model::<Adaptive<16>>::new();
        list.wave(1000);
        assert!(list.len > 0);
        (0..40 * 17).for_each(|_| list.wave(1));
        assert!(list.len <= 2, "{} blocks for a load of one", list.len);
        let misses = list.misses;
        (0..1000).for_each(|_| list.wave(1));
        assert!(list.misses - misses <= 1, "one block stays in use");
    }
}
