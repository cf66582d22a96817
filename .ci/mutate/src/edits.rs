//! Changes of a text, made all at once.

use std::ops::Range;

/// Pieces of a text that others take the place of. None has a line's end in it, so that lines keep their numbers.
#[derive(Default)]
pub struct Edits(Vec<Edit>);

struct Edit {
    place: Range<usize>,
    /// Among those at one place: an expression's end comes before that of one around it, its beginning after.
    rank: isize,
    text: String,
}

impl Edits {
    /// Puts `text` before what stands at `at`, at the beginning of an expression so deep in others.
    pub fn begin(&mut self, at: usize, depth: isize, text: impl Into<String>) {
        self.0.push(Edit { place: at..at, rank: depth, text: text.into() });
    }

    /// The same behind the end of such an expression.
    pub fn end(&mut self, at: usize, depth: isize, text: impl Into<String>) {
        self.0.push(Edit { place: at..at, rank: -1000 - depth, text: text.into() });
    }

    /// Puts `text` in the place of what there is.
    pub fn replace(&mut self, place: Range<usize>, text: impl Into<String>) {
        self.0.push(Edit { place, rank: 1000, text: text.into() });
    }

    pub fn apply(mut self, text: &str) -> String {
        self.0.sort_by_key(|edit| (edit.place.start, edit.rank));
        let mut result = String::new();
        let mut at = 0;
        for Edit { place, text: new, .. } in self.0 {
            result.push_str(&text[at..place.start]);
            result.push_str(&new);
            // Lines keep their numbers.
            result.extend(text[place.clone()].matches('\n'));
            at = place.end;
        }
        result + &text[at..]
    }
}
