"""Faults that show in a part of the domain alone: a row of a table, steps and rows past a number, values past a bound.

Each is what a converter, or a runtime, may do that was only tried on small and tame inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.mutation.nodes import told
from benchmarks.mutation.view import FLOATS, Edit, Place, View

STEPS = (33, 100)
ROWS = (7, 30)
CLIPS = (5.0, 20.0)
# A value that an activation passes now and then, and how much it is off there.
_PAST, _OFF = 1.0, 0.02
_ACTIVATIONS = (
    "Tanh",
    "Sigmoid",
    "HardSigmoid",
    "Relu",
    "LeakyRelu",
    "Elu",
    "Selu",
    "Softplus",
    "Softsign",
    "Exp",
    "Erf",
)
_COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")
_BOUNDS = ("Clip", "Min", "Max")
_MOVED = 1.25


def row_lost(view: View) -> Iterator[Edit]:
    """One row of an embedding is zeros: the first, the last, one between."""
    weights = dict(view.weights())
    for _, node in view.nodes("Gather"):
        table = weights.get(view.origin(node.input[0]))
        if table is None or len(table.dims) != 2:
            continue
        for row in sorted({0, table.dims[0] // 2, table.dims[0] - 1}):
            array = numpy_helper.to_array(table).copy()
            if array[row].any():
                array[row] = 0
                yield Edit(f"{table.name} row {row}", partial(view.put, table, array))


def steps_lost(view: View) -> Iterator[Edit]:
    """Sequences, and outputs, are zeros from a timestep on."""
    yield from _cut(view, "time", 1, STEPS)


def rows_lost(view: View) -> Iterator[Edit]:
    """Outputs are zeros from a row of the batch on."""
    yield from _cut(view, "batch", 0, ROWS)


def _cut(view: View, dim: str, axis: int, numbers: tuple[int, ...]) -> Iterator[Edit]:
    graph = view.main.graph
    for number in numbers:
        for value in graph.input:
            if axis and _has(value, axis, dim):
                keep = partial(_kept, view, axis=axis, rank=_rank(value), number=number)
                yield Edit(f"{value.name} from {number} on", partial(_into, view, value.name, keep))
        for value in graph.output:
            if _has(value, axis, dim) and (node := view.producer(value.name)) is not None:
                keep = partial(_kept, view, axis=axis, rank=_rank(value), number=number)
                yield Edit(f"{value.name} from {number} on", partial(_out_of, view, node, value.name, keep))


def inputs_clipped(view: View) -> Iterator[Edit]:
    """Inputs are clipped on both sides."""
    for bound in CLIPS:
        for value in view.main.graph.input:
            if value.type.tensor_type.elem_type in FLOATS and value.type.tensor_type.shape.dim:
                clip = partial(_clipped, view, bound=bound)
                yield Edit(f"{value.name} at {bound:g}", partial(_into, view, value.name, clip))


def branch_off(view: View) -> Iterator[Edit]:
    """An activation is off past a value; a bound, or what a comparison compares with, is moved; a branch is off."""
    for place, node in view.nodes(*_ACTIVATIONS):
        for sign in (1, -1):
            where = told(node, f"past {sign * _PAST:g}")
            yield Edit(where, partial(_off_past, view, place, node, sign))
    for _, node in view.nodes(*_COMPARISONS, *_BOUNDS):
        for at, name in enumerate(node.input):
            constant = view.array(name)
            if constant is not None and constant.dtype == np.float32 and constant.size == 1:
                yield Edit(told(node, f"input {at}"), partial(_move, view, node, at, constant))
    for place, node in view.nodes("Where"):
        for at, name in ((1, "then"), (2, "else")):
            if view.array(node.input[at]) is None and _is_float(view, node):
                yield Edit(told(node, name), partial(_scale, view, place, node, at))


def _is_float(view: View, node: onnx.NodeProto) -> bool:
    """Whether a Where chooses between floats: told by one of its operands, or by what reads it."""
    made = [view.array(name) for name in node.input[1:]]
    known = [array.dtype == np.float32 for array in made if array is not None]
    makers = [view.producer(name) for name in node.input[1:]]
    return all(known) and (bool(known) or any(one is not None and one.op_type in _FLOAT_MAKERS for one in makers))


_FLOAT_MAKERS = frozenset((*_ACTIVATIONS, "MatMul", "Gemm", "Log", "Conv", "GRU", "LSTM", "RNN"))
Make = Callable[[Place, onnx.NodeProto, str], str]  # place, the node to stand before, a value -> the new value


def _has(value: onnx.ValueInfoProto, axis: int, dim: str) -> bool:
    shape = value.type.tensor_type.shape.dim
    return (
        value.type.tensor_type.elem_type in FLOATS
        and len(shape) > max(axis, 1)
        and shape[axis].dim_param == dim
        and not value.name.startswith(("state_", "next_state_"))
    )


def _rank(value: onnx.ValueInfoProto) -> int:
    return len(value.type.tensor_type.shape.dim)


def _into(view: View, name: str, make: Make) -> None:
    """Give all that reads an input what `make` makes of it."""
    readers = [(place, node) for place, node in view.everything() if name in node.input]
    first = view.main.graph.node[0]
    made = make(view.main, first, name)
    for _, node in readers:
        for at, read in enumerate(node.input):
            node.input[at] = made if read == name else read


def _out_of(view: View, node: onnx.NodeProto, name: str, make: Make) -> None:
    """Give what `make` makes of an output in its place."""
    at = list(node.output).index(name)
    old = view.renamed_output(node, at)
    end = onnx.helper.make_node("Identity", [old], [name])
    for reader, place in view.readers(name):
        reader.input[place] = old
    view.main.graph.node.append(end)
    end = view.main.graph.node[-1]
    end.input[0] = make(view.main, end, old)


def _kept(view: View, place: Place, node: onnx.NodeProto, name: str, *, axis: int, rank: int, number: int) -> str:
    """The value with zeros from `number` on along an axis."""
    sizes = view.before(place, node, "Shape", [name])
    size = view.before(place, node, "Gather", [sizes, view.constant(np.int64(axis))])
    zero, one = view.constant(np.int64(0)), view.constant(np.int64(1))
    indices = view.before(place, node, "Range", [zero, size, one])
    kept = view.before(place, node, "Less", [indices, view.constant(np.int64(number))])
    factor = view.before(place, node, "Cast", [kept], {"to": onnx.TensorProto.FLOAT})
    others = view.ints(*(other for other in range(rank) if other != axis))
    shaped = view.before(place, node, "Unsqueeze", [factor, others])
    return view.before(place, node, "Mul", [name, shaped])


def _clipped(view: View, place: Place, node: onnx.NodeProto, name: str, *, bound: float) -> str:
    low, high = (view.constant(np.float32(sign * bound)) for sign in (-1, 1))
    return view.before(place, node, "Clip", [name, low, high])


def _off_past(view: View, place: Place, node: onnx.NodeProto, sign: int) -> None:
    comparison = "Greater" if sign > 0 else "Less"
    past = view.before(place, node, comparison, [node.input[0], view.constant(np.float32(sign * _PAST))])
    off = view.before(place, node, "Cast", [past], {"to": onnx.TensorProto.FLOAT})
    off = view.before(place, node, "Mul", [off, view.constant(np.float32(_OFF))])
    old = node.output[0]
    view.behind(place, node, "Add", [view.renamed_output(node, 0), off], old)


def _move(view: View, node: onnx.NodeProto, at: int, constant: np.ndarray) -> None:
    moved = np.where(constant == 0, np.float32(0.25), constant * np.float32(_MOVED))
    node.input[at] = view.constant(moved.astype(np.float32).reshape(constant.shape))


def _scale(view: View, place: Place, node: onnx.NodeProto, at: int) -> None:
    factor = view.constant(np.float32(1 + _OFF))
    node.input[at] = view.before(place, node, "Mul", [node.input[at], factor])
