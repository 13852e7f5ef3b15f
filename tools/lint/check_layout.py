#!/usr/bin/env python3
"""Checks the rules of the house that a compiler does not: who may include whom, how long files are.

Prints one line a finding, PATH:LINE: what and why, and exits 1 if there is any.
Looks at what git tracks or would track; without git, at everything but build/ and runs/.
"""

import argparse
import os
import re
import subprocess
import sys
from typing import NamedTuple

# A folder of code includes itself and what stands in its list: base <- launch <- {data | model}
# <- train <- recaption <- tools.
MAY_INCLUDE = {
    "base": {"base"},
    "launch": {"base", "launch"},
    "data": {"base", "launch", "data"},
    "model": {"base", "launch", "model"},
    "train": {"base", "launch", "data", "model", "train"},
    "recaption": {"base", "launch", "data", "model", "train", "recaption"},
    "tools": {"base", "launch", "data", "model", "train", "recaption", "tools"},
    "tests": {"base", "launch", "data", "model", "train", "recaption", "tests"},
}
TORCH_ROOMS = {"model", "train", "recaption", "tools"}
# Libraries that one folder alone knows; its tests may use them to make files.
ROOMS = [
    (re.compile(r"^(torch|ATen|c10)/"), TORCH_ROOMS, "torch"),
    (re.compile(r"^mpi\.h$"), {"launch"}, "MPI"),
    (re.compile(r"^lib(av|sw)\w*/"), {"data"}, "FFmpeg"),
    (re.compile(r"^hdf5"), {"data"}, "HDF5"),
    (re.compile(r"^(spdlog|fmt)/"), {"base"}, "spdlog"),
]
TOO_BROAD = {"torch/torch.h", "torch/all.h", "torch/extension.h", "torch/nn.h", "torch/nn/module.h",
             "ATen/ATen.h"}
SOURCE = (".h", ".cpp", ".cu", ".cuh")
SCRIPT = (".py", ".sh")
MAX_COLUMNS = 100
MAX_LINES = 500
MAX_HEADER_LINES = 250
MAX_BYTES = 500_000
MAY_BE_LARGE = "model/pretrained/"
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
# Written in halves, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
VAGUE_NAME = re.compile(r"(^|_)(utils?|helpers?|managers?|common|misc)($|_|\.)")


class Finding(NamedTuple):
    path: str
    line: int
    text: str

    def __str__(self):
        return f"{self.path}:{self.line}: {self.text}"


def list_files(root):
    """Paths below `root` with / between parts, sorted."""
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if os.path.exists(os.path.join(root, ".git")):
        listed = subprocess.run(command, check=True, capture_output=True).stdout
        paths = {os.fsdecode(path) for path in listed.split(b"\0") if path}
    else:
        paths = set()
        for folder, subfolders, names in os.walk(root):
            subfolders[:] = [s for s in subfolders if s not in ("build", "runs", "__pycache__")]
            paths |= {os.path.relpath(os.path.join(folder, name), root) for name in names}
    return sorted(path for path in paths if os.path.isfile(os.path.join(root, path)))


def is_script(path, first_line):
    return path.endswith(SCRIPT) or (first_line.startswith("#!") and not path.endswith(SOURCE))


def folders_of(path):
    """(folder whose rules hold, folder under test or None): tests/unit/data/x -> (tests, data)."""
    parts = path.split("/")
    top = parts[0] if len(parts) > 1 else ""
    under_test = parts[2] if top == "tests" and len(parts) > 3 and parts[1] == "unit" else None
    return top, under_test


def check_size(path, num_bytes):
    if num_bytes > MAX_BYTES and not path.startswith(MAY_BE_LARGE):
        yield Finding(path, 1, f"{num_bytes} bytes; outside {MAY_BE_LARGE} a file in git has at "
                               f"most {MAX_BYTES}")


def check_place(path):
    parts = path.split("/")
    deepest = 4 if parts[0] == "tests" else 3  # folder/sub/file; tests/kind/folder/file
    if parts[0] in MAY_INCLUDE and len(parts) > deepest:
        yield Finding(path, 1, "a folder of code has at most one level of sub-folders")
    if VAGUE_NAME.search(parts[-1].rsplit(".", 1)[0]):
        yield Finding(path, 1, "the name says nothing (utils, helper, manager, common, misc): name "
                               "the one idea in the file")


def check_text(path, lines):
    """Rules for every line of code: width, ASCII, nothing unfinished."""
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            yield Finding(path, number, f"{len(line)} columns; {MAX_COLUMNS} is the limit")
        if not line.isascii():
            odd = next(c for c in line if ord(c) > 127)
            yield Finding(path, number, f"U+{ord(odd):04X} is not ASCII")
        if UNFINISHED.search(line):
            yield Finding(path, number, f"{UNFINISHED.search(line).group()} mark: finish it")


def check_shape(path, lines):
    """Length, and what stands first."""
    limit = MAX_HEADER_LINES if path.endswith((".h", ".cuh")) else MAX_LINES
    if len(lines) > limit:
        yield Finding(path, limit + 1, f"{len(lines)} lines; {limit} is the limit: split the file")
    first = next((line for line in lines if line and not line.startswith("#!")), "")
    starts = ("//",) if path.endswith(SOURCE) else ("#", '"""')
    if not first.startswith(starts):
        yield Finding(path, 1, "starts without a comment that says what it does and promises")
    if path.endswith((".h", ".cuh")) and "#pragma once" not in lines:
        yield Finding(path, 1, "a header without #pragma once")


def check_own_include(path, number, name, bracket, root):
    top, under_test = folders_of(path)
    target = name.split("/")[0]
    if bracket == "<":
        yield Finding(path, number, f'own header <{name}>: write "{name}"')
    if not os.path.isfile(os.path.join(root, name)):
        yield Finding(path, number, f'"{name}" is not a file below the root; includes start there')
        return
    allowed = MAY_INCLUDE[top] if top in MAY_INCLUDE else set()
    if under_test in MAY_INCLUDE:
        allowed = MAY_INCLUDE[under_test] | {"tests"}
    if target not in allowed:
        room = f"tests of {under_test}" if under_test else f"{top}/"
        yield Finding(path, number, f'{room} must not include "{name}": includes point one way, '
                              "base <- launch <- {data | model} <- train <- recaption <- tools")


def check_library_include(path, number, name):
    top, under_test = folders_of(path)
    if name in TOO_BROAD:
        yield Finding(path, number, f"<{name}> costs many seconds a file: include "
                                    "<ATen/core/Tensor.h> and the <ATen/ops/NAME.h> in use")
    for pattern, rooms, library in ROOMS:
        room = under_test if under_test else top
        is_free_test = top == "tests" and (library != "torch" or under_test is None)
        if pattern.match(name) and room not in rooms and not is_free_test:
            yield Finding(path, number, f"<{name}>: {library} is known only to "
                                        f"{', '.join(sorted(rooms))} and their tests")


def check_includes(path, lines, root):
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        bracket, name = match.groups()
        if bracket == '"' or name.split("/")[0] in MAY_INCLUDE:
            yield from check_own_include(path, number, name, bracket, root)
        else:
            yield from check_library_include(path, number, name)


def check_file(path, root):
    full = os.path.join(root, path)
    yield from check_size(path, os.path.getsize(full))
    with open(full, "rb") as file:
        start = file.read(2)
    if not (path.endswith(SOURCE + SCRIPT) or start == b"#!"):
        return
    with open(full, encoding="utf-8", errors="replace") as file:
        lines = file.read().splitlines()
    if not (path.endswith(SOURCE) or is_script(path, lines[0] if lines else "")):
        return
    yield from check_place(path)
    yield from check_text(path, lines)
    yield from check_shape(path, lines)
    if path.endswith(SOURCE):
        yield from check_includes(path, lines, root)


def check_tree(root):
    """All findings, in the order of the files."""
    return [finding for path in list_files(root) for finding in check_file(path, root)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("root", nargs="?", default=os.path.dirname(os.path.dirname(here)))
    root = parser.parse_args().root
    findings = check_tree(root)
    for finding in findings:
        print(finding)
    print(f"check_layout: {len(list_files(root))} files, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
