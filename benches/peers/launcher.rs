//! Our caches and allocators against those that are written in C and C++.
//!
//! `cargo run --release -p heapwright-peers [-- SECTION..]`, from the repository's root, races caches; `--help` lists the sections. With `-- programs` whole programs are
//! run, each with one allocator for all that it does; `-- programs --help` says more. Needs a C and a C++ compiler.
//! This program only builds those that do the work and starts them, since no manifest can say what they need:
//! - the bench profile: fat LTO, and no debug information, with which snmalloc's build would leave its optimiser off;
//! - `NDEBUG` for C++: the build of snmalloc without cmake does not define it, and an snmalloc with its assertions on is three times
//!   slower;
//! - mimalloc twice, versions 2 and 3, whose symbols are the same: hence two builds, whose rounds alternate.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Where the first program of the races finds the second: an environment variable.
const TWIN: &str = "HEAPWRIGHT_PEERS_TWIN";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == "programs" => programs(rest),
        _ => races(&arguments),
    }
}

/// Starts the races.
fn races(arguments: &[String]) -> ExitCode {
    let Some(races) = build("races", &["races"], "races") else {
        say("the races could not be built: they need a C and a C++ compiler");
        return ExitCode::FAILURE;
    };
    let mut command = Command::new(races.join("races").with_extension(env::consts::EXE_EXTENSION));
    command.args(arguments);
    match build("twin", &["twin"], "twin") {
        Some(twin) => _ = command.env(TWIN, twin.join("twin").with_extension(env::consts::EXE_EXTENSION)),
        None => say("mimalloc 2 could not be built, and is left out"),
    }
    start(command)
}

/// Starts the programs. Each allocator is built by itself, so that those whose compiler is missing are left out alone.
fn programs(arguments: &[String]) -> ExitCode {
    let own = [
        "programs",
        "program-heapwright",
        "program-compact",
        "program-checked",
        "program-hardened",
        "program-glibc",
    ];
    let Some(place) = build("programs", &own, "programs,ours") else {
        say("the programs could not be built");
        return ExitCode::FAILURE;
    };
    for peer in ["mimalloc", "jemalloc", "snmalloc", "rpmalloc"] {
        if build("programs", &[&format!("program-{peer}")], &format!("with-{peer}")).is_none() {
            say(&format!("{peer} could not be built, and is left out"));
        }
    }
    let mut command = Command::new(place.join("programs").with_extension(env::consts::EXE_EXTENSION));
    command.args(arguments).env("HEAPWRIGHT_PEERS_PROGRAMS", &place);
    match build("programs-twin", &["program-mimalloc"], "with-mimalloc-2") {
        Some(twin) => _ = command.env("HEAPWRIGHT_PEERS_PROGRAMS_TWIN", twin),
        None => say("mimalloc 2 could not be built, and is left out"),
    }
    start(command)
}

/// Runs a program to its end.
fn start(mut command: Command) -> ExitCode {
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            say(&format!("what was built does not start: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Builds programs with the features that they need, in a directory of their own; gives where they are.
fn build(directory: &str, programs: &[&str], features: &str) -> Option<PathBuf> {
    // Beside this program's own directory, so that the builds do not wait for one another or undo each other's work.
    let own = env::current_exe().ok()?;
    let target = own.parent()?.parent()?.join("peers").join(directory);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let flags = env::var("CXXFLAGS").unwrap_or_default() + " -DNDEBUG";
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--profile", "bench", "--features", features])
        .args(programs.iter().flat_map(|program| ["--bin", program]))
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .env("CXXFLAGS", flags)
        .status()
        .ok()?;
    status.success().then(|| target.join("release"))
}

fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
