"""Steps that a mask leaves out: the native operators over those that are taken, and what stands between them."""

from __future__ import annotations

import numpy as np
import pytest

from rnnexport.ir.terms import Terms, rewritten
from rnnexport.lowering import candidates, lower
from tests.lowering.runtime import run
from tests.lowering.small import (
    LENGTH,
    SIMPLE,
    SIMPLE_WEIGHTS,
    X,
    drawn,
    feed,
    loop,
    lowered,
    node_of,
    operators,
    refused,
    same,
)
from tests.lowering.test_native import AFTER, GRU_WEIGHTS, LSTM_WEIGHTS, PLAIN_LSTM, native, stacked

MASK = f"{X}, bool[T,B,1] mask"
READ = "keep = Gather <axis = 0> (mask, i)"
HELD = f"{READ} h_n = Where (keep, n, h) c_m = Where (keep, c_n, c) y = Where (keep, n, p)"
CELLS = {
    # step, its states, weights, and the initial states that are inputs
    "RNN": (f"{SIMPLE} {READ} h_n = Where (keep, n, h) y = Where (keep, n, p)", {"h": "h_n"}, SIMPLE_WEIGHTS),
    "GRU": (f"{AFTER} {READ} h_n = Where (keep, n, h) y = Where (keep, n, p)", {"h": "h_n"}, GRU_WEIGHTS),
    "LSTM": (f"{PLAIN_LSTM} {HELD}", {"h": "h_n", "c": "c_m"}, LSTM_WEIGHTS),
}
BACKWARDS = """
    rows = Gather <axis = 0> (shape, one)
    count = Unsqueeze (rows, zero_axis)
    lengths = Expand (steps, count)
    x_r = ReverseSequence <batch_axis = 1, time_axis = 0> (x, lengths)
    mask_r = ReverseSequence <batch_axis = 1, time_axis = 0> (mask, lengths)
"""


def patterns(mask_TB1):
    """The mask with whole rows, holes, paddings of both sides, an empty row; then all of it, and nothing."""
    steps = len(mask_TB1)
    mixed = mask_TB1.copy()
    mixed[:, 0], mixed[:, 1] = True, False
    mixed[:, 2], mixed[:, 3] = np.arange(steps)[:, None] < 3, np.arange(steps)[:, None] > 2
    return {"mixed": mixed, "all": np.ones_like(mask_TB1), "nothing": np.zeros_like(mask_TB1)}


def agree(model, changed):
    values = feed(model, 6, 7)
    for what, mask in patterns(values["mask"]).items():
        given = values | {"mask": mask}
        (wanted,), (found,) = run(model, [given]), run(changed, [given])
        for name in wanted:
            np.testing.assert_allclose(found[name], wanted[name], atol=1e-6, err_msg=f"{what}: {name}")


def masked(op, *, given=(), zeros=False, weights=None, inputs=MASK, **changes):
    """A Keras cell behind a mask: y is the output before where a step is left out, or zero."""
    step, states, own = CELLS[op]
    weights = weights or own
    step = step.replace("(keep, n, p)", "(keep, n, zero)") if zeros else step
    if changes.pop("backwards", False):
        step = step.replace("(x, i)", "(x_r, i)").replace("(mask, i)", "(mask_r, i)")
        changes["around"] = f"{LENGTH}{BACKWARDS}"
        weights = weights | {"zero_axis": np.array([0])}
    inputs += "".join(f", float[B,4] {name}_0" for name in given)
    states = states if zeros else states | {"p": "y"}
    return loop(step, states, ("y",), inputs=inputs, weights=weights, **changes)


@pytest.mark.parametrize("op", CELLS)
@pytest.mark.parametrize("given", ["", "h", "hc", "p"])
@pytest.mark.parametrize("way", ["held", "zeros", "backwards", "backwards, zeros"])
def test_a_masked_cell(op, given, way):
    """Initial states, zero or not, of the cell and of the output that is held."""
    states = [name for name in given if name in CELLS[op][1] or (name == "p" and "zeros" not in way)]
    model = masked(op, given=states, zeros="zeros" in way, backwards="backwards" in way)
    changed, outcome = same(model, "native")
    node = node_of(changed, op)
    assert "masked" in outcome.what
    assert not operators(changed.graph)["Scan"]
    assert (node.attributes.get_string("direction") == "reverse") == ("backwards" in way)
    agree(model, changed)


def test_the_steps_that_are_taken_are_moved_to_the_front():
    changed, _ = same(masked("LSTM"), "native")
    node = node_of(changed, "LSTM")
    assert node.inputs[4].producer().op_type == "Cast"
    assert operators(changed.graph)["TopK"] == operators(changed.graph)["CumSum"] == 1
    assert operators(changed.graph)["Gather"] >= 2


def test_the_last_state_of_a_row_that_takes_no_step():
    model = masked("LSTM", given=("h", "c", "p"))
    changed, _ = same(model, "native")
    values = feed(model, 3, 4)
    values["mask"][:, 1] = False
    (found,) = run(changed, [values])
    for name in "hcp":
        np.testing.assert_array_equal(found[f"last_{name}"][1], values[f"{name}_0"][1])
    np.testing.assert_array_equal(found["every_y"][:, 1], np.repeat(values["p_0"][None, 1], 4, 0))


def test_a_mask_of_the_other_sense():
    """A step is taken where the mask is false."""
    step, states, weights = CELLS["LSTM"]
    turned = step.replace("(keep, n, h)", "(keep, h, n)").replace("(keep, c_n, c)", "(keep, c, c_n)")
    turned = turned.replace("(keep, n, p)", "(keep, p, n)")
    model = loop(turned, states | {"p": "y"}, ("y",), inputs=MASK, weights=weights)
    changed, outcome = same(model, "native")
    assert "masked" in outcome.what
    agree(model, changed)


SPELLED = {
    "as a sum of products": (
        "on = Cast <to = 1> (keep) off_b = Not (keep) off = Cast <to = 1> (off_b)"
        " n_on = Mul (n, on) h_off = Mul (off, h) h_n = Add (n_on, h_off)"
    ),
    "with one minus": (
        "on = Cast <to = 1> (keep) off = Sub (one_f, on)"
        " n_on = Mul (on, n) h_off = Mul (h, off) h_n = Add (h_off, n_on)"
    ),
    "repeated for each unit": "wide = Expand (keep, to_units) h_n = Where (wide, n, h)",
    "with another mask": "other = Gather <axis = 0> (second, i) both = And (keep, other) h_n = Where (both, n, h)",
}


@pytest.mark.parametrize("how", SPELLED)
def test_masks_as_they_are_written(how):
    step = f"{SIMPLE} {READ} {SPELLED[how]}"
    inputs = MASK + (", bool[T,B,1] second" if "second" in step else "")
    weights = SIMPLE_WEIGHTS | {"to_units": np.array([1, 4])}
    model = loop(step, {"h": "h_n"}, ("h_n",), inputs=inputs, weights=weights)
    changed, outcome = same(model, "native")
    assert "masked" in outcome.what
    agree(model, changed)


NO_MASKS = {
    "a state that goes on": HELD.replace("(keep, c_n, c)", "(keep, c_n, c_n)"),
    "a state that is reset": HELD.replace("(keep, c_n, c)", "(keep, c_n, zero)"),
    "another mask for one state": f"other = Gather <axis = 0> (second, i) {HELD.replace('(keep, c_n', '(other, c_n')}",
    "states for each other": HELD.replace("(keep, n, h)", "(keep, n, c)").replace("(keep, c_n, c)", "(keep, c_n, h)"),
    "the other sense for one state": HELD.replace("(keep, c_n, c)", "(keep, c, c_n)"),
    "a flag for each unit": HELD.replace("(mask, i)", "(wide, i)"),
    "the output of another step": HELD.replace("(keep, n, p)", "(keep, n, c)"),
    "the output goes on": HELD.replace("(keep, n, p)", "(keep, n, n)"),
    "a flag of the state": HELD.replace("Gather <axis = 0> (mask, i)", "Greater (h, zero)"),
}


@pytest.mark.parametrize("what", NO_MASKS)
def test_what_is_no_mask(what):
    """Refused as a native operator; the other forms are right."""
    step = f"{PLAIN_LSTM} {NO_MASKS[what]}"
    inputs = MASK + ", bool[T,B,1] second" * ("second" in step) + ", bool[T,B,4] wide" * ("wide" in step)
    states = {"h": "h_n", "c": "c_m", "p": "y"}
    model = loop(step, states, ("y",), inputs=inputs, weights=LSTM_WEIGHTS)
    assert "native" in refused(model)
    changed, outcome = same(model, "scan")
    assert outcome.fault == ""
    agree(model, changed)


def attribute(op, **new):
    def change(terms, term):
        if term.op != op:
            return term
        return terms.call(op, term.inputs, dict(term.call.attributes) | new, term.call.results)[term.port]

    return change


def inputs(op, change):
    return lambda terms, term: terms.rebuilt(term, change(terms, list(term.inputs))) if term.op == op else term


FAULTS = {
    "off by one": attribute("CumSum", exclusive=1),
    "counted from the end": attribute("CumSum", reverse=1),
    "along the batch": inputs("CumSum", lambda terms, given: [given[0], terms.const(1, np.int64)]),
    "the last step first": attribute("TopK", largest=1),
    "the batch for the steps": attribute("TopK", axis=1),
    "the mask turned": inputs("Where", lambda terms, given: [given[0], given[2], given[1]]),
    "not moved": inputs("LSTM", lambda terms, given: [given[0].operands[0], *given[1:]]),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_compaction_is_caught(monkeypatch, fault):
    """By the comparison with the Loop, which is kept then, or by the runtime."""

    def spoiled(node, batch):
        found = derive(node, batch)
        terms = Terms()
        form = found.forms["native"]
        new = rewritten(terms, list(form.values()), lambda term: FAULTS[fault](terms, term))
        found.forms["native"] = {value: new[term] for value, term in form.items()}
        return found

    derive = candidates.derive
    monkeypatch.setattr(lower, "derive", spoiled)
    _, outcome = lowered(masked("LSTM", given=("h",)))
    assert "native" not in outcome.proven
    assert "native" in outcome.fault or "refuses" in outcome.refused["native"]


GRU_MASKED = AFTER.replace(
    "n = Add (zh, zg)", "m = Add (zh, zg) keep = Gather <axis = 0> (mask, i) n = Where (keep, m, h)"
)
GRU_INPUTS = f"{MASK}, float[B,4] h_0"


def test_a_gru_keeps_its_state_by_its_update_gate():
    """Where the mask is 0 the gate is 1: a lane of the input that is 1 there, of a weight that outdoes any sum."""
    model = loop(GRU_MASKED, inputs=GRU_INPUTS, weights=GRU_WEIGHTS)
    found, (x, w, *_) = native(model, "GRU")
    assert found["linear_before_reset"] == 1
    assert w.shape == (1, 12, 4)
    np.testing.assert_array_equal(w[0, :, 3], np.repeat([1e9, 0, 0], 4).astype(np.float32))
    np.testing.assert_array_equal(w[:, :, :3], stacked(GRU_WEIGHTS["W"], "zrn", "zrn"))
    assert x


def test_a_padding_of_large_numbers():
    """What stands where the mask is 0 must not outdo the weight that keeps the state."""
    model = loop(GRU_MASKED, inputs=GRU_INPUTS, weights=GRU_WEIGHTS)
    changed, _ = lowered(model, "native")
    values = feed(model, 5, 7)
    values["x"] = np.where(values["mask"], values["x"], np.float32(-1e12) * np.sign(values["x"]))
    (wanted,), (found,) = run(model, [values]), run(changed, [values])
    np.testing.assert_allclose(found["last_h"], wanted["last_h"], atol=1e-6)


def renamed(model, names):
    """The model with other names of its values, inside its Loop too."""
    bodies = [item.g for node in model.graph.node for item in node.attribute if item.HasField("g")]
    for graph in (model.graph, *bodies):
        for node in graph.node:
            node.input[:] = [names(name) if name else "" for name in node.input]
            node.output[:] = map(names, node.output)
            node.name = node.name and f"second/{node.name}"
        for value in (*graph.input, *graph.output, *graph.initializer):
            value.name = names(value.name)
    return model


def stacked_layers(same_mask, backwards=False):
    """Two layers, the second over the outputs of the first, behind its mask or one of its own."""
    first = masked("LSTM", backwards=backwards, results=["every_y"])
    wide = MASK.replace("B,3", "B,4")
    second = masked("LSTM", weights=drawn(W=(4, 16), R=(4, 16), b=(16,)), inputs=wide)
    shared = {"x": "every_y"} | ({"mask": "mask"} if same_mask else {})
    renamed(second, lambda name: shared.get(name, f"second/{name}"))
    graph = first.graph
    graph.node.extend(second.graph.node)
    graph.initializer.extend(second.graph.initializer)
    graph.input.extend(value for value in second.graph.input if value.name.startswith("second/"))
    del graph.output[:]
    graph.output.extend(second.graph.output)
    return first


@pytest.mark.parametrize("same_mask", [True, False])
def test_layers_behind_one_mask_move_their_steps_once(same_mask):
    model = stacked_layers(same_mask)
    changed, _ = lowered(model, "native")
    count = operators(changed.graph)
    assert count["LSTM"] == 2
    assert count["TopK"] == count["CumSum"] == (1 if same_mask else 2)
    agree(model, changed)


def test_a_layer_backwards_behind_the_mask_of_the_next():
    """Its results come in the order of its steps, which is not that of the mask."""
    model = stacked_layers(same_mask=True, backwards=True)
    changed, _ = lowered(model, "native")
    assert operators(changed.graph)["LSTM"] == 2
    agree(model, changed)
