//! What a document says of tests: every one that it names is there.
//!
//! It names one as `` `tests/file.rs::name` ``, where the name is that of a function, of a macro that writes tests, of a row of one, or of a
//! module; or as `` `tests/file.rs` ``, all that is in there. In a cell of a table that has nothing but names each has its file.

use crate::text;

/// What stands in backquotes.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// Whether a name begins with a place where tests are.
fn has_file(name: &str) -> bool {
    name.starts_with("tests/") || name.starts_with("src/")
}

/// The names in backquotes that lead to a file of tests: the file, and what in it.
pub(crate) fn named(document: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    document
        .lines()
        .flat_map(quoted)
        .filter(|name| has_file(name))
        .map(|name| name.split_once("::").map_or((name, None), |(file, inner)| (file, Some(inner))))
}

/// The names without a file in cells of tables that are lists of tests: nothing but names, one of them with a file.
fn without_file(document: &str) -> impl Iterator<Item = &str> {
    let cells = document.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('|'));
    let lists = cells.filter(|cell| {
        let names_only = cell.split('`').step_by(2).all(|between| matches!(between.trim(), "" | ","));
        names_only && quoted(cell).any(has_file)
    });
    lists.flat_map(quoted).filter(|name| !has_file(name))
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
    let lost = without_file(document);
    let mut wrong: Vec<_> = lost.map(|name| format!("`{name}` is named without its file")).collect();
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
        let cells = |list: &str| missing(&format!("| `Quota` | {list} | in `one` |"), read);
        assert_eq!(cells("`tests/a.rs::one`, `tests/a.rs::two`"), Vec::<String>::new());
        assert_eq!(cells("`tests/a.rs::one`, `two`").len(), 1);
    }
}
