"""Random cells in each form of a TFLite file: right at every length, and none is fused that is no LSTM."""

from __future__ import annotations

import re

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from benchmarks.edges.artifacts import traced
from rnnexport.core.forms import TFLiteForm
from rnnexport.source.trace import Graphs
from rnnexport.targets.tflite.export import converted
from rnnexport.targets.tflite.fusing import possible
from tests.lowering.activations import RELU, SIGMOID, TANH
from tests.lowering.changes import Decays
from tests.lowering.draws import LSTM_KINDS, random_lstm
from tests.lowering.lookalikes import LOOKALIKES
from tests.lowering.wrappers import Packed
from tests.targets.drawn_cells import cases_of, computed

GROUP = pytest.mark.xdist_group("tflite_drawn")
pytestmark = pytest.mark.long
BATCH, FEATURES = 2, 3
WIDTHS = (2, 4, 5, 6)
# But for what a cell of Keras is not: one that reads the number of the step, and one whose carries all leave the loop.
_NO_CELLS = (str(Decays.__doc__), "every carry is an output")
OTHERS = [name for name in LOOKALIKES if name.startswith("LSTM but") and not name.endswith(_NO_CELLS)]
FORMS = ("fused", "rolled", "unroll")


def drawn(seed):
    """An LSTM of each kind; the first of them packed into one state as well."""
    cells = {}
    for at, kind in enumerate(LSTM_KINDS):
        rng = np.random.default_rng([21, seed, at])
        cells[kind] = random_lstm(rng, kind, FEATURES, int(rng.choice(WIDTHS)))
    return cells | {"packed": Packed(cells["plain"], ("c", "h"))}


def look_alikes(seed):
    cells = {}
    for at, kind in enumerate(OTHERS):
        rng = np.random.default_rng([22, seed, at])
        cells[f"x{at}"] = LOOKALIKES[kind](rng, FEATURES, int(rng.choice(WIDTHS)))
    return cells


def is_an_lstm_of_litert(cell):
    """Whether the operator computes it, by how it was drawn; it gives h, which one that packs h and c does not keep."""
    if isinstance(cell, Packed):
        return False
    gates = {str(activation) for name, activation in cell.activations.items() if name != "g"}
    return gates == {str(SIGMOID)} and cell.activations["g"] == cell.out and cell.out in (TANH, RELU)


def feed_of(steps):
    return {"x": np.random.default_rng(steps).standard_normal((BATCH, steps, FEATURES), np.float32)}


def traced_cells(cells, steps):
    return traced(cases_of({name.replace(" ", "_"): cell for name, cell in cells.items()}), feed_of(steps))


def called(data, steps):
    """The outputs of a file, in their order."""
    found = Interpreter(model_content=data).get_signature_runner("serving_default")(**feed_of(steps))
    return [np.array(found[f"o{at}"]) for at in range(len(found))]


def require_right(data, cells, steps):
    for (name, cell), found in zip(cells.items(), called(data, steps), strict=True):
        wanted = computed(cell, feed_of(steps)["x"])
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5, err_msg=name)


@GROUP
@pytest.mark.parametrize("steps", [1, 7, 100])
def test_random_lstms_are_right_in_each_form(steps):
    cells = drawn(steps)
    model = traced_cells(cells, steps)
    for form in FORMS:
        data, fusion = converted(Graphs(model), TFLiteForm(form))
        require_right(data, cells, steps)
        if form == "fused":
            wanted = {f"rnn_{name.replace(' ', '_')}" for name, cell in cells.items() if is_an_lstm_of_litert(cell)}
            assert {re.sub(r"(_\d+)?/while$", "", name) for name, why in fusion.why_not.items() if not why} == wanted


@GROUP
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(2, 6))
def test_random_lstms_are_right_in_long_sequences(seed, form):
    cells = drawn(seed)
    cells = {name: cells[name] for name in ("plain", "peepholes", "i coupled", "packed")}
    require_right(converted(Graphs(traced_cells(cells, 1000)), TFLiteForm(form))[0], cells, 1000)


@GROUP
@pytest.mark.parametrize("seed", range(5))
def test_no_look_alike_is_fused_and_each_is_right_as_a_loop(seed):
    cells, steps = look_alikes(seed), 7
    model = traced_cells(cells, steps)
    why_not = possible(Graphs(model)).why_not.values()
    assert (len(why_not), all(why_not)) == (len(OTHERS), True)
    data, _ = converted(Graphs(model), TFLiteForm("rolled"))
    for name, found, wanted in zip(cells, called(data, steps), model.run(feed_of(steps)).values(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5, err_msg=name)
