//! The rules of the house that a program can check, one function each. Every one gives its findings as text.

use crate::text;

/// Lines of code, without blank lines, comments and tests, that a file may have.
const FILE_LINES_MAX: usize = 500;
/// Lines from `fn` to the closing brace that a function may have.
const FUNCTION_LINES_MAX: usize = 70;

/// Names that say nothing about what is in a file.
const NAMELESS: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "stuff"];

/// What must not stand in the repository, in pieces so that it doesn't stand here: marks of unfinished work, of a merge gone wrong,
/// and paths that exist on one machine only.
const FORBIDDEN: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("HA", "CK:"),
    concat!("<<<<", "<<< "),
    concat!(">>>>", ">>> "),
    concat!("/ho", "me/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("/Us", "ers/"),
    concat!("lorem", " ipsum"),
];

/// A file that is too long.
pub(crate) fn length(file: &str, source: &str) -> Vec<String> {
    let lines =
        text::without_tests(&text::code(source)).lines().filter(|line| !line.trim().is_empty()).count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    vec![format!("{file}: {lines} lines of code, more than {FILE_LINES_MAX}: one idea per file")]
}

/// Functions that are too long.
pub(crate) fn functions(file: &str, source: &str) -> Vec<String> {
    let code = text::without_tests(&text::code(source));
    let mut wrong = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if at > 0 && text::is_word(code.as_bytes()[at - 1]) {
            continue;
        }
        let Some(open) =
            code[at..].find(['{', ';']).map(|len| at + len).filter(|&end| code.as_bytes()[end] == b'{')
        else {
            continue;
        };
        let (first, last) = (text::line(&code, at), text::line(&code, text::block_end(&code, open) - 1));
        let lines = last - first + 1;
        if lines > FUNCTION_LINES_MAX {
            wrong
                .push(format!("{file}:{first}: a function of {lines} lines, more than {FUNCTION_LINES_MAX}"));
        }
    }
    wrong
}

/// A file or directory whose name says nothing.
pub(crate) fn name(file: &str) -> Vec<String> {
    let nameless = |part: &&str| NAMELESS.contains(&part.split('.').next().unwrap_or(part));
    file.split('/')
        .filter(nameless)
        .map(|part| format!("{file}: `{part}` says nothing: name the file after its idea"))
        .collect()
}

/// Words that must not stand in the repository.
pub(crate) fn words(file: &str, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
            wrong.push(format!("{file}:{}: `{}` must not stand here", number + 1, word.trim()));
        }
    }
    wrong
}

/// Dependencies of `manifest` without a row in the table of `contributing`.
pub(crate) fn dependencies(manifest: &str, contributing: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_end().ends_with("dependencies]");
        } else if let Some((key, _)) =
            line.split_once(" = ").filter(|_| inside && !line.starts_with(['#', ' ']))
        {
            if !contributing.lines().any(|row| names(row).any(|name| name == key)) {
                wrong.push(format!("CONTRIBUTING.md: no row says why the crate depends on `{key}`"));
            }
        }
    }
    wrong
}

/// The names in backquotes in the first cell of a table's row.
fn names(row: &str) -> impl Iterator<Item = &str> {
    let cell = row.strip_prefix("| ").and_then(|row| row.split(" | ").next()).unwrap_or("");
    cell.split('`').skip(1).step_by(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_found_and_docs_and_tests_do_not_count() {
        let long = "const A: u8 = 0;\n".repeat(FILE_LINES_MAX);
        let padded = format!("{}{long}\n#[cfg(test)]\nmod tests {{\n{long}}}\n", "/// Words.\n".repeat(1000));
        assert_eq!(length("a.rs", &padded), Vec::<String>::new());
        assert_eq!(length("a.rs", &format!("{long}const B: u8 = 0;")).len(), 1);
    }

    #[test]
    fn a_long_function_is_found() {
        let function = |lines: usize| {
            format!("trait T {{ fn g(); }}\npub const fn f() {{\n{}}}\n", "a();\n".repeat(lines - 2))
        };
        assert_eq!(functions("a.rs", &function(FUNCTION_LINES_MAX)), Vec::<String>::new());
        assert_eq!(
            functions("a.rs", &function(FUNCTION_LINES_MAX + 1)),
            ["a.rs:2: a function of 71 lines, more than 70"]
        );
    }

    #[test]
    fn a_nameless_file_is_found() {
        assert_eq!(name("src/lock/owner.rs"), Vec::<String>::new());
        assert_eq!(name("src/commons.rs"), Vec::<String>::new());
        for bad in ["src/util.rs", "src/heap/helpers.rs", "tests/common/mod.rs", "benches/misc"] {
            assert_eq!(name(bad).len(), 1, "{bad}");
        }
    }

    #[test]
    fn each_forbidden_word_is_found() {
        assert_eq!(words("a.md", "Nothing wrong in this line."), Vec::<String>::new());
        for word in FORBIDDEN {
            assert_eq!(words("a.md", &format!("fine\nwith {word}here")).len(), 1, "{word}");
        }
    }

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\n# why\nspin = \"1\"\n[target.'cfg(unix)'.dependencies]\nrustix = { a = 1 }\n\
                        [features]\nstd = []\n[dev-dependencies]\nquickcheck = \"1\"\n";
        assert_eq!(
            dependencies(manifest, "| `spin`, `rustix` | b\n| `quickcheck` | c"),
            Vec::<String>::new()
        );
        let wrong = dependencies(manifest, "about `rustix`\n| `spin` | `quickcheck`");
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }
}
