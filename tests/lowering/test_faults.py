"""A form that is wrong is not kept: it is told which, and by how much it is off. One that can't run is no fault."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rnnexport.core.errors import ConversionError
from rnnexport.ir.terms import rewritten
from rnnexport.lowering import candidates as deriving
from rnnexport.lowering import lower
from rnnexport.lowering.differential_check import disagreement
from tests.lowering.small import compared, loop, lowered, node_of
from tests.lowering.test_native import LSTM_WEIGHTS, PLAIN_LSTM, TWO

OFF = r"native: output \d differs by \d\.\de[-+]\d\d, \d+ times what rounding explains"


def lstm():
    return loop(PLAIN_LSTM, weights=LSTM_WEIGHTS, **TWO)


@pytest.fixture
def broken(monkeypatch):
    """Changes the terms of one form after it is derived."""

    def spoil(form, change):
        def spoiled(node, batch):
            found = derive(node, batch)
            terms = deriving.Terms()
            roots = list(found.forms[form].values())
            new = rewritten(terms, roots, lambda term: change(terms, term))
            found.forms[form] = {value: new[term] for value, term in found.forms[form].items()}
            return found

        derive = deriving.derive
        monkeypatch.setattr(lower, "derive", spoiled)

    return spoil


def with_weights(op, at, change):
    """The same, an input of the operator changed."""

    def changed(terms, term):
        if term.op != op or len(term.inputs) <= at or term.inputs[at].op != "Const":
            return term
        inputs = list(term.inputs)
        inputs[at] = terms.const(change(inputs[at].array))
        return terms.rebuilt(term, inputs)

    return changed


def swapped(array):
    """Two gates of four for each other."""
    parts = np.split(array, 4, axis=1)
    return np.concatenate([parts[1], parts[0], *parts[2:]], axis=1)


def test_two_gates_for_each_other(broken):
    broken("native", with_weights("LSTM", 1, swapped))
    model = lstm()
    changed, outcome = lowered(model)
    assert re.fullmatch(OFF, outcome.fault)
    assert outcome.fault == f"native: {outcome.refused['native']}"
    assert outcome.proven == ("scan", "loop")
    assert outcome.chosen == "scan"
    assert compared(model, changed) == []


@pytest.mark.parametrize(
    ("op", "at", "change"),
    [
        ("Add", 1, np.zeros_like),  # the bias
        ("MatMul", 1, lambda array: array * np.float32(1.001)),
        ("MatMul", 1, lambda array: array * np.float32(np.nan)),
    ],
)
def test_a_wrong_scan(broken, op, at, change):
    broken("scan", with_weights(op, at, change))
    model = lstm()
    changed, outcome = lowered(model)
    assert (outcome.proven, outcome.chosen) == (("native", "loop"), "native")
    assert outcome.fault == f"scan: {outcome.refused['scan']}"
    assert compared(model, changed) == []


def test_every_form_wrong(broken, monkeypatch):
    """Then the Loop is as it was, and all are told."""
    broken("native", with_weights("LSTM", 2, swapped))
    first = lower.derive
    monkeypatch.undo()
    broken("scan", with_weights("MatMul", 1, np.zeros_like))
    second = lower.derive

    def both(node, batch):
        found, other = second(node, batch), first(node, batch)
        found.forms["native"] = other.forms["native"]
        return found

    monkeypatch.setattr(lower, "derive", both)
    model = lstm()
    changed, outcome = lowered(model)
    assert (outcome.proven, outcome.chosen, outcome.why) == (("loop",), "loop", "no other form is proven")
    assert [part.split(":")[0] for part in outcome.fault.split("; ")] == ["native", "scan"]
    assert node_of(changed, "Loop")
    assert compared(model, changed) == []
    with pytest.raises(ConversionError, match="no proven form native: output"):
        lowered(model, "native")


def test_a_wrong_shape(broken):
    def wider(terms, term):
        if term.op != "scan":
            return term
        return terms.call("Unsqueeze", [term, terms.const([0], np.int64)], results=[(term.dtype, None)])[0]

    broken("scan", wider)
    _, outcome = lowered(lstm())
    assert outcome.fault == "scan: output 0 is float32 (1, 2, 4), and of the Loop float32 (2, 4)"
    assert outcome.proven == ("native", "loop")


def test_what_the_runtime_refuses_is_no_fault(broken):
    """ORT refuses to load an operator whose weights have the wrong shape."""
    broken("native", with_weights("LSTM", 2, lambda array: array[:, :-1]))
    model = lstm()
    changed, outcome = lowered(model)
    assert outcome.fault == ""
    assert outcome.refused["native"].startswith("the runtime refuses it: ")
    assert outcome.proven == ("scan", "loop")
    assert compared(model, changed) == []


def test_the_loop_itself_has_to_run():
    """What is wrong with the model is not put down to the forms: nothing is proven of it."""
    weights = {name: np.ones(shape) for name, shape in SHAPES.items()}
    _, outcome = lowered(loop(limit="many", weights={"many": np.array(9), **weights}))
    assert (outcome.fault, outcome.proven) == ("", ("loop",))
    assert outcome.refused["scan"].startswith("the Loop can't be run to check it: ")


SHAPES = {"W": (3, 4), "R": (4, 4), "b": (4,)}


def test_a_right_form_has_no_fault():
    assert lowered(lstm())[1].fault == ""


ONE = np.ones((2, 3), np.float32)
NAN = np.where(np.eye(2, 3) > 0, np.float32(np.nan), ONE).astype(np.float32)


@pytest.mark.parametrize(
    ("wanted", "found", "told"),
    [
        (ONE, ONE, ""),
        (ONE, ONE * np.float32(1.00005), ""),
        (ONE, ONE * np.float32(1.001), "output 0 differs by 1.0e-03, "),
        (ONE, NAN, "output 0 differs by nan, inf times"),
        (NAN, ONE, ""),  # where the Loop overflows nothing is asked
        (NAN, NAN * 2, "output 0 differs by 1.0e+00"),  # elsewhere it is
        (ONE, ONE[:1], "output 0 is float32 (1, 3), and of the Loop float32 (2, 3)"),
        (ONE, ONE.astype(np.float64), "output 0 is float64 (2, 3), and of the Loop float32 (2, 3)"),
        (np.arange(3), np.arange(3), ""),
        (np.arange(3), np.array([0, 1, 3]), "output 0 differs"),
    ],
)
def test_disagreement(wanted, found, told):
    reason = disagreement([wanted], [wanted], [found])
    assert reason.startswith(told)
    assert bool(reason) == bool(told)


def test_an_error_that_rounding_explains_is_none():
    """What the Loop itself moves by when its inputs move by one rounding step."""
    assert disagreement([ONE], [ONE], [ONE + np.float32(0.1)])
    assert not disagreement([ONE], [ONE + np.float32(0.01)], [ONE + np.float32(0.1)])


def test_a_second_output_is_compared_too():
    assert disagreement([ONE, ONE], [ONE, ONE], [ONE, ONE * 2]).startswith("output 1 differs by 1.0e+00")
