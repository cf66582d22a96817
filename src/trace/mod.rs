//! What a heap does, written down and drawn.
//!
//! [`Traced<T, A>`](Traced) is the heap `A`, and tells a sink `T` of each block that comes and goes.
//!
//! | sink | what it keeps | cost | feature |
//! |---|---|---|---|
//! | `()` | nothing: no byte, no instruction | none | |
//! | [`LastEvents<N>`](LastEvents) | the last `N` events | some stores | |
//! | `TextLog<W>` | all events, as lines of text | a system call | `std` |
//! | `HeapProfile<C>` | call sites, peak, leaks, a timeline; for DHAT's viewer, pprof, and as SVG | a table look-up, a backtrace; less when it samples | `std` |
//! | `Recall<C>` | of each block the allocation and the free, with call sites: for reports of misuse | a lock of its place, a backtrace | `std` |
//! | `(S, T)` | what `S` and `T` keep | both | |
//! | `OnceLock<S>` | nothing, and from when it is set on what `S` keeps | a load | `std` |
//! | [a `Sink` of your own](Sink) | | | |
//!
//! Beside these, `HeapFilm` draws snapshots of an arena, one after the other, as a page with a slider.

mod any_global;
mod event;
#[cfg(all(feature = "std", any(unix, windows, target_arch = "wasm32")))]
mod film;
mod last_events;
#[cfg(all(feature = "std", any(unix, windows, target_arch = "wasm32")))]
mod profile;
#[cfg(all(feature = "std", any(unix, windows, target_arch = "wasm32")))]
mod recall;
mod sink;
#[cfg(all(feature = "std", any(unix, windows, target_arch = "wasm32")))]
mod store;
mod telling;
#[cfg(feature = "std")]
mod text_log;
mod traced;

pub use self::any_global::AnyGlobal;
pub use self::event::Event;
#[cfg(all(feature = "std", any(unix, windows, target_arch = "wasm32")))]
pub use self::film::HeapFilm;
pub use self::last_events::{LastEvents, Numbered};
#[cfg(all(feature = "trace-backtrace", any(unix, windows, target_arch = "wasm32")))]
pub use self::profile::Backtraces;
#[cfg(all(feature = "std", any(unix, windows, target_arch = "wasm32")))]
pub use self::profile::{
    BySize, CallSite, CallSites, Count, HeapProfile, LeakReport, Profile, ResizingBlock, Symbol, TimelineSvg,
};
#[cfg(all(feature = "std", any(unix, windows, target_arch = "wasm32")))]
pub use self::recall::{AbortWith, Explained, Recall, Recollection, Witness};
pub use self::sink::{Block, Sink};
#[cfg(feature = "std")]
pub use self::telling::untraced;
#[cfg(feature = "std")]
pub use self::text_log::{LockedWriter, TextLog};
pub use self::traced::Traced;
