//! Programs that are written in other languages, on the library of `examples/preload.rs`.
//!
//! A program that is not on this machine is left out, and said to be.

#![cfg(all(feature = "std", target_os = "linux", not(miri)))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::env;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Where what this test makes lies.
fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

/// The library, built by the first test that asks for it.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let target = scratch().join("preload");
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--release", "--example", "preload", "--target-dir"]).arg(&target);
        cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(cargo.status().unwrap().success(), "the library could not be built");
        target.join("release/examples/libpreload.so")
    })
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Runs a program on the library; `None` if there is no such program.
fn run(program: impl AsRef<Path>, arguments: &[&str], directory: &Path) -> Option<Output> {
    let program = program.as_ref();
    let mut command = Command::new(program);
    command.args(arguments).env("LD_PRELOAD", library()).current_dir(directory);
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            say(&format!("left out: {}: {error}", program.display()));
            None
        }
    }
}

/// Runs a program, which has to succeed, and gives what it prints.
fn printed(program: impl AsRef<Path>, arguments: &[&str], directory: &Path) -> Option<String> {
    let output = run(&program, arguments, directory)?;
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {}\n{text}\n{errors}", program.as_ref().display(), output.status);
    Some(text.into_owned())
}

/// A C program that was compiled; `None` if there is no compiler.
fn compiled(source: &str, name: &str) -> Option<PathBuf> {
    let program = scratch().join(name);
    let mut command = Command::new("cc");
    command.args(["-O1", "-fno-builtin", "-pthread", "-o"]).arg(&program).arg(source);
    match command.current_dir(env!("CARGO_MANIFEST_DIR")).status() {
        Ok(status) => {
            assert!(status.success(), "{source} could not be compiled");
            Some(program)
        }
        Err(error) => {
            say(&format!("left out: cc: {error}"));
            None
        }
    }
}

#[test]
fn every_function_does_what_c_says() {
    let Some(program) = compiled("tests/preload/contract.c", "contract") else { return };
    assert_eq!(printed(program, &[], scratch()).unwrap(), "kept\n");
}

#[test]
fn the_library_is_what_programs_use() {
    let Some(program) = compiled("tests/preload/contract.c", "maps") else { return };
    let output =
        Command::new(program).env("LD_PRELOAD", library()).env("LD_DEBUG", "bindings").output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    for name in ["malloc", "free", "calloc", "realloc", "posix_memalign", "malloc_usable_size"] {
        let bound = |line: &&str| {
            line.contains("maps") && line.ends_with(&format!("`{name}'"))
                || line.contains(&format!("`{name}' ["))
        };
        let line = log.lines().find(bound).unwrap_or_else(|| panic!("`{name}` is bound to nothing"));
        assert!(line.contains("libpreload.so"), "{line}");
    }
}

#[test]
fn python_with_threads_processes_and_large_lists() {
    let program = "
import json, re, threading, multiprocessing, os, sys
data = [{'number': i, 'text': 'x' * (i % 200), 'list': list(range(i % 50))} for i in range(20000)]
text = json.dumps(data)
assert json.loads(text) == data
def work(n, out):
    out.append(sum(len(re.findall('[a-z]+', str(d))) for d in data[n::4]))
out = []
threads = [threading.Thread(target=work, args=(n, out)) for n in range(4)]
[t.start() for t in threads]
child = os.fork()
if child == 0:
    os._exit(0 if len(json.dumps(data)) == len(text) else 1)
assert os.waitpid(child, 0)[1] == 0
[t.join() for t in threads]
with multiprocessing.Pool(2) as pool:
    squares = pool.map(abs, range(-5000, 0))
print(len(text), sum(out), sum(squares))
";
    if let Some(text) = printed("python3", &["-c", program], scratch()) {
        assert_eq!(text.split_whitespace().last(), Some("12502500"), "{text}");
    }
}

#[test]
fn a_compiler_compiles() {
    if let Some(text) = printed(
        "gcc",
        &["-O2", "-S", "-o", "-", "tests/preload/contract.c"],
        Path::new(env!("CARGO_MANIFEST_DIR")),
    ) {
        assert!(text.contains("posix_memalign") && text.lines().count() > 500);
    }
}

#[test]
fn git_keeps_a_repository() {
    let place = scratch().join("repository");
    let _ = std::fs::remove_dir_all(&place);
    std::fs::create_dir_all(&place).unwrap();
    let git = |arguments: &[&str]| {
        let mut all = vec!["-c", "user.name=a", "-c", "user.email=a@b.c"];
        all.extend(arguments);
        printed("git", &all, &place)
    };
    if git(&["init", "-q"]).is_none() {
        return;
    }
    for number in 0..20 {
        let text: String = (0..2000).map(|line| format!("line {line} of {}\n", number * line % 7)).collect();
        std::fs::write(place.join(format!("file{}", number % 5)), text).unwrap();
        git(&["add", "."]);
        git(&["commit", "-q", "-m", &format!("number {number}")]);
    }
    git(&["gc", "-q"]);
    git(&["fsck", "--full"]);
    assert_eq!(git(&["log", "--format=%s"]).unwrap().lines().count(), 20);
}

#[test]
fn perl_and_node_and_sqlite() {
    if let Some(text) = printed(
        "perl",
        &["-e", "my %h; $h{$_ % 5000} .= \"$_ \" for 1..200000; print length(join '', values %h)"],
        scratch(),
    ) {
        assert_eq!(text, "1288895");
    }
    if let Some(text) = printed(
        "node",
        &[
            "-e",
            "const m = new Map(); for (let i = 0; i < 2e5; i++) m.set(String(i), [i]); console.log(m.size)",
        ],
        scratch(),
    ) {
        assert_eq!(text, "200000\n");
    }
    let query = "create table t(a, b); with recursive n(i) as (select 1 union all select i + 1 from n where i < 50000) \
                 insert into t select i, hex(randomblob(i % 100)) from n; create index x on t(b); select count(*), sum(a) from t;";
    if let Some(text) = printed("sqlite3", &[":memory:", query], scratch()) {
        assert_eq!(text, "50000|1250025000\n");
    }
}
