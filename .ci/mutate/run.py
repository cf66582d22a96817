"""Runs tests on mutants that are all in one program: `run.py TREE OUT KNOWN JOBS`.

Of each test it is found out which mutants it reaches; each mutant is tried with those that reach it, the fastest first, until one fails. Those that KNOWN explains are not tried. Fails if another is missed. OUT gets `missed`, `caught` and `unreached`, a line for each.
"""

import concurrent.futures
import json
import os
import pathlib
import pickle
import signal
import subprocess
import sys
import tempfile
import time

tree, out, known, jobs = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), int(sys.argv[4])
names = dict(line.split("\t", 1) for line in (out / "mutants").read_text().splitlines())
files = os.environ.get("MUTANTS_FILES", "").split()
# Seconds of a test; those that take longer are left out.
LONGEST = 4
# Seconds of tests that are enough for one mutant: what has not been noticed by then is counted as missed.
ENOUGH = 40


def run(test, timeout, **more):
    """How long it takes, and whether it passes."""
    environment = {**os.environ, "RUST_TEST_THREADS": "2", "RUST_BACKTRACE": "0", **more}
    begin = time.monotonic()
    process = subprocess.Popen(test, cwd=tree, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        passes = process.wait(timeout) == 0
    except subprocess.TimeoutExpired:
        passes = False
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    return time.monotonic() - begin, passes


def tests_of(program):
    """A command for each test of a program; or one for all, if it does not tell which it has."""
    listed = subprocess.run([program, "--list", "--format", "terse"], cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found = [line.removesuffix(": test") for line in listed.stdout.splitlines() if line.endswith(": test")]
    return [(program, "--exact", name) for name in found] or [(program,)]


def measure(test):
    """How long a test takes, whether it passes, and which mutants it reaches."""
    with tempfile.TemporaryDirectory() as reached:
        took, passes = run(test, 300, MUTANTS_REACHED=reached)
        numbers = set()
        for file in pathlib.Path(reached).iterdir():
            numbers.update(str(number) for number, byte in enumerate(file.read_bytes()) if byte)
    return took, passes, test, numbers


def judge(number):
    """What becomes of a mutant. Those of one function tend to be caught by the same tests: these come first, then those that have caught most of its file for the time they take."""
    reaching = [(took, test) for took, _, test, numbers in tests if number in numbers]
    if not reaching:
        return number, "unreached"
    file, _, function, _ = names[number].split("\t")
    catchers, caught = caught_by.setdefault(function, []), caught_in.setdefault(file, {})
    spent = 0
    for took, test in sorted(reaching, key=lambda test: (test[1] not in catchers, -caught.get(test[1], 0) / max(test[0], 0.02), test[0])):
        if spent > ENOUGH:
            break
        spent += took
        if not run(test, 5 + 10 * took, MUTANT=number)[1]:
            catchers.append(test)
            caught[test] = caught.get(test, 0) + 1
            return number, "caught"
    return number, "missed"


programs = json.loads((out / "programs").read_text())
# Kept for the next run with the same programs.
measured = out / "measured"
if measured.exists() and all(os.stat(program).st_mtime < measured.stat().st_mtime for program in programs):
    tests = pickle.loads(measured.read_bytes())
else:
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        tests = list(pool.map(measure, [test for program in programs for test in tests_of(program)]))
    measured.write_bytes(pickle.dumps(tests))
caught_by, caught_in = {}, {}
for took, passes, test, _ in tests:
    if passes and took > LONGEST:
        print(f"takes {took:.1f} s, and is left out:", pathlib.Path(test[0]).name, *test[2:], flush=True)
    if not passes:
        print("fails by itself, and is left out:", pathlib.Path(test[0]).name, *test[2:], flush=True)
tests = sorted((test for test in tests if test[1] and test[0] <= LONGEST), key=lambda test: test[0])
print(f"{len(tests)} tests, {sum(test[0] for test in tests):.0f} s", flush=True)
# Without its place, which moves; of those in one function that are alike, which of them.
alike = {}
for number, name in names.items():
    file, _, function, what = name.split("\t")
    alike.setdefault(f"{file} {function}: {what}", []).append(number)
known_as = {number: name + (f", {which} of {len(numbers)}" if len(numbers) > 1 else "") for name, numbers in alike.items() for which, number in enumerate(numbers, 1)}
explanations = {line.split("  # ")[0].strip() for line in known.read_text().splitlines() if line and not line.startswith("#")}
whole = tuple(line.removesuffix("*") for line in explanations if line.endswith(": *"))
chosen = [number for number in names if not files or any(names[number].startswith(file) for file in files)]
explained = {number for number in chosen if known_as[number] in explanations or known_as[number].startswith(whole)}

results = {kind: open(out / kind, "w") for kind in ("caught", "missed", "unreached")}
done, begin = dict.fromkeys(results, 0), time.monotonic()
with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
    for future in concurrent.futures.as_completed([pool.submit(judge, number) for number in chosen if number not in explained]):
        number, verdict = future.result()
        done[verdict] += 1
        print(number, names[number], sep="\t", file=results[verdict], flush=True)
        if sum(done.values()) % 200 == 0:
            print(f"{sum(done.values())} of {len(chosen)}: {done}, {time.monotonic() - begin:.0f} s", flush=True)
print(f"{len(chosen)} mutants: {done}, {len(explained)} explained and not tried, {time.monotonic() - begin:.0f} s")

if done["missed"]:
    missed = (line.split("\t") for line in (out / "missed").read_text().splitlines())
    print("not noticed by any test, and not explained:", *sorted(f"{known_as[number]}  ({place})" for number, _, place, *_ in missed), sep="\n", file=sys.stderr)
    sys.exit(1)
