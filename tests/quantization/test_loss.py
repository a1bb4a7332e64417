"""What a quantised artifact loses, by each metric and step by step."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rnnexport.core.errors import UsageError
from rnnexport.quantization.loss import Found, Measure, metric_of

WANTED = np.array([[[0.0, 1.0], [2.0, 4.0]], [[3.0, -4.0], [1.0, 0.0]]])  # [T, B, units], from -4 to 4
FOUND = WANTED + np.array([[[0.0, 0.4], [0.0, 0.0]], [[0.0, 0.0], [-0.8, 0.0]]])


def loss(metric, *calls):
    measure = Measure("y")
    for call in calls:
        measure.add(call)
    return measure.loss(metric_of(metric))


def test_the_largest_error_in_parts_of_the_range():
    found = loss("range", Found(WANTED, FOUND, np.array([0, 1])))
    assert found.value == pytest.approx(0.1)
    assert found.largest == pytest.approx(0.8)
    assert found.span == 8.0
    assert found.curve == pytest.approx((0.05, 0.1))
    assert found.at_step(1) == pytest.approx(0.05)
    assert found.at_step(3) is None


def test_the_other_metrics():
    call = Found(WANTED, FOUND)
    assert loss("rmse", call).value == pytest.approx(math.sqrt((0.16 + 0.64) / 8) / 8)
    dot, sizes = (WANTED * FOUND).sum(), np.linalg.norm(WANTED) * np.linalg.norm(FOUND)
    assert loss("cosine", call).value == pytest.approx(1 - dot / sizes)
    assert loss("top1", call).value == 0.0
    turned = Found(WANTED, WANTED[..., ::-1])
    assert loss("top1", turned).value == 1.0


def test_calls_of_different_lengths_are_one_curve():
    first = Found(np.array([[[0.0]], [[1.0]], [[2.0]]]), np.array([[[0.0]], [[1.0]], [[2.5]]]), np.arange(3))
    going_on = Found(np.array([[[0.0]], [[1.0]]]), np.array([[[0.2]], [[1.0]]]), np.arange(3, 5))
    found = loss("range", first, going_on)
    assert found.curve == pytest.approx((0.0, 0.0, 0.25, 0.1, 0.0))


def test_steps_that_no_call_shows_are_no_curve():
    last = Found(np.ones((1, 2)), np.zeros((1, 2)), np.array([4]))
    assert loss("range", last).curve == ()


def test_a_long_curve_has_few_points():
    steps = 1001
    wanted = np.linspace(0, 1, steps)[:, None, None]
    found = loss("range", Found(wanted, wanted + np.linspace(0, 0.5, steps)[:, None, None], np.arange(steps)))
    assert len(found.curve) <= 50
    assert found.per_point == 21
    assert found.at_step(1000) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("metric", ["range", "cosine", "top1"])
def test_no_number_never_holds(metric):
    broken = FOUND.copy()
    broken[1, 0, 0] = np.nan
    assert loss(metric, Found(WANTED, broken)).value == math.inf
    assert loss(metric, Found(WANTED, np.zeros((3, 3)))).value == math.inf


def test_what_is_nan_in_the_source_may_be_nan():
    both = np.array([[0.0, np.nan, 1.0]])
    assert loss("range", Found(both, both)).value == 0.0


def test_a_constant_output_is_measured_by_its_size():
    assert loss("range", Found(np.full((1, 3), 2.0), np.full((1, 3), 2.1))).value == pytest.approx(0.05)


def test_a_metric_of_the_users_own(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def worst_row(wanted, found):\n    return abs(wanted - found).sum(axis=-1).max()\n")
    assert loss(f"{file}:worst_row", Found(WANTED, FOUND)).value == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ("", "gone.py:f", "no file"),
        ("def g(a, b): return 0", "mine.py:f", "no function f"),
        ("def f(a, b): raise ValueError('no')", "mine.py:f", "ValueError"),
        ("def f(a, b): return 'much'", "mine.py:f", "raised"),
        ("import nothing_of_that_name", "mine.py:f", "raised"),
    ],
)
def test_a_metric_that_fails(tmp_path, text, name, told):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UsageError, match=told):
        loss(f"{tmp_path}/{name}", Found(WANTED, FOUND))
