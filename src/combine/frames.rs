//! A ring of heaps turned safely: what a frame makes is kept with it, and dropped when its turn comes again.

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;

use super::ring::Ring;
use crate::heap::{Locked, Owns, Reset, SharedHeap};
use crate::lock::Lock;

/// What a frame leaves for the next ones: a type with a lifetime, that of the frame's memory.
///
/// ```
/// # #[cfg(all(feature = "alloc", feature = "allocator-api2-04"))] {
/// use allocator_api2_04::vec::Vec;
/// use heapwright::{combine::{Carried, Region, Ring}, heap::Locked, lock::NoLock, source::GlobalHeap};
/// type Heap = Locked<Ring<2, Region<GlobalHeap>>, NoLock>;
///
/// /// The positions of all bodies.
/// struct Positions;
/// impl Carried for Positions {
///     type In<'f> = Vec<f32, &'f Heap>;
/// }
/// # }
/// ```
pub trait Carried {
    /// The type, for a frame whose memory is good for `'f`.
    type In<'f>;
}

/// A [`Ring`] at work: each [`step`](Frames::step) makes a frame's value from those of the frames before, in the frame's own memory.
///
/// The compiler checks that a value holds nothing of another frame; the value is dropped, and its frame emptied, when its turn comes again. What is to
/// live longer is copied from frame to frame, as from one state of the world to the next.
///
/// ```
/// # #[cfg(all(feature = "alloc", feature = "allocator-api2-04"))] {
/// use allocator_api2_04::vec::Vec;
/// use heapwright::{combine::{Carried, Region, Ring}, heap::Locked, lock::NoLock, source::GlobalHeap};
///
/// type Heap = Locked<Ring<2, Region<GlobalHeap>>, NoLock>;
/// struct Row;
/// impl Carried for Row {
///     type In<'f> = Vec<u32, &'f Heap>;
/// }
///
/// // Pascal's triangle, a row in each frame, made from the row before.
/// let mut heap: Heap = Locked::new(Ring::new([Region::new(GlobalHeap), Region::new(GlobalHeap)]));
/// let mut frames = heap.frames::<Row>();
/// for _ in 0..5 {
///     frames.step(|frame, earlier| {
///         let mut row = Vec::new_in(frame);
///         earlier.with(1, |above| row.extend(above.windows(2).map(|pair| pair[0] + pair[1])));
///         row.insert(0, 1);
///         if earlier.with(1, |_| ()).is_some() {
///             row.push(1);
///         }
///         row
///     });
/// }
/// assert_eq!(frames.newest(|row| row.to_vec()), Some(vec![1, 4, 6, 4, 1]));
/// # }
/// ```
///
/// # Cost
/// The `N` values, and a check and a move of one at each step; requests cost what they cost in the ring.
///
/// A frame's memory does not leave it:
/// ```compile_fail,E0521
/// # use heapwright::{combine::{Carried, Region, Ring}, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # use allocator_api2_04::boxed::Box;
/// # type Heap = Locked<Ring<2, Region<GlobalHeap>>, NoLock>;
/// # struct Number;
/// # impl Carried for Number { type In<'f> = Box<u32, &'f Heap>; }
/// # let mut heap: Heap = Locked::new(Ring::new([Region::new(GlobalHeap), Region::new(GlobalHeap)]));
/// # let mut frames = heap.frames::<Number>();
/// let mut kept = None;
/// frames.step(|frame, _| {
///     kept = Some(Box::new_in(1, frame)); // error: borrowed data escapes
///     Box::new_in(2, frame)
/// });
/// # drop(kept);
/// ```
/// and one frame does not hold what another one has:
/// ```compile_fail
/// # use heapwright::{combine::{Carried, Region, Ring}, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # type Heap = Locked<Ring<2, Region<GlobalHeap>>, NoLock>;
/// # struct Number;
/// # impl Carried for Number { type In<'f> = Option<&'f u32>; }
/// # let mut heap: Heap = Locked::new(Ring::new([Region::new(GlobalHeap), Region::new(GlobalHeap)]));
/// # let mut frames = heap.frames::<Number>();
/// frames.step(|_, earlier| earlier.with(1, |number| *number).flatten()); // error: lifetime may not live long enough
/// ```
/// nor itself, since it moves:
/// ```compile_fail
/// # use heapwright::{combine::{Carried, Region, Ring}, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # use std::cell::Cell;
/// # type Heap = Locked<Ring<2, Region<GlobalHeap>>, NoLock>;
/// # struct Knot;
/// # impl Carried for Knot { type In<'f> = (u32, Cell<Option<&'f u32>>); }
/// # let mut heap: Heap = Locked::new(Ring::new([Region::new(GlobalHeap), Region::new(GlobalHeap)]));
/// # let mut frames = heap.frames::<Knot>();
/// frames.newest(|(number, link)| link.set(Some(number))); // error: lifetime may not live long enough
/// ```
/// The ring is not used beside its frames, nor does it go before them:
/// ```compile_fail,E0505
/// # use heapwright::{combine::{Carried, Region, Ring}, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # use allocator_api2_04::boxed::Box;
/// # type Heap = Locked<Ring<2, Region<GlobalHeap>>, NoLock>;
/// # struct Number;
/// # impl Carried for Number { type In<'f> = Box<u32, &'f Heap>; }
/// # let mut heap: Heap = Locked::new(Ring::new([Region::new(GlobalHeap), Region::new(GlobalHeap)]));
/// let mut frames = heap.frames::<Number>();
/// drop(heap); // error: borrowed, and used when `frames` is dropped
/// ```
/// ```compile_fail,E0597
/// # use heapwright::{combine::{Carried, Frames, Region, Ring}, heap::Locked, lock::NoLock, source::GlobalHeap};
/// # use allocator_api2_04::boxed::Box;
/// # type Heap = Locked<Ring<2, Region<GlobalHeap>>, NoLock>;
/// # struct Number;
/// # impl Carried for Number { type In<'f> = Box<u32, &'f Heap>; }
/// let mut frames: Frames<'_, Number, 2, Region<GlobalHeap>, NoLock>;
/// let mut heap: Heap = Locked::new(Ring::new([Region::new(GlobalHeap), Region::new(GlobalHeap)]));
/// frames = heap.frames::<Number>(); // error: does not live long enough
/// ```
pub struct Frames<'r, S: Carried, const N: usize, A: Owns, L: Lock> {
    /// Shared by the values, and lent to this value alone besides.
    ring: &'r Locked<Ring<N, A>, L>,
    /// The values by turn, each in the memory of its frame; their lifetimes are forgotten, and are up when the frame's turn comes, or at the end of `'r`.
    values: [Option<S::In<'static>>; N],
    /// Whose turn it is.
    turn: usize,
    /// Whether a value of `In<'static>` may be sent says nothing of one with another lifetime.
    stays: PhantomData<*const ()>,
}

/// The values of the frames before: what a [`step`](Frames::step) makes its own from.
pub struct Earlier<'e, S: Carried, const N: usize> {
    values: &'e [Option<S::In<'static>>; N],
    turn: usize,
    /// As in [`Frames`].
    stays: PhantomData<*const ()>,
}

/// The value at `age`, with a lifetime of its own.
fn with<S: Carried, const N: usize, R>(
    values: &[Option<S::In<'static>>; N],
    turn: usize,
    age: usize,
    look: impl for<'a, 'f> FnOnce(&'a S::In<'f>) -> R,
) -> Option<R> {
    // The lifetimes that the value really has are among those that `look` takes: it was made for a lifetime that nobody knew, and is treated as
    // one for a lifetime that nobody knows. (`&'a In<'f>` is for any `'a`, so that nothing with `'f` can refer to the value itself.)
    let value = values[(turn + N - age) % N].as_ref()?;
    Some(look(value))
}

impl<S: Carried, const N: usize> Earlier<'_, S, N> {
    /// Looks at the value of the frame `age` frames ago: from 1, the last one, to `N - 1`. `None` if there is none.
    pub fn with<R>(&self, age: usize, look: impl for<'a, 'f> FnOnce(&'a S::In<'f>) -> R) -> Option<R> {
        if age == 0 || age >= N {
            return None;
        }
        with::<S, N, R>(self.values, self.turn, age, look)
    }
}

impl<S: Carried, const N: usize> fmt::Debug for Earlier<'_, S, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Earlier").field("turn", &self.turn).finish_non_exhaustive()
    }
}

impl<const N: usize, A: Owns + Reset, L: Lock> Locked<Ring<N, A>, L> {
    /// Begins to turn the ring. The `&mut` proves that no handle borrows it.
    pub fn frames<S: Carried>(&mut self) -> Frames<'_, S, N, A, L> {
        let turn = self.get_mut().turn();
        Frames { ring: self, values: [const { None }; N], turn, stays: PhantomData }
    }
}

impl<S: Carried, const N: usize, A: Owns + Reset, L: Lock> Frames<'_, S, N, A, L> {
    /// Goes on to the next frame: drops the value that was made there `N` frames ago, empties the frame, and keeps what `make` makes of it.
    ///
    /// If `make` or the drop of the old value unwinds, the frame has no value.
    pub fn step(
        &mut self,
        make: impl for<'f, 'e> FnOnce(&'f Locked<Ring<N, A>, L>, Earlier<'e, S, N>) -> S::In<'f>,
    ) {
        let next = (self.turn + 1) % N;
        // First of all, and if this unwinds the frame is not emptied.
        drop(self.values[next].take());
        // SAFETY: the frame's blocks are from its last turn; they were reachable through the value that was made then, which is gone, as its
        // lifetime was nobody else's.
        let work = |ring: &mut Ring<N, A>| unsafe { ring.advance() };
        // SAFETY: the closure only calls the core. On re-entry, which nobody can bring about, the ring would stay where it is, and nothing be emptied.
        let advanced = unsafe { self.ring.enter(work) };
        if advanced.is_err() {
            return;
        }
        self.turn = next;
        let value = ManuallyDrop::new(make(
            self.ring,
            Earlier { values: &self.values, turn: next, stays: PhantomData },
        ));
        // SAFETY: a type's lifetimes do not change what it is made of: the same value, read once. It is given to others only for lifetimes that they
        // can't tell (`with`), and dropped while its memory is good.
        let kept = unsafe { (&raw const value).cast::<S::In<'static>>().read() };
        self.values[next] = Some(kept);
    }

    /// Looks at the value of the newest frame; `None` if there is none.
    pub fn newest<R>(&self, look: impl for<'a, 'f> FnOnce(&'a S::In<'f>) -> R) -> Option<R> {
        with::<S, N, R>(&self.values, self.turn, 0, look)
    }

    /// The ring.
    #[must_use]
    pub const fn ring(&self) -> &Locked<Ring<N, A>, L> {
        self.ring
    }
}

/// Drops the values; the ring is as it is. Written out, so that the compiler knows that the ring is still used here.
impl<S: Carried, const N: usize, A: Owns, L: Lock> Drop for Frames<'_, S, N, A, L> {
    fn drop(&mut self) {
        for value in &mut self.values {
            drop(value.take());
        }
    }
}

impl<S: Carried, const N: usize, A: Owns, L: Lock> fmt::Debug for Frames<'_, S, N, A, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames").field("frames", &N).field("turn", &self.turn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heap::NoHeap;
    use crate::lock::SpinLock;

    struct Nothing;
    impl Carried for Nothing {
        type In<'f> = ();
    }

    static_assertions::assert_not_impl_any!(Frames<'static, Nothing, 2, NoHeap, SpinLock>: Send, Sync);
    static_assertions::assert_not_impl_any!(Earlier<'static, Nothing, 2>: Send, Sync);
}
