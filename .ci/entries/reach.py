"""Reads a disassembly; prints for each preset which panics its functions, named entry_*, reach by direct calls and jumps."""

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


def short(symbol):
    """The last two names of a path: the type and the function."""
    return "::".join(readable(symbol).split("::")[-2:])


def reached(calls, entry):
    """Each panic that can be reached, with each function that calls it, and the last function of this crate on the shortest way there."""
    way, queue, found = {entry: None}, collections.deque([entry]), set()
    while queue:
        here = queue.popleft()
        for target in calls[here]:
            if PANIC.search(target):
                step = here
                while step != entry and "heapwright" not in step:
                    step = way[step]
                inside = "" if step == here else f", called for {short(step)}"
                found.add(f"{short(target)} in {short(here)}{inside}")
            elif target not in way:
                way[target] = here
                queue.append(target)
    return found


def main():
    calls = read(sys.stdin)
    presets = collections.defaultdict(set)
    for name in list(calls):
        if match := re.fullmatch(r"entry_(.+)_(alloc|zeroed|dealloc|realloc)", name):
            presets[match[1]] |= reached(calls, name)
    if not presets:
        sys.exit("no entry is in the library")
    for preset in sorted(presets):
        print(f"{preset}: {len(presets[preset]) or 'no'} panics")
        for line in sorted(presets[preset]):
            print(f"    {line}")


main()
