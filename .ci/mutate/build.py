"""Builds the tests of a tree with all mutants in it: `build.py MUTATE TREE OUT FEATURES TESTS FILE...`.

Mutants that do not compile are found by the compiler's errors, and left out, until there are none.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

mutate, tree, out, features, tests, files = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), sys.argv[4], sys.argv[5].split(), sys.argv[6:]
here = pathlib.Path(__file__).parent
without = set()
originals = {file: (tree / file).read_text() for file in files}
lib = (tree / "src/lib.rs").read_text()
environment = {**os.environ, "RUSTFLAGS": "--cap-lints allow", "CARGO_INCREMENTAL": "0", "CARGO_PROFILE_TEST_OPT_LEVEL": "1", "CARGO_PROFILE_DEV_OPT_LEVEL": "1", "CARGO_PROFILE_TEST_DEBUG": "0", "CARGO_PROFILE_DEV_DEBUG": "0"}


def compile(*arguments):
    command = ["cargo", "+nightly", *arguments, "--features", features, "--message-format=json", "--quiet"]
    result = subprocess.run(command, cwd=tree, env=environment, stdout=subprocess.PIPE, text=True)
    return result.returncode, [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def spans(message):
    """Where an error may come from: its own places first, then those of macros and of what is told with it."""
    own = sorted(message["spans"], key=lambda span: not span["is_primary"])
    return own + [span for child in message["children"] for span in child["spans"]]


for turn in range(60):
    for file, text in originals.items():
        (tree / file).write_text(text)
    (out / "without").write_text("\n".join(sorted(without)))
    listed = subprocess.run([mutate, out / "without", *files], cwd=tree, stdout=subprocess.PIPE, text=True, check=True).stdout
    (out / "mutants").write_text(listed)
    names = dict(line.split("\t", 1) for line in listed.splitlines())
    (tree / "src/lib.rs").write_text("#![feature(core_intrinsics, const_eval_select)]\n" + lib + (here / "runtime.rs").read_text())
    status, messages = compile("check", "--lib")
    errors = [message["message"] for message in messages if message["reason"] == "compiler-message" and message["message"]["level"] == "error"]
    if status == 0:
        break
    gone = set()
    for error in errors:
        for span in spans(error):
            if span["file_name"] not in originals:
                continue
            text = (tree / span["file_name"]).read_bytes()
            # The choice before the place, else the first within.
            before = re.findall(rb"mutant::is\((\d+)\)", text[max(0, span["byte_start"] - 400): span["byte_end"]])
            if before:
                gone.add(names[before[-1].decode()])
                break
        else:
            print(error["rendered"], file=sys.stderr)
    if not gone - without:
        sys.exit("errors that no mutant is seen to make")
    without |= gone
    print(f"-- turn {turn}: {len(names)} mutants, {len(errors)} errors, {len(without)} left out", flush=True)
print(f"{len(names)} mutants, {len(without)} do not compile")

status, messages = compile("test", "--no-run", *tests)
if status != 0:
    sys.exit("the tests do not compile")
programs = [message["executable"] for message in messages if message["reason"] == "compiler-artifact" and message["profile"]["test"] and message["executable"]]
(out / "programs").write_text(json.dumps(programs))
