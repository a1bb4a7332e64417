"""Every reason why a Loop is left as it is, or has no Scan or no unrolled form: each by a Loop that meets it."""

from __future__ import annotations

import numpy as np
import pytest

from rnnexport.ir.lengths import Refusal
from rnnexport.ir.recurrence import recognise
from rnnexport.ir.terms import Terms
from tests.lowering.small import LENGTH, SIMPLE, SIMPLE_WEIGHTS, X, compared, loop, lowered, read, refused

LESS = f"{SIMPLE} now = Add (i, one) less = Less (now, steps)"
SIX_HUNDRED = {**SIMPLE_WEIGHTS, "many": np.array(600), "minus": np.array(-2)}

# Why no form is there: Loops of which that is so.
LEFT = {
    "the data decides when it stops": (
        {"step": f"{SIMPLE} m = ReduceMax <keepdims = 0> (n) more = Less (m, one_f)", "going": "more"},
        {"step": f"{SIMPLE} m = ReduceMax <keepdims = 0> (n) a = Less (m, one_f) more = And (a, go)", "going": "more"},
        {"step": f"{SIMPLE} more = Identity (flag)", "going": "more", "inputs": f"{X}, bool flag"},
        {"step": f"{SIMPLE} more = Greater (i, two)", "going": "more"},
        {"step": f"{SIMPLE} square = Mul (i, i) more = Less (square, steps)", "going": "more"},
        {"step": f"{SIMPLE} more = Less (one, two)", "going": "more"},
    ),
    "it takes a first step whatever its length is": (
        {"step": LESS, "going": "less", "limit": ""},
        {"step": LESS, "going": "less", "limit": "", "start": "yes"},
    ),
    "its limit is no integer that can be followed": (
        {"around": f"{LENGTH} other = Gather (shape, one) both = Add (steps, other)", "limit": "both"},
    ),
    "nothing limits the number of its steps": ({"limit": ""}, {"limit": "", "start": "yes"}),
    "a condition of its own decides whether it starts": (
        {"start": "if_batch", "around": f"{LENGTH} rows = Gather (shape, one) if_batch = Less (two, rows)"},
        {"start": "if_long", "around": f"{LENGTH} if_long = Less (two, steps)"},
        {"start": "never", "weights": {**SIMPLE_WEIGHTS, "a": np.array(1)}, "around": f"{LENGTH} never = Less (a, a)"},
    ),
    "the data decides whether it starts": (
        {"start": "flag", "inputs": f"{X}, bool flag"},
        {"start": "differ", "around": f"{LENGTH} same = Equal (steps, two) differ = Not (same)"},
    ),
    "one of its states has no initial value": ({"initial": {"h": "nothing"}},),
    "it draws random numbers (RandomNormalLike)": (
        {"step": f"{SIMPLE.replace('n =', 'm =')} noise = RandomNormalLike (m) n = Add (m, noise)"},
    ),
    "it draws random numbers (Bernoulli, RandomUniformLike)": (
        {
            "step": f"{SIMPLE.replace('n =', 'm =')} noise = RandomUniformLike (m) drop = Bernoulli (noise) "
            "n = Mul (m, drop)"
        },
    ),
    "a state may change its shape after the first step": (
        {"step": "x_t = Gather (x, i) xw = MatMul (x_t, W) n = Add (h, xw)", "inputs": f"{X}, float[1,4] h_0"},
    ),
    "it computes in half precision": (
        {
            "inputs": "float16[T,B,3] x, float16[B,4] h_0",
            "types": {"h": "float16[B,4]", "n": "float16[B,4]"},
            "weights": {name: array.astype(np.float16) for name, array in SIMPLE_WEIGHTS.items()},
        },
    ),
}
CASES = [pytest.param(reason, given, id=f"{reason} {at}") for reason in LEFT for at, given in enumerate(LEFT[reason])]


@pytest.mark.parametrize(("reason", "given"), CASES)
def test_a_loop_that_is_left(reason, given):
    assert refused(loop(**given)) == dict.fromkeys(("native", "scan", "chunked", "unroll"), reason)


@pytest.mark.parametrize(
    "reason", ["the data decides when it stops", "a condition of its own decides whether it starts"]
)
def test_what_is_left_still_runs(reason):
    """The first Loop of each reason is the same afterwards, and is said to be."""
    model = loop(**LEFT[reason][0])
    changed, outcome = lowered(model)
    assert (outcome.chosen, outcome.proven, outcome.why) == ("loop", ("loop",), "no other form is proven")
    assert outcome.what == "a loop that is kept as it is"
    assert compared(model, changed) == []


# Why there is no Scan, or no unrolled form.
DYNAMIC = "its length is dynamic"
NO_RULE = "it has no state, but holds operators that can't be applied to all steps at once"
OTHERS = (DYNAMIC, NO_RULE, "it has 600 steps, and 1 to 512 can be unrolled")


def test_a_loop_of_no_fixed_length_is_not_unrolled():
    assert refused(loop())["unroll"] == DYNAMIC


@pytest.mark.parametrize(("limit", "steps"), [("many", 600), ("zero_th", 0), ("minus", 0)])
def test_a_loop_of_too_many_steps_or_none_is_not_unrolled(limit, steps):
    told = refused(loop(limit=limit, weights=SIX_HUNDRED))["unroll"]
    assert told == f"it has {steps} steps, and 1 to 512 can be unrolled"


def test_512_steps_are_unrolled():
    assert "unroll" not in refused(loop(limit="most", weights={**SIMPLE_WEIGHTS, "most": np.array(512)}))


def test_a_map_of_an_operator_that_can_not_be_batched():
    """There is no state, so there is nothing for a Scan to do in every step."""
    step = "x_t = Gather <axis = 0> (x, i) n = CumSum (x_t, one)"
    assert refused(loop(step, {}, types={"n": "float[B,3]"}))["scan"] == NO_RULE


def test_a_nested_loop_that_draws_random_numbers_is_seen():
    """It is read as its steps, or it is kept; either way nothing may be computed once instead of in every step."""
    for trips in ("two", "steps"):
        step = f"""
            x_t = Gather <axis = 0> (x, i)
            n = Loop <body = inner (int64 j, bool on, float[B,4] s) => (bool on_out, float[B,4] s_out) {{
                noise = RandomNormalLike (s)
                s_out = Add (s, noise)
                on_out = Identity (on)
            }}> ({trips}, yes, h)
        """
        found = recognise(read(loop(step)), Terms())
        assert isinstance(found, Refusal), f"{trips} trips"
        assert "random" in found.reason
