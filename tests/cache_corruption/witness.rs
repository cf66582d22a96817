//! The objects: any number of bytes, at any alignment, that say whether they are whole.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use heapwright::cache::{DefaultInit, FnInit, InPlace, TryInit, WithReset};

use super::objects::{self, Contents, Stage};

/// An alignment, as a type.
#[derive(Debug)]
pub(crate) struct Align<const ALIGN: usize>;

/// A type of size zero with that alignment.
pub(crate) trait Unit {
    type Unit: Copy;
}

macro_rules! units {
    ($($name:ident $align:literal),+) => {$(
        #[derive(Clone, Copy)]
        #[repr(align($align))]
        pub(crate) struct $name;
        impl Unit for Align<$align> {
            type Unit = $name;
        }
    )+};
}

units!(
    A1 1, A2 2, A4 4, A8 8, A16 16, A32 32, A64 64, A128 128, A256 256, A512 512, A1024 1024, A2048 2048, A4096 4096, A8192 8192,
    A16384 16384, A65536 65536
);

/// An object of `SIZE` bytes, aligned to `ALIGN`; the size is a multiple of that.
#[repr(C)]
pub(crate) struct Witness<const SIZE: usize, const ALIGN: usize>
where
    Align<ALIGN>: Unit,
{
    align: [<Align<ALIGN> as Unit>::Unit; 0],
    bytes: [u8; SIZE],
}

impl<const SIZE: usize, const ALIGN: usize> Witness<SIZE, ALIGN>
where
    Align<ALIGN>: Unit,
{
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl<const SIZE: usize, const ALIGN: usize> Default for Witness<SIZE, ALIGN>
where
    Align<ALIGN>: Unit,
{
    fn default() -> Self {
        let mut made = Witness { align: [], bytes: [0; SIZE] };
        objects::with(|objects| objects.make(&mut made.bytes, 0));
        made
    }
}

impl<const SIZE: usize, const ALIGN: usize> Drop for Witness<SIZE, ALIGN>
where
    Align<ALIGN>: Unit,
{
    fn drop(&mut self) {
        let address = self.address();
        objects::with(|objects| objects.drop(&mut self.bytes, address));
    }
}

/// An initialiser that a mix of kinds names.
pub(crate) trait Initialiser<T> {
    type Init: heapwright::cache::Init<T>;
    fn init() -> Self::Init;
}

/// `DefaultInit`.
pub(crate) struct ByDefault;
/// `FnInit`.
pub(crate) struct ByFunction;
/// `TryInit`, one call of seven of which fails.
pub(crate) struct Fallible;
/// `InPlace`.
pub(crate) struct Placed;
/// `WithReset` over `DefaultInit`.
pub(crate) struct Reset;
/// `WithReset` over `InPlace`.
pub(crate) struct PlacedReset;

type Of<const SIZE: usize, const ALIGN: usize> = Witness<SIZE, ALIGN>;

/// Writes an object's initial contents where it is, having looked at what is there.
fn place<const SIZE: usize, const ALIGN: usize>(place: &mut MaybeUninit<Of<SIZE, ALIGN>>)
where
    Align<ALIGN>: Unit,
{
    let address = place.as_ptr().addr();
    // SAFETY: the bytes of a witness, which may be anything; the test's source hands out initialised memory, and no object is ever
    // uninitialised afterwards.
    let bytes = unsafe { std::slice::from_raw_parts_mut(place.as_mut_ptr().cast::<u8>(), SIZE) };
    objects::with(|objects| {
        objects.place(bytes, address);
        objects.make(bytes, address);
    });
}

/// Gives an object new contents, and writes them down.
fn reset<const SIZE: usize, const ALIGN: usize>(object: &mut Of<SIZE, ALIGN>)
where
    Align<ALIGN>: Unit,
{
    let address = object.address();
    objects::with(|objects| {
        objects.resets += 1;
        let contents = Contents { nonce: objects.nonce(), stage: Stage::Valid, address };
        match objects.constructed.get_mut(&address) {
            Some(known) => known.contents = contents,
            None => objects.faults.push(format!("reset at {address:#x}, where nothing is constructed")),
        }
        contents.write(&mut object.bytes);
    });
}

fn fallible<const SIZE: usize, const ALIGN: usize>() -> Result<Of<SIZE, ALIGN>, &'static str>
where
    Align<ALIGN>: Unit,
{
    let nonce = objects::with(objects::Objects::nonce);
    if nonce % 7 == 3 { Err("not this time") } else { Ok(Witness::default()) }
}

macro_rules! initialisers {
    ($($name:ty => $init:ty: $value:expr;)+) => {$(
        impl<const SIZE: usize, const ALIGN: usize> Initialiser<Of<SIZE, ALIGN>> for $name
        where
            Align<ALIGN>: Unit,
        {
            type Init = $init;
            fn init() -> $init {
                $value
            }
        }
    )+};
}

initialisers! {
    ByDefault => DefaultInit: DefaultInit;
    ByFunction => FnInit<fn() -> Of<SIZE, ALIGN>>: FnInit(Witness::default);
    Fallible => TryInit<fn() -> Result<Of<SIZE, ALIGN>, &'static str>>: TryInit(fallible);
    // SAFETY: `place` writes all bytes.
    Placed => InPlace<fn(&mut MaybeUninit<Of<SIZE, ALIGN>>)>: unsafe { InPlace::new(place) };
    Reset => WithReset<DefaultInit, fn(&mut Of<SIZE, ALIGN>)>: WithReset(DefaultInit, reset);
    PlacedReset => WithReset<InPlace<fn(&mut MaybeUninit<Of<SIZE, ALIGN>>)>, fn(&mut Of<SIZE, ALIGN>)>:
        // SAFETY: `place` writes all bytes.
        WithReset(unsafe { InPlace::new(place) }, reset);
}

/// The bytes of an object.
///
/// # Safety
/// `size` initialised bytes from `object` on are the caller's alone.
pub(crate) unsafe fn bytes<'a>(object: NonNull<u8>, size: usize) -> &'a mut [u8] {
    // SAFETY: the caller's promise.
    unsafe { std::slice::from_raw_parts_mut(object.as_ptr(), size) }
}
