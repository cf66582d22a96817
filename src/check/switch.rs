//! What is there or not, by a type.

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::On {}
    impl Sealed for super::Off {}
}

/// Something is done; what it needs is there.
#[derive(Clone, Copy, Debug)]
pub enum On {}

/// Something is not done, and what it would need takes no byte.
#[derive(Clone, Copy, Debug)]
pub enum Off {}

/// [`On`] or [`Off`], as a type: what costs memory is switched by a type, so that it can be absent.
///
/// ```
/// use heapwright::check::{Off, On, Switch};
/// use std::cell::Cell;
///
/// struct Counter<S: Switch> {
///     count: S::Of<Cell<u32>>,
/// }
/// impl<S: Switch> Counter<S> {
///     fn add(&self) {
///         if let Some(count) = S::get(&self.count) {
///             count.set(count.get() + 1);
///         }
///     }
/// }
/// # use heapwright::check::Fresh;
/// let (on, off) = (Counter::<On> { count: Fresh::NEW }, Counter::<Off> { count: Fresh::NEW });
/// on.add();
/// off.add();
/// assert_eq!(on.count.get(), 1);
/// assert_eq!(size_of::<Counter<Off>>(), 0);
/// ```
pub trait Switch: sealed::Sealed + Copy + core::fmt::Debug + Send + Sync + 'static {
    /// Whether it is [`On`].
    const ON: bool;

    /// A `T`, or nothing.
    type Of<T: Fresh>: Fresh;

    /// What there is of it.
    fn get<T: Fresh>(of: &Self::Of<T>) -> Option<&T>;

    /// The same, to be changed.
    fn get_mut<T: Fresh>(of: &mut Self::Of<T>) -> Option<&mut T>;
}

/// A type with a value to begin with that a constant can have.
///
/// ```
/// use heapwright::check::Fresh;
/// use std::cell::Cell;
/// assert_eq!(<Cell<u32> as Fresh>::NEW.get(), 0);
/// ```
pub trait Fresh {
    /// That value.
    const NEW: Self;
}

impl Fresh for () {
    const NEW: Self = ();
}

impl Fresh for core::cell::Cell<u32> {
    const NEW: Self = core::cell::Cell::new(0);
}

impl Switch for On {
    const ON: bool = true;
    type Of<T: Fresh> = T;

    #[inline(always)]
    fn get<T: Fresh>(of: &T) -> Option<&T> {
        Some(of)
    }

    #[inline(always)]
    fn get_mut<T: Fresh>(of: &mut T) -> Option<&mut T> {
        Some(of)
    }
}

impl Switch for Off {
    const ON: bool = false;
    type Of<T: Fresh> = ();

    #[inline(always)]
    fn get<T: Fresh>((): &()) -> Option<&T> {
        None
    }

    #[inline(always)]
    fn get_mut<T: Fresh>((): &mut ()) -> Option<&mut T> {
        None
    }
}
