from __future__ import annotations

import math
import re

import numpy as np
import pytest

from rnnexport.artifact.goldens import KeptValues, spread
from rnnexport.core.errors import UsageError
from rnnexport.verification.compare import Comparison, Wanted, compare_outputs, excess, worst
from rnnexport.verification.compare import compare as compare_wanted
from rnnexport.verification.tolerance import Tolerance

NAN, INF = float("nan"), float("inf")
T = Tolerance(rtol=1e-2, atol=1e-3)


def f32(*values):
    return np.array(values, "float32")


def compare(name, found, wanted, tolerance) -> Comparison:
    return compare_wanted(name, found, Wanted(wanted), tolerance)


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
        (f32(NAN, 1), f32(NAN, 2), False, 1.0, 1),
        (f32(NAN, 1), f32(1, NAN), False, NAN, 2),
        (f32(INF), f32(INF), True, 0.0, 0),
        (f32(-INF), f32(INF), False, INF, 1),
        (f32(INF), f32(1), False, INF, 1),
        (f32(1), f32(INF), False, INF, 1),  # an infinite bound lets nothing through
        (f32(0.0, NAN), f32(0.0, 1.0), False, NAN, 1),
    ],
)
def test_floats(found, wanted, passed, max_abs, bad):
    result = compare("y", found, wanted, T)
    nan = np.count_nonzero(np.isnan(found) & np.isnan(wanted))
    assert (result.passed, result.errors.bad, result.errors.count) == (passed, bad, wanted.size - nan)
    assert result.errors.max_abs == pytest.approx(max_abs, rel=1e-3, nan_ok=True)


@pytest.mark.parametrize(
    ("found", "wanted", "problem"),
    [
        (None, f32(1), "is missing"),
        (np.array([1.0]), f32(1), "has dtype float64, not float32"),
        (f32(1, 2), f32(1), r"has shape \(2,\), not \(1,\)"),
        (f32(1).reshape(1, 1), f32(1), r"has shape \(1, 1\), not \(1,\)"),
        (np.zeros((0, 3), "float32"), np.zeros((3, 0), "float32"), r"has shape \(0, 3\), not \(3, 0\)"),
    ],
)
def test_what_can_not_be_compared_fails(found, wanted, problem):
    result = compare("y", found, wanted, T)
    assert not result.passed
    assert math.isnan(result.errors.max_abs)
    assert re.search(problem, result.problem)


@pytest.mark.parametrize("both", [f32(NAN, NAN), np.zeros((2, 0), "float32")])
def test_nan_where_the_source_gives_nan_and_what_is_empty_there_agree_and_count_for_nothing(both):
    result = compare_wanted("y", both, Wanted(both, both.astype("float64")), T)
    assert (result.passed, result.errors.count, result.errors.max_abs) == (True, 0, 0.0)
    assert not result.merged(compare("y", f32(NAN), f32(1), T)).passed
    assert not compare("y", f32(NAN, 1), f32(1, 1), T).passed


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint8", "bool"])
def test_integers_and_bools_are_exact(dtype):
    wanted = np.array([1, 0, 1, 1], dtype)
    assert compare("y", wanted.copy(), wanted, Tolerance(1, 1)).passed
    changed = wanted.copy()
    changed[2] = 0
    result = compare("y", changed, wanted, Tolerance(1, 1))
    assert (result.passed, result.first_bad, result.errors.max_abs) == (False, (2,), 1.0)


def test_the_first_bad_index_and_its_values_are_told():
    wanted = np.arange(12, dtype="float32").reshape(3, 4)
    found = wanted.copy()
    found[1, 2] += 1
    found[2, 0] += 5
    result = compare("y", found, wanted, T)
    assert result.first_bad == (1, 2)
    assert result.problem == "2 of 12 values off, first at [1, 2]: 7.0 not 6.0"
    assert result.errors.max_rel == pytest.approx(5 / 8)


def test_the_first_bad_timestep_is_told_which_need_not_be_that_of_the_first_bad_value():
    wanted = np.arange(24, dtype="float32").reshape(2, 4, 3)
    found = wanted.copy()
    found[0, 3, 1] += 1
    found[1, 2, 2] += 1
    result = compare_wanted("y", found, Wanted(wanted, time_axis=1), T)
    assert (result.first_bad, result.first_timestep) == ((0, 3, 1), 2)
    assert result.problem == "2 of 24 values off, from timestep 2 on, first at [0, 3, 1]: 11.0 not 10.0"
    assert result.errors.by_timestep == (0.0, 0.0, 1.0, 1.0)


def test_of_an_output_that_is_too_large_only_what_was_kept_is_compared_at_its_own_places():
    whole = np.arange(2 * 50 * 100, dtype="float32").reshape(2, 50, 100)
    indices = spread(whole.size, 300)
    wanted = Wanted(whole.reshape(-1)[indices], time_axis=1, kept=KeptValues(whole.shape, "", indices))
    assert compare_wanted("y", whole, wanted, T).passed
    changed = whole.copy()
    place = np.unravel_index(indices[137], whole.shape)
    changed[place] += 1000
    result = compare_wanted("y", changed, wanted, T)
    assert (result.first_bad, result.first_timestep, result.errors.bad) == (tuple(map(int, place)), int(place[1]), 1)
    assert not compare_wanted("y", changed[:, :-1], wanted, T).passed
    assert compare_wanted("y", changed[:, :-1], wanted, T).problem == "has shape (2, 49, 100), not (2, 50, 100)"


def test_text_is_compared_exactly_whatever_its_width():
    wanted = np.array(["yes", "no"])
    assert compare("y", np.array(["yes", "no"], object), wanted, T).passed
    result = compare("y", np.array(["yes", "not"]), wanted, Tolerance(1, 1))
    assert (result.passed, result.first_bad, result.errors.bad) == (False, (1,), 1)


def test_both_sides_are_measured_against_the_truth():
    wanted, truth = f32(1.0, 2.0), np.array([1.0 + 1e-7, 2.0])
    result = compare_wanted("y", f32(1.0, 2.0000005), Wanted(wanted, truth), Tolerance())
    assert result.passed
    assert result.source_error.max_abs == pytest.approx(1e-7)
    assert result.artifact_error.max_abs == pytest.approx(4.768e-7, rel=1e-3)


def test_pieces_merge_to_the_whole_and_keep_the_first_problem():
    wanted = np.arange(24, dtype="float32").reshape(6, 4)
    found = wanted.copy()
    found[4, 1] += 1
    found[5, 1] += 2
    pieces = [compare("y", found[rows], wanted[rows], T) for rows in (slice(0, 2), slice(2, 5), slice(5, 6))]
    whole, merged = compare("y", found, wanted, T), pieces[0].merged(pieces[1]).merged(pieces[2])
    assert not merged.passed
    assert merged.problem == pieces[1].problem != ""
    assert (merged.errors.bad, merged.errors.count, merged.errors.max_abs) == (2, 24, 2.0)
    assert merged.errors.rmse == pytest.approx(whole.errors.rmse)


def test_missing_and_extra_outputs_are_failures():
    wanted = {"a": Wanted(f32(1)), "b": Wanted(f32(2))}
    results = compare_outputs({"a": f32(1), "c": f32(3)}, wanted, lambda output, timesteps: T)
    assert [(item.name, item.passed) for item in results] == [("a", True), ("b", False), ("c", False)]


def test_comparing_nothing_is_an_error():
    with pytest.raises(UsageError, match="no outputs"):
        compare_outputs({}, {}, lambda output, timesteps: T)


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


def test_where_nothing_is_allowed_any_error_is_infinitely_too_large():
    nothing = Tolerance(0.0, 0.0)
    assert excess(f32(1.0, 2.0), f32(1.0, 2.0), nothing) == 0
    assert excess(f32(1.0, 2.5), f32(1.0, 2.0), nothing) == INF


def test_both_parts_of_a_complex_number_count():
    wanted = np.array([1 + 0j, 2 + 1j], "complex64")
    assert compare("y", wanted.copy(), wanted, T).passed
    result = compare("y", wanted + np.array([0, 5j], "complex64"), wanted, T)
    assert (result.passed, result.first_bad, result.errors.max_abs) == (False, (1, 1), 5.0)
