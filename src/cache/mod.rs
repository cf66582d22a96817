//! Object caches: the fastest way to objects of one layout, in front of slabs.
//!
//! The traits here let code be generic over caches; each cache implements them.

mod object_alloc;
mod size_classes;

pub use self::object_alloc::{ObjectAlloc, UntypedObjectAlloc};
pub use self::size_classes::{ClassArray, Classes, SizeClasses, slot_layout};
#[doc(hidden)]
pub use self::size_classes::{ClassLookup, class_rules};
