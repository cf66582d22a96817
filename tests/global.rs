//! Heaps as the global allocator of real programs: each example runs as a process of its own.
//!
//! `cargo test` builds the examples; to run this file alone, `cargo build --examples` comes first.
#![cfg(not(miri))]

use std::io;
use std::process::{Command, ExitStatus, Output};

/// Runs an example; gives its status, output and errors.
fn run(example: &str, arguments: &[&str], backtrace: &str) -> io::Result<(ExitStatus, String, String)> {
    // This test is `<profile>/deps/global-<hash>`, the example `<profile>/examples/<name>`.
    let this = std::env::current_exe()?;
    let profile = this.ancestors().nth(2).unwrap_or(&this);
    let path = profile.join("examples").join(format!("{example}{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing: run `cargo build --examples` first", path.display());
    let Output { status, stdout, stderr } =
        Command::new(path).args(arguments).env("RUST_BACKTRACE", backtrace).output()?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok((status, text(stdout), text(stderr)))
}

/// The lines of a run that succeeds and has nothing to complain about.
fn lines(example: &str, arguments: &[&str]) -> Vec<String> {
    let (status, out, err) =
        run(example, arguments, "0").unwrap_or_else(|error| panic!("{example}: {error}"));
    assert!(status.success() && err.is_empty(), "{status}: {err}");
    out.lines().map(str::to_owned).collect()
}

#[test]
fn a_program_in_a_static_arena() {
    let text = "The words to count, the words that count.";
    let lines = lines("global_static", &[text, "And the words", "in two", "more", "threads"]);
    let (report, words) = lines.split_last().unwrap();
    let expected = [
        "   1 and",
        "   2 count",
        "   1 in",
        "   1 more",
        "   1 that",
        "   3 the",
        "   1 threads",
        "   1 to",
        "   1 two",
        "   3 words",
    ];
    assert_eq!(words, expected);
    assert!(report.starts_with("heap: ") && report.ends_with(" of 1048576"), "{report}");
}

#[test]
fn running_out_ends_with_a_message() {
    for backtrace in ["0", "1"] {
        let (status, out, err) = run("global_static", &["--fill"], backtrace).unwrap();
        assert!(!status.success());
        assert!(err.starts_with("memory allocation of 10000 bytes failed"), "{err}");
        assert_eq!(out, "");
        #[cfg(unix)]
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(6), "aborted");
    }
}

#[test]
fn running_out_can_be_reported() {
    let lines = lines("global_static", &["--fill-politely"]);
    let largest: usize = lines[0].split(' ').nth(3).unwrap().parse().unwrap();
    assert!((900_000..1 << 20).contains(&largest), "{largest}");
}

#[test]
fn a_panic_is_caught_and_leaves_nothing() {
    for backtrace in ["0", "1"] {
        let (status, out, err) = run("global_static", &["--panic"], backtrace).unwrap();
        assert!(status.success());
        assert_eq!(err.matches("100 words of no use").count(), 2, "{err}");
        assert!(out.starts_with("caught two panics, the second left 0 objects behind\n"), "{out}");
    }
}

#[cfg(all(feature = "os", any(unix, windows)))]
#[test]
fn a_program_in_pages() {
    let lines = lines("global_pages", &["4000000"]);
    assert_eq!(lines[0], "283146 primes below 4000000, the largest is Some(3999971)");
    let used: usize = lines[1].split(' ').nth(1).unwrap().parse().unwrap();
    assert!(used >= 283_146 * size_of::<usize>() && used < 4 << 20, "{used}");
    // Four threads run out at once, so their messages may be mixed.
    let (status, out, err) = run("global_pages", &["200000000"], "0").unwrap();
    assert!(!status.success() && out.is_empty(), "{out}");
    assert!(err.contains("memory allocation of ") && err.contains(" bytes failed"), "{err}");
}

#[cfg(all(feature = "os", any(unix, windows)))]
#[test]
fn a_program_in_slabs() {
    let lines = lines("global_slab_heap", &["1000000"]);
    assert_eq!(lines[0], "below 1000000, the most steps are Some((524, 837799))");
    let (last, classes) = lines[2..].split_last().unwrap();
    // What the program needs to print is all that is left.
    let slabs: Vec<usize> = last.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert!(classes.len() > 20 && slabs[0] > 100 && slabs[1] < 6, "{last}");
}

#[cfg(feature = "allocator-api2-04")]
mod named {
    use super::lines;

    #[test]
    fn a_tree_in_a_heap_of_its_own() {
        let expected = [
            "[1, 3, 5, 8, 9]",
            &format!("nodes: {} bytes used by 5 objects", 15 * size_of::<usize>()),
            "sum: 26",
            "nodes: 0 bytes used by 0 objects",
            "all in order",
        ];
        assert_eq!(lines("global_instance", &["5", "3", "8", "1", "9", "5"]), expected);
    }

    #[test]
    fn a_full_heap_is_reported_and_the_program_goes_on() {
        let lines = lines("global_instance", &["--many", "100000"]);
        let count: usize = lines[0]
            .strip_prefix("the node heap is full with ")
            .unwrap()
            .strip_suffix(" nodes")
            .unwrap()
            .parse()
            .unwrap();
        // Two links and a key: no room for the handles. The tables take 3 % of 64 KiB.
        let node = 3 * size_of::<usize>();
        assert!(count * node > 62_000 && count * node < 65_536, "{count}");
        assert_eq!(lines[1], format!("nodes: {} bytes used by {count} objects", count * node));
        assert_eq!(lines[3..], ["nodes: 0 bytes used by 0 objects", "all in order"]);
    }
}
