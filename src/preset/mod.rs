//! Ready-made heaps. What they are made of stands in the documentation of each, to be changed where it does not fit:
//! [`composing`](crate::guide::composing) has more compositions.

pub use crate::combine::StackFirst;
