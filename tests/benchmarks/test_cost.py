"""The arithmetic of the costs of exports."""

from __future__ import annotations

import pytest

from benchmarks.cost import KINDS, line, shape_of


def test_a_line_is_found_again():
    found = line([0.01, 1, 100], [2 + 3 * size for size in (0.01, 1, 100)])
    assert (found.fixed, found.each) == pytest.approx((2, 3))


@pytest.mark.parametrize("size", [1, 10, 366])
@pytest.mark.parametrize("kind", KINDS)
def test_a_model_has_the_size_that_it_is_to_have(kind, size):
    words, width, units = shape_of(kind, size)
    weights = words * width + 4 * units * (width + 3 * units) + units * words
    assert 4e-6 * weights == pytest.approx(size, rel=0.1)
    recurrent = 4 * units * (width + 3 * units) / weights
    assert recurrent > 0.7 if kind == "recurrent" else recurrent < 0.2
