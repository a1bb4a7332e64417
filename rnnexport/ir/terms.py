"""The step of a recurrence as immutable terms: what each value is computed from, and whether it depends on the state.

A term is one output of a call of an ONNX operator, or a leaf:

    State   a state before the step                       payload: the input of the loop's body that it is
    Element one element of a sequence, a step              payload: the term of the whole sequence, time first
    Step    the number of the step, 0 first                payload: the input of the loop's body that it is
    Outer   a value of the graph around the recurrence     payload: the ir.Value
    Const   a constant                                     payload: its array

Equal calls are one object (`Terms` sees to it), so terms are compared by identity. Terms without State, Element
and Step below them are the same in every step: they can be computed in the graph around as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

Shape = tuple[int | None, ...]
Result = tuple[ir.DataType | None, Shape | None]
_DIGESTED = 1 << 10  # bytes of an array that are compared as they are
LEAVES = ("State", "Element", "Step", "Outer", "Const")


@dataclass(frozen=True, eq=False)
class Call:
    """One application of an operator.

    Attributes:
        op: the ONNX operator, or the name of a leaf.
        inputs: None for an optional input that is left out; what subgraphs capture comes last.
        attributes: by name; graphs among them refer to the values in `captured`.
        results: the dtype and the shape of each output; None for what is not known, in a shape too.
        payload: of a leaf; of a Scan, its step.
        captured: the values that subgraphs refer to, one for each of the last inputs.
        number: how many calls were made before it, by the same `Terms`.
    """

    op: str
    inputs: tuple[Term | None, ...] = ()
    attributes: Mapping[str, ir.Attr] = field(default_factory=dict)
    results: tuple[Result, ...] = ((None, None),)
    payload: Any = None
    captured: tuple[ir.Value, ...] = ()
    number: int = 0


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
        return tuple(term for term in self.call.inputs if term is not None)

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

    def leaf(self, op: str, payload: Any, dtype: ir.DataType | None, shape: Shape | None) -> Term:
        """A leaf; see the table above."""
        key = (op, id(payload))
        if key not in self._calls:
            state, step = op == "State", op in ("State", "Element", "Step")
            self._calls[key] = (
                Term(Call(op, results=((dtype, shape),), payload=payload, number=len(self._calls)), 0, state, step),
            )
        return self._calls[key][0]

    def const(self, array: Any, dtype: Any = None) -> Term:
        """A constant."""
        value = np.asarray(array, dtype)
        if value.flags.writeable:  # a weight that can't be written is shared, not copied
            value = value.copy()
            value.setflags(write=False)
        key = ("Const", value.dtype.str, value.shape, _content(value))
        if key not in self._calls:
            results = ((ir.DataType.from_numpy(value.dtype), value.shape),)
            call = Call("Const", results=results, payload=value, number=len(self._calls))
            self._calls[key] = (Term(call, 0, False, False),)
        return self._calls[key][0]

    def call(
        self,
        op: str,
        inputs: Sequence[Term | None],
        attributes: Mapping[str, Any] | None = None,
        results: Sequence[Result] = ((None, None),),
        captured: Sequence[ir.Value] = (),
        payload: Any = None,
    ) -> tuple[Term, ...]:
        """The outputs of a call."""
        made = {
            name: value if isinstance(value, ir.Attr) else ir.convenience.convert_attribute(name, value)
            for name, value in sorted((attributes or {}).items())
        }
        key = (op, tuple(map(id, inputs)), tuple(map(_attribute_key, made.values())), len(results), id(payload))
        if key not in self._calls:
            call = Call(op, tuple(inputs), made, tuple(results), payload, tuple(captured), len(self._calls))
            given = [term for term in inputs if term is not None]
            state, step = any(term.of_state for term in given), any(term.of_step for term in given)
            self._calls[key] = tuple(Term(call, port, state, step) for port in range(len(results)))
        return self._calls[key]

    def elementwise(self, op: str, *inputs: Term, dtype: ir.DataType | None = None) -> Term:
        """An operator with NumPy's broadcasting; the dtype is that of the first input unless told."""
        return self.call(op, inputs, results=[(dtype or inputs[0].dtype, broadcast(inputs))])[0]

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
        call = term.call
        if list(inputs) == list(call.inputs):
            return term
        return self.call(call.op, inputs, call.attributes, call.results, call.captured, call.payload)[term.port]


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


def broadcast(terms: Iterable[Term]) -> Shape | None:
    """The shape that NumPy's broadcasting gives; None where a rank is not known."""
    shapes = [term.shape for term in terms]
    if any(shape is None for shape in shapes):
        return None
    known = [shape for shape in shapes if shape is not None]
    rank = max(map(len, known), default=0)
    padded = [(1,) * (rank - len(shape)) + shape for shape in known]
    return tuple(_dim(dims) for dims in zip(*padded, strict=True))


def _dim(dims: tuple[int | None, ...]) -> int | None:
    fixed = [dim for dim in dims if dim not in (None, 1)]
    if fixed:
        return fixed[0]
    return None if None in dims else 1


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
