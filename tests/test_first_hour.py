"""A new user's first hour, walked with the environment of the tests; `make release` walks it with the wheel's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.first_hour import TYPOS, quickstart, walk


@pytest.mark.long
def test_every_step_does_what_it_should(tmp_path):
    steps = list(walk(Path(sys.executable).parents[1], tmp_path))
    assert [step.problem for step in steps if step.problem] == []
    assert len(steps) == len(quickstart()) + len(TYPOS) + 3
    assert {"first.keras", "first.onnx", "inputs.npz", "outputs.npz"} <= {path.name for path in tmp_path.iterdir()}


def test_the_quickstart_is_five_lines():
    assert [line.partition(" ")[0] for line in quickstart()] == ["python", "rnnexport", "python", *["rnnexport"] * 2]
