"""Sequences of which rows leave steps out: the steps that are taken moved to the front, and results moved back.

    taken_TB   0 1 1 0 1     of one row: pos = cumsum(taken) = 0 1 2 2 3
    x          a b c d e  ->  b c e . .      as the operator reads it, three steps long; what is behind is not read
    y          p q r . .  ->  s p q q r      s stands before the first step that is taken

Rows are gathered from sequences whose steps and batch are one dimension: step t of row b is t * B + b there. Backwards,
the operator reads its rows from the end, so what a step holds that is left out is what stands behind it.

Letters: T steps, B batch, I inputs, H units.

Layers behind one mask: their steps are moved to the front once, and back once.

Before: y = expand(LSTM(compact(x))),  z = expand(LSTM(compact(y)))      with one mask
After:  z = expand(LSTM(LSTM(compact(x))))                               y is gone, unless something else reads it

What `Compaction` of the one mask would make is built as terms and compared with the graph, node by node: whatever else
looks like it is left alone.

Masks: a step that a mask leaves out of a row changes nothing there.

Before: h' = Where(m, f(x, h), h),  y = Where(m, h', y of the step before, or zero)        m (B, 1), of each step
After:  h' = f(x, h) over the steps whose m is true,  and y there; between them y stays, or is zero

It is shown by cases. With m taken to be false every state has to come out as it was; what is left with m taken to be
true is the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice, product

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass, DeduplicateInitializersPass

from rnnexport.ir.loop_body import Constants, constant
from rnnexport.ir.loop_invariants import changed
from rnnexport.ir.recurrence import Recurrence, State
from rnnexport.ir.sequences import untransposed
from rnnexport.ir.terms import Shape, Term, Terms, below, rewritten
from rnnexport.lowering.algebra import Unreadable, lanes
from rnnexport.lowering.emit import replace_value
from rnnexport.lowering.normal_form import NormalForms

_INT64 = ir.DataType.INT64
# Of the indices and lengths of plans.
_SMALL = 64
# A step compares and combines few flags; each is tried in both senses.
_MOST_FLAGS = 8
_MOVES = ("Cast", "Tile", "Expand", "Unsqueeze", "Squeeze", "Reshape", "Identity")
_OPERATIONS = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "And": np.logical_and, "Or": np.logical_or}


class Compaction:
    """The plan of one mask.

    Args:
        taken_TB1: bool.
        terms: what makes the terms.
        backwards: whether the operator reads the sequence from its end.
    """

    def __init__(self, taken_TB1: Term, terms: Terms, *, backwards: bool) -> None:
        self._terms, self._backwards = terms, backwards
        self._taken_TB = self._call("Squeeze", [taken_TB1, self._ints(2)], (None, None), ir.DataType.BOOL)
        self._sizes = self._call("Shape", [self._taken_TB], (2,))
        self._numbers_TB = self._call("Cast", [self._taken_TB], (None, None), to=_INT64.value)
        self._pos_TB = self._call("CumSum", [self._numbers_TB, terms.const(0, np.int64)], (None, None))
        self._counts_B = self._call("Gather", [self._pos_TB, terms.const(-1, np.int64)], (None,), axis=0)

    @property
    def lengths(self) -> Term:
        """How many steps each row takes, (B,), as `sequence_lens`."""
        return self._call("Cast", [self._counts_B], (None,), ir.DataType.INT32, to=ir.DataType.INT32.value)

    def compacted(self, x_TBI: Term) -> Term:
        """The steps that are taken, moved to the front."""
        return self._call("Gather", [self._rows(x_TBI), self.order], x_TBI.shape, x_TBI.dtype, axis=0)

    def expanded(self, y_TDBH: Term, start_BH: Term, *, keeps: bool) -> Term:
        """The results of the steps that are taken at their places, (T, B, H); elsewhere the last one before, or zero.

        Args:
            y_TDBH: in the order of the operator, D being 1.
            start_BH: what stands before the first step that is taken; zero, unless `keeps`.
            keeps: whether a step that is left out has what the step before it has.
        """
        rows = [start_BH, self._rows(y_TDBH)]
        found = self._call("Concat", rows, (None, y_TDBH.width), y_TDBH.dtype, axis=0)
        return self._call("Gather", [found, self.places(keeps=keeps)], (None, None, y_TDBH.width), y_TDBH.dtype, axis=0)

    def at_end(self, last_BH: Term, initial_BH: Term) -> Term:
        """The last state: that of the operator, or the initial one where a row takes no step."""
        zero = self._terms.const(0, np.int64)
        any_B = self._elementwise("Greater", self._counts_B, zero, dtype=ir.DataType.BOOL)
        any_B1 = self._call("Unsqueeze", [any_B, self._ints(1)], (None, 1), ir.DataType.BOOL)
        return self._call("Where", [any_B1, last_BH, initial_BH], last_BH.shape, last_BH.dtype)

    def zeros(self, width: int) -> Term:
        """(B, width)."""
        batch = self._call("Slice", [self._sizes, self._ints(1), self._ints(2)], (1,))
        shape = self._call("Concat", [batch, self._ints(width)], (2,), axis=0)
        return self._call("Expand", [self._terms.const(0, np.float32), shape], (None, width), ir.DataType.FLOAT)

    def places(self, *, keeps: bool) -> Term:
        """(T, B), the rows that `expanded` takes, `start_BH` before those of all steps."""
        return self._elementwise("Add", self._elementwise("Mul", self._held(keeps), self._size(1)), self._batch)

    def _held(self, keeps: bool) -> Term:
        """For each step the number of the result that it has, from 1; 0 for what stands before all of them."""
        zero, one = (self._terms.const(number, np.int64) for number in (0, 1))
        if not keeps:
            return self._where(self._taken_TB, self._pos_TB, zero)
        if not self._backwards:
            return self._pos_TB
        before_TB = self._elementwise("Sub", self._pos_TB, self._numbers_TB)
        some = self._elementwise("Less", before_TB, self._counts_B, dtype=ir.DataType.BOOL)
        return self._where(some, self._elementwise("Add", before_TB, one), zero)

    @cached_property
    def order(self) -> Term:
        """(T, B), the rows of the steps that are taken; counted from the end, so that any other number is larger."""
        zero, one = (self._terms.const(number, np.int64) for number in (0, 1))
        least = self._elementwise("Neg", self._call("Size", [self._taken_TB], ()))
        numbers = self._call("Range", [least, zero, one], (None,))
        numbers_TB = self._call("Reshape", [numbers, self._sizes], (None, None))
        keys_TB = self._where(self._taken_TB, numbers_TB, zero)
        steps = self._call("Slice", [self._sizes, self._ints(0), self._ints(1)], (1,))
        results = [(_INT64, (None, None))] * 2
        return self._terms.call("TopK", [keys_TB, steps], {"axis": 0, "largest": 0, "sorted": 1}, results)[0]

    @cached_property
    def _batch(self) -> Term:
        zero, one = (self._terms.const(number, np.int64) for number in (0, 1))
        return self._call("Range", [zero, self._size(1), one], (None,))

    def _size(self, axis: int) -> Term:
        return self._call("Gather", [self._sizes, self._terms.const(axis, np.int64)], (), axis=0)

    def _rows(self, whole: Term) -> Term:
        shape = (None, whole.width)
        return self._call("Reshape", [whole, self._ints(-1, whole.width or 1)], shape, whole.dtype)

    def _where(self, condition: Term, one: Term, other: Term) -> Term:
        return self._call("Where", [condition, one, other], (None, None))

    def _elementwise(self, op: str, *inputs: Term, dtype: ir.DataType = _INT64) -> Term:
        return self._terms.elementwise(op, *inputs, dtype=dtype)

    def _ints(self, *numbers: int) -> Term:
        return self._terms.const(numbers, np.int64)

    def _call(
        self,
        op: str,
        inputs: Sequence[Term],
        shape: Shape | None,
        dtype: ir.DataType | None = _INT64,
        **attributes: int,
    ) -> Term:
        return self._terms.call(op, inputs, attributes, [(dtype, shape)])[0]


def compact_once(model: ir.Model) -> None:
    """Take the result of a layer as it is where the next one would move its steps as they were. In place.

    Nodes that compute the same become one first: each layer has made a plan of its own.
    """
    if not any(node.op_type == "TopK" for node in model.graph):
        return
    DeduplicateInitializersPass(size_limit=_SMALL)(model)
    CommonSubexpressionEliminationPass()(model)
    for node in list(model.graph):
        mask = _mask_of(node)
        rows = node.inputs[0].producer() if mask is not None and node.inputs[0] is not None else None
        if mask is not None and rows is not None and rows.op_type == "Reshape" and rows.inputs[0] is not None:
            found = _Taken(model.graph, mask, node).of(rows.inputs[0])
            if found is not None:
                replace_value(model.graph, node.outputs[0], found, node)


def _mask_of(node: ir.Node) -> ir.Value | None:
    """The mask (T, B, 1) whose steps a node moves to the front."""
    if node.domain or node.op_type != "Gather" or node.inputs[1] is None:
        return None
    value: ir.Value | None = node.inputs[1]
    for op in ("TopK", "Where", "Squeeze"):
        producer = None if value is None else value.producer()
        if producer is None or producer.op_type != op:
            return None
        value = producer.inputs[0]
    terms = Terms()
    plan = None if value is None else Compaction(_leaf(terms, value), terms, backwards=False)
    return value if plan is not None and is_spelled(plan.order, node.inputs[1]) else None


def _leaf(terms: Terms, value: ir.Value) -> Term:
    return terms.leaf("Outer", value, ir.DataType.BOOL, (None, None, 1))


class _Taken:
    """The steps that are taken of values in the graph, in order, from what the values were expanded from."""

    def __init__(self, graph: ir.Graph, mask: ir.Value, before: ir.Node) -> None:
        self._graph, self._before = graph, before
        terms = Terms()
        plans = [Compaction(_leaf(terms, mask), terms, backwards=backwards) for backwards in (False, True)]
        self._places = [plan.places(keeps=keeps) for plan, keeps in product(plans, (True, False))]

    def of(self, value: ir.Value) -> ir.Value | None:
        """(T, B, H), of a value of that shape; None where it is made in another way."""
        node = value.producer()
        if node is None or node.domain:
            return None
        if node.op_type == "Gather":
            return self._expanded(node)
        if node.op_type == "Concat" and node.attributes["axis"].as_int() in (-1, 2):
            parts = [None if part is None else self.of(part) for part in node.inputs]
            if None in parts:
                return None
            return self._made("Concat", parts, [ir.AttrInt64("axis", 2)], value)
        source = untransposed(value)
        return None if source is None else self.of(source)

    def _expanded(self, node: ir.Node) -> ir.Value | None:
        rows, places = node.inputs
        if rows is None or places is None or not any(is_spelled(term, places) for term in self._places):
            return None
        joined = rows.producer()
        results = None if joined is None or joined.op_type != "Concat" else joined.inputs[1]
        flat = None if results is None else results.producer()
        if flat is None or flat.op_type != "Reshape" or flat.inputs[0] is None:
            return None
        axis = ir.Value(name=f"{node.name}/direction", const_value=ir.tensor([1]), shape=ir.Shape([1]))
        axis.type = ir.TensorType(ir.DataType.INT64)
        self._graph.register_initializer(axis)
        return self._made("Squeeze", [flat.inputs[0], axis], [], node.outputs[0])

    def _made(self, op: str, inputs: list[ir.Value | None], attributes: list[ir.Attr], like: ir.Value) -> ir.Value:
        node = ir.Node("", op, inputs, attributes, num_outputs=1, name=f"{like.name}/taken_by/{self._before.name}")
        (value,) = node.outputs
        value.name, value.type = f"{node.name}:0", like.type
        self._graph.insert_before(self._before, node)
        return value


def is_spelled(term: Term, value: ir.Value) -> bool:
    """Whether a value of the graph is computed just as a term says."""
    if term.op == "Outer":
        return value is term.value
    known = constant(value)
    if term.op == "Const":
        return known is not None and known.numpy().dtype == term.array.dtype and _same(known, term)
    node = value.producer()
    if node is None or node.domain or node.op_type != term.op or value.index() != term.port:
        return False
    written = {name: item.value for name, item in node.attributes.items()}
    if written != {name: item.value for name, item in term.call.attributes.items()}:
        return False
    pairs = zip(term.operands, node.inputs, strict=False)
    return len(node.inputs) == len(term.operands) and all(
        inner is not None and is_spelled(part, inner) for part, inner in pairs
    )


def _same(known: ir.TensorProtocol, term: Term) -> bool:
    array = known.numpy()
    return array.shape == term.array.shape and bool((array == term.array).all())


@dataclass(frozen=True, eq=False)
class Masked:
    """A recurrence with a mask.

    Attributes:
        flag: whether a row takes the step, (B, 1) bool.
        taken: the recurrence of the steps that are taken.
        only_held: states whose next value in a step that is taken is that of a state of `taken`, and that nothing but
            a step that is left out reads: each with that state. Keras keeps the last output in one.
        now: what every root of the step is where it is taken.
        skipped: what every root of the step is where it is left out.
    """

    flag: Term
    taken: Recurrence
    only_held: Mapping[State, State]
    now: Mapping[Term, Term]
    skipped: Mapping[Term, Term]


def masked(recurrence: Recurrence, constants: Constants) -> Masked | None:
    """The recurrence with its mask told apart; None where it has none."""
    terms, roots = recurrence.terms, recurrence.roots
    forms = NormalForms(terms, constants)
    for flag in islice(filter(_may_be_flag, below(roots)), _MOST_FLAGS):
        for sense in (True, False):
            skipped = assumed(terms, roots, flag, value=not sense)
            if recurrence.states and all(_stays(state, skipped[state.after], forms) for state in recurrence.states):
                now = assumed(terms, roots, flag, value=sense)
                taken, only_held = _without_held(changed(recurrence, now), recurrence)
                positive = flag if sense else terms.elementwise("Not", flag)
                return Masked(positive, taken, only_held, now, skipped)
    return None


def _may_be_flag(term: Term) -> bool:
    bool_of_step = term.dtype is ir.DataType.BOOL and term.of_step and not term.of_state
    return bool_of_step and term.rank == 2 and term.width == 1


def _stays(state: State, after: Term, forms: NormalForms) -> bool:
    if after is state.before:
        return True
    try:
        row = forms(after)
    except Unreadable:
        return False
    return len(row) == 1 and row[0].equals(lanes(state.before, 0, state.before.width or 0))


def _without_held(taken: Recurrence, recurrence: Recurrence) -> tuple[Recurrence, dict[State, State]]:
    """The recurrence without states that only hold what another one has; those as states of `recurrence`."""
    kept = list(taken.states)
    held: dict[State, State] = {}
    for state, original in zip(taken.states, recurrence.states, strict=True):
        others = [other for other in kept if other is not state]
        twin = next((other for other in others if other.after is state.after), None)
        read = below([*(other.after for other in others), *(output.each for output in taken.outputs)])
        if twin is not None and state.before not in read:
            kept, held = others, {**held, original: twin}
    return replace(taken, states=tuple(kept)), held


def assumed(terms: Terms, roots: list[Term], flag: Term, *, value: bool) -> dict[Term, Term]:
    """What the terms below the roots become where `flag` is true, or false, in all rows."""

    def change(term: Term) -> Term:
        if term is flag:
            return terms.const([[value]])
        if term.op == "Where":
            condition, one, other = term.operands
            known = _uniform(condition)
            found = None if known is None else one if known else other
            if found is None or _fits(found, term):
                return found or term
            number = _uniform(found)
            return term if number is None else _constant(terms, term, number)
        return _simplified(terms, term)

    return rewritten(terms, roots, change)


def _simplified(terms: Terms, term: Term) -> Term:
    """Without numbers that are the same everywhere: what is left of flags written as numbers."""
    known = [_uniform(part) for part in term.operands]
    first = known[0] if known else None
    if first is not None and (term.op in _MOVES or term.op == "Not"):
        return _constant(terms, term, not first if term.op == "Not" else first)
    if len(known) != 2 or term.op not in ("Add", "Sub", "Mul", "And", "Or"):
        return term
    left, right = known
    if left is not None and right is not None:
        return _constant(terms, term, _OPERATIONS[term.op](left, right))
    for number, other in ((left, term.operands[1]), (right, term.operands[0])):
        neutral = number == {"Mul": 1.0, "And": True, "Or": False}.get(term.op, 0.0)
        if number is None or (term.op == "Sub" and number is left):
            continue
        if neutral and _fits(other, term):
            return other
        if term.op == "Mul" and number == 0:
            return _constant(terms, term, 0.0)
    return term


def _uniform(term: Term) -> float | None:
    """The one number of a constant all of whose dimensions are 1."""
    return term.array.item() if term.op == "Const" and term.array.size == 1 else None


def _constant(terms: Terms, term: Term, value: float) -> Term:
    if term.dtype is None or term.rank is None:
        return term
    return terms.const(np.full((1,) * term.rank, value), term.dtype.numpy())


def _fits(part: Term, whole: Term) -> bool:
    """Whether a part of an elementwise operation has the shape of its result: nothing is broadcast."""
    return part.shape is not None and whole.shape is not None and _wide(part.shape) == _wide(whole.shape)


def _wide(shape: tuple[int | None, ...]) -> list[bool | int | None]:
    # Of the rows it counts whether there is one, as a number of them that is not known may be any.
    return [dim == 1 for dim in shape[:-1]] + list(shape[-1:])
