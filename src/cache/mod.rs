//! Object caches: the fastest way to objects of one layout, in front of slabs.
//!
//! The traits here let code be generic over caches; each cache implements them.

mod object_alloc;

pub use self::object_alloc::{ObjectAlloc, UntypedObjectAlloc};
