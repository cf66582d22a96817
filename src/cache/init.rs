//! How objects come to be: the initialisers of object caches.

use core::convert::Infallible;
use core::fmt;
use core::mem::MaybeUninit;

/// Makes the objects of an [`ObjectCache`](super::ObjectCache).
///
/// An object is made when it is first handed out, and again only after it has been destroyed or moved out. All methods run
/// while no lock is held; they may unwind, and may use any cache, even their own.
///
/// # Safety
/// An implementation keeps these:
/// - **I1** (made) after `init` has given `Ok`, the place holds a valid `T`.
/// - **I2** (raw) if `KEEPS` is false, `T` needs no initialising and no dropping: any bytes are a valid `T`, uninitialised ones too.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not initialise objects of type `{T}`",
    label = "this type parameter takes an initialiser",
    note = "use `DefaultInit` (for `T: Default`), `FnInit<F>`, `TryInit<F>`, `InPlace<F>`, `Uninit` (for `MaybeUninit<_>`), or one of them in `WithReset<I, F>`",
    note = "or implement `heapwright::cache::Init`"
)]
pub unsafe trait Init<T> {
    /// What can go wrong; [`Infallible`] if nothing can.
    type Error;

    /// Whether objects stay constructed while they are free.
    const KEEPS: bool = true;

    /// Makes an object in `place`.
    ///
    /// # Errors
    /// As the initialiser sees fit; the place is raw then.
    fn init(&self, place: &mut MaybeUninit<T>) -> Result<(), Self::Error>;

    /// Makes an object that comes back ready to be kept, by its handle's drop: the reset hook.
    #[inline]
    fn reset(&self, object: &mut T) {
        let _ = object;
    }
}

/// `T::default()`.
///
/// ```
/// use heapwright::cache::{DefaultInit, ObjectCache};
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// let cache = ObjectCache::<String, DefaultInit, AlignedSlabs<_, 2048>>::new(&RAM, DefaultInit);
/// let mut text = cache.alloc()?;
/// text.push_str("kept");
/// drop(text);
/// assert_eq!(*cache.alloc()?, "kept", "an object comes back as it was");
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultInit;

// SAFETY: I1: a value is written. I2: objects are kept.
unsafe impl<T: Default> Init<T> for DefaultInit {
    type Error = Infallible;

    #[inline]
    fn init(&self, place: &mut MaybeUninit<T>) -> Result<(), Infallible> {
        place.write(T::default());
        Ok(())
    }
}

/// What a function returns.
///
/// ```
/// use heapwright::cache::{FnInit, ObjectCache};
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// type Buffers = ObjectCache<Vec<u8>, FnInit<fn() -> Vec<u8>>, AlignedSlabs<&'static StaticBuffer<4096>, 2048>>;
/// let cache = Buffers::new(&RAM, FnInit(|| Vec::with_capacity(100)));
/// assert!(cache.alloc()?.capacity() >= 100);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct FnInit<F>(pub F);

// SAFETY: I1: a value is written. I2: objects are kept.
unsafe impl<T, F: Fn() -> T> Init<T> for FnInit<F> {
    type Error = Infallible;

    #[inline]
    fn init(&self, place: &mut MaybeUninit<T>) -> Result<(), Infallible> {
        place.write((self.0)());
        Ok(())
    }
}

/// What a function returns, if it succeeds.
///
/// ```
/// use heapwright::cache::{NewObjectError, ObjectCache, TryInit};
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// let parse = || "12x".parse::<u32>();
/// let cache = ObjectCache::<u32, _, AlignedSlabs<_, 2048>>::new(&RAM, TryInit(parse));
/// assert!(matches!(cache.try_alloc(), Err(NewObjectError::Init(_))));
/// assert_eq!(cache.stats().live, 0, "nothing is lost");
/// ```
#[derive(Clone, Copy, Default)]
pub struct TryInit<F>(pub F);

// SAFETY: I1: a value is written before `Ok`. I2: objects are kept.
unsafe impl<T, E, F: Fn() -> Result<T, E>> Init<T> for TryInit<F> {
    type Error = E;

    #[inline]
    fn init(&self, place: &mut MaybeUninit<T>) -> Result<(), E> {
        place.write((self.0)()?);
        Ok(())
    }
}

/// What a function writes into place: for objects that are too large to be moved, or that know their address.
///
/// ```
/// use heapwright::cache::{InPlace, ObjectCache};
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// use std::mem::MaybeUninit;
/// static RAM: StaticBuffer<8192> = StaticBuffer::new();
/// // SAFETY: all bytes are written.
/// let zeroed = unsafe { InPlace::new(|place: &mut MaybeUninit<[u8; 1000]>| { place.write([0; 1000]); }) };
/// let cache = ObjectCache::<[u8; 1000], _, AlignedSlabs<_, 4096>>::new(&RAM, zeroed);
/// assert_eq!(cache.alloc()?[999], 0);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Clone, Copy)]
pub struct InPlace<F>(F);

impl<F> InPlace<F> {
    /// An initialiser from a function.
    ///
    /// # Safety
    /// When `init` returns, its place holds a valid object.
    #[must_use]
    pub const unsafe fn new(init: F) -> Self {
        InPlace(init)
    }
}

// SAFETY: I1: the promise of `new`. I2: objects are kept.
unsafe impl<T, F: Fn(&mut MaybeUninit<T>)> Init<T> for InPlace<F> {
    type Error = Infallible;

    #[inline]
    fn init(&self, place: &mut MaybeUninit<T>) -> Result<(), Infallible> {
        (self.0)(place);
        Ok(())
    }
}

/// Nothing: objects are `MaybeUninit<T>`, their memory is raw when it is handed out, and nothing is dropped.
///
/// ```
/// use heapwright::cache::{ObjectCache, Uninit};
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// use std::mem::MaybeUninit;
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// let cache = ObjectCache::<MaybeUninit<u64>, Uninit, AlignedSlabs<_, 1024>>::new(&RAM, Uninit);
/// let mut place = cache.alloc()?;
/// assert_eq!(*place.write(7), 7);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Uninit;

// SAFETY: I1, I2: any bytes are a valid `MaybeUninit`, and it has no destructor.
unsafe impl<T> Init<MaybeUninit<T>> for Uninit {
    type Error = Infallible;
    const KEEPS: bool = false;

    #[inline(always)]
    fn init(&self, _: &mut MaybeUninit<MaybeUninit<T>>) -> Result<(), Infallible> {
        Ok(())
    }
}

/// An initialiser `I` with a reset hook: `F` makes an object that comes back ready to be kept.
///
/// ```
/// use heapwright::cache::{DefaultInit, ObjectCache, WithReset};
/// use heapwright::slab::AlignedSlabs;
/// use heapwright::source::StaticBuffer;
/// static RAM: StaticBuffer<4096> = StaticBuffer::new();
/// let init = WithReset(DefaultInit, Vec::<u8>::clear);
/// let cache = ObjectCache::<Vec<u8>, _, AlignedSlabs<_, 2048>>::new(&RAM, init);
/// cache.alloc()?.extend([1, 2, 3]);
/// let again = cache.alloc()?;
/// assert!(again.is_empty() && again.capacity() >= 3);
/// # Ok::<(), heapwright::AllocError>(())
/// ```
#[derive(Clone, Copy, Default)]
pub struct WithReset<I, F>(pub I, pub F);

// SAFETY: I1, I2: those of `I`.
unsafe impl<T, I: Init<T>, F: Fn(&mut T)> Init<T> for WithReset<I, F> {
    type Error = I::Error;
    const KEEPS: bool = I::KEEPS;

    #[inline]
    fn init(&self, place: &mut MaybeUninit<T>) -> Result<(), I::Error> {
        self.0.init(place)
    }

    #[inline]
    fn reset(&self, object: &mut T) {
        self.0.reset(object);
        (self.1)(object);
    }
}

/// Writes `Debug` for initialisers that hold functions, which have none.
macro_rules! impl_debug {
    ($($name:ident<$($parameter:ident),+>),+) => {
        $(impl<$($parameter),+> fmt::Debug for $name<$($parameter),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        })+
    };
}

impl_debug!(FnInit<F>, TryInit<F>, InPlace<F>, WithReset<I, F>);

/// Why an object could not be had.
///
/// ```
/// use heapwright::cache::NewObjectError;
/// use heapwright::AllocError;
/// let error = NewObjectError::<std::fmt::Error>::Alloc(AllocError);
/// assert_eq!(error.to_string(), "memory allocation failed");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewObjectError<E> {
    /// There is no memory for it.
    Alloc(crate::AllocError),
    /// Its initialiser failed; the memory is back in the cache.
    Init(E),
}

impl<E> From<crate::AllocError> for NewObjectError<E> {
    fn from(error: crate::AllocError) -> Self {
        NewObjectError::Alloc(error)
    }
}

impl<E: fmt::Display> fmt::Display for NewObjectError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NewObjectError::Alloc(error) => error.fmt(f),
            NewObjectError::Init(error) => write!(f, "the object's initialiser failed: {error}"),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for NewObjectError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            NewObjectError::Alloc(error) => Some(error),
            NewObjectError::Init(error) => Some(error),
        }
    }
}
