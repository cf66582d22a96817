//! What stands in the place of `core` for the library: the standard library, but for atomics and the hint of spinning, which are loom's while a model runs.

pub use std::*;

mod run;

pub use run::{Memory, Runs};

/// As `core`'s.
pub mod hint {
    pub use std::hint::*;

    /// Loom has others go on, which a spinning thread waits for.
    pub fn spin_loop() {
        if crate::run::is_running() { loom::hint::spin_loop() } else { std::hint::spin_loop() }
    }
}

/// As `core`'s.
pub mod sync {
    pub use std::sync::*;

    pub mod atomic;
}
