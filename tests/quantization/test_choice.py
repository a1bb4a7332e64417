"""Which form is taken, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rnnexport.core.errors import ConversionError, MismatchError, UsageError
from rnnexport.core.quantization import FORMS, QuantizedPart, QuantizeRequest
from rnnexport.quantization.calibration import ObservedRange, Saturation
from rnnexport.quantization.choice import Trial, chosen, in_order, require_quantised
from rnnexport.quantization.loss import Loss

WHOLE = QuantizedPart("dense", "MatMul", "int8 products", "", 400_000, 100_000)
FLOAT = QuantizedPart("odd", "MatMul", "", "a weight is not finite", 400, 400)


def trial(form, size, loss, *parts):
    return Trial(form, size, (Loss("y", loss, loss, 1.0), Loss("z", loss / 2, loss, 1.0)), parts or (WHOLE,))


SMALL, ALIKE, HALF = trial("int8", 1000, 0.05), trial("weights", 1040, 0.01), trial("float16", 2000, 0.001)


def test_the_smallest_that_holds_is_taken():
    trials = [HALF, SMALL, ALIKE]
    assert [one.form for one in in_order(trials)] == ["int8", "weights", "float16"]
    assert chosen(trials, 0.06, "range", "m").form == "int8"
    assert chosen(trials, 0.02, "range", "m").form == "weights"
    assert chosen(trials, 0.005, "range", "m").form == "float16"
    assert chosen(trials, None, "range", "m").form == "int8"


def test_of_one_size_integers_come_first_where_they_pay():
    small, large = (QuantizedPart("d", "MatMul", "int8 products", "", size, size // 4) for size in (1 << 10, 1 << 18))
    for part, order in ((small, ["weights", "int8"]), (large, ["int8", "weights"])):
        trials = [trial("int8", 1000, 0.05, part), trial("weights", 1040, 0.01, part)]
        assert [one.form for one in in_order(trials)] == order
    loop = [trial("int8", 1000, 0.05, large), trial("weights", 1040, 0.01, replace(large, operator="GRU"))]
    assert [one.form for one in in_order(loop)] == ["weights", "int8"]


def test_where_none_holds_each_loss_is_told():
    with pytest.raises(
        MismatchError, match=r"int8 \(1 KB\) loses 0.05 at y; weights .* 0.01 .*float16 .* 0.001"
    ) as caught:
        chosen([HALF, SMALL, ALIKE], 1e-4, "rmse", "m.onnx")
    assert caught.value.exit_code == 1
    assert "0.0001 (rmse)" in str(caught.value)


def test_nothing_quantised_is_refused():
    with pytest.raises(ConversionError, match=r"odd.*not finite") as caught:
        require_quantised(trial("int8", 1, 0.0, FLOAT), "m", allow_partial=True)
    assert caught.value.exit_code == 3
    with pytest.raises(ConversionError, match="no weights"):
        require_quantised(Trial("int8", 1, ()), "m", allow_partial=True)


def test_a_part_is_refused_unless_it_is_allowed():
    partly = trial("int8", 1, 0.0, WHOLE, FLOAT)
    with pytest.raises(ConversionError, match=r"1 of 2 weights .* odd \(MatMul\): float32, a weight is not finite"):
        require_quantised(partly, "m", allow_partial=False)
    require_quantised(partly, "m", allow_partial=True)
    require_quantised(trial("int8", 1, 0.0, WHOLE), "m", allow_partial=False)


def test_what_is_asked():
    assert QuantizeRequest("auto", max_loss=0.1).forms("onnx") == FORMS["onnx"]
    assert QuantizeRequest("int8").forms("onnx") == ("int8",)
    for wrong in (
        {"form": "int4"},
        {"form": "auto"},
        {"form": "int8", "max_loss": 0.0},
        {"form": "int8", "metric": "mse"},
    ):
        with pytest.raises(UsageError):
            QuantizeRequest(**wrong)
    with pytest.raises(UsageError, match="for numpy"):
        QuantizeRequest("int8").forms("numpy")


def test_a_range_holds_zero_and_both_ends():
    one = ObservedRange(np.array([0.5, 1.0]), np.array([1.5, 2.0])).merged(
        ObservedRange(np.array([-1.0, 1.2]), np.array([0.0, 1.3]))
    )
    scale, zero = one.affine()
    assert (-int(zero) * scale, (255 - int(zero)) * scale) == pytest.approx((-1.0, 2.0), abs=float(scale))
    assert ObservedRange(np.array([2.0]), np.array([3.0])).affine()[1] == 0
    assert not ObservedRange(np.array([np.nan]), np.array([1.0])).is_finite


def test_what_lies_outside_is_a_share():
    found = Saturation({"h": 3, "x": 0}, {"h": 10, "x": 90})
    assert found.share == 0.03
    assert found.worst() == ("h", 0.3)
    assert Saturation({}, {}).share == 0.0
