"""Random cells in each form of a TFLite file: right at every length, and none is fused that is no LSTM."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import rnnexport
from rnnexport.core.errors import ConversionError
from rnnexport.core.forms import TFLiteForm
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.trace import Graphs, trace
from rnnexport.targets.tflite.export import converted
from rnnexport.targets.tflite.fusing import fusion_of
from rnnexport.targets.tflite.runner import TFLiteRunner
from tests.lowering.activations import LINEAR, RELU, SIGMOID, TANH
from tests.lowering.draws import LSTM_KINDS, random_lstm
from tests.lowering.lookalikes import LOOKALIKES
from tests.lowering.wrappers import Packed
from tests.targets.drawn_cells import computed, model_of

GROUP = pytest.mark.xdist_group("tflite_drawn")
BATCH, FEATURES = 2, 3
WIDTHS = (2, 4, 5, 6)
OTHERS = [name for name in LOOKALIKES if name.startswith("LSTM but")]


def drawn(seed):
    """An LSTM of each kind, by a name that a layer may have; the first of them packed into one state."""
    cells = {}
    for at, kind in enumerate(LSTM_KINDS):
        rng = np.random.default_rng([21, seed, at])
        name = kind.replace(" ", "_").replace("-", "_")
        cells[name] = random_lstm(rng, kind, FEATURES, int(rng.choice(WIDTHS)))
    return cells | {"packed": Packed(cells["plain"], ("c", "h"))}


def is_an_lstm_of_litert(cell):
    """Whether the operator computes it, by how it was drawn."""
    cell = cell.cell if isinstance(cell, Packed) else cell
    gates = {str(activation) for name, activation in cell.activations.items() if name != "g"}
    return gates == {str(SIGMOID)} and cell.activations["g"] == cell.out and cell.out in (TANH, RELU, LINEAR)


def graphs_of(model, steps=None):
    source = rnnexport.load(model)
    return Graphs(trace(source, describe(source, Boundary(BATCH, steps)), unroll=False))


def runner_of(graphs, form):
    data, fusion = converted(graphs, TFLiteForm(form))
    opened = TFLiteRunner(lambda: Interpreter(model_content=data), "serving_default", holds_state=form == "fused")
    return opened, fusion


def feed_of(steps):
    return np.random.default_rng(steps).standard_normal((BATCH, steps, FEATURES), np.float32)


def require_right(runner, cells, steps):
    x_BTI = feed_of(steps)
    found = runner.run({"x": x_BTI})
    for name, cell in cells.items():
        wanted = computed(cell, x_BTI)
        np.testing.assert_allclose(found[f"rnn_{name}"], wanted, rtol=2e-4, atol=2e-5, err_msg=name)


@GROUP
@pytest.mark.parametrize("form", ["fused", "rolled"])
def test_random_lstms_are_right_at_every_length(form):
    cells = drawn(0)
    runner, fusion = runner_of(graphs_of(model_of(cells, BATCH)), form)
    for steps in (1, 7, 100):
        require_right(runner, cells, steps)
    if form == "fused":
        why = dict(zip(cells, fusion.why_not.values(), strict=True))
        assert not [name for name, cell in cells.items() if not why[name] and not is_an_lstm_of_litert(cell)]
        assert not [why[name] for name, cell in cells.items() if why[name] and is_an_lstm_of_litert(cell)]


@GROUP
@pytest.mark.parametrize("steps", [1, 7, pytest.param(100, marks=pytest.mark.long)])
def test_random_lstms_are_right_step_by_step(steps):
    cells = drawn(1)
    runner, _ = runner_of(graphs_of(model_of(cells, BATCH), steps), "unroll")
    require_right(runner, cells, steps)


@GROUP
@pytest.mark.long
@pytest.mark.parametrize("form", ["fused", "rolled", "unroll"])
@pytest.mark.parametrize("seed", range(2, 6))
def test_random_lstms_are_right_in_long_sequences(seed, form):
    cells = drawn(seed)
    cells = {name: cells[name] for name in ("plain", "peepholes", "i_coupled", "packed")}
    runner, _ = runner_of(graphs_of(model_of(cells, BATCH), 1000), form)
    require_right(runner, cells, 1000)


def look_alikes(seed):
    cells = {}
    for at, kind in enumerate(OTHERS):
        rng = np.random.default_rng([22, seed, at])
        cells[f"x{at}"] = LOOKALIKES[kind](rng, FEATURES, int(rng.choice(WIDTHS)))
    return cells


@GROUP
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 5))])
def test_no_look_alike_is_fused(seed):
    graphs = graphs_of(model_of(look_alikes(seed), BATCH))
    with pytest.raises(ConversionError, match="has no recurrence with a fused form") as caught:
        fusion_of(graphs)
    assert caught.value.found.count("rnn_x") == len(OTHERS)


@GROUP
def test_look_alikes_are_right_as_loops():
    cells = look_alikes(0)
    model = model_of(cells, BATCH)
    runner, _ = runner_of(graphs_of(model), "rolled")
    for steps in (1, 7):
        x_BTI = feed_of(steps)
        found = runner.run({"x": x_BTI})
        for name, wanted in zip(cells, model(x_BTI), strict=True):
            np.testing.assert_allclose(found[f"rnn_{name}"], wanted, rtol=1e-4, atol=1e-5, err_msg=name)
