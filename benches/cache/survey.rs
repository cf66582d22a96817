//! Sections that do not race: figures that are no times.

use crate::report::Report;

/// A section: its name, what it shows, and how it is run.
pub(crate) struct Survey {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(&mut Report),
}
