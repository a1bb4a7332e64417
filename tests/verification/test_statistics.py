from __future__ import annotations

import math
import sys
from fractions import Fraction
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnexport.verification.statistics import EDGES, Errors, ExactSum, Sums, measure, nothing, ulps


def test_each_number_is_what_its_name_says():
    found, wanted = np.array([1.0, 2.5, -3.0], "float32"), np.array([1.0, 2.0, -4.0], "float32")
    errors = measure(found, wanted, np.array([False, True, True]))
    assert (errors.count, errors.bad, errors.max_abs, errors.max_rel) == (3, 2, 1.0, 0.25)
    assert errors.rmse == pytest.approx(math.sqrt((0.25 + 1.0) / 3))
    assert errors.cosine == pytest.approx((1 + 5 + 12) / math.sqrt(1 + 6.25 + 9) / math.sqrt(1 + 4 + 16))
    assert errors.max_ulp == 2**22  # from 3 to 4 there are as many floats as from 2 to 4, halved


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_neighbour_is_one_unit_of_the_last_place_away_across_powers_and_zero(dtype):
    values = np.array([1.0, 0.5, -1.0, 1e-3, 0.0, -0.0], dtype)
    for direction in (np.inf, -np.inf):
        moved = np.nextafter(values, np.array(direction, dtype))
        np.testing.assert_array_equal(ulps(moved, values), np.ones(values.size))
    np.testing.assert_array_equal(ulps(values, values), np.zeros(values.size))
    assert ulps(np.array([0.0], dtype), np.array([-0.0], dtype)) == 0


def test_units_are_parts_against_a_more_precise_truth_and_none_for_whole_numbers():
    found = np.array([1.0], "float32")
    assert ulps(found, np.array([1.0 + 2.0**-25]))[0] == pytest.approx(0.25)
    assert ulps(np.array([1]), np.array([5]))[0] == 0
    assert ulps(np.array([np.nan], "float32"), found)[0] == np.inf


def test_opposite_signs_do_not_overflow():
    one = np.array([np.finfo("float64").max])
    assert ulps(one, -one)[0] == pytest.approx(2 * 9.2e18, rel=1e-2)


def test_the_histogram_has_a_place_for_each_decade():
    wanted = np.zeros(6)
    found = np.array([0.0, 1e-13, 3e-7, 3e-7, 0.5, np.nan])
    errors = measure(found, wanted)
    counts = dict(enumerate(errors.histogram))
    assert sum(errors.histogram) == 6
    assert (counts[0], counts[1], counts[len(EDGES) + 1]) == (1, 1, 1)
    decade = 1 + next(at for at, edge in enumerate(EDGES) if edge > 3e-7)
    assert counts[decade] == 2
    assert math.isnan(errors.max_abs)


def test_directions():
    zero, one = np.zeros(3), np.array([1.0, 0.0, 0.0])
    assert (measure(zero, zero).cosine, measure(zero, one).cosine, measure(-one, one).cosine) == (1.0, 0.0, -1.0)


def test_equal_infinities_are_no_error_and_opposite_ones_are():
    assert measure(np.array([np.inf]), np.array([np.inf])).max_abs == 0
    assert measure(np.array([np.inf]), np.array([-np.inf])).max_abs == np.inf


def test_text_counts_what_is_wrong():
    errors = measure(np.array(["a", "b"]), np.array(["a", "c"]), np.array([False, True]))
    assert (errors.count, errors.bad, errors.max_abs) == (2, 1, 1.0)


@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_errors_of_pieces_merge_to_those_of_the_whole(cut, length, seed):
    rng = np.random.default_rng(seed)
    wanted = rng.standard_normal((6, length, 3)).astype("float32")
    found = (wanted + rng.standard_normal(wanted.shape) * 1e-3).astype("float32")
    bad = np.abs(found - wanted) > 1e-3
    steps = np.arange(length)[None, :, None]
    whole = measure(found, wanted, bad, steps)
    merged = measure(found[:cut], wanted[:cut], bad[:cut], steps).merged(
        measure(found[cut:], wanted[cut:], bad[cut:], steps)
    )
    assert (merged.count, merged.bad, merged.histogram) == (whole.count, whole.bad, whole.histogram)
    assert merged.by_timestep == whole.by_timestep
    for name in ("max_abs", "max_rel", "max_ulp", "squares", "cosine", "rmse"):
        assert float(getattr(merged, name)) == pytest.approx(float(getattr(whole, name)))


def test_curves_of_different_lengths_merge_and_nothing_stays_nothing():
    one, two = Errors(by_timestep=(1.0, 5.0)), Errors(by_timestep=(2.0, 3.0, 4.0))
    assert one.merged(two).by_timestep == (2.0, 5.0, 4.0)
    assert math.isnan(nothing().merged(Errors(1, max_abs=1.0)).max_abs)
    assert math.isnan(Errors().rmse)


def test_curves_of_different_spans_merge_to_the_largest_of_the_wider_one():
    fine, wide = Errors(by_timestep=(1.0, 5.0, 2.0, 3.0, 4.0)), Errors(by_timestep=(0.5, 6.0), span=2)
    for merged in (fine.merged(wide), wide.merged(fine)):
        assert (merged.by_timestep, merged.span) == ((5.0, 6.0, 4.0), 2)
    merged = wide.merged(Errors(by_timestep=(0.1, 7.0, 8.0), span=3))
    assert (merged.by_timestep, merged.span) == ((7.0, 8.0), 6)
    assert math.isnan(Errors(by_timestep=(1.0, math.nan)).merged(wide).by_timestep[0])
    assert fine.merged(fine) == Errors(by_timestep=fine.by_timestep)


def test_infinities_that_are_right_leave_the_other_figures_alone():
    errors = measure(np.array([-np.inf, 1.5]), np.array([-np.inf, 1.0]))
    assert tuple(map(float, (errors.squares, errors.wanted_squares, errors.dot))) == (0.25, 1.0, 1.5)
    assert errors.rmse == pytest.approx(math.sqrt(0.125))


@given(st.lists(st.floats(width=64), max_size=20), st.randoms())
def test_sums_are_exact_whatever_the_order(values, random):
    shuffled = random.sample(values, len(values))
    one, other = (sum(map(ExactSum.of, numbers), ExactSum()) for numbers in (values, shuffled))
    finite = [value for value in values if math.isfinite(value)]
    assert one.quanta == other.quanta
    assert math.isnan(one.rest) == math.isnan(other.rest)
    if len(finite) == len(values):
        exact = sum(map(Fraction, values))
        assert Fraction(one.quanta, 2**1074) == exact
        largest = Fraction(sys.float_info.max)
        assert abs(exact) > largest or float(one) == float(exact)
        assert abs(exact) > largest or not values or one / len(values) == float(exact / len(values))


def test_sums_of_what_is_not_finite_and_too_large():
    huge = ExactSum.of(sys.float_info.max)
    assert float(huge + huge) == math.inf
    assert (huge + huge) / 2 == sys.float_info.max
    assert float(ExactSum.of(-sys.float_info.max) + ExactSum.of(-sys.float_info.max)) == -math.inf
    assert math.isnan(float(ExactSum.of(math.inf) + ExactSum.of(-math.inf)))
    assert ExactSum.of(math.inf) + ExactSum.of(1.0) == ExactSum(2**1074, math.inf)


def test_sums_side_by_side_are_the_same_in_any_order():
    rng = np.random.default_rng(3)
    columns = [rng.standard_normal(9) ** 2 * 10.0 ** rng.integers(-9, 11, 9) for _ in range(50)]
    columns[1][0] = 5e-324
    columns[2] = columns[2][:5]
    padded = np.array([np.append(column, np.zeros(9 - column.size)) for column in columns])
    found = [reduce(add, map(Sums.of, [columns[at] for at in rng.permutation(50)])).floats() for _ in range(5)]
    for one in found:
        np.testing.assert_array_equal(one, found[0])
        np.testing.assert_allclose(one, [math.fsum(row) for row in padded.T], rtol=1e-15, atol=50 * 2.0**-52)


@pytest.mark.parametrize(("value", "wanted"), [(np.inf, np.inf), (np.nan, np.nan), (2.0**41, 2.0**42), (0.0, 0.0)])
def test_sums_side_by_side_of_what_is_not_finite_and_too_large(value, wanted):
    column = Sums.of(np.array([1.0, value]))
    np.testing.assert_array_equal((column + column).floats(), [2.0, wanted])
