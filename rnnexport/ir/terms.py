"""The step of a recurrence as immutable terms: what each value is computed from, and whether it depends on the state.

A term is one output of a call of an ONNX operator, or a leaf:

    State   a state before the step                        value: the input of the loop's body that it is
    Element one element of a sequence, a step              sequence: the term of the whole one, time first
    Step    the number of the step, 0 first                value: the input of the loop's body that it is
    Outer   a value of the graph around the recurrence     value: that value
    Input   what a program is given                        name: of an input, a state or a weight
    Const   a constant                                     array: its value

Equal calls are one object (`Terms` sees to it), so terms are compared by identity. Terms without State, Element
and Step below them are the same in every step: they can be computed in the graph around as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import onnx_ir as ir

Shape = tuple[int | None, ...]
Dim = TypeVar("Dim", bound=int | str | None)
Result = tuple[ir.DataType | None, Shape | None]
_DIGESTED = 1 << 10  # bytes of an array that are compared as they are
OPEN_END = 10**9  # what converters write for the open end of a slice is as much or more, and no axis is as long
LEAVES = ("State", "Element", "Step", "Outer", "Input", "Const")


@dataclass(frozen=True, eq=False, kw_only=True)
class Call:
    """One application of an operator.

    Attributes:
        op: the ONNX operator, or the name of a leaf.
        inputs: None for an optional input that is left out; what subgraphs capture comes last.
        attributes: by name; graphs among them refer to the values in `captured`.
        results: the dtype and the shape of each output; None for what is not known, in a shape too.
        captured: the values that subgraphs refer to, one for each of the last inputs.
        number: how many calls were made before it, by the same `Terms`.
    """

    op: str
    inputs: tuple[Term | None, ...] = ()
    attributes: Mapping[str, ir.Attr] = field(default_factory=dict)
    results: tuple[Result, ...] = ((None, None),)
    captured: tuple[ir.Value, ...] = ()
    number: int = 0

    def key(self) -> tuple[object, ...]:
        """Equal for equal calls."""
        attributes = tuple(map(_attribute_key, self.attributes.values()))
        return self.op, tuple(map(id, self.inputs)), attributes, len(self.results)

    @property
    def operands(self) -> tuple[Term, ...]:
        """The inputs that are there."""
        return tuple(term for term in self.inputs if term is not None)


@dataclass(frozen=True, eq=False, kw_only=True)
class Leaf(Call):
    """A State, a Step or an Outer, by the value of the graph that it is read from; without one, a leaf of its own."""

    value: ir.Value | None = None

    def key(self) -> tuple[object, ...]:
        return self.op, object() if self.value is None else id(self.value)


@dataclass(frozen=True, eq=False, kw_only=True)
class Element(Call):
    """One element of a sequence, a step."""

    op: str = "Element"
    sequence: Term

    def key(self) -> tuple[object, ...]:
        return self.op, id(self.sequence)


@dataclass(frozen=True, eq=False, kw_only=True)
class Input(Call):
    """What a program is given by name."""

    op: str = "Input"
    name: str

    def key(self) -> tuple[object, ...]:
        return self.op, self.name


@dataclass(frozen=True, eq=False, kw_only=True)
class Const(Call):
    """A constant; its array can't be written."""

    op: str = "Const"
    array: np.ndarray

    def key(self) -> tuple[object, ...]:
        return self.op, self.array.dtype.str, self.array.shape, _content(self.array)


@dataclass(frozen=True, eq=False)
class Term:
    """One output of a call.

    Attributes:
        call: what computes it.
        port: which of the call's outputs it is.
        of_state: whether it depends on a state.
        of_step: whether it can differ from step to step.
    """

    call: Call
    port: int
    of_state: bool
    of_step: bool

    @property
    def dtype(self) -> ir.DataType | None:
        """None where it is not known."""
        return self.call.results[self.port][0]

    @property
    def shape(self) -> Shape | None:
        """None where the rank is not known; None in it for a dimension that is not."""
        return self.call.results[self.port][1]

    @property
    def op(self) -> str:
        """The operator of its call."""
        return self.call.op

    @property
    def inputs(self) -> tuple[Term | None, ...]:
        """The inputs of its call."""
        return self.call.inputs

    @property
    def operands(self) -> tuple[Term, ...]:
        """The inputs that are there."""
        return self.call.operands

    @property
    def array(self) -> np.ndarray:
        """The value of a constant."""
        assert isinstance(self.call, Const)
        return self.call.array

    @property
    def sequence(self) -> Term:
        """The whole that an element is one of."""
        assert isinstance(self.call, Element)
        return self.call.sequence

    @property
    def value(self) -> ir.Value:
        """The value of the graph that a leaf is read from."""
        assert isinstance(self.call, Leaf)
        assert self.call.value is not None
        return self.call.value

    @property
    def rank(self) -> int | None:
        """How many dimensions it has."""
        return None if self.shape is None else len(self.shape)

    @property
    def width(self) -> int | None:
        """The size of the last dimension; 1 for a scalar."""
        return None if self.shape is None else (self.shape[-1] if self.shape else 1)

    def attribute(self, name: str, default: Any = None) -> Any:
        """The value of an attribute of its call."""
        found = self.call.attributes.get(name)
        return default if found is None else found.value


class Terms:
    """Makes terms, equal ones once. Grows only: a term, once made, never changes."""

    def __init__(self) -> None:
        self._calls: dict[Any, tuple[Term, ...]] = {}

    def add(self, call: Call) -> tuple[Term, ...]:
        """The outputs of a call, or of an equal one that is there."""
        key = call.key()
        if key not in self._calls:
            call = replace(call, number=len(self._calls))
            state = call.op == "State" or any(term.of_state for term in call.operands)
            step = call.op in ("State", "Element", "Step") or any(term.of_step for term in call.operands)
            self._calls[key] = tuple(Term(call, port, state, step) for port in range(len(call.results)))
        return self._calls[key]

    def leaf(self, op: str, value: ir.Value | None, dtype: ir.DataType | None, shape: Shape | None) -> Term:
        """A State, a Step or an Outer; see the table above."""
        return self.add(Leaf(op=op, value=value, results=((dtype, shape),)))[0]

    def element(self, sequence: Term, dtype: ir.DataType | None = None, shape: Shape | None = None) -> Term:
        """An element of a sequence, of its dtype and shape unless told."""
        if shape is None and sequence.shape is not None:
            shape = sequence.shape[1:]
        return self.add(Element(sequence=sequence, results=((dtype or sequence.dtype, shape),)))[0]

    def input(self, name: str, dtype: ir.DataType | None, shape: Shape | None) -> Term:
        """An input, a state or a weight of a program."""
        return self.add(Input(name=name, results=((dtype, shape),)))[0]

    def const(self, array: Any, dtype: Any = None) -> Term:
        """A constant."""
        value = np.asarray(array, dtype)
        if value.flags.writeable:  # a weight that can't be written is shared, not copied
            value = value.copy()
            value.setflags(write=False)
        return self.add(Const(array=value, results=((ir.DataType.from_numpy(value.dtype), value.shape),)))[0]

    def call(
        self,
        op: str,
        inputs: Sequence[Term | None],
        attributes: Mapping[str, Any] | None = None,
        results: Sequence[Result] = ((None, None),),
        captured: Sequence[ir.Value] = (),
    ) -> tuple[Term, ...]:
        """The outputs of a call of an ONNX operator."""
        made = {
            name: value if isinstance(value, ir.Attr) else ir.convenience.convert_attribute(name, value)
            for name, value in sorted((attributes or {}).items())
        }
        call = Call(op=op, inputs=tuple(inputs), attributes=made, results=tuple(results), captured=tuple(captured))
        return self.add(call)

    def elementwise(self, op: str, *inputs: Term, dtype: ir.DataType | None = None) -> Term:
        """An operator with NumPy's broadcasting; the dtype is that of the first input unless told."""
        shape = broadcast([term.shape for term in inputs])
        return self.call(op, inputs, results=[(dtype or inputs[0].dtype, shape)])[0]

    def matmul(self, left: Term, right: Term) -> Term:
        """`left @ right`, where right has rank 2."""
        shape = None if left.shape is None or right.shape is None else (*left.shape[:-1], right.shape[-1])
        return self.call("MatMul", [left, right], results=[(left.dtype, shape)])[0]

    def concat(self, parts: Sequence[Term]) -> Term:
        """Along the last dimension; all of one rank, with known widths."""
        if len(parts) == 1:
            return parts[0]
        lead = parts[0].shape[:-1] if parts[0].shape else ()
        width = sum(part.width or 0 for part in parts)
        return self.call("Concat", parts, {"axis": -1}, [(parts[0].dtype, (*lead, width))])[0]

    def split(self, whole: Term, widths: Sequence[int]) -> tuple[Term, ...]:
        """Along the last dimension."""
        if len(widths) == 1:
            return (whole,)
        lead = whole.shape[:-1] if whole.shape else ()
        results = [(whole.dtype, (*lead, width)) for width in widths]
        return self.call("Split", [whole, self.const(widths, np.int64)], {"axis": -1}, results)

    def rebuilt(self, term: Term, inputs: Sequence[Term | None]) -> Term:
        """The same call on other inputs of the same shapes."""
        if list(inputs) == list(term.inputs):
            return term
        return self.add(replace(term.call, inputs=tuple(inputs)))[term.port]


def _attribute_key(attribute: ir.Attr) -> Any:
    value = attribute.value
    if attribute.type == ir.AttributeType.TENSOR:
        array = value.numpy()
        return attribute.name, array.dtype.str, array.shape, array.tobytes()
    if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
        return attribute.name, id(value)
    return attribute.name, repr(value)


def _content(value: np.ndarray) -> bytes:
    """Equal for equal arrays of one shape and dtype: the bytes, or of many a digest."""
    if value.nbytes <= _DIGESTED:
        return value.tobytes()
    return hashlib.sha256(np.ascontiguousarray(value).data).digest()


def broadcast(shapes: Sequence[tuple[Dim, ...] | None]) -> tuple[Dim, ...] | None:
    """The shape that NumPy's broadcasting gives, as far as it is known; sizes may have names."""
    if any(shape is None for shape in shapes):
        return None
    known = [shape for shape in shapes if shape is not None]
    rank = max(map(len, known), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in known]
    return tuple(_broadcast(sizes) for sizes in zip(*padded, strict=True))


def _broadcast(sizes: Sequence[Any]) -> Any:
    wide = [size for size in sizes if size != 1]
    numbers = [size for size in wide if isinstance(size, int)]
    if numbers:
        return numbers[0]
    names = dict.fromkeys(wide)
    return next(iter(names)) if len(names) == 1 else (None if names else 1)


def below(roots: Iterable[Term], given: Iterable[Term] = ()) -> list[Term]:
    """Every term that the roots are computed from, themselves too, inputs first; without what is given."""
    order: list[Term] = []
    seen = set(given)
    stack = [(root, False) for root in reversed(list(roots))]
    while stack:
        term, done = stack.pop()
        if done:
            order.append(term)
        elif term not in seen:
            seen.add(term)
            stack.append((term, True))
            stack += [(given, False) for given in reversed(term.operands)]
    return order


def rewritten(terms: Terms, roots: Iterable[Term], change: Callable[[Term], Term]) -> dict[Term, Term]:
    """What every term below the roots becomes when each, its inputs already changed, is changed in turn."""
    done: dict[Term, Term] = {}
    for term in below(roots):
        inputs = [None if part is None else done[part] for part in term.inputs]
        done[term] = change(terms.rebuilt(term, inputs))
    return done


def substituted(terms: Terms, roots: Iterable[Term], known: Mapping[Term, Term]) -> dict[Term, Term]:
    """What every term below the roots becomes when some are replaced."""
    done: dict[Term, Term] = dict(known)
    for term in below(roots):
        if term not in done:
            inputs = [None if part is None else done[part] for part in term.inputs]
            done[term] = terms.rebuilt(term, inputs)
    return done


def uses(roots: Iterable[Term]) -> dict[Term, int]:
    """How often each term below the roots is used, as an input or as a root."""
    listed = list(roots)
    counts: dict[Term, int] = {}
    for root in listed:
        counts[root] = counts.get(root, 0) + 1
    for term in below(listed):
        for part in term.operands:
            counts[part] = counts.get(part, 0) + 1
    return counts
