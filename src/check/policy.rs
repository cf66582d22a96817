//! The policies.

#[cfg(feature = "std")]
use core::cell::Cell;
use core::fmt;
use core::marker::PhantomData;

use super::misuse::{Abort, Misuse, OnMisuse};
use super::switch::{Off, On, Switch};
use crate::describe::{Cost, Describe, Tree, name};

/// What a heap checks, and what is done about what it finds.
///
/// [The module's docs](crate::check) have a policy in three steps, and a table of what the ready-made ones find.
///
/// Whether a policy does nothing at all follows from what it says, and is not said:
///
/// ```compile_fail,E0438
/// use heapwright::check::{Checks, Ignore, Off};
///
/// struct Mine;
/// impl Checks for Mine {
///     type Frees = Off;
///     type Quarantine = Off;
///     type Report = Ignore;
///     const ZERO_FREED: bool = true;
///     const NONE: bool = true; // error: no such thing
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what a heap checks",
    label = "this type parameter takes a policy of checks",
    note = "policies are `Unchecked`, `Checked` and `Hardened`, or implement `heapwright::check::Checks`"
)]
pub trait Checks: Sized + 'static {
    /// Whether what comes back, to be freed or resized, is looked at: whether it is a block of this heap, whole, live, and of a layout that it can have.
    type Frees: Switch;

    /// Whether freed blocks rest for a while before they are used again, in an order that nobody can foresee.
    type Quarantine: Switch;

    /// What is done about a misuse.
    type Report: Report;

    /// At least so many bytes behind each block hold a pattern, which is looked at when the block is freed or resized. 0: none.
    ///
    /// What a block has beyond these and what was asked for holds it too. General allocators fill, and look at, so many bytes at its end alone: writes between harm nobody.
    const RED_ZONE: usize = 0;

    /// Whether freed blocks are zeroed, and looked at when their memory is used again: what is not zero was written after the free.
    ///
    /// Blocks without a class of a general allocator are zeroed by whoever gets them from the OS, if its source says so; else all of such a block is written when it is freed.
    const ZERO_FREED: bool = false;

    /// Whether the order in which fresh objects of a slab go out is a matter of chance. (Without `Frees`, one that follows from their addresses.)
    const SHUFFLE: bool = false;

    /// Whether pages that can't be touched follow slabs and large blocks, where the source can do that. Where a [`ChunkHeap`](crate::cache::ChunkHeap) asks for huge pages they follow these, instead of each
    /// slab.
    ///
    /// On Linux and Android a process has 16,384 of them at most, those of all heaps together: with slabs of 32 KiB, in the first half GiB, or with huge pages in 32 GiB. Each takes the kernel two mappings,
    /// of which it gives a process 65,530, if `vm.max_map_count` is as it was; with none left no thread could begin.
    const GUARDS: bool = false;

    /// Whether links that lie in free memory are encoded.
    const ENCODE: bool = false;
}

/// What follows from a policy. It is no part of it: nobody can say otherwise.
pub(crate) trait Follows: Checks {
    /// Whether nothing of all that a policy can say is done.
    const NONE: bool = !<Self::Frees as Switch>::ON
        && !<Self::Quarantine as Switch>::ON
        && Self::RED_ZONE == 0
        && !(Self::ZERO_FREED || Self::SHUFFLE || Self::GUARDS || Self::ENCODE);
}

impl<C: Checks> Follows for C {}

/// What is done about a misuse, by a function of a type.
///
/// It is called when no lock of the heap is held, on the thread whose call has found the misuse, before that call returns, and may use memory of that very heap. For a wrong free or resize that is the wrong call itself; what was
/// written behind a block is found by the call that frees or resizes it, what was written to a freed one by the call that takes its memory next, which may be anybody's. What is found wrong with the memory that a report uses is told as well, one report within the
/// other; with `std` up to eight, so that a heap of which much is damaged does not exhaust the stack. When it returns, the program goes on. A panic in it is an abort: nothing unwinds out of a heap.
///
/// | | what it does |
/// |---|---|
/// | [`Abort`] | writes the report to standard error (with `std`) and ends the process |
/// | `AbortWith<W>` of [`trace`](crate::trace) | the same, and tells where the block was allocated and freed, if the heap is traced (with `std`) |
/// | [`Ignore`] | nothing: for heaps that count, and programs that look at the count |
///
/// [The module's docs](crate::check) have one that counts.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what is done about a misuse",
    label = "this type parameter takes something to report to",
    note = "use `Abort` or `Ignore`, or implement `heapwright::check::Report`: one function"
)]
pub trait Report: 'static {
    /// A misuse was found.
    fn report(misuse: &Misuse);
}

impl Report for Abort {
    fn report(misuse: &Misuse) {
        Abort.on_misuse(misuse);
    }
}

/// Nothing is done about a misuse, but that the wrong call has no effect.
///
/// ```
/// use heapwright::check::{Ignore, Misuse, Report, Wrong};
/// use std::alloc::Layout;
/// Ignore::report(&Misuse::new(Wrong::DoubleFree, 0x1000, Layout::new::<u64>()));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignore;

impl Report for Ignore {
    fn report(_: &Misuse) {}
}

/// Reports that may be made on a thread while others are: those of memory that a report takes, and that was damaged as well.
#[cfg(feature = "std")]
const WITHIN_MAX: u32 = 8;

/// Tells `R` of a misuse. No lock of the heap is held. If it unwinds, the process is aborted.
#[cold]
#[inline(never)]
pub(crate) fn report<R: Report>(misuse: &Misuse) {
    /// What unwinds to the edge of such a function aborts.
    extern "C" fn fenced<R: Report>(misuse: &Misuse) {
        R::report(misuse);
    }
    #[cfg(feature = "std")]
    {
        std::thread_local! {
            static WITHIN: Cell<u32> = const { Cell::new(0) };
        }
        // Const-made and without a destructor, it can be had at any time in a thread's life.
        WITHIN.with(|within| {
            let depth = within.get();
            if depth < WITHIN_MAX {
                within.set(depth + 1);
                fenced::<R>(misuse);
                within.set(depth);
            }
        });
    }
    #[cfg(not(feature = "std"))]
    fenced::<R>(misuse);
}

/// Nothing is checked beyond what the soundness of safe code needs.
///
/// ```
/// use heapwright::check::{Checks, Switch, Unchecked};
/// assert!(!<Unchecked as Checks>::Frees::ON && Unchecked::RED_ZONE == 0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Unchecked;

impl Checks for Unchecked {
    type Frees = Off;
    type Quarantine = Off;
    type Report = Ignore;
}

/// What comes back is looked at: cheap enough for production, and no byte for a block.
///
/// ```
/// use heapwright::check::{Checked, Checks, Switch};
/// assert!(<Checked as Checks>::Frees::ON && <Checked>::RED_ZONE == 0);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Checked<R = Abort>(PhantomData<fn() -> R>);

impl<R: Report> Checks for Checked<R> {
    type Frees = On;
    type Quarantine = Off;
    type Report = R;
}

/// All there is: besides the checks of [`Checked`], red zones, freed memory zeroed and looked at, a quarantine, chance, guard pages, encoded links.
///
/// ```
/// use heapwright::check::{Checks, Hardened, Switch};
/// assert!(<Hardened as Checks>::Quarantine::ON && <Hardened>::RED_ZONE == 8);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Hardened<R = Abort>(PhantomData<fn() -> R>);

impl<R: Report> Checks for Hardened<R> {
    type Frees = On;
    type Quarantine = On;
    type Report = R;
    const RED_ZONE: usize = 8;
    const ZERO_FREED: bool = true;
    const SHUFFLE: bool = true;
    const GUARDS: bool = true;
    const ENCODE: bool = true;
}

/// What heaps have where no policy is named, in every build profile: [`Unchecked`]. Safe code can't misuse a heap, so nothing is looked for unless it is asked for.
///
/// ```
/// use heapwright::check::{Checks, DefaultChecks, Switch};
/// assert!(!<DefaultChecks as Checks>::Frees::ON);
/// ```
pub type DefaultChecks = Unchecked;

/// What a policy is, as a part of a heap.
macro_rules! describe_policy {
    ($([$($generics:tt)*] $type:ty),+) => {$(
        impl<$($generics)*> Describe for $type {
            fn describe(tree: &mut Tree<'_>) -> fmt::Result {
                tree.part(format_args!("{}", name::<$type>()), Cost::NONE, &[])
            }
        }
    )+};
}

describe_policy!([] Unchecked, [R: Report] Checked<R>, [R: Report] Hardened<R>);

#[cfg(test)]
mod tests {
    use super::*;

    /// A policy that has one thing alone, which is not nothing.
    macro_rules! alone {
        ($name:ident: $frees:ty, $quarantine:ty $(, $item:ident: $type:ty = $value:expr)?) => {
            struct $name;
            impl Checks for $name {
                type Frees = $frees;
                type Quarantine = $quarantine;
                type Report = Ignore;
                $(const $item: $type = $value;)?
            }
            const _: () = assert!(!$name::NONE);
        };
    }
    alone!(Frees: On, Off);
    alone!(Rest: Off, On);
    alone!(Zones: Off, Off, RED_ZONE: usize = 8);
    alone!(Zeroes: Off, Off, ZERO_FREED: bool = true);
    alone!(Shuffles: Off, Off, SHUFFLE: bool = true);
    alone!(Guards: Off, Off, GUARDS: bool = true);
    alone!(Encodes: Off, Off, ENCODE: bool = true);
    const _: () = assert!(Unchecked::NONE && !<Checked>::NONE && !<Hardened>::NONE);
}
