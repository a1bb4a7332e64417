from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rnnexport.verification.compare import Comparison, Wanted, compare
from rnnexport.verification.precision import LIMIT, Precision, precision, precision_problems
from rnnexport.verification.report import FeedReport
from rnnexport.verification.statistics import Errors, Sums, UnitErrors
from rnnexport.verification.tolerance import Override, Tolerance, Tolerances, leeway

RNG = np.random.default_rng(2)
TRUTH = RNG.standard_normal((4, 9, 5))
WANTED = TRUTH.astype("float32") + (RNG.standard_normal(TRUTH.shape) * 1e-7).astype("float32")


def call(off, name="y", truth=TRUTH):
    """A call of an artifact that rounds as much as its source, and is `off` besides."""
    found = TRUTH + RNG.standard_normal(TRUTH.shape) * 1e-7 + off
    return compare(name, found.astype("float32"), Wanted(WANTED, truth), Tolerance())


def feeds(*outputs):
    return [FeedReport("feed", outputs)]


def test_rounding_alone_is_about_as_far_from_the_truth_as_the_source():
    found = precision([call(0.0), call(0.0)])
    assert 0.5 < found.whole < 1.5
    assert 0.5 < found.unit < 2.0
    assert found.passed
    assert precision_problems(feeds(call(0.0)), Tolerances()) == []


def test_a_fault_below_the_tolerance_of_every_value_is_told():
    wrong = call(1e-6)
    assert wrong.passed
    (problem,) = precision_problems(feeds(wrong, call(0.0, "z")), Tolerances())
    assert problem.startswith("output y is ")
    assert problem.endswith(f"times as far from the float64 truth as its source (at most {LIMIT:g})")


def test_a_small_feed_counts_as_much_as_a_large_one():
    """A fault of a thousandth in a feed of tiny values, beside one of values a thousand times as large."""
    tiny = compare(
        "y", (WANTED * 1e-3 * 1.003).astype("float32"), Wanted(WANTED * np.float32(1e-3), TRUTH * 1e-3), Tolerance()
    )
    large = compare("y", WANTED * 1000, Wanted(WANTED * 1000, TRUTH * 1000), Tolerance())
    assert precision([large]).whole == pytest.approx(1.0)
    assert not precision([tiny, large]).passed


def test_a_fault_of_one_unit_is_not_lost_among_the_others():
    off = np.zeros(64)
    off[17] = 1e-6
    truth = RNG.standard_normal((4, 9, 64))
    wanted = (truth + RNG.standard_normal(truth.shape) * 1e-7).astype("float32")
    found = (truth + RNG.standard_normal(truth.shape) * 1e-7 + off).astype("float32")
    one = compare("y", found, Wanted(wanted, truth, time_axis=1), Tolerance())
    assert one.passed
    told = precision([one])
    assert told.whole < 2 < LIMIT < told.unit
    assert told.worst == 17
    (problem,) = precision_problems(feeds(one), Tolerances())
    assert "as its source at unit 17 (at most 5" in problem


def test_a_source_that_rounds_to_the_truth_itself_does_not_make_others_wrong():
    exact = TRUTH.astype("float32").astype("float64")
    found = compare(
        "y", np.nextafter(exact.astype("float32"), np.float32(9)), Wanted(exact.astype("float32"), exact), Tolerance()
    )
    assert found.source_error.max_abs == 0
    assert precision([found]).passed


@pytest.mark.parametrize("value", [0.0, 1e-30, 1.0, 1e30])
def test_nothing_allowed_is_no_unit_to_measure_in(value):
    """An artifact that is its source to the last bit, at a bound of 0, of values of any size."""
    truth = np.full((3, 5), value) * (1 + 1e-8)
    equal = compare("y", truth.astype("float32"), Wanted(truth.astype("float32"), truth), Tolerance(0.0, 0.0))
    assert equal.passed
    assert precision([equal]).whole <= 1
    assert precision_problems(feeds(equal), Tolerances(override=Override(rtol=0.0, atol=0.0))) == []


def test_a_bound_of_the_user_is_not_what_errors_are_measured_in():
    off = compare("y", (WANTED + 1e-6).astype("float32"), Wanted(WANTED, TRUTH), Tolerance())
    zero = compare("y", (WANTED + 1e-6).astype("float32"), Wanted(WANTED, TRUTH), Tolerance(0.0, 0.0))
    assert precision([zero]) == precision([off])


def test_numbers_of_any_size_have_a_precision_and_no_values_have_none():
    huge = np.full((2, 3), 1e200)
    assert precision([compare("y", huge, Wanted(huge, huge), Tolerance())]).passed
    none = Sums.of(np.zeros(1))
    units = UnitErrors(np.zeros(1, np.int64), none, none, none, divided=False)
    nothing = Comparison("y", True, Errors(), Tolerance(), units=units)
    assert precision([nothing]) is None
    assert precision([nothing, call(0.0)]).passed


def test_without_a_truth_or_with_a_tolerance_of_the_user_there_is_no_verdict():
    assert precision([call(1e-6, truth=None)]) is None
    assert precision([]) is None
    assert precision_problems(feeds(call(1e-6, truth=None)), Tolerances()) == []
    assert precision_problems(feeds(call(1e-6)), Tolerances(override=Override(atol=1e-3))) == []


def test_what_is_wrong_value_by_value_is_not_said_twice_and_nan_is_no_precision():
    assert precision_problems(feeds(call(1.0)), Tolerances()) == []
    assert not Precision(float("nan")).passed
    nan, one = Sums.of(np.array([np.nan])), Sums.of(np.array([1.0]))
    unknown = UnitErrors(np.ones(1, np.int64), nan, one, one, divided=False)
    assert precision_problems(feeds(replace(call(0.0), units=unknown)), Tolerances())


def test_a_unit_is_measured_at_its_own_size():
    """Beside masked logits of a billion."""
    truth = np.concatenate([TRUTH, np.full((4, 9, 1), -1e9)], axis=-1)
    wanted = np.concatenate([WANTED, np.full((4, 9, 1), -1e9, "float32")], axis=-1)
    found = (wanted + np.array([1.5e-6, 0, 0, 0, 0, 0])).astype("float32")
    one = compare("y", found, Wanted(wanted, truth), Tolerance())
    assert one.passed
    assert precision([one]).worst == 0
    assert not precision([one]).passed


def test_a_function_may_be_two_units_of_the_last_place_off_where_the_source_is_rounded_from_the_truth():
    """LiteRT's exp, where TensorFlow's is right to half a unit: a sum of products is off by more in any runtime."""
    truth = np.exp(np.random.default_rng(2).uniform(-3, 3, (40, 9, 5)))
    wanted = truth.astype("float32")
    signs = np.random.default_rng(3).choice([-1, 1], truth.shape)

    def off(units):
        return compare(
            "y", (truth * (1 + units * 2.0**-23 * signs)).astype("float32"), Wanted(wanted, truth), Tolerance()
        )

    assert precision([off(1.5)]).passed
    assert not precision([off(3)]).passed


def test_a_bound_that_the_user_tightens_leaves_precision_on_and_that_of_another_output_too():
    wrong = call(1e-6)
    for override in (Override(rtol=9e-6), Override(atols={"z": 1.0})):
        assert precision_problems(feeds(wrong), Tolerances(override=override))
    assert not precision_problems(feeds(wrong), Tolerances(override=Override(atols={"y": 1.0})))


def test_ill_conditioned_values_do_not_hide_a_fault_at_the_others_nor_make_one():
    """Half of the rows are a thousand times as uncertain: an artifact is off by that much there, and its source too."""
    spread = np.where(np.arange(4)[:, None, None] < 2, 4e-4, 4e-7) * np.ones(TRUTH.shape)
    wanted = (TRUTH + spread * RNG.uniform(-0.15, 0.15, TRUTH.shape)).astype("float32")

    def told(off, of=slice(None)):
        found = TRUTH + spread * RNG.uniform(-0.45, 0.45, TRUTH.shape) * (np.arange(4)[:, None, None] < 2)
        found[of] += off
        least = leeway(spread)
        return compare("y", found.astype("float32"), Wanted(wanted, TRUTH, spread=spread, least=least), Tolerance())

    assert precision([told(0.0)]).passed
    assert told(2e-6, slice(2, None)).passed
    assert not precision([told(2e-6, slice(2, None))]).passed


def test_what_rounding_usually_does_is_held_against_no_artifact():
    """A source that happens to be nearer to the truth than float32 usually is."""
    spread = np.full(TRUTH.shape, 4e-6)
    lucky = (TRUTH + 1e-8).astype("float32")
    found = (TRUTH + RNG.uniform(-1e-6, 1e-6, TRUTH.shape)).astype("float32")
    plain, measured = (compare("y", found, Wanted(lucky, TRUTH, spread=one), Tolerance()) for one in (None, spread))
    assert not precision([plain]).passed
    assert precision([measured]).passed


def test_of_few_values_a_unit_may_be_further_off():
    few, many = (
        compare("y", WANTED[:rows], Wanted(WANTED[:rows], TRUTH[:rows], time_axis=1), Tolerance()) for rows in (1, 4)
    )
    assert precision([few]).limit > precision([many]).limit > LIMIT
    assert precision([many]).limit == pytest.approx(LIMIT * (1 + 20 / 36) ** 0.5)


def test_a_runtime_that_sums_from_the_bias_on_may_be_as_far_off_as_rounding_moves_the_values():
    """Summed in order from its bias, each of 256 products rounded: as XNNPACK does, and no other format may."""
    rng = np.random.default_rng(5)
    x_BI, w_IO, b_O = rng.normal(0, 0.1, (6, 256)), rng.normal(0, 0.01, (256, 7)), rng.normal(0, 1, 7)
    x_BI, w_IO, b_O = (one.astype("float32") for one in (x_BI, w_IO, b_O))
    truth = x_BI.astype("float64") @ w_IO.astype("float64") + b_O
    found = np.tile(b_O, (6, 1))
    for x_B1, w_1O in zip(x_BI.T[:, :, np.newaxis], w_IO[:, np.newaxis], strict=True):
        found = found + x_B1 * w_1O
    assert found.dtype == "float32"
    spread = 8 * 2.0**-24 * np.abs(truth)
    close = compare("y", found, Wanted(truth.astype("float32"), truth, spread=spread), Tolerance())
    assert not precision([close]).passed
    assert precision([close], spreads=2.0).passed
    wrong = compare(
        "y", found * np.float32(1 + 4e-6), Wanted(truth.astype("float32"), truth, spread=spread), Tolerance()
    )
    assert not precision([wrong], spreads=2.0).passed
