"""Cells that look like an LSTM and are none. tf2onnx lowers each of these to a plain LSTM op, off by 0.5 to 2."""

from __future__ import annotations

import pytest

import rnnexport
from rnnexport.targets.registry import target
from tests.in_turn import in_turn

GROUP = pytest.mark.xdist_group("lookalikes")
CHANGES = ("none", "i and f swapped", "f and o swapped", "input gate tanh", "output gate tanh", "output gate relu")


def lookalike(change: str):
    from benchmarks.lookalikes import lookalike as build  # imports Keras

    return build(change)


@GROUP
@pytest.mark.parametrize(("change", "form"), in_turn(CHANGES, ("auto", "loop")))
def test_lookalikes_compute_what_keras_computes(change, form, tmp_path):
    lowering = rnnexport.LoweringRequest(form)
    exported = rnnexport.export(lookalike(change), "onnx", tmp_path / "m.onnx", lowering=lowering)
    assert exported.report is not None
    assert exported.report.status == "passed"
    if form == "loop":
        # The long feed of a cell without bounds has the largest outputs.
        assert all(one.errors.rmse < 1e-6 for one in exported.report.outputs())
        operators = target("onnx").operators(exported.path)
        assert operators["Loop"] == 1
        assert not {"LSTM", "GRU", "RNN"} & set(operators)


@GROUP
def test_the_rewriters_are_put_back(tmp_path):
    from tf2onnx import tfonnx

    before = tfonnx.rewriter_lstm_tf2
    rnnexport.export(lookalike("none"), "onnx", tmp_path / "m.onnx", verify=False)
    assert tfonnx.rewriter_lstm_tf2 is before
