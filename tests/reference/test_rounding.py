"""Arithmetic that rounds at random: what it leaves alone, how far it goes, and that nothing escapes it."""

from __future__ import annotations

import numpy as np
import pytest

from rnnexport.emit.numpy.loading import NarrowArray
from rnnexport.reference.rounding import Rounding, RoundingArray

UNIT, LEAST = 2.0**-22, 2.0**-126
RNG = np.random.default_rng(5)


def arithmetic(seed=0, digits=24):
    rounds = Rounding(digits, LEAST, UNIT, seed)
    return rounds, rounds.namespace()


def off(found, exact):
    return np.abs(np.asarray(found) - exact) / np.abs(exact)


def test_a_product_is_off_by_up_to_the_unit_and_another_one_each_time():
    rounds, _ = arithmetic()
    x = RNG.standard_normal(4000)
    once, again = (rounds.array(x) * x for _ in range(2))
    assert 0.9 * UNIT < off(once, x * x).max() <= UNIT
    assert np.abs(np.mean((np.asarray(once) - x * x) / (x * x))) < UNIT / 10
    assert not np.array_equal(once, again)


def test_a_seed_gives_the_same_numbers_again():
    x = RNG.standard_normal((3, 5))
    found = [
        np.asarray(rounds.array(x) @ x.T) for rounds in (Rounding(24, LEAST, UNIT, 3), Rounding(24, LEAST, UNIT, 3))
    ]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(("digits", "exact"), [(24, 1 + 2.0**-23), (11, 1 + 2.0**-10), (8, 1 + 2.0**-7)])
def test_what_the_dtype_holds_is_not_rounded_and_one_digit_more_is(digits, exact):
    rounds, _ = arithmetic(digits=digits)
    values = np.array([exact, 0.0, -1.0, 3.0, np.inf, 0.5])
    np.testing.assert_array_equal(rounds.array(values) * 1.0, values)
    more = 1 + (exact - 1) / 2
    assert np.asarray(rounds.array(np.full(50, more)) * 1.0).std() > 0


def test_counts_masks_and_whole_numbers_stay_as_they_are():
    rounds, numpy = arithmetic()
    count = rounds.array(np.zeros(3))
    for step in range(1, 2000):
        count = count + 1
        np.testing.assert_array_equal(count, np.full(3, float(step)))
    assert numpy.arange(5).dtype == np.int64
    np.testing.assert_array_equal(rounds.array(np.arange(4)) + 1, [1, 2, 3, 4])
    np.testing.assert_array_equal(rounds.array(np.array([0.3, 0.0])) > 0, [True, False])


@pytest.mark.parametrize(
    "total",
    [
        lambda x, np: x.sum(),
        lambda x, np: np.sum(x),
        lambda x, np: np.cumsum(x)[-1],
        lambda x, np: x @ np.ones(x.size),
        lambda x, np: np.ones((1, x.size)) @ x,
        lambda x, np: np.einsum("i,i->", x, np.ones(x.size)),
        lambda x, np: np.mean(x) * x.size,
    ],
    ids=["method", "sum", "cumsum", "matmul", "rmatmul", "einsum", "mean"],
)
def test_a_sum_is_off_by_its_terms_and_not_by_what_is_left_of_them(total):
    """Numbers of size 1 that add up to next to nothing."""
    x = RNG.standard_normal(100)
    x -= x.mean()
    found = np.array([np.asarray(total(rounds.array(x), numpy)).item() for rounds, numpy in map(arithmetic, range(60))])
    assert UNIT < np.abs(found - x.sum()).max() < 20 * UNIT


def test_nothing_that_is_made_of_such_an_array_or_by_its_numpy_escapes():
    rounds, numpy = arithmetic()
    x = rounds.array(RNG.standard_normal((2, 6)))
    made = [
        *(
            numpy.zeros(3),
            numpy.empty_like(x),
            numpy.asarray([0.1]),
            numpy.concatenate([x, x]),
            numpy.where(x > 0, x, 0),
        ),
        *(x[0], x.T, x.reshape(3, 4), -x, numpy.tanh(x), x.astype(np.float64), numpy.pad(x, 1), numpy.flip(x)),
        *numpy.split(x, 2),
        numpy.lib.stride_tricks.sliding_window_view(x, 2, axis=1),
    ]
    for one in made:
        assert isinstance(one, RoundingArray)
        assert one.rounds is rounds


def test_a_result_that_is_written_into_an_array_is_rounded_too():
    rounds, numpy = arithmetic()
    x = rounds.array(RNG.standard_normal(500))
    kept, y = np.array(x), numpy.empty_like(x)
    assert numpy.exp(x, out=y) is y
    assert 0 < off(y, np.exp(kept)).max() <= UNIT
    x /= 3
    assert 0 < off(x, kept / 3).max() <= UNIT


def test_complex_numbers_round_in_both_parts():
    rounds, _ = arithmetic()
    z = RNG.standard_normal(500) + 1j * RNG.standard_normal(500)
    found = np.asarray(rounds.array(z) * z)
    assert 0 < off(found, z * z).max() <= 2 * UNIT


def test_many_values_at_once():
    rounds, _ = arithmetic()
    x = RNG.standard_normal((1500, 1000))
    found = np.asarray(rounds.array(x) * 3.3)
    assert 0.9 * UNIT < off(found, x * 3.3).max() <= UNIT


def test_errors_of_the_opposite_sign_are_the_opposite():
    x = RNG.standard_normal(50)
    there, back = (np.asarray(Rounding(24, LEAST, unit, 4).array(x) * x) - x * x for unit in (UNIT, -UNIT))
    np.testing.assert_allclose(there, -back, rtol=1e-6)


def test_what_is_next_to_nothing_may_be_nothing_or_less():
    rounds, _ = arithmetic()
    found = np.asarray(rounds.array(np.full(100, 1e-200)) * 1e-100)
    assert found.min() < 0 < found.max() < LEAST


def test_a_small_logistic_function_is_off_by_a_part_of_one_and_above_zero():
    """ONNX Runtime's is right to 7e-8 of 1, so that a large number behind a gate that is nearly shut is off."""
    rounds, numpy = arithmetic()
    gates = np.full(4000, 1e-5)
    found = np.asarray(numpy.approximated(rounds.array)(gates))
    assert 0.9 * UNIT / 4 < np.abs(found - gates).max() <= UNIT / 4
    shut, sure = np.full(4000, 1e-12), np.array([0.0, 0.5, 1.0, np.nan])
    assert (np.asarray(numpy.approximated(rounds.array)(shut)) > 0).all()
    np.testing.assert_array_equal(numpy.approximated(rounds.array)(sure), sure)


@pytest.mark.parametrize(
    ("step", "is_one"),
    [
        (lambda x, np: x > 0, True),
        (lambda x, np: np.where(x == 0, 1.0, x), True),
        (lambda x, np: np.floor(x), True),
        (lambda x, np: np.sign(x), True),
        (lambda x, np: x.astype(np.int64), True),
        (lambda x, np: np.argmax(x, axis=-1), True),
        (lambda x, np: x.argmin(), True),
        (lambda x, np: np.argsort(x), True),
        (lambda x, np: np.round(x, 2), True),
        (lambda x, np: np.unique(x, return_inverse=True), True),
        (lambda x, np: np.maximum(x, 0) + np.tanh(x) + np.abs(x), False),
        (lambda x, np: np.isnan(x), False),
        (lambda x, np: x.shape[0] > 1, False),
        (lambda x, np: np.arange(3) > 1, False),
        (lambda x, np: np.sort(x), False),
    ],
)
def test_a_step_of_a_number_that_was_rounded_is_noted(step, is_one):
    rounds, numpy = arithmetic()
    x = rounds.array(RNG.standard_normal((3, 4)).astype("float32").astype("float64"))
    step(x, numpy)
    assert not rounds.has_steps  # float32 has these numbers
    step(x * 1.1, numpy)
    assert rounds.has_steps is is_one


def test_a_narrow_weight_rounds_in_a_product_as_a_wide_one():
    rounds, _ = arithmetic()
    x, weight = RNG.standard_normal((2, 3, 300)), RNG.standard_normal((300, 700)).astype("float32")
    exact = x @ weight.astype("float64")
    found = np.asarray(rounds.array(x) @ rounds.array(weight.view(NarrowArray)))
    usual = np.asarray(rounds.array(x) @ rounds.array(weight.astype("float64")))
    assert np.std(found - exact) == pytest.approx(np.std(usual - exact), rel=0.1)
    assert np.abs(found - exact).max() < 10 * UNIT * np.sqrt(300)


@pytest.mark.parametrize(("count", "times"), [(8, 1.0), (128, 1.0), (129, 2.0**0.5), (1024, 8.0**0.5)])
def test_a_product_of_many_terms_is_off_by_the_sums_on_the_way(count, times):
    """Of K terms one after the other, by the root of K / 2 as much as of one: more than 128 are told apart."""
    x_BK = np.random.default_rng(4).standard_normal((400, count))
    w_KO = np.random.default_rng(5).standard_normal((count, 3))
    exact = x_BK @ w_KO
    alone = np.sqrt(np.square(x_BK) @ np.square(w_KO))
    rounds = Rounding(24, 2.0**-126, UNIT, 3)
    off = np.sqrt(np.mean(np.square((rounds.array(x_BK) @ w_KO - exact) / alone)))
    usual = UNIT * np.sqrt((np.mean(np.square(exact / alone)) + times**2) / 3)  # of numbers from -1 to 1, both parts
    assert 0.8 * usual < off < 1.25 * usual
