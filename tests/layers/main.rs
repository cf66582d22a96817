//! The rules of the house, held against the repository: who imports whom, how long files and functions are, what they are
//! called, and what must not stand in them. CONTRIBUTING.md says why.
//!
//! Each rule has tests of its own that show it can fail.

#![cfg(not(miri))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod imports;
mod promises;
mod rules;
mod text;

use std::fs;
use std::path::{Path, PathBuf};

use imports::{Layer, Rules};

/// Every layer and what it may import, from bottom to top. A layer never imports one of its own row.
const LAYERS: &[Layer] = &[
    ("mem", &[]),
    ("alloc", &[]),
    ("describe", &[]),
    ("check", &["mem", "alloc", "describe"]),
    ("lock", &["mem", "alloc", "describe", "check"]),
    ("sizing", &["mem", "alloc", "describe", "check"]),
    // The shell of a heap is where core and lock meet.
    ("heap", &["mem", "alloc", "describe", "check", "lock"]),
    ("source", &["mem", "alloc", "describe", "check", "lock", "sizing", "heap"]),
    ("arena", &["mem", "alloc", "describe", "check", "lock", "sizing", "heap", "source"]),
    ("slab", &["mem", "alloc", "describe", "check", "lock", "sizing", "heap", "source"]),
    ("cache", &["mem", "alloc", "describe", "check", "lock", "sizing", "heap", "source", "arena", "slab"]),
    (
        "combine",
        &["mem", "alloc", "describe", "check", "lock", "sizing", "heap", "source", "arena", "slab", "cache"],
    ),
    (
        "trace",
        &[
            "mem", "alloc", "describe", "check", "lock", "sizing", "heap", "source", "arena", "slab",
            "cache", "combine",
        ],
    ),
    (
        "preset",
        &[
            "mem", "alloc", "describe", "check", "lock", "sizing", "heap", "source", "arena", "slab",
            "cache", "combine", "trace",
        ],
    ),
    (
        "conformance",
        &[
            "mem", "alloc", "describe", "check", "lock", "sizing", "heap", "source", "arena", "slab",
            "cache", "combine", "trace",
        ],
    ),
    // Chapters of text, compiled as documentation only.
    ("guide", &[]),
];

/// What stands at the crate's root, and the layer that it is from.
const ROOT_NAMES: &[(&str, &str)] = &[("AllocError", "alloc"), ("malloc", "cache")];

/// Directories that hold what others have made, or what is built.
const SKIPPED: &[&str] = &["target", ".git"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files under `directory`, as paths from the root with `/` between their parts.
fn files(directory: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = vec![root().join(directory)];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if SKIPPED.contains(&name.as_str()) {
                continue;
            } else if path.is_dir() {
                open.push(path);
            } else {
                let parts: Vec<_> =
                    path.strip_prefix(root()).unwrap().iter().map(|p| p.to_string_lossy()).collect();
                found.push(parts.join("/"));
            }
        }
    }
    found.sort();
    found
}

/// The text of a file; `None` if it isn't text.
fn read(file: &str) -> Option<String> {
    String::from_utf8(fs::read(root().join(file)).unwrap()).ok()
}

/// The Rust files of some directories.
fn rust(directories: &[&str]) -> impl Iterator<Item = (String, String)> {
    directories
        .iter()
        .flat_map(|directory| files(directory))
        .filter(|file| file.ends_with(".rs"))
        .filter_map(|file| read(&file).map(|source| (file, source)))
}

/// Files of unit tests: they may import what they like, since nothing is built on them.
fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

/// The files right below a layer's directory which its `mod.rs` does not make public modules.
fn private_files(sources: &[(String, String)]) -> Vec<(String, String)> {
    let mut private = Vec::new();
    for (file, _) in sources {
        let Some(path) = file.strip_prefix("src/") else { continue };
        let [layer, inner, ..] = imports::module(path)[..] else { continue };
        let face = format!("src/{layer}/mod.rs");
        let public = format!("pub mod {inner};");
        let is_public =
            sources.iter().any(|(name, text)| *name == face && text.lines().any(|line| line == public));
        if !is_public {
            private.push((layer.to_owned(), inner.to_owned()));
        }
    }
    private
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn imports_go_down_and_through_the_face() {
    let sources: Vec<_> = rust(&["src"]).collect();
    assert!(sources.len() > 10, "the sources are not where they were expected");
    let private_files = private_files(&sources);
    let rules = Rules { layers: LAYERS, root_names: ROOT_NAMES, private_files: &private_files };
    let wrong: Vec<_> = sources
        .iter()
        .filter(|(file, _)| file != "src/lib.rs" && !is_test(file))
        .flat_map(|(file, source)| imports::check(&rules, file.strip_prefix("src/").unwrap(), source))
        .collect();
    assert_none(&wrong);
}

#[test]
fn files_and_functions_are_short() {
    let sources = || rust(&["src", "examples"]).filter(|(file, _)| !is_test(file));
    let long_files = sources().flat_map(|(file, source)| rules::length(&file, &source));
    let long_functions = sources().flat_map(|(file, source)| rules::functions(&file, &source));
    assert_none(&long_files.chain(long_functions).collect::<Vec<_>>());
}

#[test]
fn names_say_what_is_inside() {
    let wrong: Vec<_> = ["src", "tests", "examples", "benches"]
        .iter()
        .flat_map(|d| files(d))
        .flat_map(|f| rules::name(&f))
        .collect();
    assert_none(&wrong);
}

#[test]
fn no_forbidden_word_is_anywhere() {
    let wrong: Vec<_> = files("")
        .iter()
        .filter(|file| *file != "Cargo.lock")
        .filter_map(|file| read(file).map(|text| rules::words(file, &text)))
        .flatten()
        .collect();
    assert_none(&wrong);
}

#[test]
fn every_dependency_has_a_reason() {
    assert_none(&rules::dependencies(&read("Cargo.toml").unwrap(), &read("CONTRIBUTING.md").unwrap()));
}

#[test]
fn every_promise_has_its_test() {
    let promises = read("SECURITY.md").unwrap();
    assert!(promises::named(&promises).count() > 30, "the promises are not where they were expected");
    let file = |name: &str| root().join(name).is_file().then(|| read(name)).flatten();
    assert_none(&promises::missing(&promises, file));
}

#[test]
fn the_table_goes_upward() {
    for (place, (layer, allowed)) in LAYERS.iter().enumerate() {
        for lower in *allowed {
            let below = LAYERS[..place].iter().any(|(name, _)| name == lower);
            assert!(below, "`{layer}` may import `{lower}`, which does not stand above it in the table");
        }
    }
}

#[test]
fn a_wrong_import_is_found() {
    let private_files = [("heap".to_owned(), "locked".to_owned())];
    let rules = Rules { layers: LAYERS, root_names: ROOT_NAMES, private_files: &private_files };
    let check = |file, source| imports::check(&rules, file, source).len();

    assert_eq!(check("source/pages.rs", "use crate::heap::Heap;\nuse super::BackingSource;"), 0);
    assert_eq!(check("source/pages.rs", "use crate::heap::locked::Locked;"), 1, "past the face");
    assert_eq!(check("heap/shared.rs", "use crate::heap::locked::Locked;"), 0, "a layer knows its own files");
    assert_eq!(check("source/pages.rs", "use crate::arena::Arena;"), 1, "upward");
    assert_eq!(check("source/pages.rs", "use super::super::arena::Arena;"), 1, "upward by another way");
    assert_eq!(check("arena/bins.rs", "fn f() { crate::slab::g() }"), 1, "sideways");
    assert_eq!(check("mem/mod.rs", "use crate::AllocError;"), 1, "upward by a name at the root");
    assert_eq!(check("lock/mod.rs", "use crate::AllocError;"), 0);
    assert_eq!(
        check(
            "lock/mod.rs",
            "/// See [`Heap`](crate::heap::Heap).\nmacro_rules! m { () => { crate::heap::f() } }"
        ),
        0
    );
    assert_eq!(check("lock/mod.rs", "#[cfg(test)]\nmod tests { use crate::heap::Heap; }"), 0);
    assert_eq!(check("lost/mod.rs", ""), 1, "a directory that is no layer");
    assert_eq!(check("lost.rs", ""), 1, "a file in no layer");
}
