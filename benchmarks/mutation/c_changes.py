"""Faults in C programs: in their weights, and in the text of their functions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.mutation.change import Change, array_faults
from rnnexport.emit.c.module import constants_in, weights
from rnnexport.emit.c.self_test import PREFIX

# What is in the functions of a model alone, and what it is taken for.
_FAULTS = (
    ("another activation", re.compile(r"\bvtanh(?=\()"), "vabs"),
    ("another activation", re.compile(r"\bvsigmoid(?=\()"), "vabs"),
    ("sign of a sum", re.compile(r"(?<=\)) \+ (?=load\(|\()"), " - "),
    ("gates permuted", re.compile(r"(?<=load\()(\w+) \+ \d+(?= \+ at\))"), r"\1"),
    ("state not carried", re.compile(r"(?<=\n) {8,}memcpy\(.*\n"), ""),
)
# Where those functions begin and end: below what programs call, above what a caller calls.
_FIRST, _LAST = re.compile(r"^static (?:void|int)\b", re.MULTILINE), "\n#undef LANES"


def of_c_program(path: Path) -> Iterator[Change]:
    """Of a C program: its weights, and the operators of its text."""
    program = path.read_text()
    for name, (kind, numbers) in constants_in(program).items():
        if kind == "float" and not name.startswith(PREFIX):
            shape = _sizes(program, name)
            for fault, where, changed in array_faults(_parsed(numbers).reshape(shape)):
                text = "\n".join(weights(changed.ravel()))
                yield Change(fault, f"{name} {where}", partial(_put, numbers=numbers, by=text))
    begins = _FIRST.search(program)
    if begins is not None:
        for fault, pattern, by in _FAULTS:
            for found in pattern.finditer(program, begins.start(), program.index(_LAST)):
                line = program[: found.start()].count("\n") + 1
                put = partial(_replace, start=found.start(), end=found.end(), by=found.expand(by))
                yield Change(fault, f"line {line}: {found[0].strip()[:50]}", put)


def _parsed(numbers: str) -> np.ndarray:
    return np.array([float.fromhex(item.strip().removesuffix("f")) for item in numbers.split(",")], np.float32)


def _sizes(program: str, name: str) -> list[int]:
    """The shape of an array, which stands above it."""
    found = re.search(rf"\(([\d, ]*)\)[^()\n]*\*/\nstatic const float {name}\[", program)
    assert found is not None, name
    return [int(size) for size in found[1].split(",") if size.strip()]


def _put(path: Path, *, numbers: str, by: str) -> None:
    path.write_text(path.read_text().replace(numbers, by))


def _replace(path: Path, *, start: int, end: int, by: str) -> None:
    text = path.read_text()
    path.write_text(text[:start] + by + text[end:])
