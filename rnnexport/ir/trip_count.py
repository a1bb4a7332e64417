"""How many steps a Loop takes, told from its condition and its limit; refused where the data decides it.

A Loop asks its condition before the first step and after each, and never takes more steps than its limit M:

    after step k it goes on while  d - slope * k > 0  for every conjunct, so it takes at most  d / slope + 1 steps
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from rnnexport.ir.lengths import Extent, Index, index_of, size_of
from rnnexport.ir.loop_body import outer
from rnnexport.ir.terms import Term, Terms

_GREATER = {"Greater": (0, 1, 0), "GreaterOrEqual": (0, 1, 1), "Less": (1, 0, 0), "LessOrEqual": (1, 0, 1)}
_LOGIC = {"And", "Not", "Cast", "Identity", *_GREATER}


@dataclass(frozen=True)
class Refusal:
    """Why something was not done."""

    reason: str


@dataclass(frozen=True)
class Length:
    """The number of steps: the smallest of `sizes`, and never below 0."""

    sizes: tuple[Extent, ...]

    @property
    def fixed(self) -> int | None:
        """The number, where it is a constant."""
        (size, *others) = self.sizes
        return max(0, size.offset) if not others and size.unknown is None else None


def length_of(loop: ir.Node, condition: Term, step: Term, terms: Terms) -> Length | Refusal:
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
    return Length(tuple(every))


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
    return None if difference is None else difference.plus(Index(0, Extent(None, slack)))


def _bound(conjunct: Term, step: Term) -> Extent | None:
    """The number of steps after which `conjunct` is false first."""
    difference = _difference(conjunct, step)
    if difference is None or difference.slope >= 0:
        return None
    if difference.slope == -1:
        return difference.size.plus(Extent(None, 1))
    if difference.size.unknown is None:
        return Extent(None, -(difference.size.offset // difference.slope) + 1 if difference.size.offset > 0 else 1)
    return None


def _first(value: ir.Value | None, step: Term, terms: Terms) -> list[Extent] | Refusal:
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


def _smallest(sizes: Sequence[Extent]) -> list[Extent]:
    """The smallest for each unknown."""
    least: dict[object, Extent] = {}
    for size in sizes:
        if size.unknown not in least or size.offset < least[size.unknown].offset:
            least[size.unknown] = size
    return list(least.values())


def _at_least_one(size: Extent) -> bool:
    return size.unknown is None and size.offset >= 1


def _implied(size: Extent, lengths: Sequence[Extent]) -> bool:
    """Whether the size is above 0 wherever all the lengths are."""
    if size.unknown is None and size.offset > 0:
        return True
    return any(size.unknown == length.unknown and size.offset >= length.offset for length in lengths)
