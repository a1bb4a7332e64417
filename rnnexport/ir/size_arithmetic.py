"""Shape arithmetic: integers that are known while a program is written, so that nothing of it is left in the program.

A size is a number, or what a language has for one that is open: `T - 1` in Python, a polynomial in C.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import onnx_ir as ir

from rnnexport.ir.terms import Term

Size = Any  # of one language; a truth value too; None if it is not known
Combine = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Vector:
    """A scalar or a vector of integers or truth values.

    Attributes:
        rank: 0 or 1.
        flat: its elements.
    """

    rank: int
    flat: tuple[Size, ...]


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """How a language computes with sizes; each gives None for what it has no size for.

    Attributes:
        longest: the longest vector that is followed element by element.
        plus, minus, times, least, greatest: of two sizes.
        quotient: rounded toward zero.
        remainder: with the sign of the divisor.
        compared: by a sign of Python.
        chosen: the second if the first holds, else the third.
        inverted, number_of, truth_of: of a truth value or a number.
        magnitude: without its sign.
    """

    longest: int
    plus: Combine
    minus: Combine
    times: Combine
    quotient: Combine
    remainder: Combine
    least: Combine
    greatest: Combine
    compared: Callable[[str, Any, Any], Any]
    chosen: Callable[[Any, Any, Any], Any]
    inverted: Callable[[Any], Any]
    number_of: Callable[[Any], Any]
    truth_of: Callable[[Any], Any]
    magnitude: Callable[[Any], Any]


def of_numbers(longest: int) -> Arithmetic:
    """The arithmetic of sizes that are numbers alone."""

    def known(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *sizes: function(*sizes) if all(isinstance(size, int) for size in sizes) else None

    return Arithmetic(
        longest=longest,
        plus=known(lambda a, b: a + b),
        minus=known(lambda a, b: a - b),
        times=known(lambda a, b: a * b),
        quotient=known(lambda a, b: None if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)),
        remainder=known(lambda a, b: None if b == 0 else a % b),
        least=known(min),
        greatest=known(max),
        compared=lambda sign, a, b: known(_COMPARISONS[sign])(a, b),
        chosen=lambda condition, a, b: known(lambda holds: a if holds else b)(condition),
        inverted=known(lambda holds: not holds),
        number_of=lambda size: int(size) if isinstance(size, bool) else size,
        truth_of=known(bool),
        magnitude=known(abs),
    )


_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": lambda a, b: bool(a == b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}


@dataclass(frozen=True, eq=False)
class SizeUse:
    """An operator on sizes.

    Attributes:
        op: the operator of ONNX.
        operands: None for one whose elements are not known, and for one that is left out.
        attribute: an attribute by its name, or what stands behind; tensors are arrays.
        outputs: how many it has.
        is_integer: whether the result holds integers.
        arithmetic: of the language.
    """

    op: str
    operands: Sequence[Vector | None]
    attribute: Callable[[str, Any], Any]
    outputs: int
    is_integer: bool
    arithmetic: Arithmetic

    def vector(self, at: int) -> Vector | None:
        """The operand of that number."""
        return self.operands[at] if at < len(self.operands) else None

    def integers(self, at: int) -> tuple[int, ...] | None:
        """The elements of an operand, if all of them are numbers."""
        found = self.vector(at)
        if found is None or not all(isinstance(item, int | np.integer) for item in found.flat):
            return None
        return tuple(int(item) for item in found.flat)


def of_term(term: Term, operands: Sequence[Vector | None], arithmetic: Arithmetic) -> Vector | None:
    """The elements of a term, by those of its inputs; some of them may be None."""
    given = list(operands)
    while given and term.inputs[len(given) - 1] is None:
        given.pop()
    is_integer = term.dtype is not None and np.dtype(term.dtype.numpy()).kind in "iu"
    use = SizeUse(term.op, given, _attribute(term), len(term.call.results), is_integer, arithmetic)
    found = vectors_of(use)
    return None if found is None else found[term.port]


def _attribute(term: Term) -> Callable[[str, Any], Any]:
    def attribute(name: str, default: Any) -> Any:
        found = term.attribute(name, default)
        return found.numpy() if isinstance(found, ir.TensorProtocol) else found

    return attribute


SizeRule = Callable[[SizeUse], "Vector | tuple[Vector, ...] | None"]


def vectors_of(use: SizeUse) -> tuple[Vector, ...] | None:
    """What an operator gives, a vector an output; None if the elements are not known, or too many."""
    rule = _RULES.get(use.op)
    found = None if rule is None else rule(use)
    vectors = found if isinstance(found, tuple) or found is None else (found,)
    if vectors is None or any(len(each.flat) > use.arithmetic.longest for each in vectors):
        return None
    return vectors


def _each(combine: Callable[[SizeUse], Callable[..., Size]]) -> SizeRule:
    """Element by element; one element goes with each of the others."""

    def rule(use: SizeUse) -> Vector | None:
        given = [part for part in use.operands if part is not None]
        if len(given) < len(use.operands):
            return None
        count = max(len(part.flat) for part in given) if all(part.flat for part in given) else 0
        if any(len(part.flat) not in (1, count) for part in given):
            return None
        rows = zip(*(part.flat * (count if len(part.flat) == 1 else 1) for part in given), strict=True)
        function = combine(use)
        flat = tuple(None if None in row else function(*row) for row in rows) if count else ()
        return Vector(max(part.rank for part in given), flat)

    return rule


def _folded(combine: Callable[[SizeUse], Combine]) -> SizeRule:
    """Of two operands or more."""

    def function(use: SizeUse) -> Callable[..., Size]:
        one = combine(use)
        return lambda *sizes: reduce(lambda a, b: None if a is None else one(a, b), sizes)

    return _each(function)


def _compared(sign: str) -> SizeRule:
    return _each(lambda use: lambda a, b: use.arithmetic.compared(sign, a, b))


def _quotient(use: SizeUse) -> Vector | tuple[Vector, ...] | None:
    return _each(lambda use: use.arithmetic.quotient)(use) if use.is_integer else None


def _remainder(use: SizeUse) -> Vector | tuple[Vector, ...] | None:
    return None if use.attribute("fmod", 0) else _each(lambda use: use.arithmetic.remainder)(use)


def _where(use: SizeUse) -> Vector | tuple[Vector, ...] | None:
    if use.operands[1] is not None and use.operands[1] == use.operands[2] and use.operands[0] is None:
        return use.operands[1]
    return _each(lambda use: use.arithmetic.chosen)(use)


def _same(use: SizeUse) -> Vector | None:
    return use.operands[0]


def _cast(use: SizeUse) -> Vector | None:
    source, kind = use.operands[0], np.dtype(ir.DataType(int(use.attribute("to", 0))).numpy()).kind
    if source is None or kind not in "biu":
        return None
    change = use.arithmetic.truth_of if kind == "b" else use.arithmetic.number_of
    return Vector(source.rank, tuple(None if item is None else change(item) for item in source.flat))


def _concat(use: SizeUse) -> Vector | None:
    parts = [part for part in use.operands if part is not None]
    return Vector(1, tuple(item for part in parts for item in part.flat)) if len(parts) == len(use.operands) else None


def _gather(use: SizeUse) -> Vector | None:
    source, index, places = use.operands[0], use.operands[1], use.integers(1)
    if source is None or index is None or places is None or source.rank != 1:
        return None
    if not all(-len(source.flat) <= at < len(source.flat) for at in places):
        return None
    return Vector(index.rank, tuple(source.flat[at] for at in places))


def _slice(use: SizeUse) -> Vector | None:
    source, starts, ends = use.operands[0], use.integers(1), use.integers(2)
    steps = use.integers(4) if len(use.operands) > 4 else (1,)
    if source is None or source.rank != 1 or starts is None or ends is None or steps is None or len(starts) != 1:
        return None
    return Vector(1, source.flat[starts[0] : ends[0] : steps[0]])


def _split(use: SizeUse) -> tuple[Vector, ...] | None:
    """Into the lengths that are given, else into equal ones, the last of which may be shorter."""
    source = use.operands[0]
    if source is None or source.rank != 1:
        return None
    each = -(-len(source.flat) // use.outputs)
    parts = use.integers(1) if len(use.operands) > 1 else (each,) * use.outputs
    if parts is None:
        return None
    starts = [sum(parts[:at]) for at in range(len(parts))]
    return tuple(Vector(1, source.flat[start : start + size]) for start, size in zip(starts, parts, strict=True))


def _squeeze(use: SizeUse) -> Vector | None:
    source = use.operands[0]
    return Vector(0, source.flat) if source is not None and len(source.flat) == 1 else None


def _unsqueeze(use: SizeUse) -> Vector | None:
    source, axes = use.operands[0], use.integers(1)
    return (
        Vector(1, source.flat)
        if source is not None and axes is not None and (source.rank, len(axes)) == (0, 1)
        else None
    )


def _reshape(use: SizeUse) -> Vector | None:
    source, target = use.operands[0], use.integers(1)
    if source is None or target is None or not source.flat:
        return None
    if target in ((-1,), (0,), (len(source.flat),)):
        return Vector(1, source.flat)
    return Vector(0, source.flat) if not target and len(source.flat) == 1 else None


def _expand(use: SizeUse) -> Vector | None:
    source, target = use.operands[0], use.integers(1)
    if source is None or target is None or len(target) != 1:
        return None
    if target[0] in (1, len(source.flat)):
        return Vector(1, source.flat)
    short = len(source.flat) == 1 and target[0] <= use.arithmetic.longest
    return Vector(1, source.flat * target[0]) if short else None


def _constant_of_shape(use: SizeUse) -> Vector | None:
    target, value = use.integers(0), use.attribute("value", None)
    if target is None or len(target) != 1 or value is None or np.asarray(value).dtype.kind not in "iu":
        return None
    if target[0] > use.arithmetic.longest:
        return None
    return Vector(1, (int(np.asarray(value).ravel()[0]),) * target[0])


def _range(use: SizeUse) -> Vector | None:
    ends = [use.integers(at) for at in range(3)]
    numbers = [end[0] for end in ends if end is not None and len(end) == 1]
    if len(numbers) != 3 or numbers[2] == 0 or not use.is_integer:
        return None
    return Vector(1, tuple(range(*numbers)[: use.arithmetic.longest + 1]))


def _reduction(combine: Callable[[SizeUse], Combine], nothing: int | None) -> SizeRule:
    """All elements into one; `nothing` is what none give."""

    def rule(use: SizeUse) -> Vector | None:
        source = use.operands[0]
        axes = use.integers(1) if len(use.operands) > 1 else use.attribute("axes", ())
        if source is None or axes is None or source.rank != 1:
            return None
        if not len(axes) and use.attribute("noop_with_empty_axes", 0):
            return source
        function = combine(use)
        total: Size = source.flat[0] if source.flat else nothing
        for item in source.flat[1:]:
            total = None if total is None or item is None else function(total, item)
        return Vector(1 if use.attribute("keepdims", 1) else 0, (total,))

    return rule


_RULES: Mapping[str, SizeRule] = {
    "Abs": _each(lambda use: use.arithmetic.magnitude),
    "Add": _each(lambda use: use.arithmetic.plus),
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _quotient,
    "Equal": _compared("=="),
    "Expand": _expand,
    "Gather": _gather,
    "Greater": _compared(">"),
    "GreaterOrEqual": _compared(">="),
    "Identity": _same,
    "Less": _compared("<"),
    "LessOrEqual": _compared("<="),
    "Max": _folded(lambda use: use.arithmetic.greatest),
    "Min": _folded(lambda use: use.arithmetic.least),
    "Mod": _remainder,
    "Mul": _each(lambda use: use.arithmetic.times),
    "Neg": _each(lambda use: lambda a: use.arithmetic.minus(0, a)),
    "Not": _each(lambda use: use.arithmetic.inverted),
    "Range": _range,
    "ReduceMax": _reduction(lambda use: use.arithmetic.greatest, None),
    "ReduceMin": _reduction(lambda use: use.arithmetic.least, None),
    "ReduceProd": _reduction(lambda use: use.arithmetic.times, 1),
    "ReduceSum": _reduction(lambda use: use.arithmetic.plus, 0),
    "Reshape": _reshape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _each(lambda use: use.arithmetic.minus),
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
