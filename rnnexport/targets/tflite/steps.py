"""Loops of a TFLite file written out: the operators of a step, once for each step.

The converter takes 25 to 60 ms for each step that it is given, and the trace as long. So it is given the loop, and what
it made of a step is copied here, which takes 1 ms:

    Before: while t < T: x = GATHER(x_TBI, t); ...; y_TBU = DYNAMIC_UPDATE_SLICE(y_TBU, h_1BU, (t, 0, 0)); t = t + 1
    After:  x_0, x_1 ... = UNPACK(x_TBI); ...; y_TBU = PACK(h_0, h_1 ...)

What follows from constants, as counters do, is computed here; what nothing reads is left out. A loop whose number of
steps does not follow from constants stays one, and so does one that reads or writes no sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from rnnexport.core.errors import ConversionError
from rnnexport.targets.tflite.tree import (
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

_MOST_OPERATORS = 100_000  # of a file: Python takes a minute to write it, and a runtime to load it
_MOST_KNOWN = 64  # numbers of a constant that is computed with
_TYPES: Mapping[int, Any] = {
    2: np.dtype(np.int32),
    4: np.dtype(np.int64),
    6: np.dtype(np.bool_),
}  # of constants, by TensorType
_ROWS = frozenset({0, 2, 4})  # of lists: float32, int32 and int64, which PACK and UNPACK take
_FOLDED: Mapping[str, Callable[..., Any]] = {
    "ADD": np.add,
    "SUB": np.subtract,
    "MUL": np.multiply,
    "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum,
    "LESS": np.less,
    "LESS_EQUAL": np.less_equal,
    "GREATER": np.greater,
    "GREATER_EQUAL": np.greater_equal,
    "EQUAL": np.equal,
    "NOT_EQUAL": np.not_equal,
    "LOGICAL_AND": np.logical_and,
    "LOGICAL_OR": np.logical_or,
    "LOGICAL_NOT": np.logical_not,
}


class NotWrittenError(Exception):
    """A loop over a sequence has something in a step that can't stand in a file twice; the message says what."""


class TooManyOperatorsError(ConversionError):
    """Loops written out are more than a file can hold; another way of writing them out is no shorter."""


@dataclass(frozen=True, eq=False)
class _Row:
    """A list after a step wrote one row of it.

    Attributes:
        before: the list until then.
        place: of the row.
        tensor: the row, without the axis of the list.
    """

    before: Value
    place: int
    tensor: int


# What a tensor of a step is: one of the file, by its number; a constant that is computed with; or a list.
Value: TypeAlias = "int | np.ndarray | _Row"


def written_out(model: bytes) -> bytes:
    """The file with every loop over a sequence written out, if its number of steps is known; else as it is.

    Raises:
        NotWrittenError: a step holds a choice, or a loop that ends by its values.
        TooManyOperatorsError: it would have more than 100,000.
    """
    tree = tree_of(model)
    called = {one.subgraphIndex for one in tree.signatureDefs or ()} | {0}
    graphs = [tree.subgraphs[at] for at in sorted(called)]
    if not any(kind_of(tree, one) == "WHILE" for graph in graphs for one in graph.operators):
        return model
    for at in sorted(called):
        signatures = [one for one in tree.signatureDefs or () if one.subgraphIndex == at]
        _Writing(tree, tree.subgraphs[at]).write(signatures)
    _drop_unused(tree, called)
    return bytes_of(tree)


class _Writing:
    """One graph of a file, its loops being written out.

    Args:
        tree: the file.
        graph: of it.
    """

    def __init__(self, tree: Any, graph: Any) -> None:
        self._tree, self._graph = tree, graph
        self._operators: list[Any] = []
        self._made: dict[int, Any] = {}  # by tensor, the operator of a step that gives it
        self._constants: dict[tuple[Any, ...], int] = {}
        for at in range(len(graph.tensors)):
            if isinstance(found := self._constant(graph, at), np.ndarray):
                self._constants.setdefault(_key(found), at)
        self._unpacked: dict[int, Sequence[int]] = {}
        self._packed: dict[_Row, int] = {}

    def write(self, signatures: Iterable[Any]) -> None:
        graph, values = self._graph, dict[int, Value]()
        for operator in graph.operators:
            self._write(graph, operator, values)
        outputs = [int(at) for at in graph.outputs]
        now = dict(zip(outputs, self._separate(outputs, values), strict=True))
        graph.outputs = [now[at] for at in outputs]
        for entry in signatures:
            for one in entry.outputs:
                one.tensorIndex = now[int(one.tensorIndex)]
        graph.operators = needed(self._operators, graph.outputs)
        compact(graph, signatures)

    def _separate(self, outputs: Sequence[int], values: Mapping[int, Value]) -> Iterator[int]:
        """The outputs as tensors of their own: a loop may hand on what it was given, or give one thing twice."""
        taken = {int(at) for at in self._graph.inputs}
        for at in outputs:
            tensor = self._tensor(self._value(self._graph, at, values))
            if tensor != at and (tensor in taken or self._constant(self._graph, tensor) is not None):
                tensor = self._copy_of(tensor)
            taken.add(tensor)
            yield tensor

    def _write(self, graph: Any, operator: Any, values: dict[int, Value]) -> None:
        """One operator, of the graph itself or of a step; what it gives is put into `values`."""
        given = [self._value(graph, int(at), values) for at in operator.inputs]
        kind = kind_of(self._tree, operator)
        found: Sequence[Value] | None = None
        if kind == "WHILE":
            found = self._loop(graph, operator, given)
        elif kind == "IF":
            found = self._chosen(operator, given)
        elif kind == "GATHER":
            found = self._gathered(operator, given)
        elif kind == "DYNAMIC_UPDATE_SLICE":
            found = self._updated(given)
        found = found or _folded(kind, operator, given)
        if found is None and graph is not self._graph and kind in ("WHILE", "IF"):
            raise NotWrittenError(f"a step has {kind} in it")
        found = found or self._copied(graph, operator, given)
        values.update(zip(map(int, operator.outputs), found, strict=True))

    def _loop(self, graph: Any, operator: Any, given: Sequence[Value]) -> Sequence[Value] | None:
        """What a loop carries when it ends, its steps written; None for one that stays a loop."""
        options, carried = operator.builtinOptions, list(given)
        body = self._tree.subgraphs[options.bodySubgraphIndex]
        steps = self._count(self._tree.subgraphs[options.condSubgraphIndex], body, carried)
        over_sequence = any(kind_of(self._tree, one) in _SEQUENCES for one in body.operators)
        if steps is None or not (over_sequence or graph is not self._graph):
            return None
        for _ in range(steps):
            carried = self._inlined(body, carried)
        return carried

    def _inlined(self, graph: Any, given: Sequence[Value]) -> list[Value]:
        """What another graph of the file gives, its operators written into this one."""
        values: dict[int, Value] = dict(zip(map(int, graph.inputs), given, strict=True))
        for one in graph.operators:
            self._write(graph, one, values)
        return [self._value(graph, int(at), values) for at in graph.outputs]

    def _chosen(self, operator: Any, given: Sequence[Value]) -> Sequence[Value] | None:
        """What the branch of a choice gives that is known; None where it is not."""
        options, (condition, *rest) = operator.builtinOptions, given
        if not isinstance(condition, np.ndarray):
            return None
        at = options.thenSubgraphIndex if condition.all() else options.elseSubgraphIndex
        return self._inlined(self._tree.subgraphs[at], rest)

    def _count(self, cond: Any, body: Any, began: Sequence[Value]) -> int | None:
        """How many steps a loop has, where that follows from constants."""
        carried, steps = [one if isinstance(one, np.ndarray) else None for one in began], 0
        while (going := self._known(cond, carried)[0]) is not None:
            if not going:
                return steps
            steps, carried = steps + 1, self._known(body, carried)
            _require_few(steps)
        return None

    def _known(self, graph: Any, given: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
        """What a graph gives as far as it follows from constants."""
        values: dict[int, Any] = dict(zip(map(int, graph.inputs), given, strict=True))

        def value(at: int) -> np.ndarray | None:
            found = values[at] if at in values else self._constant(graph, at)
            return found if isinstance(found, np.ndarray) else None

        for one in graph.operators:
            inputs = [value(int(at)) for at in one.inputs]
            found = None if any(i is None for i in inputs) else _folded(kind_of(self._tree, one), one, inputs)
            values.update(zip(map(int, one.outputs), found, strict=True) if found else {})
        return [value(int(at)) for at in graph.outputs]

    def _gathered(self, operator: Any, given: Sequence[Value]) -> Sequence[Value] | None:
        """One row of a sequence, where its place is known."""
        options, (sequence, place) = operator.builtinOptions, given
        if options.axis != 0 or options.batchDims or not isinstance(place, np.ndarray) or place.shape:
            return None
        while isinstance(sequence, _Row):
            if sequence.place == place:
                return [sequence.tensor]
            sequence = sequence.before
        if isinstance(sequence, np.ndarray):
            return [sequence[int(place)]] if 0 <= place < len(sequence) else None
        tensor = self._graph.tensors[sequence]
        size = sizes_of(tensor)[0]
        if size < 0 or not 0 <= place < size or tensor.type not in _ROWS:
            return None
        if sequence not in self._unpacked:
            options = schema().UnpackOptionsT()
            options.num, options.axis = size, 0
            rows = [self._added(tensor, f"{_short(tensor.name)}/{at}", sizes_of(tensor)[1:]) for at in range(size)]
            self._add("UNPACK", [sequence], rows, options)
            self._unpacked[sequence] = rows
        return [self._unpacked[sequence][int(place)]]

    def _updated(self, given: Sequence[Value]) -> Sequence[Value] | None:
        """A list with another row, where its place is known."""
        into, update, start = given
        if not isinstance(update, int) or not isinstance(start, np.ndarray) or start[1:].any():
            return None
        began = into
        while isinstance(began, _Row):
            began = began.before
        if not isinstance(began, int):
            return None
        sizes, row = (sizes_of(self._graph.tensors[at]) for at in (began, update))
        if row != [1, *sizes[1:]] or not 0 <= start[0] < sizes[0] or self._graph.tensors[update].type not in _ROWS:
            return None
        return [_Row(into, int(start[0]), self._without_axis(update))]

    def _without_axis(self, tensor: int) -> int:
        """A row without its first axis: what that was put in front of, if an operator did that."""
        wanted = sizes_of(self._graph.tensors[tensor])[1:]
        if tensor in self._made and kind_of(self._tree, self._made[tensor]) in ("EXPAND_DIMS", "RESHAPE"):
            inner = self._made[tensor].inputs[0]
            if sizes_of(self._graph.tensors[inner]) == wanted:
                return int(inner)
        return self._reshaped(tensor, wanted)

    def _copy_of(self, tensor: int) -> int:
        return self._reshaped(tensor, sizes_of(self._graph.tensors[tensor]))

    def _reshaped(self, tensor: int, sizes: Sequence[int]) -> int:
        if list(sizes).count(-1) > 1:
            raise NotWrittenError("a value with several open sizes is handed on")
        given = self._graph.tensors[tensor]
        made = self._added(given, f"{_short(given.name)}/row", sizes)
        shape = self._tensor(np.array(sizes, np.int32))
        self._add("RESHAPE", [tensor, shape], [made])
        return made

    def _copied(self, graph: Any, operator: Any, given: Sequence[Value]) -> Sequence[Value]:
        """The operator itself, or that of a step with outputs of its own."""
        made, inputs = copy(operator), [self._tensor(one) for one in given]
        made.inputs, made.outputs = inputs, [int(at) for at in operator.outputs]
        if graph is not self._graph:
            tensors = [graph.tensors[at] for at in made.outputs]
            made.outputs = [self._added(one, _short(one.name), sizes_of(one)) for one in tensors]
            self._made.update(dict.fromkeys(made.outputs, made))
        self._operators.append(made)
        _require_few(len(self._operators))
        return list(made.outputs)

    def _value(self, graph: Any, at: int, values: Mapping[int, Value]) -> Value:
        if at < 0 or at in values:
            return values.get(at, at)
        found = self._constant(graph, at)
        return found if found is not None else at

    def _constant(self, graph: Any, at: int) -> Value | None:
        """A constant of a graph: an array where it is computed with, else a tensor of the graph that is written."""
        tensor, key = graph.tensors[at], (id(graph), at)
        if key in self._constants:
            return self._constants[key]
        data = self._tree.buffers[tensor.buffer].data
        if data is None or not len(data):
            return None
        if tensor.type in _TYPES and len(data) <= _MOST_KNOWN * _TYPES[tensor.type].itemsize:
            array: np.ndarray = np.frombuffer(bytes(bytearray(data)), _TYPES[tensor.type])
            return array.reshape(sizes_of(tensor))
        self._constants[key] = at if graph is self._graph else self._appended(copy(tensor))
        return self._constants[key]

    def _tensor(self, value: Value) -> int:
        """The tensor of the file that holds a value."""
        if isinstance(value, np.ndarray):
            return self._of_array(value)
        if not isinstance(value, _Row):
            return value
        if value not in self._packed:
            self._packed[value] = self._list(value)
        return self._packed[value]

    def _of_array(self, array: np.ndarray) -> int:
        key = _key(array)
        if key not in self._constants:
            self._constants[key] = self._appended(constant(self._tree, array))
        return self._constants[key]

    def _list(self, value: _Row) -> int:
        """A list as one tensor."""
        rows: dict[int, int] = {}
        began: Value = value
        while isinstance(began, _Row):
            rows.setdefault(began.place, began.tensor)
            began = began.before
        assert isinstance(began, int)
        tensor = self._graph.tensors[began]
        size, *item = sizes_of(tensor)
        if size > len(rows):  # rows of what it was before
            for at in set(range(size)) - set(rows):
                place = np.array(at, np.int32)
                options = schema().GatherOptionsT()
                rows[at] = self._added(tensor, f"{_short(tensor.name)}/{at}", item)
                inputs = [began, self._tensor(place)]
                self._add("GATHER", inputs, [rows[at]], options)
        options = schema().PackOptionsT()
        options.valuesCount, options.axis = size, 0
        made = self._added(tensor, f"{_short(tensor.name)}/list", [size, *item])
        self._add("PACK", [rows[at] for at in range(size)], [made], options)
        return made

    def _add(self, kind: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None) -> None:
        self._operators.append(new_operator(self._tree, kind, inputs, outputs, options))

    def _added(self, tensor: Any, name: str, sizes: Sequence[int]) -> int:
        return self._appended(like(tensor, name, sizes))

    def _appended(self, tensor: Any) -> int:
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1


_SEQUENCES = ("GATHER", "DYNAMIC_UPDATE_SLICE")


def _key(array: np.ndarray) -> tuple[Any, ...]:
    return array.dtype.str, array.shape, array.tobytes()


def _folded(kind: str, operator: Any, given: Sequence[Any]) -> list[Value] | None:
    """What an operator gives for constants; None where it has to be written."""
    if not all(isinstance(one, np.ndarray) for one in given):
        return None
    if kind == "PACK":
        return [np.stack(given, operator.builtinOptions.axis)]
    if kind not in _FOLDED or getattr(operator.builtinOptions, "fusedActivationFunction", None):
        return None
    return [np.asarray(_FOLDED[kind](*given))]


def _short(name: bytes) -> str:
    """The last of what a name says: it is in the file once a step."""
    return "/".join(name.decode().rpartition(";")[2].split("/")[-2:])


def _require_few(count: int) -> None:
    if count > _MOST_OPERATORS:
        raise TooManyOperatorsError(
            f"loops written out have more than {_MOST_OPERATORS:,} operators",
            "shorter loops",
            "give --form rolled (not with --quantize int8) or fewer --timesteps",
        )


def _drop_unused(tree: Any, called: Iterable[int]) -> None:
    """Leave graphs out that nothing calls: the steps of loops that were written out."""
    reached, todo = set[int](), [*called]
    while todo:
        at = todo.pop()
        if at not in reached:
            reached.add(at)
            todo += [index for one in tree.subgraphs[at].operators for index in _calls(one).values()]
    now = {at: place for place, at in enumerate(sorted(reached))}
    tree.subgraphs = [tree.subgraphs[at] for at in now]
    changed = {id(one.builtinOptions): one for graph in tree.subgraphs for one in graph.operators}
    for one in changed.values():
        for name, at in _calls(one).items():
            setattr(one.builtinOptions, name, now[at])
    for entry in tree.signatureDefs or ():
        entry.subgraphIndex = now[entry.subgraphIndex]
    drop_unused_buffers(tree)


def _calls(operator: Any) -> dict[str, int]:
    """The graphs that an operator calls, by the names of its options."""
    options = vars(operator.builtinOptions) if operator.builtinOptions else {}
    return {name: at for name, at in options.items() if name.lower().endswith("subgraphindex") or name == "subgraph"}
