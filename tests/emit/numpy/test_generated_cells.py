"""Programs of loops that are generated from a grammar: each gives what ONNX Runtime gives for the loop itself."""

from __future__ import annotations

import traceback

import numpy as np
import pytest

from tests.emit.numpy.programs import called
from tests.lowering.checking import JUDGED, feeds
from tests.lowering.grammar import generate
from tests.lowering.runtime import run
from tests.lowering.test_grammar import CHUNK, chunks

CI_SEEDS = 50
LONG_SEEDS = 2000


def failures(seed):
    """Why the program of a generated cell is wrong, in words."""
    cell = generate(seed)
    given = feeds(cell, JUDGED, 1)
    wanted = run(cell.model, given, optimized=False)
    try:
        for feed, expected in zip(given, wanted, strict=True):
            yield from differences(cell, called(cell.model, feed), expected)
    except Exception:  # noqa: BLE001 - one crash must not hide the other seeds
        yield f"{cell}: {traceback.format_exc(limit=-4)}"


def differences(cell, found, expected):
    for name, right in expected.items():
        left = found[name]
        if left.shape != right.shape or left.dtype != right.dtype:
            yield f"{cell}: {name} is {left.dtype}{left.shape}, not {right.dtype}{right.shape}"
        elif not np.allclose(left, right, rtol=1e-4, atol=1e-5, equal_nan=True):
            yield f"{cell}: {name} is {np.abs(left - right).max()} off"


def check(start):
    reasons = [reason for seed in range(start, start + CHUNK) for reason in failures(seed)]
    assert not reasons, f"{len(reasons)} failures\n" + "\n".join(reasons)


@pytest.mark.parametrize("start", chunks(0, CI_SEEDS))
def test_programs_of_generated_cells(start):
    check(start)


@pytest.mark.long
@pytest.mark.parametrize("start", chunks(CI_SEEDS, CI_SEEDS + LONG_SEEDS))
def test_programs_of_many_generated_cells(start):
    check(start)
