"""The numerical check: a form against the untouched Loop, on what the Loop sees in the model and on random inputs.

The derivation of a form is the proof; this is a second look at it, and at the code that emitted it.

A recurrence as a model of its own: the untouched Loop, and each form, with the same inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from rnnexport.ir.loop_body import Constants, captures, constant, subgraphs
from rnnexport.ir.sequences import read_reversal
from rnnexport.ir.terms import Term, Terms, below
from rnnexport.lowering.emit import Emission, redirect
from rnnexport.lowering.forms import Form

Feed = Mapping[str, np.ndarray]
# Runs a model on each feed and gives its outputs by name. The runtime is not this package's to know.
Run = Callable[[ir.Model, Sequence[Feed]], list[dict[str, np.ndarray]]]

# Sums in another order differ by rounding; a wrong gate differs by more than a hundredth.
_RTOL, _ATOL = 1e-4, 1e-5
# `_ATOL` is a share of the largest output, of one that is no smaller than this: what is inside may be larger, and the
# kernels of activations are off by some 1e-7 wherever they are.
_SMALLEST = 1.0
# How much further than its source moves under one rounding step of its inputs may the form be.
_NOISE = 30.0
_SCALES = (1.0, 1e-3, 30.0)
# Numbers in all that is seen of a recurrence from which random inputs have the shapes of the smaller half of it alone:
# of one that is wide, each step costs, and the long sequences are among what is seen.
_MUCH = 1 << 17
# Values of the graph around as terms of others, where a form was derived across what stands between them.
Links = Mapping[ir.Value, Term]


def trials(seen: Sequence[Sequence[np.ndarray]], frozen: Sequence[bool], seed: int) -> Iterator[list[np.ndarray]]:
    """Inputs to compare on: those seen, then random ones of the same shapes, small, medium and extreme.

    Args:
        seen: what the inputs were in runs of the model.
        frozen: for each input, whether it has to stay as it is: lengths, and what is zero by its nature.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    yield from map(list, seen)
    for arrays in _smaller(seen):
        for scale in _SCALES:
            yield [array if keep else _random(array, scale, rng) for array, keep in zip(arrays, frozen, strict=True)]


def _smaller(seen: Sequence[Sequence[np.ndarray]]) -> list[Sequence[np.ndarray]]:
    """Those whose shapes random inputs have."""
    sizes = [sum(array.size for array in arrays) for arrays in seen]
    if sum(sizes) <= _MUCH:
        return list(seen)
    order = sorted(range(len(seen)), key=sizes.__getitem__)
    return [seen[at] for at in order[: (len(seen) + 1) // 2]]


def _random(array: np.ndarray, scale: float, rng: np.random.Generator) -> np.ndarray:
    if array.dtype == bool and array.ndim:  # a scalar is the condition of a loop
        return rng.random(array.shape) < 0.7
    if np.issubdtype(array.dtype, np.floating):
        return np.asarray(rng.standard_normal(array.shape) * scale, array.dtype)
    return array


def nudged(arrays: Sequence[np.ndarray], frozen: Sequence[bool], seed: int) -> list[np.ndarray]:
    """The inputs moved by about one rounding step, each element up or down."""
    rng = np.random.default_rng(seed)
    return [array if keep else _nudged(array, rng) for array, keep in zip(arrays, frozen, strict=True)]


def _nudged(array: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if not np.issubdtype(array.dtype, np.floating):
        return array
    # In the dtype of the array: the neighbour of a float32 in float64 would be rounded back.
    towards = np.where(rng.random(array.shape) < 0.5, np.inf, -np.inf).astype(array.dtype)
    return np.asarray(np.nextafter(array, towards))


def disagreement(wanted: Sequence[np.ndarray], moved: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> str:
    """Where the outputs of a form are not those of the Loop; empty where they are.

    Args:
        wanted: the outputs of the Loop.
        moved: its outputs on nudged inputs, which tell how far rounding alone may lead.
        found: the outputs of the form.
    """
    for at, (right, near, ours) in enumerate(zip(wanted, moved, found, strict=True)):
        if right.shape != ours.shape or right.dtype != ours.dtype:
            return f"output {at} is {ours.dtype} {ours.shape}, and of the Loop {right.dtype} {right.shape}"
        if not np.issubdtype(right.dtype, np.floating):
            if not np.array_equal(right, ours):
                return f"output {at} differs"
            continue
        error, largest = _worst(right.astype(np.float64), near.astype(np.float64), ours.astype(np.float64))
        if error > 1:
            return f"output {at} differs by {largest:.1e}, {error:.0f} times what rounding explains"
    return ""


def _worst(right: np.ndarray, near: np.ndarray, ours: np.ndarray) -> tuple[float, float]:
    """The largest error as a multiple of what is allowed, and as it is. Where the Loop overflows nothing is asked."""
    finite = np.isfinite(right) & np.isfinite(near)
    if not finite.any():
        return 0.0, 0.0
    right, near, ours = (np.where(finite, array, 0.0) for array in (right, near, ours))
    error = np.abs(ours - right)
    # Each lane by itself: one that is chaotic excuses no other.
    moved = np.abs(near - right).max(axis=tuple(range(right.ndim - 1)), keepdims=True)
    allowed = _ATOL * max(float(np.abs(right).max()), _SMALLEST) + _RTOL * np.abs(right) + _NOISE * moved
    ratio = np.where(np.isnan(error), np.inf, error / allowed)
    at = np.unravel_index(int(ratio.argmax()), ratio.shape)
    return float(ratio[at]), float(error[at])


@dataclass(frozen=True, eq=False)
class LoopInterface:
    """What a Loop and its forms are given, and what they give.

    Attributes:
        inputs: values of the graph around.
        outputs: the outputs of the Loop that are used.
        links: inputs that are computed from other ones.
    """

    inputs: tuple[ir.Value, ...]
    outputs: tuple[ir.Value, ...]
    links: Links = field(default_factory=dict)


def boundary_of(loop: ir.Node, forms: Iterable[Form]) -> LoopInterface:
    """The boundary that `loop` and all the forms have in common."""
    used = [value for value in [*loop.inputs, *captures(loop)] if value is not None and constant(value) is None]
    terms = Terms()
    turned = {value: read_reversal(value, terms) for value in used}
    links = {value: term for value, term in turned.items() if term is not None}
    roots = [term for form in forms for term in form.values()]
    leaves = [term.value for term in below([*roots, *links.values()]) if term.op == "Outer"]
    inputs = tuple(value for value in dict.fromkeys([*used, *leaves]) if value not in links)
    outputs = tuple(value for value in loop.outputs if value.uses() or value.is_graph_output())
    return LoopInterface(inputs, outputs, links)


def untouched(loop: ir.Node, boundary: LoopInterface, sample: Sequence[np.ndarray], model: ir.Model) -> ir.Model:
    """The Loop alone."""
    inputs = _inputs(boundary, sample)
    moved: dict[ir.Value, ir.Value] = dict(zip(boundary.inputs, inputs, strict=True))
    known = {leaf: moved[leaf.value] for leaf in _leaves(boundary.links.values())}
    emission = Emission("link", Constants(), known)
    moved |= {value: emission.value(source) for value, source in boundary.links.items()}
    initializers = list(emission.initializers)
    for value in [*loop.inputs, *captures(loop)]:
        tensor = None if value is None else constant(value)
        if value is not None and value not in moved and tensor is not None:
            made = ir.Value(name=f"const_{len(initializers)}", const_value=tensor, type=value.type, shape=value.shape)
            moved[value] = made
            initializers.append(made)
    attributes = [
        ir.AttrGraph(item.name, item.as_graph().clone(allow_outer_scope_values=True))
        if item.type == ir.AttributeType.GRAPH
        else item
        for item in loop.attributes.values()
    ]
    given = [None if value is None else moved[value] for value in loop.inputs]
    node = ir.Node("", "Loop", given, attributes, num_outputs=len(loop.outputs), name="loop")
    for graph in subgraphs(node):
        redirect(graph, moved)
    outputs = [node.outputs[loop.outputs.index(value)] for value in boundary.outputs]
    return _model(inputs, outputs, [*emission.nodes, node], initializers, boundary, model)


def standalone_model(
    form: Form, constants: Constants, boundary: LoopInterface, sample: Sequence[np.ndarray], model: ir.Model
) -> ir.Model:
    """One form alone."""
    inputs = _inputs(boundary, sample)
    moved = dict(zip(boundary.inputs, inputs, strict=True))
    known = {leaf: moved[leaf.value] for leaf in _leaves(form.values()) if leaf.value in moved}
    emission = Emission("form", constants, known)
    outputs: list[ir.Value] = []
    for value in boundary.outputs:
        found = emission.value(form[value])
        node = ir.Node("", "Identity", [found], num_outputs=1, name=f"out_{len(outputs)}")
        emission.nodes.append(node)
        outputs.append(node.outputs[0])
    return _model(inputs, outputs, emission.nodes, emission.initializers, boundary, model)


def _leaves(terms: Iterable[Term]) -> list[Term]:
    return [term for term in below(terms) if term.op == "Outer"]


def _inputs(boundary: LoopInterface, sample: Sequence[np.ndarray]) -> list[ir.Value]:
    inputs = []
    for at, array in enumerate(sample):
        value = ir.Value(name=f"in_{at}", type=ir.TensorType(ir.DataType.from_numpy(array.dtype)))
        value.shape = ir.Shape([None] * array.ndim)
        inputs.append(value)
    return inputs


def _model(
    inputs: Sequence[ir.Value],
    outputs: Sequence[ir.Value],
    nodes: Sequence[ir.Node],
    initializers: Sequence[ir.Value],
    boundary: LoopInterface,
    model: ir.Model,
) -> ir.Model:
    for at, (value, known) in enumerate(zip(outputs, boundary.outputs, strict=True)):
        value.name, value.type = f"out_{at}", known.type
        value.shape = None
    graph = ir.Graph(
        inputs,
        outputs,
        nodes=nodes,
        initializers=initializers,
        opset_imports=model.graph.opset_imports,
        name="alone",
    )
    return ir.Model(graph, ir_version=model.ir_version)
