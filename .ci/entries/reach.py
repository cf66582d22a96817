"""Reads a disassembly; prints for each function named entry_* which panics it reaches by direct calls and jumps, and the shortest way there."""

import collections
import re
import sys

START = re.compile(r"^[0-9a-f]+ <(.+)>:$")
TARGET = re.compile(r"\s(?:call|jmp|j[a-z]{1,3})\s+[0-9a-f]+ <([^>+]+)(?:\+0x[0-9a-f]+)?>")
PANIC = re.compile(r"core9panicking|4core6option(13expect_failed|13unwrap_failed)|4core6result13unwrap_failed|5slice5index.*fail|rust_panic|begin_panic|capacity_overflow|handle_alloc_error")


def read(lines):
    calls, here = collections.defaultdict(list), None
    for line in lines:
        if start := START.match(line):
            here = start[1]
        elif here and (target := TARGET.search(line)) and target[1] != here:
            calls[here].append(target[1])
    return calls


def readable(symbol):
    """The path of a mangled name, without its hash."""
    if symbol.startswith("_ZN"):
        rest, parts = symbol[3:], []
        while match := re.match(r"(\d+)", rest):
            length = int(match[1])
            rest = rest[len(match[1]):]
            parts.append(rest[:length])
            rest = rest[length:]
        parts = [part for part in parts if not re.fullmatch(r"h[0-9a-f]{16}", part)]
        return "::".join(parts).replace("$LT$", "<").replace("$GT$", ">").replace("$u20$", " ").replace("..", "::")
    if symbol.startswith("_R"):
        # The newer scheme: the identifiers are enough.
        parts, rest = [], symbol[2:]
        while match := re.search(r"(\d+)_?(?=[A-Za-z_])", rest):
            length = int(match[1])
            name, rest = rest[match.end():match.end() + length], rest[match.end() + length:]
            parts.append(name)
        return "::".join(parts)
    return symbol


def main():
    calls = read(sys.stdin)
    entries = sorted(name for name in calls if name.startswith("entry_"))
    if not entries:
        sys.exit("no entry is in the library")
    for entry in entries:
        way, queue, panics = {entry: None}, collections.deque([entry]), []
        while queue:
            here = queue.popleft()
            if PANIC.search(here):
                panics.append(here)
                continue
            for target in calls[here]:
                if target not in way:
                    way[target] = here
                    queue.append(target)
        print(f"{entry}: {len(panics) or 'no'} panics")
        for panic in sorted(panics, key=readable):
            steps, here = [], panic
            while here and here != entry:
                steps.append(readable(here))
                here = way[here]
            print("    " + " <- ".join(steps))


main()
