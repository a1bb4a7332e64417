"""The states of a recurrence: what is one, what only counts or is handed on, what two of them are one."""

from __future__ import annotations

import numpy as np
import pytest

from rnnexport.ir.loop_invariants import without_twins
from tests.lowering.small import SIMPLE, SIMPLE_WEIGHTS, X, loop, node_of, operators, same
from tests.lowering.test_recurrence import NUMBERS, counter, counting, recognised


def test_the_last_value_of_a_counter():
    """It is known without the Loop, also where the limit is what stops it."""
    model = loop(
        **counter("two_more", step=counting("Add (count, two)", "i"), results=["last_h", "last_count"]),
        weights={**NUMBERS, **SIMPLE_WEIGHTS},
    )
    changed, _ = same(model, "scan")
    assert len(node_of(changed, "Scan").outputs) == 1
    same(model, "native")


def test_a_counter_that_the_cell_reads():
    step = SIMPLE.replace("biased =", "t = Cast <to = 1> (count) biased =").replace("(sum, b)", "(sum, t)")
    step = f"{step} next = Add (count, one)"
    model = loop(**counter(step=step.replace("(x, i)", "(x, count)")))
    changed, outcome = same(model, "scan")
    assert node_of(changed, "Scan").attributes["num_scan_inputs"].as_int() == 1
    assert outcome.refused["native"] == "what the cell is given in each step has no batch"


def test_a_state_that_is_only_handed_on():
    """Also under another name, and where its last value is used."""
    model = loop(
        SIMPLE.replace("(x_t, W)", "(x_t, w)").replace("(sum, b)", "(sum, bias)") + "w_same = Identity (w)",
        {"h": "n", "w": "w_same", "bias": "bias"},
        types={"w": "float[3,4]", "bias": "float[4]"},
        initial={"w": "W", "bias": "b"},
    )
    found = recognised(model)
    assert [state.before.width for state in found.states] == [4]
    assert {value.name for value in found.kept} == {"last_w", "last_bias"}
    changed, _ = same(model, "scan")
    assert len(node_of(changed, "Scan").inputs) == 2
    same(model, "native")


def test_a_dead_state_is_dropped():
    """Nobody reads what it ends with, and no other state does."""
    model = loop(f"{SIMPLE} twice = Add (dead, n)", {"h": "n", "dead": "twice"}, results=["last_h"])
    assert len(recognised(model).states) == 1
    same(model, "scan")
    model = loop(f"{SIMPLE} twice = Add (dead, n)", {"h": "n", "dead": "twice"}, results=["last_dead"])
    assert len(recognised(model).states) == 2
    same(model, "scan")


TWINS = f"{SIMPLE} m = Add (biased, zero) n_2 = Tanh (biased)"


def test_twins_are_one_state():
    model = loop(TWINS, {"h": "n", "twin": "n_2"})
    assert len(recognised(model).states) == 2
    assert len(without_twins(recognised(model)).states) == 1
    changed, _ = same(model, "scan")
    assert len(node_of(changed, "Scan").inputs) == 2
    same(model, "native")


def test_twins_that_start_apart_are_two_states():
    step = f"{SIMPLE.replace('(h, R)', '(mean, R)').replace('hr =', 'mean = Add (h, twin) hr =')} n_2 = Tanh (biased)"
    for inputs in (f"{X}, float[B,4] h_0, float[B,4] twin_0", f"{X}, float[B,4] twin_0"):
        model = loop(step, {"h": "n", "twin": "n_2"}, inputs=inputs)
        assert len(without_twins(recognised(model)).states) == 2
        same(model, "scan")


def test_zeros_of_two_widths_are_no_twins():
    """Both start from zero, but not of the same shape."""
    step = f"{SIMPLE.replace('(biased)', '(more)')} thin_n = ReduceSum <keepdims = 1> (n, first)"
    step = step.replace("n = Tanh", "more = Add (biased, thin) n = Tanh")
    model = loop(step, {"h": "n", "thin": "thin_n"}, types={"thin": "float[B,1]"})
    assert len(without_twins(recognised(model)).states) == 2
    same(model, "scan")


NESTED = """
    x_t = Gather <axis = 0> (x, i)
    xw = MatMul (x_t, W)
    n = Loop <body = inner (int64 j, bool on, float[B,4] s) => (bool on_out, float[B,4] s_out) {
        sr = MatMul (s, R)
        s_sum = Add (sr, xw)
        s_out = Tanh (s_sum)
        on_out = Identity (on)
    }> (INNER, nothing, h)
"""


def test_a_nested_loop_of_few_trips_is_read_as_its_steps():
    model = loop(NESTED.replace("INNER", "three").replace("nothing", "yes"), weights={**NUMBERS, **SIMPLE_WEIGHTS})
    changed, outcome = same(model, "scan")
    scan = node_of(changed, "Scan").attributes["body"].as_graph()
    assert operators(scan)["Tanh"] == 3
    assert "Loop" not in operators(scan)
    assert "custom cell" in outcome.what


@pytest.mark.parametrize("inner", ["steps", "seventeen"])
def test_a_nested_loop_of_many_or_any_trips_is_kept(inner):
    weights = {**SIMPLE_WEIGHTS, "seventeen": np.array(17)}
    model = loop(NESTED.replace("INNER", inner).replace("nothing", "yes"), weights=weights)
    changed, _ = same(model, "scan")
    scan = node_of(changed, "Scan").attributes["body"].as_graph()
    assert operators(scan)["Loop"] == 1
    assert operators(scan)["MatMul"] == 0


def test_a_nested_loop_that_counts():
    """Each of its steps has its own number, which is not that of the step around it."""
    counted = NESTED.replace("s_sum = Add (sr, xw)", "j_f = Cast <to = 1> (j) xj = Mul (xw, j_f) s_sum = Add (sr, xj)")
    model = loop(counted.replace("INNER", "three").replace("nothing", "yes"), weights={**NUMBERS, **SIMPLE_WEIGHTS})
    changed, _ = same(model, "scan")
    assert operators(node_of(changed, "Scan").attributes["body"].as_graph())["Tanh"] == 3


def test_a_nested_loop_that_captures_nothing():
    """Its body goes into the Scan as a copy: that of the Loop is taken apart."""
    weights = {**SIMPLE_WEIGHTS, **NUMBERS, "seventeen": np.array(17)}
    step = """
        x_t = Gather <axis = 0> (x, i)
        xw = MatMul (x_t, W)
        hr = MatMul (h, R)
        sum = Add (hr, xw)
        n = Loop <body = inner (int64 j, bool on, float[B,4] s) => (bool on_out, float[B,4] s_out) {
            s_out = Tanh (s)
            on_out = Identity (on)
        }> (seventeen, yes, sum)
    """
    changed, _ = same(loop(step, weights=weights), "scan")
    assert operators(node_of(changed, "Scan").attributes["body"].as_graph())["Loop"] == 1
