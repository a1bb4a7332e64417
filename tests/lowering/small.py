"""Small models with one Loop, written as ONNX text, and what the tests of the lowering do with them.

The text of the body may use `i` (the number of the step), `go` (the condition), the states and the weights by name;
around it there are `x`, `steps` (its length) and `batch`. Sizes differ: 3 features, 4 units, any B and T.
"""

from __future__ import annotations

import copy
from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, numpy_helper, parser
from onnx_ir.passes.common import ShapeInferencePass

from rnnexport.core.lowering import LoweringRequest
from rnnexport.lowering.candidates import derive
from rnnexport.lowering.lower import lower
from tests.lowering.checking import difference
from tests.lowering.runtime import measure, run

FEATURES, UNITS = 3, 4
X = "float[T,B,3] x"
SHOWN = ((2, 5), (3, 1), (4, 6))
JUDGED = ((3, 7), (5, 1), (2, 4))
LENGTH = """
    shape = Shape (x)
    steps = Gather <axis = 0> (shape, zero_th)
    batch = Gather <axis = 0> (shape, first)
"""
CONSTANTS = {
    "zero_th": np.array(0),
    "one": np.array(1),
    "two": np.array(2),
    "first": np.array([1]),
    "zero": np.array(0, np.float32),
    "one_f": np.array(1, np.float32),
    "yes": np.array(True),
    "gates2": np.array([4, 4]),
    "gates3": np.array([4, 4, 4]),
    "gates4": np.array([4, 4, 4, 4]),
}
SIMPLE = """
    x_t = Gather <axis = 0> (x, i)
    xw = MatMul (x_t, W)
    hr = MatMul (h, R)
    sum = Add (xw, hr)
    biased = Add (sum, b)
    n = Tanh (biased)
"""


def drawn(seed=7, **shapes):
    """Weights of these shapes, no two numbers of them the same."""
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(0.1, 0.9, shape) * rng.choice([-1, 1], shape) for name, shape in shapes.items()}


SIMPLE_WEIGHTS = drawn(W=(3, 4), R=(4, 4), b=(4,))


def loop(
    step=SIMPLE,
    states=None,
    stacked=("n",),
    *,
    inputs=X,
    weights=SIMPLE_WEIGHTS,
    types=None,
    initial=None,
    around=LENGTH,
    limit="steps",
    start="",
    going="",
    results=None,
    after="",
    opset=17,
):
    """A model with one Loop.

    Args:
        step: the nodes of the body.
        states: the next value of each state, by name.
        stacked: the values that the Loop keeps of every step.
        inputs: of the model.
        weights: initializers, by name.
        types: of the states and the stacked values that are not float[B,4].
        initial: what each state starts from; where it is not told, an input `<state>_0` of the model, or zero.
        around: nodes before the Loop; those of `LENGTH` or instead of them.
        limit: the first input of the Loop.
        start: the second.
        going: the value in the body that is the next condition; the present one where it is not told.
        results: which of `last_<state>`, `every_<value>` and what `after` makes are outputs; all of the Loop's.
        after: nodes behind the Loop.
    """
    states = {"h": "n"} if states is None else states
    types, initial = types or {}, dict(initial or {})
    arrays = CONSTANTS | {name: _float32(array) for name, array in weights.items()}
    for state in states:
        if state not in initial:
            initial[state] = f"{state}_0"
        if f"{state}_0" not in inputs and initial[state] == f"{state}_0":
            arrays[f"{state}_width"] = np.array([_width(types.get(state, "float[B,4]"))])
            around += f"\n{state}_shape = Concat <axis = 0> (batch, {state}_width)"
            around += f"\n{state}_0 = Expand (zero, {state}_shape)"
    going_nodes = "" if going else "go_on = Identity (go)"
    carried = [f"{types.get(state, 'float[B,4]')} {state}" for state in states]
    given = [f"{types.get(state, 'float[B,4]')} {value}" for state, value in states.items()]
    given += [f"{types.get(value, 'float[B,4]')} {value}" for value in stacked]
    made = [f"last_{state}" for state in states] + [f"every_{value}" for value in stacked]
    described = {f"last_{state}": types.get(state, "float[B,4]") for state in states}
    described |= {f"every_{value}": types.get(value, "float[B,4]").replace("[", "[S,", 1) for value in stacked}
    # An output of a body has a name of its own; one value may be a state and stacked too.
    given, copies = _once(given, [*states])
    shown = {name: described.get(name, "float[S,B,4]") for name in (made if results is None else results)}
    text = f"""
    <ir_version: 8, opset_import: ["": {opset}]>
    model ({inputs}) => ({", ".join(f"{kind} {name}" for name, kind in shown.items())}) {{
        {around}
        {", ".join(made)} = Loop <body = step ({", ".join(["int64 i", "bool go", *carried])}) =>
            ({", ".join([f"bool {going or 'go_on'}", *given])}) {{ {step} {going_nodes} {copies} }}>
            ({", ".join([limit or "nothing", start or "nothing", *(initial[state] for state in states)])})
        {after}
    }}"""
    model = parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in arrays.items())
    for node in model.graph.node:
        node.input[:] = ["" if name == "nothing" else name for name in node.input]
        node.name = f"model/cell/{'while_loop' if node.op_type == 'Loop' else node.output[0]}"
    return model


def _once(values, taken):
    copies, found = "", []
    for value in values:
        kind, name = value.rsplit(" ", 1)
        if name in taken:
            copies += f"\n{name}_copy = Identity ({name})"
            name = f"{name}_copy"
        taken.append(name)
        found.append(f"{kind} {name}")
    return found, copies


def _float32(array):
    array = np.asarray(array)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _width(kind):
    return int(kind.rstrip("]").rsplit(",", 1)[-1])


def feed(model, batch, time, seed=3):
    """Values for the inputs of a model."""
    rng, sizes, found = np.random.default_rng(seed), {"B": batch, "batch": batch, "T": time}, {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        dims = [sizes[dim.dim_param] if dim.dim_param else dim.dim_value for dim in kind.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
        if kind.elem_type == TensorProto.BOOL:
            found[value.name] = rng.random(dims) < 0.6
        elif np.issubdtype(dtype, np.integer):
            found[value.name] = rng.integers(0, 5, dims).astype(dtype)
        else:
            found[value.name] = rng.normal(0, 1, dims).astype(dtype)
    return found


def feeds(model, sizes=SHOWN):
    return [feed(model, *size, seed=at) for at, size in enumerate(sizes)]


def lowered(model, form="auto", *, sizes=SHOWN, measure=measure, **request):
    """(the model with its recurrences lowered, what became of the first)."""
    changed = ir.from_proto(copy.deepcopy(model))
    outcomes = lower(changed, LoweringRequest(form, **request), feeds(model, sizes), run, measure)
    return changed, outcomes[0]


def read(model):
    """The Loop of a model, with its shapes."""
    read_model = ir.from_proto(copy.deepcopy(model))
    ShapeInferencePass(check_type=False, strict_mode=False)(read_model)
    return next(node for node in read_model.graph if node.op_type == "Loop")


def derived(model):
    return derive(read(model))


def refused(model):
    """Why each form is not there."""
    return derived(model).refused


def compared(model, changed, sizes=JUDGED):
    """Why two models do not compute the same, for each batch and length."""
    reasons = []
    for given in feeds(model, sizes):
        (wanted,), (found,) = run(model, [given], optimized=False), run(changed, [given])
        assert list(wanted) == list(found)
        reasons += [f"{name}: {why}" for name in wanted if (why := difference(found[name], wanted[name]))]
    return reasons


def same(model, form, sizes=JUDGED, shown=SHOWN):
    """(the model in this form, what became of it), once it is seen to compute what its Loop does."""
    changed, outcome = lowered(model, form, sizes=shown)
    assert outcome.fault == ""
    assert outcome.chosen == form
    assert compared(model, changed, sizes) == []
    return changed, outcome


def node_of(model, op):
    """The only node of this kind."""
    (node,) = [node for node in model.graph if node.op_type == op]
    return node


def operators(graph):
    return Counter(node.op_type for node in graph)
