"""The self-test of a program: which golden it computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rnnexport.artifact import archive
from rnnexport.artifact.goldens import Golden
from rnnexport.core.signature import BATCH
from rnnexport.emit.c.arrays import at
from rnnexport.emit.c.interface import Argument, Interface, interface_of
from rnnexport.emit.c.self_test import SelfTest
from rnnexport.targets.c.files import DETAILS, beside, read_source, read_text, to_entry

_MOST = 2048  # numbers; a board has little memory
_LARGEST = 8.0  # of a number that is given: what is larger says little of the equations


def with_self_test(path: Path, goldens: Sequence[Golden], atols: Mapping[str, float]) -> dict[str, bytes]:
    """Write a self-test into the program at `path`, where a golden is small enough; the entries of its archive.

    Args:
        path: of the program.
        goldens: of its proof.
        atols: what a value of each output may be off, where that is another bound than the usual one.
    """
    entries, source = dict(archive.read(beside(path))), read_source(path)
    program = read_text(path).decode()
    if source.form.weights_beside or source.text_like(program, b"").program != program:
        return entries  # its weights are no part of it; or another rnnexport wrote it, or another hand
    face = interface_of(source.signature, source.name)
    names = [spec.name for spec in source.signature.all_outputs]
    tests = [found for golden in goldens if (found := _test_of(golden, face, names)) is not None]
    if not tests:
        return entries
    # Two timesteps or more, that states have gone on, and few of them.
    chosen = min(tests, key=lambda test: (min(test.lengths.values(), default=2) < 2, _count(test)))
    bounds = tuple(float(atols[name]) for name in names) if set(names) <= set(atols) else ()
    chosen, source = replace(chosen, bounds=bounds), replace(source, lengths=chosen.lengths, bounds=bounds)
    path.write_bytes(source.text_like(program, b"", chosen).program.encode())
    return {**entries, archive.entry_name(DETAILS): to_entry(source.to_json().encode())}


def _count(test: SelfTest) -> int:
    return sum(array.size for array in test.arrays().values())


def _test_of(golden: Golden, face: Interface, names: Sequence[str]) -> SelfTest | None:
    """The first row of a golden; None where it is no whole call of moderate numbers."""
    if golden.kept or golden.carries or golden.entry or golden.chunk:
        return None
    given = [_row(each, golden.feed.get(each.spec.name)) for each in (*face.inputs, *face.states)]
    sources = zip((*face.outputs, *face.states), names, strict=True)
    wanted = [_row(each, golden.expected.get(name)) for each, name in sources]
    arrays = [array for array in (*given, *wanted) if array is not None]
    if len(arrays) != len(face.inputs) + len(face.outputs) + 2 * len(face.states):
        return None
    lengths = _lengths(face, arrays)
    test = SelfTest(lengths, tuple(arrays[: len(given)]), tuple(arrays[len(given) :]))
    fits = [array.shape for array in test.arrays().values()] == [
        array.shape for array in SelfTest.blank(face, lengths).arrays().values()
    ]
    moderate = all(np.abs(array.astype(float)).max(initial=0) <= _LARGEST for array in test.given[: len(face.inputs)])
    whole = all(np.isfinite(array.astype(float)).all() for array in arrays)
    return test if fits and moderate and whole and _count(test) <= _MOST else None


def _row(argument: Argument, array: np.ndarray | None) -> np.ndarray | None:
    """One row where the batch is open."""
    if array is None or BATCH not in argument.spec.shape:
        return array
    return np.take(array, [0], axis=argument.spec.shape.index(BATCH)) if array.size else None


def _lengths(face: Interface, given: Sequence[np.ndarray]) -> dict[str, int]:
    found: dict[str, int] = {}
    for each, array in zip((*face.inputs, *face.states), given, strict=False):
        for size, number in zip(each.shape, array.shape, strict=True):
            for length in face.lengths:
                if not isinstance(size, int) and at(size, {**dict.fromkeys(face.lengths, 0), length: 1}) == 1:
                    found.setdefault(length, number)
    return found
