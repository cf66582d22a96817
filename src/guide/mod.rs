//! The long chapters of the documentation.
