//! What stands in the place of `std` for the library: `core`'s stand-in, and thread-locals, which are loom's.

#[doc(hidden)]
pub use loom;
pub use loom_core::*;

/// Loom's own macro has no rule for an initial value that is a constant, as it is older than such values are.
#[macro_export]
macro_rules! thread_local {
    ($($(#[$attribute:meta])* $visible:vis static $name:ident: $type:ty = const { $value:expr };)+) => {
        $crate::loom::thread_local! { $($(#[$attribute])* $visible static $name: $type = { $value };)+ }
    };
}
