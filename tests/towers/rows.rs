//! A row is a test: a name, and a check of the kit.

/// Writes a test for each row: `name: check;`, with the attributes before it.
macro_rules! rows {
    ($($(#[$attribute:meta])* $name:ident: $check:expr;)*) => {$(
        #[test]
        $(#[$attribute])*
        fn $name() {
            $check.check();
        }
    )*};
}

pub(crate) use rows;
