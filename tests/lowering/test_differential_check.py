"""The check of a lowering can fail: each kind of wrong lowering is told."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from rnnexport.core.errors import ConversionError
from rnnexport.core.lowering import LoweringDecision
from tests.lowering import checking
from tests.lowering.grammar import generate

NATIVE, LOOKALIKE, FREE = 0, 2, 4  # seeds


def told(monkeypatch, seed, proven, change=lambda model: None, **outcome):
    """The failures of a lowering that leaves the Loop, claims these forms and changes the model."""

    def lower(model, request, *_):
        if request.form not in ("auto", *proven):
            raise ConversionError("a form", "another", "choose")
        change(model)
        return (LoweringDecision("loop", "a cell", "loop", "said so", proven, **outcome),)

    monkeypatch.setattr(checking, "lower", lower)
    return "\n".join(checking.failures(generate(seed)))


def test_nothing_is_told_of_a_loop_left_alone(monkeypatch):
    assert told(monkeypatch, LOOKALIKE, ("loop",)) == ""
    assert told(monkeypatch, FREE, ("loop",)) == ""


def test_a_native_cell_that_is_not_found_is_told(monkeypatch):
    assert "native was refused" in told(monkeypatch, NATIVE, ("loop",))


def test_a_lookalike_taken_for_native_is_told(monkeypatch):
    assert "a look-alike was taken for a cell" in told(monkeypatch, LOOKALIKE, ("native", "loop"))


def test_a_form_that_is_not_given_is_told(monkeypatch):
    assert "scan: asked for, but got {'loop'}" in told(monkeypatch, FREE, ("scan", "loop"))


def test_a_fault_is_told(monkeypatch):
    assert "auto: a fault: it disagrees" in told(monkeypatch, FREE, ("loop",), fault="it disagrees")


def test_a_recurrence_that_is_not_found_is_told(monkeypatch):
    monkeypatch.setattr(checking, "lower", lambda *_: ())
    assert "no recurrence was found" in "\n".join(checking.failures(generate(FREE)))


def test_a_crash_is_told(monkeypatch):
    def lower(*_):
        raise KeyError("gone")

    monkeypatch.setattr(checking, "lower", lower)
    assert "KeyError: 'gone'" in "\n".join(checking.failures(generate(FREE)))


@pytest.mark.parametrize("factor", [1.003, np.nan])
def test_a_weight_that_is_off_is_told(monkeypatch, factor):
    def change(model):
        for graph in model.graphs():
            for value in graph.initializers.values():
                array = value.const_value.numpy()
                if array.ndim == 2:
                    value.const_value = ir.tensor((array * factor).astype(array.dtype))

    assert " B=3 T=7 scale 1.0: " in told(monkeypatch, FREE, ("loop",), change)


def test_an_output_that_is_gone_is_told(monkeypatch):
    def change(model):
        model.graph.outputs[0].name = "other"

    assert "outputs ['other']" in told(monkeypatch, FREE, ("loop",), change)
