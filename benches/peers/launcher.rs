//! Our caches against the allocators that are written in C and C++.
//!
//! `cargo run -p heapwright-peers [-- SECTION..]`, from the repository's root; `--help` lists the sections. Needs a C and a C++ compiler.
//! This program only builds those that do the work and starts them, since no manifest can say what they need:
//! - the bench profile: fat LTO, and no debug information, with which snmalloc's build would leave its optimiser off;
//! - `NDEBUG` for C++: the build of snmalloc without cmake does not define it, and an snmalloc with its assertions on is three times
//!   slower;
//! - mimalloc twice, versions 2 and 3, whose symbols are the same: hence two programs, whose rounds alternate.

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Where the first program finds the second: an environment variable.
const TWIN: &str = "HEAPWRIGHT_PEERS_TWIN";

fn main() -> ExitCode {
    let Some(races) = build("races") else {
        say("the races could not be built: they need a C and a C++ compiler");
        return ExitCode::FAILURE;
    };
    let mut command = Command::new(races);
    command.args(env::args_os().skip(1));
    match build("twin") {
        Some(twin) => _ = command.env(TWIN, twin),
        None => say("mimalloc 2 could not be built, and is left out"),
    }
    match command.status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            say(&format!("the races do not start: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Builds the program of that name, which is also the feature that it needs.
fn build(name: &str) -> Option<PathBuf> {
    // Beside this program's own directory, so that the builds do not wait for one another or undo each other's work.
    let own = env::current_exe().ok()?;
    let target = own.parent()?.parent()?.join("peers").join(name);
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let flags = env::var("CXXFLAGS").unwrap_or_default() + " -DNDEBUG";
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "--profile", "bench", "--bin", name, "--features", name])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(&target)
        .env("CXXFLAGS", flags)
        .status()
        .ok()?;
    let program = target.join("release").join(name).with_extension(env::consts::EXE_EXTENSION);
    status.success().then_some(program)
}

fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
