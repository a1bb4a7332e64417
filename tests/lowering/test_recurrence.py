"""Which Loops are read as recurrences: how they count, where they stop, what of them is a state."""

from __future__ import annotations

import numpy as np
import pytest

from rnnexport.ir.recurrence import Recurrence, recognise
from rnnexport.ir.terms import Terms
from tests.lowering.small import (
    LENGTH,
    SIMPLE,
    SIMPLE_WEIGHTS,
    X,
    compared,
    drawn,
    loop,
    lowered,
    operators,
    read,
    same,
)

INT = {"count": "int64"}


def body(at="i", sequence="x"):
    """A simple cell that reads its sequence at another place."""
    return SIMPLE.replace("(x, i)", f"({sequence}, {at})")


def less(left, right="steps"):
    return f"{SIMPLE} less = Less ({left}, {right})"


def counting(next_count="Add (count, one)", at="count"):
    return f"{body(at)} next = {next_count}"


def counter(start="zero_th", **more):
    more.setdefault("results", ["last_h", "every_n"])
    return {"states": {"h": "n", "count": "next"}, "types": INT, "initial": {"count": start}} | more


MINUS_TWO = f"{LENGTH} limit = Sub (steps, two)"
HALF = f"{LENGTH} limit = Div (steps, two)"
LAST = f"{LENGTH} last = Sub (steps, one)"
EVERY_CONDITION = """
    now = Add (i, one)
    a = Less (now, steps)
    b1 = Greater (steps, now)
    both = And (a, b1)
    more = And (both, go)
"""
REVERSED = f"""{LENGTH}
    shape_1 = Gather <axis = 0> (shape, one)
    count = Unsqueeze (shape_1, first_axis)
    lengths = Expand (steps, count)
    y = ReverseSequence <batch_axis = 1, time_axis = 0> (x, lengths)
"""
WITH_AXIS = {**SIMPLE_WEIGHTS, "first_axis": np.array([0])}

# name: (what `loop` is given, the length in numbers where it is fixed, the number of states)
RECOGNISED = {
    "the limit alone": ({}, None, 1),
    "an offset": ({"step": f"at = Add (i, two) {body('at')}", "around": MINUS_TWO, "limit": "limit"}, None, 1),
    "from the end": (
        {"step": f"n_1 = Sub (steps, one) at = Sub (n_1, i) {body('at')}", "inputs": X},
        None,
        1,
    ),
    "the element before, the last one at first": ({"step": f"at = Sub (i, one) {body('at')}"}, None, 1),
    "every second element": (
        {"step": f"at = Mul (i, two) {body('at')}", "around": MINUS_TWO, "limit": "three"},
        3,
        1,
    ),
    "a counter as a state": (counter(step=counting()), None, 1),
    "a counter from 3 by 2": (counter("two_more", step=counting("Add (count, two)"), limit="two"), 2, 1),
    "a counter from the end": (counter("last", step=counting("Sub (count, one)"), around=LAST), None, 1),
    "a counter that is added to": (counter(step=counting("Add (one, count)")), None, 1),
    "a counter of 32 bits": (
        counter(
            "zero_32",
            step=f"{body('count')} next = Add (count, one_32)",
            types={"count": "int32"},
        ),
        None,
        1,
    ),
    "the condition alone": (
        {"step": f"now = Add (i, one) {less('now')}", "limit": "", "start": "yes_if", "going": "less"},
        None,
        1,
    ),
    "a condition and a limit": (
        {"step": f"now = Add (i, one) {less('now')}", "going": "less", "start": "yes_if"},
        None,
        1,
    ),
    "less or equal": (
        {"step": f"{SIMPLE} now = Add (i, two) fine = LessOrEqual (now, steps)", "going": "fine", "start": "yes_if"},
        None,
        1,
    ),
    "not greater": (
        {
            "step": f"{SIMPLE} now = Add (i, two) far = Greater (now, steps) fine = Not (far)",
            "going": "fine",
            "start": "yes_if",
        },
        None,
        1,
    ),
    "greater or equal": (
        {"step": f"{SIMPLE} now = Add (i, two) fine = GreaterOrEqual (steps, now)", "going": "fine", "start": "yes_if"},
        None,
        1,
    ),
    "a condition in floats": (
        {
            "step": f"{SIMPLE} now = Add (i, one) n_f = Cast <to = 1> (now) s_f = Cast <to = 1> (steps) "
            "fine = Less (n_f, s_f)",
            "going": "fine",
            "start": "yes_if",
        },
        None,
        1,
    ),
    "two conditions and the one before": (
        {"step": f"{SIMPLE} {EVERY_CONDITION}", "going": "more", "start": "yes_if"},
        None,
        1,
    ),
    "a fixed length": ({"limit": "three"}, 3, 1),
    "a fixed length of the sequence": ({"inputs": "float[4,B,3] x"}, 4, 1),
    "a limit of two sizes": (
        {"step": f"now = Add (i, one) {less('now', 'three')}", "going": "less", "start": "yes_if"},
        None,
        1,
    ),
    "a condition that counts down by 2": (
        counter("five", step=f"{counting('Sub (count, two)', 'i')} fine = Greater (next, one)", going="fine", limit=""),
        2,
        1,
    ),
    "shorter than the sequence": ({"around": MINUS_TWO, "limit": "limit"}, None, 1),
    "a limit that is computed": ({"around": HALF, "limit": "limit"}, None, 1),
    "a sequence turned round": (
        {"step": body(sequence="y"), "around": REVERSED, "weights": WITH_AXIS},
        None,
        1,
    ),
    "a row of weights by step": (
        {"step": f"{SIMPLE.replace('biased = Add (sum, b)', 'row = Gather (rows, i) biased = Add (sum, row)')}"},
        None,
        1,
    ),
}
NUMBERS = {
    "three": np.array(3),
    "five": np.array(5),
    "two_more": np.array(3),
    "zero_32": np.array(0, np.int32),
    "one_32": np.array(1, np.int32),
    "rows": drawn(rows=(12, 4))["rows"],
}
# The first step is taken where the sequence has one.
STARTS = "yes_if = Less (zero_th, steps)"


def built(case):
    given = dict(RECOGNISED[case][0])
    given["weights"] = {**NUMBERS, **given.get("weights", SIMPLE_WEIGHTS)}
    given["around"] = given.get("around", LENGTH) + STARTS * (given.get("start") == "yes_if")
    return loop(**given)


def recognised(model):
    found = recognise(read(model), Terms())
    assert isinstance(found, Recurrence), found
    return found


@pytest.mark.parametrize("case", RECOGNISED)
def test_recognised(case):
    """With as many states as are none of a counter, and a Scan that gives what the Loop gives."""
    model, (_, steps, states) = built(case), RECOGNISED[case]
    found = recognised(model)
    assert (found.length.fixed, len(found.states)) == (steps, states)
    longer = ((3, 8), (5, 6), (2, 9))  # than the offset or the fixed number of steps
    sizes = longer if "fixed length of the" not in case else ((3, 4), (1, 4))
    changed, outcome = same(model, "scan", sizes, sizes)
    assert "Loop" not in operators(changed.graph)
    assert outcome.what.startswith("custom cell" if "row" in case else "SimpleRNN; 1 state of 4")


@pytest.mark.parametrize("case", [case for case, (_, steps, _) in RECOGNISED.items() if steps])
def test_a_fixed_length_is_unrolled(case):
    sizes = ((3, 8), (5, 6)) if "of the" not in case else ((3, 4), (1, 4))
    changed, outcome = same(built(case), "unroll", sizes, sizes)
    assert not {"Loop", "Scan"} & set(operators(changed.graph))
    assert f"{RECOGNISED[case][1]} steps" in outcome.what


@pytest.mark.parametrize("case", ["from the end", "a counter from the end", "a sequence turned round"])
def test_a_reversed_sequence_is_native_too(case):
    same(built(case), "native")


def test_no_step_at_all():
    """A constant limit of 0: the state is what it was, and nothing is stacked."""
    model = loop(limit="zero_th", inputs=f"{X}, float[B,4] h_0")
    assert recognised(model).length.fixed == 0
    _, outcome = lowered(model)
    assert outcome.chosen == "loop"
    assert "0 steps" in outcome.refused["unroll"]


# To each the smallest length that the Loop takes no step at.
@pytest.mark.parametrize("form", ["scan", "native"])
@pytest.mark.xfail(
    strict=True, reason="ORT's Scan refuses a sequence of no elements; its RNN forgets the initial state"
)
def test_a_sequence_of_no_elements(form):
    model = loop(inputs=f"{X}, float[B,4] h_0")
    changed, _ = lowered(model, form)
    assert compared(model, changed, ((3, 0),)) == []
