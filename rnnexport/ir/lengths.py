"""Integers of a graph, followed to where they come from: lengths, and indices that grow by the step.

    index = slope * step + size

A size is a constant, or a constant beside one unknown: a dimension of a value, or an integer that some value holds.
Two sizes with the same unknown can be compared without knowing it.

How many steps a Loop takes, told from its condition and its limit; refused where the data decides it.

A Loop asks its condition before the first step and after each, and never takes more steps than its limit M:

    after step k it goes on while  d - slope * k > 0  for every conjunct, so it takes at most  d / slope + 1 steps
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from rnnexport.ir.loop_body import constant, outer
from rnnexport.ir.terms import Term, Terms

_WIDE = (ir.DataType.INT32, ir.DataType.INT64, ir.DataType.FLOAT, ir.DataType.DOUBLE)
# What changes neither the number in a scalar nor which number it is; and what changes no dimension.
_SAME_NUMBER = {"Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape"}
_RECURRENT = ("LSTM", "GRU", "RNN")
_SAME_SHAPE = {"Cast", "Identity", "ReverseSequence", "Neg", "Not", "Tanh", "Relu", "Sigmoid"}
_GREATER = {"Greater": (0, 1, 0), "GreaterOrEqual": (0, 1, 1), "Less": (1, 0, 0), "LessOrEqual": (1, 0, 1)}
_LOGIC = {"And", "Not", "Cast", "Identity", *_GREATER}


@dataclass(frozen=True)
class Size:
    """`unknown + offset`; of no unknown, a constant.

    Attributes:
        unknown: a hashable that names it; None for a constant.
        offset: what is added.
        value: where the unknown is found: the value that holds it, or that has it as a dimension.
        axis: the dimension; None where `value` holds the number.
    """

    unknown: object = None
    offset: int = 0
    value: ir.Value | None = field(default=None, compare=False)
    axis: int | None = field(default=None, compare=False)

    @property
    def is_named(self) -> bool:
        """Whether it is a constant, or a dimension that the graph has a name for."""
        return self.unknown is None or (isinstance(self.unknown, tuple) and isinstance(self.unknown[1], str))

    def plus(self, other: Size, sign: int = 1) -> Size | None:
        """The sum, or the difference for sign -1; None where it has two unknowns."""
        offset = self.offset + sign * other.offset
        if other.unknown is None:
            return Size(self.unknown, offset, self.value, self.axis)
        if self.unknown is None and sign == 1:
            return Size(other.unknown, offset, other.value, other.axis)
        return Size(None, offset) if self.unknown == other.unknown and sign == -1 else None


@dataclass(frozen=True)
class Index:
    """`slope * step + size`."""

    slope: int
    size: Size

    def plus(self, other: Index, sign: int = 1) -> Index | None:
        """The sum, or the difference for sign -1; None where it can't be told."""
        size = self.size.plus(other.size, sign)
        return None if size is None else Index(self.slope + sign * other.slope, size)


def size_of(value: ir.Value) -> Size | None:
    """The integer in a scalar, or in a list of one."""
    tensor = constant(value)
    if tensor is not None:
        return _constant(tensor.numpy())
    node = value.producer()
    if node is not None and not node.domain:
        if (
            node.op_type in _SAME_NUMBER
            and node.inputs[0] is not None
            and _keeps_numbers(node.inputs[0].dtype, value.dtype)
        ):
            return size_of(node.inputs[0])
        if node.op_type in ("Gather", "Slice"):
            found = _element(node)
            if found is not None:
                return found
        if node.op_type in ("Add", "Sub"):
            return _sum(node)
    return Size(value, 0, value) if value.dtype in (ir.DataType.INT32, ir.DataType.INT64) else None


def _keeps_numbers(before: ir.DataType | None, after: ir.DataType | None) -> bool:
    """Whether every length is the same number in both types: not in a bool, nor in a short integer."""
    return before in _WIDE and after in _WIDE


def _constant(array: np.ndarray) -> Size | None:
    if array.size != 1 or not np.issubdtype(array.dtype, np.number) or not np.isfinite(array).all():
        return None
    if int(array.item()) != array.item():
        return None
    return Size(None, int(array.item()))


def _sum(node: ir.Node) -> Size | None:
    left, right = (None if value is None else size_of(value) for value in node.inputs)
    if left is None or right is None:
        return None
    return left.plus(right, 1 if node.op_type == "Add" else -1)


def _element(node: ir.Node) -> Size | None:
    """One element of a shape, cut out of it."""
    whole, *bounds = node.inputs
    constants = [None if value is None else constant(value) for value in bounds]
    if whole is None or not constants or constants[0] is None or constants[0].numpy().size != 1:
        return None
    at = int(constants[0].numpy().item())
    if node.op_type == "Slice" and not _cuts_one(at, constants):
        return None
    while (producer := whole.producer()) is not None and producer.op_type == "Cast" and producer.inputs[0] is not None:
        whole = producer.inputs[0]
    if producer is None or producer.op_type != "Shape" or producer.attributes or producer.inputs[0] is None:
        return None
    return dimension(producer.inputs[0], at)


def _cuts_one(at: int, constants: list[ir.TensorProtocol | None]) -> bool:
    """Whether a Slice (starts, ends, axes) of a list keeps the element `at` alone."""
    end = constants[1]
    return at >= 0 and len(constants) <= 3 and end is not None and end.numpy().tolist() == [at + 1]


def dimension(value: ir.Value, axis: int) -> Size | None:
    """The size of one dimension."""
    followed = _followed(value, axis)
    # The name of a dimension may be one that was invented when less was known of what the value is computed from.
    if followed is not None and followed.is_named:
        return followed
    if value.shape is not None and -len(value.shape) <= axis < len(value.shape):
        dim = value.shape[axis]
        if isinstance(dim, int):
            return Size(None, dim)
        if dim.value is not None:
            return Size(("dimension", dim.value), 0, value, axis)
    return followed or (Size(("dimension", value, axis), 0, value, axis) if axis >= 0 else None)


def _followed(value: ir.Value, axis: int) -> Size | None:
    """The size of the dimension where the value has it from; None where it is its own."""
    node = value.producer()
    if node is None or node.domain or axis < 0 or not node.inputs or node.inputs[0] is None:
        return None
    if node.op_type == "Transpose" and "perm" in node.attributes:
        return dimension(node.inputs[0], node.attributes["perm"].as_ints()[axis])
    if node.op_type in _SAME_SHAPE or (node.op_type == "Concat" and not _joins(node, value, axis)):
        return dimension(node.inputs[0], axis)
    recurrent = node.inputs[0].producer() if node.op_type == "Squeeze" and axis == 0 else None
    if recurrent is not None and recurrent.op_type in _RECURRENT and node.inputs[0] is recurrent.outputs[0]:
        # Y is (T, directions, B, H): without its directions it is as long as the sequence.
        return None if recurrent.inputs[0] is None else dimension(recurrent.inputs[0], 0)
    return None


def _joins(node: ir.Node, value: ir.Value, axis: int) -> bool:
    """Whether a Concat puts parts together along a dimension, as far as is known."""
    return value.shape is None or node.attributes["axis"].as_int() % len(value.shape) == axis


def index_of(term: Term, step: Term) -> Index | None:
    """The term as an index that grows by `step`, the leaf of one loop, or None where it is not one."""
    if term is step:
        return Index(1, Size())
    if term.op == "Const":
        size = _constant(term.array)
        return None if size is None else Index(0, size)
    if term.op == "Outer":
        size = size_of(term.value)
        return None if size is None else Index(0, size)
    if term.op in ("Gather", "Slice"):
        size = _part_of_shape(term)
        return None if size is None else Index(0, size)
    parts = [index_of(part, step) for part in term.operands[:2]]
    if not parts or parts[0] is None:
        return None
    if term.op in _SAME_NUMBER:
        return parts[0] if _keeps_numbers(term.operands[0].dtype, term.dtype) else None
    if len(parts) == 2 and parts[1] is not None:
        if term.op in ("Add", "Sub"):
            return parts[0].plus(parts[1], 1 if term.op == "Add" else -1)
        if term.op == "Mul":
            return _product(parts[0], parts[1])
    return None


def _part_of_shape(term: Term) -> Size | None:
    """One element of the shape of a value around, asked for inside a loop."""
    whole, *bounds = term.operands
    while whole.op == "Cast":
        whole = whole.operands[0]
    numbers = [bound.array.ravel().tolist() for bound in bounds if bound.op == "Const"]
    if whole.op != "Shape" or whole.call.attributes or len(numbers) != len(bounds) or len(numbers[0]) != 1:
        return None
    at = int(numbers[0][0])
    source = whole.operands[0]
    cuts = term.op == "Gather" or (at >= 0 and len(numbers) <= 3 and numbers[1] == [at + 1])
    return dimension(source.value, at) if cuts and source.op == "Outer" else None


def _product(left: Index, right: Index) -> Index | None:
    if left.slope or left.size.unknown is not None:
        left, right = right, left
    if left.slope or left.size.unknown is not None or right.size.unknown is not None:
        return None
    factor = left.size.offset
    return Index(factor * right.slope, Size(None, factor * right.size.offset))


def size_term(size: Size, terms: Terms) -> Term:
    """The size as a scalar of 64 bits in the graph around."""
    kind = [(ir.DataType.INT64, ())]
    if size.unknown is None or size.value is None:
        return terms.const(size.offset, np.int64)
    found = terms.leaf("Outer", size.value, size.value.dtype, None)
    if size.axis is not None:
        (shape,) = terms.call("Shape", [found], results=[(ir.DataType.INT64, (None,))])
        (scalar,) = terms.call("Gather", [shape, terms.const(size.axis, np.int64)], {"axis": 0}, kind)
    else:
        (wide,) = terms.call("Cast", [found], {"to": ir.DataType.INT64.value}, [(ir.DataType.INT64, None)])
        (scalar,) = terms.call("Reshape", [wide, terms.const(np.zeros(0), np.int64)], results=kind)
    return terms.elementwise("Add", scalar, terms.const(size.offset, np.int64)) if size.offset else scalar


@dataclass(frozen=True)
class Refusal:
    """Why something was not done."""

    reason: str


@dataclass(frozen=True)
class TripCount:
    """The number of steps: the smallest of `sizes`, and never below 0."""

    sizes: tuple[Size, ...]

    @property
    def fixed(self) -> int | None:
        """The number, where it is a constant."""
        (size, *others) = self.sizes
        return max(0, size.offset) if not others and size.unknown is None else None


def length_of(loop: ir.Node, condition: Term, step: Term, terms: Terms) -> TripCount | Refusal:
    """How many steps `loop` takes.

    Args:
        loop: the node; its first input is the limit, its second the condition before the first step.
        condition: what the body gives as the condition for the next step.
        step: the number of the step, as the body knows it.
        terms: what makes the terms.
    """
    bounds = []
    for conjunct in _conjuncts(condition):
        found = _bound(conjunct, step)
        if found is None:
            return Refusal("the data decides when it stops")
        bounds.append(found)
    first = _first(loop.inputs[1], step, terms)
    if isinstance(first, Refusal):
        return first
    # A bound holds from the second step on; before the first one only the condition outside does.
    tight = _smallest(bounds)
    if any(bound not in first and not _at_least_one(bound) for bound in tight):
        return Refusal("it takes a first step whatever its length is")
    limit = None if loop.inputs[0] is None else size_of(loop.inputs[0])
    if loop.inputs[0] is not None and limit is None:
        return Refusal("its limit is no integer that can be followed")
    every = _smallest([*bounds, *([] if limit is None else [limit])])
    if not every:
        return Refusal("nothing limits the number of its steps")
    if any(not _implied(condition, every) for condition in first):
        return Refusal("a condition of its own decides whether it starts")
    return TripCount(tuple(every))


def _conjuncts(term: Term) -> Iterator[Term]:
    if term.op == "And":
        for part in term.operands:
            yield from _conjuncts(part)
    elif term.op in ("Identity", "Cast") and term.operands[0].dtype == ir.DataType.BOOL:
        yield from _conjuncts(term.operands[0])
    elif not _is_true(term):
        yield term


def _is_true(term: Term) -> bool:
    return term.op == "Const" and term.array.size == 1 and bool(term.array.item())


def _difference(term: Term, step: Term) -> Index | None:
    """The index that is above 0 where the comparison holds."""
    negated = term.op == "Not"
    if negated:
        term = term.operands[0]
    if term.op not in _GREATER:
        return None
    left, right, slack = _GREATER[term.op]
    if negated:  # not a > b is b >= a
        left, right, slack = right, left, 1 - slack
    larger, smaller = index_of(term.operands[left], step), index_of(term.operands[right], step)
    if larger is None or smaller is None:
        return None
    difference = larger.plus(smaller, -1)
    return None if difference is None else difference.plus(Index(0, Size(None, slack)))


def _bound(conjunct: Term, step: Term) -> Size | None:
    """The number of steps after which `conjunct` is false first."""
    difference = _difference(conjunct, step)
    if difference is None or difference.slope >= 0:
        return None
    if difference.slope == -1:
        return difference.size.plus(Size(None, 1))
    if difference.size.unknown is None:
        return Size(None, -(difference.size.offset // difference.slope) + 1 if difference.size.offset > 0 else 1)
    return None


def _first(value: ir.Value | None, step: Term, terms: Terms) -> list[Size] | Refusal:
    """The sizes that have to be above 0 for the first step to be taken."""
    if value is None:
        return []
    sizes = []
    for conjunct in _conjuncts(_read_back(value, terms)):
        difference = _difference(conjunct, step)
        if difference is None:
            return Refusal("the data decides whether it starts")
        sizes.append(difference.size)
    return sizes


def _read_back(value: ir.Value, terms: Terms) -> Term:
    """The term of a condition in the graph around, with what it compares."""
    node = value.producer()
    if node is None or node.domain or node.op_type not in _LOGIC:
        return outer(value, terms)
    given = [None if part is None else _read_back(part, terms) for part in node.inputs]
    return terms.call(node.op_type, given, node.attributes, [(value.dtype, None)])[0]


def _smallest(sizes: Sequence[Size]) -> list[Size]:
    """The smallest for each unknown."""
    least: dict[object, Size] = {}
    for size in sizes:
        if size.unknown not in least or size.offset < least[size.unknown].offset:
            least[size.unknown] = size
    return list(least.values())


def _at_least_one(size: Size) -> bool:
    return size.unknown is None and size.offset >= 1


def _implied(size: Size, lengths: Sequence[Size]) -> bool:
    """Whether the size is above 0 wherever all the lengths are."""
    if size.unknown is None and size.offset > 0:
        return True
    return any(size.unknown == length.unknown and size.offset >= length.offset for length in lengths)
