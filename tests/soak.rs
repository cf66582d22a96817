//! The example `soak`, run for a moment, and with faults that it must find.

#![cfg(all(feature = "std", any(unix, windows), not(miri)))]
#![expect(clippy::expect_used, reason = "a test that can't set itself up has failed")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The example's executable, built once.
fn executable() -> &'static Path {
    static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
    EXECUTABLE.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .args(["build", "--example", "soak", "--message-format", "json"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let messages = String::from_utf8(output.stdout).expect("cargo speaks UTF-8");
        let path = messages.lines().rev().find_map(|line| {
            let (_, path) = line.split_once("\"executable\":\"")?;
            path.split_once('"').map(|(path, _)| path.replace("\\\\", "\\"))
        });
        PathBuf::from(path.expect("cargo tells where the example is"))
    })
}

/// Runs the example for a second.
fn soak(arguments: &[&str]) -> (Output, String) {
    let output = Command::new(executable()).args(["--seconds", "1"]).args(arguments).output();
    let output = output.expect("the example runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

#[test]
fn nothing_is_found_where_nothing_is_wrong() {
    let (output, text) = soak(&["--threads", "4", "--seed", "7"]);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for heap in
        ["SlabMalloc", "HardenedMalloc", "StaticHeap, 64 KiB", "TinyHeap128KiB", "ObjectCache, panics"]
    {
        assert!(text.contains(&format!("\n{heap} ")), "{heap} in {text}");
    }
    assert!(text.contains("4 threads at a time, seed 7\n"), "{text}");
    assert!(text.ends_with("faults made, all survived; 0 bytes are lost\n"), "{text}");
}

#[test]
fn every_planted_fault_is_found() {
    for (fault, told) in [
        ("byte", " was written"),
        ("leak", ": at the end 1 blocks, "),
        ("object", " left it| as they were left"),
        ("lost-object", ": at the end 1 objects are live"),
    ] {
        let (output, text) = soak(&["--threads", "2", "--break", fault]);
        assert_eq!(output.status.code(), Some(1), "{fault}: {text}");
        let findings: Vec<_> = text.lines().filter(|line| line.starts_with("WRONG: ")).collect();
        assert!(
            findings.iter().any(|line| told.split('|').any(|told| line.contains(told))),
            "{fault}: {text}"
        );
        assert!(!text.contains("all survived"), "{fault}: {text}");
    }
}

#[test]
fn wrong_arguments_are_told() {
    assert_eq!(soak(&["--no-such-option"]).0.status.code(), Some(2));
    assert_eq!(soak(&["--threads", "0"]).0.status.code(), Some(2));
}
