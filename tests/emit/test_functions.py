"""The program's own functions, and the bounds that are stated of them."""

from __future__ import annotations

import shutil

import pytest

from benchmarks.c.functions import measured
from rnnexport.emit.c.prelude import BOUNDS

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
LIMITS = {"exp": 2e-7, "sigmoid": 3e-7, "tanh": 2e-7}


def check(step, lanes):
    for name, (worst, _, largest, strange) in measured(step, lanes).items():
        assert worst < LIMITS[name], (name, worst)
        assert not strange, (name, strange)
        assert name == "exp" or largest <= 1.0
        assert f"{LIMITS[name]:.0e}".replace("e-0", "e-") in BOUNDS[f"{name}_bound"]


@pytest.mark.parametrize("lanes", [1, 4])
def test_some_floats(lanes):
    check(4099, lanes)


@pytest.mark.long
def test_every_float():
    check(1, 4)
