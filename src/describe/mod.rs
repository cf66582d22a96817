//! What a composition is made of: a tree of its parts, with their parameters and what each costs.
//!
//! ```
//! # #[cfg(feature = "os")] {
//! use heapwright::describe::describe;
//! use heapwright::heap::Locked;
//! use heapwright::lock::SpinLock;
//! use heapwright::source::{Pages, SourceHeap};
//!
//! let tree = describe::<Locked<SourceHeap<Pages>, SpinLock>>().to_string();
//! assert_eq!(tree, "\
//! Locked
//! ├─ lock: SpinLock (1 byte)
//! └─ core: SourceHeap, a block of the source for each request
//!    └─ source: Pages of the OS
//! ");
//! # }
//! ```
//!
//! # Write your own in three steps
//! 1. A part of your own, such as a heap around another one.
//! 2. `impl Describe`: one call of [`Tree::part`], with the parts within.
//! 3. [`describe`] prints every composition that it is in.
//!
//! ```
//! use core::fmt;
//! use heapwright::describe::{Cost, Describe, Tree, describe};
//! use heapwright::heap::NoHeap;
//!
//! // 1.
//! struct Logged<const LINES: usize, P> {
//!     lines: [u32; LINES],
//!     heap: P,
//! }
//!
//! // 2.
//! impl<const LINES: usize, P: Describe> Describe for Logged<LINES, P> {
//!     fn describe(tree: &mut Tree<'_>) -> fmt::Result {
//!         let cost = Cost::state_of::<[u32; LINES]>();
//!         tree.part(format_args!("Logged, the last {LINES} requests"), cost, &[("heap", P::describe)])
//!     }
//! }
//!
//! // 3.
//! let tree = describe::<Logged<8, NoHeap>>().to_string();
//! assert_eq!(tree, "\
//! Logged, the last 8 requests (32 bytes)
//! └─ heap: NoHeap, refuses every request
//! ");
//! ```

#![forbid(unsafe_code)]

use core::fmt::{self, Write as _};
use core::marker::PhantomData;

/// A part of a composition that can say what it is.
///
/// [The module's docs](self) have an implementation in three steps.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what it is made of",
    label = "a composition can be described if each of its parts implements `Describe`",
    note = "implement `heapwright::describe::Describe` for it, a single call: see the docs of `heapwright::describe`"
)]
pub trait Describe {
    /// Writes this part, and the parts within: one call of [`Tree::part`].
    ///
    /// # Errors
    /// Those of the formatter.
    fn describe(tree: &mut Tree<'_>) -> fmt::Result;
}

/// What a part of a composition costs in memory, in bytes, the parts within not counted.
///
/// ```
/// use heapwright::describe::Cost;
/// let cost = Cost::state_of::<[usize; 2]>().and_per_block(8);
/// assert_eq!((cost.state, cost.per_block), (16, 8));
/// assert_eq!(Cost::NONE, Cost::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of the value, its padding included.
    pub state: usize,
    /// Bytes beside each block that is handed out.
    pub per_block: usize,
}

impl Cost {
    /// Nothing.
    pub const NONE: Cost = Cost { state: 0, per_block: 0 };

    /// A state of the size of `T`.
    #[must_use]
    pub const fn state_of<T>() -> Cost {
        Cost { state: size_of::<T>(), per_block: 0 }
    }

    /// A state of the size of `Whole`, without the `Parts` in it, a tuple.
    ///
    /// ```
    /// use heapwright::describe::Cost;
    /// struct Heap {
    ///     source: [u64; 2],
    ///     used: u64,
    /// }
    /// assert_eq!(Cost::state_around::<Heap, [u64; 2]>().state, 8);
    /// ```
    #[must_use]
    pub const fn state_around<Whole, Parts>() -> Cost {
        Cost { state: size_of::<Whole>().saturating_sub(size_of::<Parts>()), per_block: 0 }
    }

    /// The same, and `per_block` bytes beside each block.
    #[must_use]
    pub const fn and_per_block(self, per_block: usize) -> Cost {
        Cost { per_block, ..self }
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = |count| if count == 1 { "byte" } else { "bytes" };
        match (self.state, self.per_block) {
            (0, 0) => f.write_str("no bytes"),
            (state, 0) => write!(f, "{state} {}", unit(state)),
            (0, block) => write!(f, "{block} {} per block", unit(block)),
            (state, block) => write!(f, "{state} {}, {block} per block", unit(state)),
        }
    }
}

/// A number of bytes, to be printed in words: in KiB, MiB or GiB if it is a whole number of them.
///
/// ```
/// use heapwright::describe::Bytes;
/// assert_eq!(Bytes(1).to_string(), "1 byte");
/// assert_eq!(Bytes(1025).to_string(), "1025 bytes");
/// assert_eq!(Bytes(3 << 20).to_string(), "3 MiB");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 byte"),
            0 => f.write_str("0 bytes"),
            bytes if bytes % (1 << 30) == 0 => write!(f, "{} GiB", bytes >> 30),
            bytes if bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes % (1 << 10) == 0 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

/// The name of the type `T` without the paths of modules, to be printed.
///
/// For parts that are types and nothing else, such as sizings: they are called by their name, and whoever writes one has nothing more to do.
///
/// ```
/// use heapwright::describe::name;
/// use heapwright::sizing::{Bounded, Sizing4KiB};
/// assert_eq!(name::<Bounded<Sizing4KiB>>().to_string(), "Bounded<Sizing4KiB>");
/// assert_eq!(format!("{:#}", name::<Bounded<Sizing4KiB>>()), "Bounded", "without what it is of");
/// ```
#[must_use]
pub const fn name<T: ?Sized>() -> Name<T> {
    Name(PhantomData)
}

/// A type's name, to be printed: what [`name`] gives.
///
/// ```
/// use heapwright::describe::{Name, name};
/// let name: Name<Option<std::string::String>> = name();
/// assert_eq!(format!("{name}"), "Option<String>");
/// assert_eq!(heapwright::describe::name::<(Option<core::fmt::Arguments<'static>>, [u8; 4])>().to_string(), "(Option<Arguments>, [u8; 4])");
/// ```
pub struct Name<T: ?Sized>(PhantomData<fn() -> T>);

impl<T: ?Sized> fmt::Display for Name<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut name = core::any::type_name::<T>();
        // Only a name can stand without what is in angle brackets: a tuple of two types can't.
        if f.alternate() && name.starts_with(in_path) {
            name = name.split('<').next().unwrap_or(name);
        }
        write_short(name, f)
    }
}

/// Whether a path can have this character.
fn in_path(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | ':')
}

/// Writes the name of a type without the paths in it.
pub(crate) fn write_short(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut rest = name;
    while !rest.is_empty() {
        // Some compilers name lifetimes, and none tells which.
        let lifetimes = ["<'_>", "'_, ", "'_ "];
        if let Some(behind) = lifetimes.iter().find_map(|lifetime| rest.strip_prefix(lifetime)) {
            rest = behind;
            continue;
        }
        let path = rest.find(|character| !in_path(character)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(path);
        f.write_str(word.rsplit("::").next().unwrap_or(word))?;
        rest = behind;
        // After a path there may be a lifetime.
        if word.is_empty() {
            let mut signs = behind.chars();
            signs.next().map_or(Ok(()), |sign| f.write_char(sign))?;
            rest = signs.as_str();
        }
    }
    Ok(())
}

impl<T: ?Sized> fmt::Debug for Name<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A part within another one: what it is there, and what it is.
pub type Child<'a> = (&'a str, fn(&mut Tree<'_>) -> fmt::Result);

/// Where parts are written to: an indented tree.
///
/// ```
/// use heapwright::describe::{Cost, Describe, Tree, describe};
///
/// struct Nothing;
/// impl Describe for Nothing {
///     fn describe(tree: &mut Tree<'_>) -> std::fmt::Result {
///         tree.part(format_args!("Nothing"), Cost::NONE, &[])
///     }
/// }
/// assert_eq!(describe::<Nothing>().to_string(), "Nothing\n");
/// ```
pub struct Tree<'a> {
    out: &'a mut dyn fmt::Write,
    /// How deep the part is that is written next.
    depth: u32,
    /// A bit for each depth, from the top: whether the part there has others behind it.
    more: u64,
}

impl Tree<'_> {
    /// Writes a part: what it is and its parameters, what it costs, and the parts within from first to last.
    ///
    /// # Errors
    /// Those of the formatter.
    pub fn part(&mut self, what: fmt::Arguments<'_>, cost: Cost, parts: &[Child<'_>]) -> fmt::Result {
        self.out.write_fmt(what)?;
        if cost != Cost::NONE {
            write!(self.out, " ({cost})")?;
        }
        self.out.write_char('\n')?;
        for (number, (role, describe)) in parts.iter().enumerate() {
            let last = number + 1 == parts.len();
            for depth in 0..self.depth {
                self.out.write_str(if self.has_more(depth) { "│  " } else { "   " })?;
            }
            self.out.write_str(if last { "└─ " } else { "├─ " })?;
            write!(self.out, "{role}: ")?;
            let bit = Self::bit(self.depth);
            self.more = if last { self.more & !bit } else { self.more | bit };
            self.depth += 1;
            describe(self)?;
            self.depth -= 1;
        }
        Ok(())
    }

    /// The bit of a depth. Past 63 levels the lines are not drawn.
    fn bit(depth: u32) -> u64 {
        1u64.checked_shl(depth).unwrap_or(0)
    }

    fn has_more(&self, depth: u32) -> bool {
        self.more & Self::bit(depth) != 0
    }
}

impl fmt::Debug for Tree<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree").field("depth", &self.depth).finish_non_exhaustive()
    }
}

/// What the composition `T` is made of, to be printed: a line for each part, and a line break at the end.
///
/// [The module's docs](self) have an example.
#[must_use]
pub const fn describe<T: Describe + ?Sized>() -> Description<T> {
    Description(PhantomData)
}

/// A composition, to be printed: what [`describe`] gives.
///
/// ```
/// use heapwright::describe::{Description, describe};
/// use heapwright::heap::NoHeap;
/// let description: Description<NoHeap> = describe();
/// assert_eq!(format!("{description}"), "NoHeap, refuses every request\n");
/// ```
pub struct Description<T: ?Sized>(PhantomData<fn() -> T>);

impl<T: Describe + ?Sized> fmt::Display for Description<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::describe(&mut Tree { out: f, depth: 0, more: 0 })
    }
}

impl<T: ?Sized> fmt::Debug for Description<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Description<{}>", core::any::type_name::<T>())
    }
}

/// Behind a reference there is the same.
impl<T: Describe + ?Sized> Describe for &T {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        T::describe(tree)
    }
}

/// Behind a reference there is the same.
impl<T: Describe + ?Sized> Describe for &mut T {
    fn describe(tree: &mut Tree<'_>) -> fmt::Result {
        T::describe(tree)
    }
}

/// Writes `Describe` for a part without parts within, whose state is the whole value.
macro_rules! describe_leaf {
    ([$($generics:tt)*] $type:ty, $($what:tt)+) => {
        impl<$($generics)*> crate::describe::Describe for $type {
            fn describe(tree: &mut crate::describe::Tree<'_>) -> core::fmt::Result {
                tree.part(format_args!($($what)+), crate::describe::Cost::state_of::<Self>(), &[])
            }
        }
    };
    ($type:ty, $($what:tt)+) => {
        crate::describe::describe_leaf!([] $type, $($what)+);
    };
}

/// Writes `Describe` for parts that are types and nothing else, by a function that knows them by their trait.
macro_rules! describe_by {
    ($function:ident: $([$($generics:tt)*] $type:ty),+) => {$(
        impl<$($generics)*> crate::describe::Describe for $type {
            fn describe(tree: &mut crate::describe::Tree<'_>) -> core::fmt::Result {
                $function::<Self>(tree)
            }
        }
    )+};
}

pub(crate) use {describe_by, describe_leaf};
