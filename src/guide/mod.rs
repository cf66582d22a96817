//! The long chapters of the documentation.
//!
//! | chapter | for |
//! |---|---|
//! | [`arenas`] | users: which sizing, which lock, where the region comes from, what happens when something goes wrong |
//! | [`caches`] | users: which cache, an object's way through all its parts and back, what it costs, what happens when something goes wrong |
//! | [`composing`] | users: the cookbook, 22 heaps for real situations with the reason of each part; what the blocks of other libraries are called here |
//! | [`architecture`] | readers of the source: the layers, and one small allocation followed through all of them |
//! | [`reliability`] | users: what happens when memory runs out, code panics or comes back, threads end, processes fork, programs free what they should not |
//! | [`scaling`] | users with many cores or threads: what general allocators share, how often, and what they hold |
//! | [`performance`] | the curious: how it is measured, which designs were tried, what each gave |

#[doc = include_str!("architecture.md")]
pub mod architecture {}
#[doc = include_str!("arenas.md")]
pub mod arenas {}
#[doc = include_str!("caches.md")]
pub mod caches {}
#[doc = include_str!("composing.md")]
pub mod composing {}
#[doc = include_str!("performance.md")]
pub mod performance {}
#[doc = include_str!("reliability.md")]
pub mod reliability {}
#[doc = include_str!("scaling.md")]
pub mod scaling {}
