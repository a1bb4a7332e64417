"""Which form is chosen: by the model of the costs, for a GPU, by measurement, and where one is asked for."""

from __future__ import annotations

import re

import pytest

from rnnexport.core.errors import ConversionError
from rnnexport.lowering.cost_model import BATCHES, choose, split
from tests.lowering.grammar import generate
from tests.lowering.small import SIMPLE, X, compared, derived, drawn, loop, lowered, node_of, operators
from tests.lowering.test_native import AFTER, BEFORE, GRU_WEIGHTS, LSTM_WEIGHTS, PEEPHOLES, PLAIN_LSTM, TWO

# A linear recurrence that is the Loop as it is: no term of it can leave, and the operators are as many.
MINIMAL = """
    x_t = Gather <axis = 0> (x, i)
    xf = MatMul (x_t, Wf)
    hf = MatMul (h, Rf)
    sf = Add (xf, hf)
    f = Sigmoid (sf)
    fh = Mul (f, h)
    xn = MatMul (x_t, Wn)
    hn = MatMul (fh, Rn)
    sn = Add (xn, hn)
    g = Tanh (sn)
    one_f_ = Sub (one_f, f)
    old = Mul (one_f_, h)
    new = Mul (f, g)
    n = Add (old, new)
"""


def of_units(units, step=SIMPLE, weights="W R b", inputs=X, **given):
    """A cell of another number of units."""
    shapes = {name: {"W": (3, units), "R": (units, units), "b": (units,)}[name[0]] for name in weights.split()}
    kind = f"float[B,{units}]"
    scaled = {name: array / units**0.5 for name, array in drawn(**shapes).items()}
    return loop(step, types={"h": kind, "n": kind}, inputs=inputs, weights=scaled, **given)


def minimal(units):
    return of_units(units, MINIMAL, "Wf Wn Rf Rn")


def chosen(model, **request):
    found = derived(model)
    return choose(found.costs, request.get("provider", "cpu"), found.off_cuda)


def test_a_small_cell_is_native():
    _, outcome = lowered(loop())
    assert (outcome.chosen, outcome.proven) == ("native", ("native", "scan", "loop"))
    predicted = r"predicted \S+ us a step at batch 1 and 32 \(scan \S+, loop \S+\)"
    assert re.fullmatch(rf"up to a batch of \d+, scan behind it: {predicted}", outcome.why)
    _, outcome = lowered(loop(AFTER, weights=GRU_WEIGHTS))  # RNN computes its activations one by one, GRU does not
    assert outcome.chosen == "native"
    assert re.fullmatch(predicted, outcome.why)


def test_a_large_cell_with_fewer_gates_than_its_operator_is_no_native():
    """A minimal gated unit has two products and is a GRU of three."""
    assert derived(minimal(8)).what.startswith("minimal gated unit")
    assert chosen(minimal(8)).form == "native"
    assert chosen(minimal(512)).form == "scan"


def test_a_large_simple_rnn_is_no_native():
    """The kernel of RNN computes its activations one by one."""
    assert chosen(of_units(4)).form == "native"
    assert chosen(of_units(512)).form == "scan"


def test_a_fixed_batch_is_the_one_to_be_fast_at():
    assert set(derived(loop(inputs="float[T,6,3] x", types={"h": "float[6,4]", "n": "float[6,4]"})).costs["loop"]) == {
        6
    }
    assert tuple(derived(loop()).costs["loop"]) == BATCHES
    assert "at batch 6" in chosen(loop(inputs="float[T,6,3] x", types={"h": "float[6,4]", "n": "float[6,4]"})).why


def test_one_step_is_unrolled():
    model = loop(inputs="float[1,B,3] x")
    _, outcome = lowered(model)
    assert (outcome.chosen, outcome.proven) == ("unroll", ("native", "scan", "unroll", "loop"))


def test_many_steps_are_unrolled_only_where_asked():
    model = loop(inputs="float[40,B,3] x")
    assert lowered(model)[1].chosen == "native"
    _, outcome = lowered(model, "unroll")
    assert (outcome.chosen, outcome.why) == ("unroll", "it was asked for")
    assert "unroll" in outcome.proven


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_chosen_that_is_slower_than_the_loop(seed):
    found = derived(generate(seed).model)
    if found.forms:
        choice = choose(found.costs, "cpu", found.off_cuda)
        loop_cost = found.costs["loop"]
        assert all(cost <= 1.05 * loop_cost[at] for at, cost in found.costs[choice.form].items())


def test_the_smallest_of_the_worst_ratios_is_chosen():
    costs = {"native": {1: 1.0, 32: 40.0}, "scan": {1: 3.0, 32: 20.0}, "loop": {1: 9.0, 32: 50.0}}
    for order in (list(costs), list(costs)[::-1]):  # native takes twice as long at 32, the Scan thrice at 1
        assert choose({form: costs[form] for form in order}, "cpu", "").form == "native"
    assert choose(costs | {"native": {1: 1.0, 32: 70.0}}, "cpu", "").form == "scan"  # slower than the Loop
    assert choose({"scan": {1: 9.6, 32: 1.0}, "loop": {1: 9.0, 32: 50.0}}, "cpu", "").form == "loop"
    assert choose({"scan": {1: 9.4, 32: 1.0}, "loop": {1: 9.0, 32: 50.0}}, "cpu", "").form == "scan"


def test_the_batch_decides_where_no_form_is_good_at_all():
    """A minimal gated unit of 64 units is a native GRU with a gate too many: fast for few rows, slow for many."""
    model = minimal(64)
    changed, outcome = lowered(model)
    most = int(re.match(r"up to a batch of (\d+), scan behind it: predicted ", outcome.why)[1])
    assert outcome.chosen == "native"
    assert 1 < most < 32
    assert compared(model, changed, [(1, 1), (most, 5), (most + 1, 4), (33, 6)]) == []
    node = node_of(changed, "If")
    branches = {name: operators(node.attributes[name].as_graph()) for name in ("then_branch", "else_branch")}
    assert (branches["then_branch"]["GRU"], branches["else_branch"]["Scan"]) == (1, 1)
    # Which branch runs is seen where one of them is wrong.
    node.attributes["then_branch"].as_graph().outputs[0].producer().op_type = "Neg"
    assert compared(model, changed, [(most, 4)]) != []
    assert compared(model, changed, [(most + 1, 4)]) == []


def test_one_form_is_for_all_batches_where_two_gain_little_or_take_too_much(monkeypatch):
    assert "behind it" not in lowered(of_units(128))[1].why  # a Scan is the faster one at both
    assert split(chosen(minimal(160)), derived(minimal(160)).costs).other == ""  # they are near each other at both
    for request in ({"portable": True}, {"provider": "cuda"}, {"batch": 32}, {"batch": 1}):
        changed, outcome = lowered(minimal(64), **request)
        assert "If" not in operators(changed.graph)
        assert "behind it" not in outcome.why
    assert lowered(minimal(64), batch=1)[1].chosen == "native"
    assert lowered(minimal(64), batch=32)[1].chosen == "scan"
    assert "at batch 32 " in lowered(minimal(64), batch=32)[1].why
    monkeypatch.setattr("rnnexport.lowering.lower._TWICE", 50_000)
    assert "If" not in operators(lowered(minimal(64))[0].graph)


LSTM = {"step": PLAIN_LSTM, "weights": LSTM_WEIGHTS, **TWO}
ON_CUDA = {
    "": (LSTM, {"step": AFTER, "weights": GRU_WEIGHTS}, {}),
    "its activations are not the defaults": (
        {"step": SIMPLE.replace("Tanh", "Relu")},
        {**LSTM, "step": PLAIN_LSTM.replace("Sigmoid", "HardSigmoid")},
        {"step": AFTER.replace("Tanh", "Relu"), "weights": GRU_WEIGHTS},
    ),
    "it has peepholes": ({**LSTM, "step": PEEPHOLES},),
    "its reset is before the matrix": ({"step": BEFORE, "weights": GRU_WEIGHTS},),
}


@pytest.mark.parametrize(("reason", "given"), [(reason, given) for reason in ON_CUDA for given in ON_CUDA[reason]])
def test_for_cuda(reason, given):
    """The operator where the GPU has a kernel for it, whatever it would cost on a CPU; else a Scan."""
    _, outcome = lowered(loop(**given), provider="cuda")
    expected = (
        ("scan", f"the CUDA kernel does not take it: {reason}") if reason else ("native", "the CUDA kernel takes it")
    )
    assert (outcome.chosen, outcome.why) == expected


def test_for_cuda_without_a_native_form():
    _, outcome = lowered(loop(SIMPLE.replace("Tanh", "Erf")), provider="cuda")
    assert (outcome.chosen, outcome.why) == ("scan", "it has no native form")


class Clock:
    """Tells times that were thought up, and keeps what it was asked."""

    def __init__(self, *seconds):
        self.seconds, self.asked = seconds, []

    def __call__(self, models, feed):
        self.asked.append(([{node.op_type for node in model.graph} for model in models], feed))
        return list(self.seconds)


@pytest.mark.parametrize("fastest", ["native", "scan", "loop"])
def test_tuning_takes_the_fastest(fastest):
    forms = ["native", "scan", "loop"]
    clock = Clock(*(1e-5 if form == fastest else 9e-5 for form in forms))
    model = loop(inputs="float[T,batch,3] x", types={"h": "float[batch,4]", "n": "float[batch,4]"})
    _, outcome = lowered(model, tune=(6, 11), measure=clock)
    others = ", ".join(f"{form} 90" for form in forms if form != fastest)
    assert outcome.chosen == fastest
    assert outcome.why.endswith(f": 10 us ({others})")
    ((operators, feed),) = clock.asked
    assert [{"RNN", "Scan", "Loop"} & found for found in operators] == [{"RNN"}, {"Scan"}, {"Loop"}]
    assert (11, 6, 3) in {array.shape for array in feed.values()}


def test_nothing_is_measured_where_a_form_is_asked_for():
    clock = Clock()
    assert lowered(loop(), "scan", tune=(2, 3), measure=clock)[1].chosen == "scan"
    assert lowered(loop(limit=""), tune=(2, 3), sizes=(), measure=clock)[1].chosen == "loop"
    assert clock.asked == []


@pytest.mark.parametrize("form", ["native", "scan", "loop"])
def test_a_form_that_is_asked_for(form):
    _, outcome = lowered(loop(), form)
    assert (outcome.chosen, outcome.why) == (form, "it was asked for")


def test_a_form_that_is_not_proven_can_not_be_asked_for():
    with pytest.raises(ConversionError, match="model/cell has no proven form unroll: its length is dynamic; expected"):
        lowered(loop(), "unroll")
    with pytest.raises(ConversionError, match="has no proven form native: Erf is no part of LSTM, GRU or RNN"):
        lowered(loop(SIMPLE.replace("Tanh", "Erf")), "native")
    with pytest.raises(ConversionError, match="has no proven form scan: nothing limits the number of its steps"):
        lowered(loop(limit=""), "scan", sizes=())
