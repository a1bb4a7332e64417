from __future__ import annotations

import numpy as np
import pytest

from rnnexport.verification.compare import Wanted, compare, excess
from rnnexport.verification.tolerance import Bounds, Tolerance, allowed, bounds, leeway

T = Tolerance(rtol=1e-5, atol=2e-6)
VALUE = np.array([1.0, -2.0, 0.0, 100.0], "float32")
SPREAD = np.array([1e-7, 1e-3, 0.0, np.inf])


def test_a_value_has_the_tolerance_or_half_as_much_again_as_what_rounding_makes_of_it():
    np.testing.assert_allclose(allowed(T, VALUE, leeway(SPREAD)), [1.2e-5, 1.5e-3, 2e-6, np.inf])
    np.testing.assert_allclose(allowed(T, VALUE, None), [1.2e-5, 2.2e-5, 2e-6, 1.002e-3])


def test_what_is_wider_is_counted_and_how_far():
    told = bounds(T, VALUE, leeway(SPREAD))
    assert (told.wider, told.coarse, told.largest) == (2, 1, np.inf)
    assert bounds(T, VALUE, leeway(SPREAD[:3].repeat(2)[:4])).largest == pytest.approx(1.5e-3 / 2e-6)
    assert bounds(T, VALUE, None) == bounds(T, VALUE[:0], SPREAD[:0]) == Bounds()
    assert Bounds(2, 1, 8.0).merged(Bounds(3, 0, 2.0)) == Bounds(5, 1, 8.0)


def test_one_value_on_an_edge_lets_no_other_through():
    """The second one may be 1.5e-3 off, and the first still no more than 1.2e-5."""
    wanted = Wanted(VALUE[:3], VALUE[:3].astype(float), spread=SPREAD[:3], least=leeway(SPREAD[:3]))
    for off, passed in (([1e-5, 1.4e-3, 0], True), ([1e-5, 1.6e-3, 0], False), ([1.3e-5, 0, 0], False)):
        found = (VALUE[:3] + np.array(off)).astype("float32")
        one = compare("y", found, wanted, T)
        assert one.passed is passed
        assert (one.bounds.wider, one.bounds.coarse) == (1, 0)
        assert (excess(found, VALUE[:3], T, leeway(SPREAD[:3])) <= 1) is passed


def test_nan_and_infinities_never_pass_however_wide_the_bound():
    anything = Wanted(VALUE, least=np.full(4, np.inf))
    for wrong in (np.nan, np.inf):
        found = VALUE.copy()
        found[1] = wrong
        assert not compare("y", found, anything, T).passed
    assert compare("y", VALUE + np.float32(7), anything, T).passed


def test_whole_numbers_are_free_where_their_bound_is_infinite_and_nowhere_else():
    value = np.array([3, 1, 2, 0])
    wanted = Wanted(value, spread=np.array([0.0, np.inf, 0.0, 0.0]), least=np.array([0.0, np.inf, 0.0, 0.0]))
    found = compare("ids", np.array([3, 2, 2, 0]), wanted, T)
    assert found.passed
    assert (found.bounds.wider, found.bounds.coarse, found.bounds.largest) == (1, 1, 1.0)
    assert not compare("ids", np.array([3, 2, 1, 0]), wanted, T).passed
