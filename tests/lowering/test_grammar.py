"""The lowering of cells that are generated from a grammar: each equals its Loop, natives are found, look-alikes not."""

from __future__ import annotations

import pytest

from tests.lowering.checking import failures
from tests.lowering.grammar import generate

CHUNK = 25
CI_SEEDS = 50
LONG_SEEDS = 2500


def chunks(first, last):
    return [pytest.param(start, id=f"{start}-{start + CHUNK - 1}") for start in range(first, last, CHUNK)]


def check(start):
    reasons = [reason for seed in range(start, start + CHUNK) for reason in failures(generate(seed))]
    assert not reasons, f"{len(reasons)} failures\n" + "\n".join(reasons)


@pytest.mark.parametrize("start", chunks(0, CI_SEEDS))
def test_lowering_of_generated_cells(start):
    check(start)


@pytest.mark.long
@pytest.mark.parametrize("start", chunks(CI_SEEDS, CI_SEEDS + LONG_SEEDS))
def test_lowering_of_many_generated_cells(start):
    check(start)
