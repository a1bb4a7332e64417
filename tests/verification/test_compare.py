from __future__ import annotations

import math
import re

import numpy as np
import pytest

from rnnexport.errors import UsageError
from rnnexport.verification.compare import Tolerance, compare, compare_outputs, excess, worst

NAN, INF = float("nan"), float("inf")
T = Tolerance(rtol=1e-2, atol=1e-3)


def f32(*values):
    return np.array(values, "float32")


@pytest.mark.parametrize(
    ("found", "wanted", "passed", "max_abs", "bad"),
    [
        (f32(1, 2), f32(1, 2), True, 0.0, 0),
        (f32(1.01), f32(1), True, 0.01, 0),  # atol + rtol * 1 = 0.011
        (f32(1.012), f32(1), False, 0.012, 1),
        (f32(0.0009), f32(0), True, 0.0009, 0),
        (f32(0.0011), f32(0), False, 0.0011, 1),
        (f32(-1), f32(1), False, 2.0, 1),
        (f32(1, 5, 7), f32(1, 2, 3), False, 4.0, 2),
        (f32(NAN), f32(1), False, NAN, 1),
        (f32(1), f32(NAN), False, NAN, 1),
        (f32(NAN), f32(NAN), False, NAN, 1),
        (f32(INF), f32(INF), True, 0.0, 0),
        (f32(-INF), f32(INF), False, INF, 1),
        (f32(INF), f32(1), False, INF, 1),
        (f32(1), f32(INF), False, INF, 1),  # an infinite bound lets nothing through
        (f32(0.0, NAN), f32(0.0, 1.0), False, NAN, 1),
    ],
)
def test_floats(found, wanted, passed, max_abs, bad):
    result = compare("y", found, wanted, T)
    assert (result.passed, result.bad, result.count) == (passed, bad, wanted.size)
    assert result.max_abs == pytest.approx(max_abs, rel=1e-3, nan_ok=True)


@pytest.mark.parametrize(
    ("found", "wanted", "problem"),
    [
        (None, f32(1), "is missing"),
        (np.array([1.0]), f32(1), "has dtype float64, not float32"),
        (f32(1, 2), f32(1), r"has shape \(2,\), not \(1,\)"),
        (f32(1).reshape(1, 1), f32(1), r"has shape \(1, 1\), not \(1,\)"),
        (np.zeros((0, 3), "float32"), np.zeros((0, 3), "float32"), "is empty"),
    ],
)
def test_what_can_not_be_compared_fails(found, wanted, problem):
    result = compare("y", found, wanted, T)
    assert not result.passed
    assert math.isnan(result.max_abs)

    assert re.search(problem, result.problem)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_integers_and_bools_are_exact(dtype):
    wanted = np.array([1, 0, 1, 1], dtype)
    assert compare("y", wanted.copy(), wanted, Tolerance(1, 1)).passed
    changed = wanted.copy()
    changed[2] = 0
    result = compare("y", changed, wanted, Tolerance(1, 1))
    assert (result.passed, result.first_bad, result.max_abs) == (False, (2,), 1.0)


def test_the_first_bad_index_and_its_values_are_told():
    wanted = np.arange(12, dtype="float32").reshape(3, 4)
    found = wanted.copy()
    found[1, 2] += 1
    found[2, 0] += 5
    result = compare("y", found, wanted, T)
    assert result.first_bad == (1, 2)
    assert result.problem == "2 of 12 values off, first at [1, 2]: 7.0 not 6.0"
    assert result.max_rel == pytest.approx(5 / 8)


def test_missing_and_extra_outputs_are_failures():
    results = compare_outputs({"a": f32(1), "c": f32(3)}, {"a": f32(1), "b": f32(2)}, T)
    assert [(item.name, item.passed) for item in results] == [("a", True), ("b", False), ("c", False)]


def test_comparing_nothing_is_an_error():
    with pytest.raises(UsageError, match="no outputs"):
        compare_outputs({}, {}, T)


@pytest.mark.parametrize(("rtol", "atol"), [(-1, 0), (0, -1), (NAN, 0), (0, INF)])
def test_a_tolerance_is_a_number_of_at_least_0(rtol, atol):
    with pytest.raises(UsageError, match="a number of at least 0"):
        Tolerance(rtol, atol)


def test_worst_is_nan_for_nothing_and_for_what_could_not_be_compared():
    good, bad = compare("y", f32(1.5), f32(1), T), compare("y", None, f32(1), T)
    assert worst([good, good]) == 0.5
    assert math.isnan(worst([]))
    assert math.isnan(worst([good, bad]))


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        (f32(1.0), f32(1.0), 0.0),
        (f32(1.022), f32(1.0), 2.0),  # the bound is 0.011
        (f32(0.0, 0.004), f32(0.0, 0.0), 4.0),
        (f32(NAN, 0.002), f32(NAN, 0.0), 2.0),
        (np.array([1]), np.array([5]), 0.0),
    ],
)
def test_excess_is_the_error_in_units_of_the_tolerance(found, wanted, expected):
    assert excess(found, wanted, T) == pytest.approx(expected, rel=1e-3)
