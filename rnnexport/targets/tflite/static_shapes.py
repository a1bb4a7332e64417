"""Shapes that a TFLite file computes from its open sizes, as shapes that LiteRT knows before it runs.

    Before: RESHAPE(x_B66, PACK(SHAPE(x)[0], 36))         After: RESHAPE(x_B66, [-1, 36])
    Before: FILL(PACK(SHAPE(x_B66)[0], U), 0)             After: SELECT_V2(r < r, 0_1U, 0_1U), r_B1 = x[:, 0, 0]
    Before: WHILE(0_TBU)                                  After: WHILE(TILE(0_111, [T, B, U]))

LiteRT plans the memory of a file anew behind each tensor whose shape it learns in a call, and then its XNNPACK
delegate can be wrong in later calls (ai-edge-litert 2.3.0, see docs/runtimes.md). Where all shapes follow from those of
the inputs, it plans once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnexport.targets.tflite.tree import (
    TYPES,
    bytes_of,
    compact,
    constant,
    drop_unused_buffers,
    kind_of,
    like,
    needed,
    new_operator,
    schema,
    sizes_of,
    tree_of,
)

Axis = tuple[int, int]  # a tensor of a graph, and one of its axes


def with_static_shapes(model: bytes) -> bytes:
    """The file with constants in the place of shapes in which one size is open; others stay as they are."""
    tree = tree_of(model)
    changed = [_Graph(tree, graph).write() for graph in tree.subgraphs]
    if not any(changed):
        return model
    for at, graph in enumerate(tree.subgraphs):
        graph.operators = needed(graph.operators, map(int, graph.outputs))
        compact(graph, [one for one in tree.signatureDefs or () if one.subgraphIndex == at])
    drop_unused_buffers(tree)
    return bytes_of(tree)


class _Graph:
    """One graph of a file as it is written.

    Args:
        tree: the file.
        graph: of it.
    """

    def __init__(self, tree: Any, graph: Any) -> None:
        self._tree, self._graph = tree, graph
        self._made = {int(at): one for one in graph.operators for at in one.outputs}
        self._never: dict[tuple[Axis, int, int], int] = {}
        self._operators: list[Any] = []

    def write(self) -> bool:
        """Whether anything was changed."""
        given = list(self._graph.operators)
        for one in given:
            kind = kind_of(self._tree, one)
            if kind not in _WRITTEN or not _WRITTEN[kind](self, one):
                self._operators.append(one)
        self._graph.operators = self._operators
        return list(map(id, given)) != list(map(id, self._operators))

    def _reshape(self, operator: Any) -> bool:
        """A shape with one open size, which the operator computes itself: it is -1."""
        tensor, *shape = map(int, operator.inputs)
        sizes = sizes_of(self._graph.tensors[int(operator.outputs[0])])
        if not shape or self._is_constant(shape[0]) or sizes.count(-1) > 1 or 0 in sizes or not sizes:
            return False
        inputs = [tensor, self._constant(np.array(sizes, np.int32))]
        self._add("RESHAPE", inputs, list(map(int, operator.outputs)))
        return True

    def _part(self, operator: Any) -> bool:
        """A slice with an open size; of one, `SLICE` takes the shape to be computed, whatever it says."""
        tensor, *bounds = map(int, operator.inputs)
        sizes = sizes_of(self._graph.tensors[tensor])
        if -1 not in sizes or not all(map(self._is_constant, bounds)) or len(sizes) > _MOST_SLICED:
            return False
        begin, size = (self._numbers(one).tolist() for one in bounds)
        end = [None if many < 0 else first + many for first, many in zip(begin, size, strict=True)]
        self._slice(tensor, int(operator.outputs[0]), begin, end)
        return True

    def _fill(self, operator: Any) -> bool:
        shape, value = map(int, operator.inputs)
        return self._filled(value, shape, int(operator.outputs[0]))

    def _repeated(self, operator: Any) -> bool:
        """BROADCAST_TO; and TILE, of one row."""
        value, shape = map(int, operator.inputs)
        return self._filled(value, shape, int(operator.outputs[0]))

    def _carried(self, operator: Any) -> bool:
        """What a loop begins with, if that is one number again and again: the file would hold it as often."""
        operator.inputs = [self._told_once(int(at)) for at in operator.inputs]
        return False

    def _told_once(self, value: int) -> int:
        tensor = self._graph.tensors[value]
        if not self._is_constant(value) or tensor.type not in TYPES:
            return value
        array = self._numbers(value)
        if array.size <= _MOST_WRITTEN or np.any(array.view(np.uint8) != np.tile(array[:1].view(np.uint8), array.size)):
            return value
        sizes = sizes_of(tensor)
        made = self._new(value, "again", sizes)
        one, times = self._constant(array[:1].reshape([1] * len(sizes))), self._constant(np.array(sizes, np.int32))
        self._add("TILE", [one, times], [made], schema().TileOptionsT())
        return made

    def _filled(self, value: int, shape: int, output: int) -> bool:
        """A value once for each row, chosen by what is never so: it has a size for each row, and no other use."""
        sizes = sizes_of(self._graph.tensors[output])
        if self._is_constant(shape) or sizes.count(-1) != 1:
            return False
        axis = sizes.index(-1)
        source, row = self._source(shape, axis), self._row(value, sizes, axis)
        if source is None or row is None or not self._has_rows(source):
            return False
        never = self._never_so(source, axis, len(sizes))
        own = [-1 if at == axis else size for at, size in enumerate(sizes_of(self._graph.tensors[row]))]
        chosen = output if own == sizes else self._new(row, "rows", own)
        self._add("SELECT_V2", [never, row, row], [chosen], schema().SelectV2OptionsT())
        if chosen != output:
            times = [1 if at == axis else many // size for at, (size, many) in enumerate(zip(own, sizes, strict=True))]
            self._add("TILE", [chosen, self._constant(np.array(times, np.int32))], [output], schema().TileOptionsT())
        return True

    def _row(self, value: int, sizes: Sequence[int], axis: int) -> int | None:
        """A value with the axes of `sizes`, each of that size or 1, which the open one is; None where it is no such."""
        tensor = self._graph.tensors[value]
        own, wanted = sizes_of(tensor), [1 if at == axis else size for at, size in enumerate(sizes)]
        padded = [1] * (len(wanted) - len(own)) + own
        if any(size not in (1, many) for size, many in zip(padded, wanted, strict=True)):
            return None
        if tensor.type not in TYPES or not self._is_constant(value):
            return value if padded == own else None
        array = self._numbers(value).reshape(padded)
        # A constant of a whole sequence of zeros would be as large as that.
        return self._constant(np.broadcast_to(array, wanted) if np.prod(wanted) <= _MOST_WRITTEN else array)

    def _has_rows(self, source: Axis) -> bool:
        """Whether a tensor can be compared, and has something in each row."""
        tensor, axis = self._graph.tensors[source[0]], source[1]
        sizes = sizes_of(tensor)
        return tensor.type in _COMPARED and all(size > 0 for at, size in enumerate(sizes) if at != axis)

    def _never_so(self, source: Axis, axis: int, rank: int) -> int:
        """False for each row of `source`: its first number is not below itself, whatever it is.

        Args:
            source: where the rows are.
            axis: that they become.
            rank: of the result, whose other sizes are 1.
        """
        key = source, axis, rank
        if key not in self._never:
            first = self._first_of_rows(source)
            if (source[1], len(sizes_of(self._graph.tensors[first]))) != (axis, rank):
                sizes = [-1 if at == axis else 1 for at in range(rank)]
                shaped = self._new(first, "rows", sizes)
                self._add("RESHAPE", [first, self._constant(np.array(sizes, np.int32))], [shaped])
                first = shaped
            self._never[key] = self._new(first, "none", sizes_of(self._graph.tensors[first]))
            self._graph.tensors[self._never[key]].type = schema().TensorType.BOOL
            self._add("LESS", [first, first], [self._never[key]], schema().LessOptionsT())
        return self._never[key]

    def _first_of_rows(self, source: Axis) -> int:
        tensor, axis = source
        rank = len(sizes_of(self._graph.tensors[tensor]))
        sizes = [-1 if at == axis else 1 for at in range(rank)]
        first = self._new(tensor, "first", sizes)
        self._slice(tensor, first, [0] * rank, [None if at == axis else 1 for at in range(rank)])
        return first

    def _slice(self, tensor: int, output: int, begin: Sequence[int], end: Sequence[int | None]) -> None:
        """Part of a tensor, up to `end` of each axis or, with None, all the rest of it."""
        options = schema().StridedSliceOptionsT()
        options.endMask = sum(1 << at for at, last in enumerate(end) if last is None)
        bounds = [begin, [last or 0 for last in end], [1] * len(begin)]
        constants = [self._constant(np.array(one, np.int32)) for one in bounds]
        self._add("STRIDED_SLICE", [tensor, *constants], [output], options)

    def _source(self, shape: int, at: int) -> Axis | None:
        """The axis whose size is element `at` of a shape; None where it is another number."""
        operator = self._made.get(shape)
        if operator is None:
            return None
        kind, inputs = kind_of(self._tree, operator), list(map(int, operator.inputs))
        if kind == "SHAPE":
            return inputs[0], at
        if kind == "CAST":
            return self._source(inputs[0], at)
        if kind == "PACK":
            return self._element(inputs[at])
        return None

    def _element(self, number: int) -> Axis | None:
        """The axis whose size is a tensor of one number."""
        operator = self._made.get(number)
        if operator is None:
            return None
        kind, inputs = kind_of(self._tree, operator), list(map(int, operator.inputs))
        if kind == "CAST":
            return self._element(inputs[0])
        if kind != "STRIDED_SLICE" or operator.builtinOptions.shrinkAxisMask != 1 or not self._is_constant(inputs[1]):
            return None
        begin = int(self._numbers(inputs[1])[0])
        return self._source(inputs[0], begin) if begin >= 0 else None

    def _numbers(self, at: int) -> np.ndarray:
        tensor = self._graph.tensors[at]
        data = np.asarray(self._tree.buffers[tensor.buffer].data, np.uint8)
        return np.frombuffer(data.tobytes(), TYPES[tensor.type])

    def _is_constant(self, at: int) -> bool:
        data = self._tree.buffers[self._graph.tensors[at].buffer].data
        return data is not None and len(data) > 0

    def _constant(self, array: np.ndarray) -> int:
        return self._appended(constant(self._tree, array))

    def _new(self, tensor: int, name: str, sizes: Sequence[int]) -> int:
        given = self._graph.tensors[tensor]
        return self._appended(like(given, f"{given.name.decode()}/{name}", sizes))

    def _appended(self, tensor: Any) -> int:
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def _add(self, kind: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None) -> None:
        self._operators.append(new_operator(self._tree, kind, inputs, outputs, options))


_WRITTEN = {
    "BROADCAST_TO": _Graph._repeated,
    "FILL": _Graph._fill,
    "RESHAPE": _Graph._reshape,
    "SLICE": _Graph._part,
    "TILE": _Graph._repeated,
    "WHILE": _Graph._carried,
}
_MOST_WRITTEN = 1024  # numbers of a constant that is written out
_MOST_SLICED = 5  # axes that STRIDED_SLICE takes
_COMPARED = frozenset({0, 2, 4})  # what LESS takes
