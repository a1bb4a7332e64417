"""C programs of loops that are generated from a grammar: each gives what ONNX Runtime gives for the loop itself."""

from __future__ import annotations

import shutil
import traceback

import pytest

from tests.emit.cprograms import opened
from tests.emit.numpy.test_generated_cells import differences
from tests.lowering.checking import JUDGED, feeds
from tests.lowering.grammar import generate
from tests.lowering.runtime import run

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
CI_SEEDS, LONG_SEEDS, CHUNK = 24, 400, 12
# A call of a program is one row: what looks at others is told by verifying, and refused there.
_ACROSS_ROWS = "over the batch"


def failures(seed, folder):
    """Why the program of a generated cell is wrong, in words."""
    cell = generate(seed)
    given = feeds(cell, JUDGED, 1)
    wanted = run(cell.model, given, optimized=False)
    try:
        program = opened(cell.model, folder, f"cell_{seed}")
        for feed, expected in zip(given, wanted, strict=True):
            if _ACROSS_ROWS not in str(cell) or len(next(iter(feed.values()))) == 1:
                yield from differences(cell, program.run(feed), expected)
    except Exception:  # noqa: BLE001 - one crash must not hide the other seeds
        yield f"{cell}: {traceback.format_exc(limit=-4)}"


def check(start, folder):
    reasons = [reason for seed in range(start, start + CHUNK) for reason in failures(seed, folder)]
    assert not reasons, f"{len(reasons)} failures\n" + "\n".join(reasons)


@pytest.mark.parametrize("start", range(0, CI_SEEDS, CHUNK))
def test_programs_of_generated_cells(start, tmp_path):
    check(start, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("start", range(CI_SEEDS, CI_SEEDS + LONG_SEEDS, CHUNK))
def test_programs_of_many_generated_cells(start, tmp_path):
    check(start, tmp_path)
