//! Ready-made heaps.
