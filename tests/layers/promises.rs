//! What a document says of tests: every one that it names is there.
//!
//! It names one as `` `tests/file.rs::name` ``, where the name is that of a function, of a macro that writes tests, of a row of one, or of a
//! module; or as `` `tests/file.rs` ``, all that is in there.

use crate::text;

/// The names in backquotes that lead to a file of tests: the file, and what in it.
pub(crate) fn named(document: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let quoted = document.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted
        .filter(|name| name.starts_with("tests/") || name.starts_with("src/"))
        .map(|name| name.split_once("::").map_or((name, None), |(file, inner)| (file, Some(inner))))
}

/// Whether `source` has a test of that name, or what writes some.
fn has(source: &str, name: &str) -> bool {
    let code = text::code(source);
    let starts = ["fn ", "macro_rules! ", "mod "];
    code.match_indices(name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let item = starts.iter().any(|start| before.ends_with(start));
        let ends = !after.bytes().next().is_some_and(text::is_word);
        let row =
            after.starts_with(':') && before.rsplit('\n').next().is_some_and(|line| line.trim().is_empty());
        ends && item || row
    })
}

/// Tests that `document` names and that are not there. `read` gives a file's text, if there is such a file.
pub(crate) fn missing(document: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (file, inner) in named(document) {
        match (read(file), inner) {
            (None, _) => wrong.push(format!("`{file}` is named, and there is no such file")),
            (Some(source), Some(inner)) if !has(&source, inner) => {
                wrong.push(format!("`{file}` has no `{inner}`, which is named"));
            }
            _ => {}
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_not_there_is_found() {
        let read = |file: &str| {
            let source = "fn one() {}\nmacro_rules! rows { () => {} }\nrows! {\n    first: 1;\n}\nmod two {}\n// fn three()\n";
            (file == "tests/a.rs").then(|| source.to_owned())
        };
        let right = "`tests/a.rs::one` `tests/a.rs::rows`, `tests/a.rs::first`\n`tests/a.rs::two` `tests/a.rs` `Quota`";
        assert_eq!(named(right).count(), 5);
        assert_eq!(missing(right, read), Vec::<String>::new());
        for wrong in [
            "`tests/b.rs`",
            "`tests/a.rs::three`",
            "`tests/a.rs::on`",
            "`tests/a.rs::econd`",
            "`src/b.rs::one`",
        ] {
            assert_eq!(missing(wrong, read).len(), 1, "{wrong}");
        }
    }
}
