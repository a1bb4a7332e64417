"""Gates that are mixed up, kernels that are transposed, biases that are lost.

The operators hold the gates of a direction in one matrix, W [D, G*H, I], R [D, G*H, H], B [D, 2*G*H] with the biases
of W before those of R; LSTM in the order i o f c, GRU in the order z r h, RNN with one. A loop's body cuts them out of
one product by Split or Slice, or has a matrix for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations, pairwise

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.mutation.nodes import told
from benchmarks.mutation.view import Edit, View

GATES = {"LSTM": "iofc", "GRU": "zrh", "RNN": "h"}


def gates_permuted(view: View) -> Iterator[Edit]:
    """Two gates in each other's place: in an operator, among the parts of a product, or two matrices of one shape."""
    for _, node in view.nodes("LSTM", "GRU"):
        letters = GATES[node.op_type]
        for a, b in combinations(range(len(letters)), 2):
            where = told(node, f"{letters[a]} and {letters[b]}")
            yield Edit(where, partial(_swap_gates, view, node, (1, 2, 3), a, b))
        yield Edit(told(node, "biases alone"), partial(_swap_gates, view, node, (3,), 0, 1))
    for _, node in view.nodes("Split"):
        if _equal_parts(view, node):
            for a, b in pairwise(range(len(node.output))):
                yield Edit(told(node, f"{a} and {b}"), partial(_swap_outputs, node, a, node, b))
    yield from _slices(view)
    yield from _matrices(view)


def _swap_gates(view: View, node: onnx.NodeProto, inputs: tuple[int, ...], a: int, b: int) -> None:
    count = len(GATES[node.op_type])
    for at in inputs:
        tensor = view.tensor(node.input[at]) if at < len(node.input) else None
        if tensor is None:
            continue
        array = numpy_helper.to_array(tensor)
        blocks = array.reshape(array.shape[0], count * (2 if at == 3 else 1), -1).copy()
        order = np.arange(blocks.shape[1])
        for start in range(0, len(order), count):
            order[[start + a, start + b]] = order[[start + b, start + a]]
        view.put(tensor, blocks[:, order].reshape(array.shape))


def _equal_parts(view: View, node: onnx.NodeProto) -> bool:
    sizes = view.array(node.input[1]) if len(node.input) > 1 else None
    return len(node.output) > 1 and (len(node.input) == 1 or (sizes is not None and len(set(sizes.tolist())) == 1))


def _swap_outputs(one: onnx.NodeProto, a: int, other: onnx.NodeProto, b: int) -> None:
    one.output[a], other.output[b] = other.output[b], one.output[a]


def _slices(view: View) -> Iterator[Edit]:
    """Parts of one product that are cut out by Slice, one gate a node."""
    cuts: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
    for _, node in view.nodes("Slice"):
        start, stop = (view.array(name) for name in node.input[1:3])
        maker = view.producer(node.input[0])
        if start is not None and stop is not None and maker is not None and maker.op_type in ("Gemm", "MatMul", "Add"):
            cuts.setdefault(node.input[0], []).append((node, int((stop - start).max())))
    for parts in cuts.values():
        for (one, width), (other, other_width) in pairwise(parts):
            if width == other_width:
                where = told(one, f"and {other.output[0]}")
                yield Edit(where, partial(_swap_starts, one, other))


def _swap_starts(one: onnx.NodeProto, other: onnx.NodeProto) -> None:
    for at in (1, 2):
        one.input[at], other.input[at] = other.input[at], one.input[at]


def _matrices(view: View) -> Iterator[Edit]:
    """Two matrices of one shape, one read after the other."""
    shapes: dict[tuple[int, ...], list[onnx.TensorProto]] = {}
    for _, tensor in view.weights():
        if len(tensor.dims) == 2:
            shapes.setdefault(tuple(tensor.dims), []).append(tensor)
    for tensors in shapes.values():
        for one, other in pairwise(tensors):
            yield Edit(f"{one.name} and {other.name}", partial(_exchange, view, one, other))


def _exchange(view: View, one: onnx.TensorProto, other: onnx.TensorProto) -> None:
    first, second = numpy_helper.to_array(one).copy(), numpy_helper.to_array(other).copy()
    view.put(one, second)
    view.put(other, first)


def kernel_transposed(view: View) -> Iterator[Edit]:
    """A kernel transposed where it is square, or each of the squares that it is made of."""
    seen = set()
    for _, node in view.nodes("MatMul", "Gemm", "LSTM", "GRU", "RNN"):
        native = node.op_type in GATES
        for name in node.input[1:3] if native else node.input[:2]:
            tensor = view.root(name)
            if tensor is None or tensor.name in seen:
                continue
            seen.add(tensor.name)
            array = numpy_helper.to_array(tensor)
            turned = _turned_rows(array) if native else _turned_columns(array)
            if turned is not None and not np.array_equal(turned, array):
                yield Edit(tensor.name, partial(view.put, tensor, turned))


def _turned_rows(array: np.ndarray) -> np.ndarray | None:
    """`[D, G*H, H]` with each of its squares transposed; None where there are none."""
    _, rows, columns = array.shape
    if rows % columns:
        return None
    blocks = array.reshape(len(array), rows // columns, columns, columns)
    return blocks.swapaxes(2, 3).reshape(array.shape)


def _turned_columns(array: np.ndarray) -> np.ndarray | None:
    """The same of `[H, G*H]`."""
    if array.ndim != 2 or array.shape[1] % array.shape[0]:
        return None
    rows, columns = array.shape
    return array.reshape(rows, columns // rows, rows).transpose(2, 1, 0).reshape(array.shape)


def bias_dropped(view: View) -> Iterator[Edit]:
    """A bias made 0: what is added to a product, either half of an operator's B."""
    for _, node in view.nodes("Add", "Gemm", "Conv", "LSTM", "GRU", "RNN"):
        at = {"Add": None, "Gemm": 2, "Conv": 2}.get(node.op_type, 3)
        for index in range(len(node.input)) if at is None else [at]:
            array = view.known(node.input[index]) if index < len(node.input) else None
            if array is None or array.dtype != np.float32 or not array.ndim or not array.any():
                continue
            if node.op_type in GATES:
                yield from _halves(view, node, array)
            else:
                yield Edit(told(node, f"input {index}"), partial(_set_input, view, node, index, np.zeros_like(array)))


def _halves(view: View, node: onnx.NodeProto, array: np.ndarray) -> Iterator[Edit]:
    half = array.shape[1] // 2
    for what, part in (("of W", slice(0, half)), ("of R", slice(half, None))):
        if array[:, part].any():
            changed = array.copy()
            changed[:, part] = 0
            yield Edit(told(node, f"bias {what}"), partial(_set_input, view, node, 3, changed))


def _set_input(view: View, node: onnx.NodeProto, at: int, array: np.ndarray) -> None:
    node.input[at] = view.constant(array)
