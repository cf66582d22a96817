//! The model test: random operations on a heap and on a shadow of it.
//!
//! - `script` what is done: operations that shrink;
//! - `pattern` what live blocks are filled with;
//! - `region` memory between sentinels;
//! - `subject` what is asked of a heap under test;
//! - `run` the shadow, and every check;
//! - `drive` how many scripts, from which seed, and the report of a failure;
//! - `arenas` which arenas are run;
//! - `first_fit` a plain heap with faults to switch on, which shows that the checks see them.
//!
//! `HEAPWRIGHT_MODEL_OPS` is the number of operations per test (default 10,000), `HEAPWRIGHT_MODEL_SEED` the seed that
//! scripts are drawn from. A failure prints both the seed and the shortest script that still fails.

pub(crate) mod arenas;
pub(crate) mod drive;
pub(crate) mod first_fit;
pub(crate) mod pattern;
pub(crate) mod region;
pub(crate) mod run;
pub(crate) mod script;
pub(crate) mod subject;
