"""Recurrences that are linear in their states, element by element: SRU, QRNN, minGRU, gated and diagonal state spaces.

Before: h' = f(x) * h + g(x),  y' = k(h', x)      T steps one after the other
After:  a = f(x), b = g(x) over all steps at once, h in chunks, y = k(h, x) over all steps at once

The steps of a sequence are taken in about sqrt(T) chunks side by side: in each from nothing, with the product of its
factors beside; then from chunk to chunk; then both put together.

    A_t = a_t * A_t-1,  B_t = a_t * B_t-1 + b_t       in all chunks at once, from A = 1 and B = 0
    h   = A * h_chunk + B                             h_chunk: the state in front of the chunk

No factor may be larger than 1, so that no product of them grows past what the states are made of.

Between which two numbers a value lies, whatever the inputs are: known of activations, constants and what they make.

The answer may be wider than it need be; (-inf, inf) is always right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from rnnexport.ir.lengths import Refusal
from rnnexport.ir.loop_body import Constants
from rnnexport.ir.loop_invariants import Batching
from rnnexport.ir.program import Carried
from rnnexport.ir.program import scan as scan_of
from rnnexport.ir.recurrence import Recurrence, State
from rnnexport.ir.sequences import length_term, steps_term
from rnnexport.ir.terms import Shape, Term, Terms, below, substituted
from rnnexport.lowering.forms import Form
from rnnexport.lowering.native import before_each_step

_INT64 = ir.DataType.INT64
_END = np.iinfo(np.int64).max


# The next value of a state as (factor, added), factor * before + added; None for a zero.
Line = tuple[Term | None, Term | None]
Interval = tuple[float, float]
ALL: Interval = (-np.inf, np.inf)


def chunked(lean: Recurrence, constants: Constants) -> Form | Refusal:
    """The recurrence in chunks, or why it is not linear."""
    if not lean.states:
        return Refusal("it has no state")
    batching = Batching(lean.terms, constants, steps_term(lean.length, lean.terms))
    wholes, form = {}, dict(lean.kept)
    for state in lean.states:
        whole = _states(lean, state, batching)
        if isinstance(whole, Refusal):
            return whole
        wholes[state] = whole
        results = [(state.before.dtype, state.before.shape)]
        (end,) = lean.terms.call("Gather", [whole, lean.terms.const(-1, np.int64)], {"axis": 0}, results)
        form.update(dict.fromkeys(state.finals, end))
    outputs = _outputs(lean, wholes, batching)
    return outputs if isinstance(outputs, Refusal) else {**form, **outputs}


def _states(lean: Recurrence, state: State, batching: Batching) -> Term | Refusal:
    """A state after every step, (T, ...)."""
    line = _LinearReader(lean.terms, state.before)(state.after)
    if line is None or line[0] is None or state.after.shape != state.before.shape:
        return Refusal("what a state becomes is no multiple of it and something added, element by element")
    low, high = interval(line[0], batching.constants)
    if not -1 <= low <= high <= 1:
        return Refusal("a factor of a state may be larger than 1")
    spread = _OverSteps(lean, state, batching)
    factor, added = spread(line[0]), spread(line[1])
    if factor is None or added is None:
        return Refusal("what a state is multiplied with, or what is added, can't be computed for all steps at once")
    return _Chunks(lean.terms, lean.name, state)(factor, added, spread.steps)


class _LinearReader:
    """Reads terms as (factor, added) of a state; None for a zero, and None for what is no line.

    Args:
        before: the leaf of the state.
    """

    def __init__(self, terms: Terms, before: Term) -> None:
        self._terms, self._before = terms, before

    def __call__(self, term: Term) -> Line | None:
        """The line of `term`."""
        found: dict[Term, Line | None] = {}
        for part in below([term]):
            found[part] = self._read(part, found)
        return found[term]

    def _read(self, term: Term, known: Mapping[Term, Line | None]) -> Line | None:
        if not term.of_state:
            return None, term
        if term is self._before:
            assert term.dtype is not None
            return self._terms.const(np.ones((), term.dtype.numpy())), None
        reader = _READERS.get(term.op)
        lines = [known[part] for part in term.operands]
        if reader is None or None in lines or term.shape is None:
            return None
        read = [line for line in lines if line is not None]
        if term.op != "Reshape" and any(part.of_state and part.shape != term.shape for part in term.operands):
            return None  # the state is broadcast
        return reader(self, term, read)

    def sum(self, term: Term, lines: Sequence[Line]) -> Line:
        """Add and Sub."""
        (a, b), (c, d) = lines
        return self._sum(term.op, a, c), self._sum(term.op, b, d)

    def _sum(self, op: str, left: Term | None, right: Term | None) -> Term | None:
        if right is None:
            return left
        if left is None:
            return right if op == "Add" else self._terms.elementwise("Neg", right)
        return self._terms.elementwise(op, left, right)

    def product(self, term: Term, lines: Sequence[Line]) -> Line | None:
        """Mul, and Div by what has no state in it."""
        left, right = lines
        if right[0] is None and right[1] is not None:
            return self._times(term.op, left[0], right[1]), self._times(term.op, left[1], right[1])
        if left[0] is None and left[1] is not None and term.op == "Mul":
            return self._times("Mul", right[0], left[1]), self._times("Mul", right[1], left[1])
        return None

    def _times(self, op: str, value: Term | None, by: Term) -> Term | None:
        if value is None:
            return None
        if op == "Mul" and value.op == "Const" and value.array.ndim == 0 and value.array == 1:
            return by
        return self._terms.elementwise(op, value, by)

    def negative(self, term: Term, lines: Sequence[Line]) -> Line:
        """Neg."""
        ((a, b),) = lines
        first, second = (None if part is None else self._terms.elementwise("Neg", part) for part in (a, b))
        return first, second

    def same(self, term: Term, lines: Sequence[Line]) -> Line:
        """Identity."""
        return lines[0]

    def reshaped(self, term: Term, lines: Sequence[Line]) -> Line | None:
        """Reshape, which keeps the order of the elements."""
        (factor, added), (_, size) = lines
        if size is None or size.of_step:
            return None
        shape, found = term.operands[0].shape, []
        for part in (factor, added):
            if part is None or (part.op == "Const" and part.array.size == 1):
                found.append(part)
            elif part.shape == shape:
                attributes = term.call.attributes
                found += self._terms.call("Reshape", [part, size], attributes, [(part.dtype, term.shape)])
            else:
                return None
        return found[0], found[1]

    def choice(self, term: Term, lines: Sequence[Line]) -> Line | None:
        """Where, by a mask that has no state in it."""
        (masked, mask), (a, b), (c, d) = lines
        if masked is not None or mask is None:
            return None
        return self._either(mask, a, c), self._either(mask, b, d)

    def _either(self, mask: Term, one: Term | None, other: Term | None) -> Term | None:
        if one is None and other is None:
            return None
        assert self._before.dtype is not None
        zero = self._terms.const(np.zeros((), self._before.dtype.numpy()))
        return self._terms.elementwise("Where", mask, one or zero, other or zero, dtype=self._before.dtype)


_Reading = Callable[[_LinearReader, Term, Sequence[Line]], "Line | None"]
_READERS: Mapping[str, _Reading] = {
    "Add": _LinearReader.sum,
    "Sub": _LinearReader.sum,
    "Mul": _LinearReader.product,
    "Div": _LinearReader.product,
    "Neg": _LinearReader.negative,
    "Identity": _LinearReader.same,
    "Reshape": _LinearReader.reshaped,
    "Where": _LinearReader.choice,
}


def _outputs(recurrence: Recurrence, wholes: Mapping[State, Term], batching: Batching) -> Form | Refusal:
    """What the steps give, of the states after each of them and before."""
    terms = recurrence.terms
    after = {state.after: terms.element(whole) for state, whole in wholes.items()}
    before = {state.before: terms.element(before_each_step(state, whole, terms)) for state, whole in wholes.items()}
    form: dict[ir.Value, Term] = {}
    for output in recurrence.outputs:
        each = substituted(terms, [output.each], after)[output.each]
        if each.of_state:
            each = substituted(terms, [each], before)[each]
        whole = batching(each)
        if whole is None:
            return Refusal("what a step gives can't be computed for all steps at once")
        form[output.whole] = whole
    return form


class _OverSteps:
    """Values of a step as (T, ...) of all steps, of the shape of the state in each."""

    def __init__(self, recurrence: Recurrence, state: State, batching: Batching) -> None:
        self._terms, self._state, self._batching = recurrence.terms, state, batching
        terms, rank = recurrence.terms, state.before.rank or 0
        one = terms.const([1], np.int64)
        length = length_term(recurrence.length, terms)
        self.steps = terms.call("Reshape", [length, one], results=[(_INT64, (1,))])[0]
        rows = terms.call("Shape", [state.initial], results=[(_INT64, (rank,))])[0]
        self._sizes = terms.call("Concat", [self.steps, rows], {"axis": 0}, [(_INT64, (rank + 1,))])[0]

    def __call__(self, part: Term | None) -> Term | None:
        terms, state = self._terms, self._state
        assert state.before.dtype is not None
        if part is None:
            part = terms.const(np.zeros((), state.before.dtype.numpy()))
        whole = self._batching.widened(part, state.before.rank or 0) if part.of_step else part
        if whole is None:
            return None
        shape: Shape = (None, *(state.before.shape or ()))
        return terms.call("Expand", [whole, self._sizes], results=[(state.before.dtype, shape)])[0]


class _Chunks:
    """The states after each step, (T, ...). Letters: T steps, C chunks of L steps."""

    def __init__(self, terms: Terms, name: str, state: State) -> None:
        self._terms, self._name, self._state = terms, name, state
        self._dims: Shape = state.before.shape or ()
        self._rank = len(self._dims) + 1

    def __call__(self, factor_T: Term, added_T: Term, steps: Term) -> Term:
        terms, one = self._terms, self._ints(1)
        length = self._cast(self._float("Ceil", self._float("Sqrt", self._cast(steps, ir.DataType.FLOAT))), _INT64)
        chunks = self._size("Div", self._size("Sub", self._size("Add", steps, length), one), length)
        missing = self._size("Sub", self._size("Mul", chunks, length), steps)
        sizes = self._call("Shape", [factor_T], (self._rank,), dtype=_INT64)
        rows = self._call("Slice", [sizes, one, self._ints(_END)], (self._rank - 1,), dtype=_INT64)
        nothing = self._ints(*(0,) * self._rank)
        pads = self._joined(nothing, missing, self._ints(*(0,) * (self._rank - 1)))
        parted = self._joined(chunks, length, rows)
        factor_LC, added_LC = (self._parted(whole, pads, parted) for whole in (factor_T, added_T))
        every, ends = self._inside(factor_LC, added_LC, self._joined(chunks, rows))
        starts_C = self._between(*ends)
        products_LC, sums_LC = every
        states_LC = terms.elementwise("Add", terms.elementwise("Mul", products_LC, starts_C), sums_LC)
        states_CL = self._turned(states_LC)
        padded = self._call("Reshape", [states_CL, self._joined(self._ints(-1), rows)], (None, *self._dims))
        return self._call("Slice", [padded, self._ints(0), steps], (None, *self._dims))

    def _parted(self, whole_T: Term, pads: Term, sizes: Term) -> Term:
        """(T, ...) as (L, C, ...)."""
        padded = self._call("Pad", [whole_T, pads], (None, *self._dims))
        return self._turned(self._call("Reshape", [padded, sizes], (None, None, *self._dims)))

    def _turned(self, value: Term) -> Term:
        order = {"perm": [1, 0, *range(2, self._rank + 1)]}
        results = [(value.dtype, (None, None, *self._dims))]
        return self._terms.call("Transpose", [value], order, results)[0]

    def _inside(self, factor_LC: Term, added_LC: Term, sizes: Term) -> tuple[Sequence[Term], Sequence[Term]]:
        """(every, last) product and sum of the steps of a chunk, from 1 and 0."""
        terms, shape = self._terms, (None, *self._dims)
        start = [self._call("Expand", [self._number(number), sizes], shape) for number in (1, 0)]
        product, total = (terms.leaf("State", None, factor_LC.dtype, shape) for _ in start)
        factor, added = terms.element(factor_LC), terms.element(added_LC)
        after = terms.elementwise("Mul", product, factor)
        sums = terms.elementwise("Add", terms.elementwise("Mul", total, factor), added)
        carried = [Carried(product, after, start[0]), Carried(total, sums, start[1])]
        whole = (None, *shape)
        made = scan_of(terms, self._name, carried, [after, sums], [whole, whole])
        return made[:2], made[2:]

    def _between(self, product_C: Term, sum_C: Term) -> Term:
        """The state in front of each chunk."""
        terms, state = self._terms, self._state
        before = terms.leaf("State", None, state.before.dtype, self._dims)
        kept = terms.elementwise("Mul", terms.element(product_C), before)
        after = terms.elementwise("Add", kept, terms.element(sum_C))
        carried = [Carried(before, after, state.initial)]
        return scan_of(terms, self._name, carried, [before], [(None, *self._dims)])[0]

    def _call(self, op: str, inputs: Sequence[Term], shape: Shape, dtype: ir.DataType | None = None) -> Term:
        return self._terms.call(op, inputs, results=[(dtype or self._state.before.dtype, shape)])[0]

    def _cast(self, value: Term, dtype: ir.DataType) -> Term:
        return self._terms.call("Cast", [value], {"to": dtype.value}, [(dtype, (1,))])[0]

    def _float(self, op: str, value: Term) -> Term:
        return self._call(op, [value], (1,), ir.DataType.FLOAT)

    def _size(self, op: str, left: Term, right: Term) -> Term:
        return self._call(op, [left, right], (1,), _INT64)

    def _joined(self, *parts: Term) -> Term:
        size = sum((part.shape or (0,))[0] or 0 for part in parts)
        return self._terms.call("Concat", parts, {"axis": 0}, [(_INT64, (size,))])[0]

    def _ints(self, *numbers: int) -> Term:
        return self._terms.const(numbers, np.int64)

    def _number(self, value: int) -> Term:
        assert self._state.before.dtype is not None
        return self._terms.const(np.full((), value, self._state.before.dtype.numpy()))


def interval(term: Term, constants: Constants) -> Interval:
    """The least and the largest number that an element of `term` can be."""
    found: dict[Term, Interval] = {}
    for part in _below(term):
        known = constants(part)
        if known is not None:
            numeric = known.size and known.dtype.kind in "fiub"
            found[part] = (float(known.min()), float(known.max())) if numeric else ALL
        elif part.op == "Element":
            found[part] = found[part.sequence]
        else:
            found[part] = _of(part, [found[one] for one in part.operands])
    return found[term]


def _below(term: Term) -> list[Term]:
    """All that it is computed from, the sequences of elements too."""
    order = below([term])
    sequences = [part.sequence for part in order if part.op == "Element"]
    return list(dict.fromkeys([one for sequence in sequences for one in _below(sequence)] + order))


def _of(term: Term, given: Sequence[Interval]) -> Interval:
    if term.op in _RANGES:
        return _RANGES[term.op]
    if term.op == "Cast" and term.operands[0].dtype == ir.DataType.BOOL:
        return 0.0, 1.0
    if term.op == "Mul" and len(term.operands) == 2 and term.operands[0] is term.operands[1]:
        size = max(map(abs, given[0]))
        return 0.0, size * size
    rule = _RULES.get(term.op)
    if rule is None or not given or any(np.isnan(one) for pair in given for one in pair):
        return ALL
    low, high = rule(given)
    return (low, high) if low <= high else ALL  # NaN, as of inf - inf


def _add(given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    return a + c, b + d


def _sub(given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    return a - d, b - c


def _mul(given: Sequence[Interval]) -> Interval:
    (a, b), (c, d) = given
    ends = [0.0 if 0 in (one, other) else one * other for one in (a, b) for other in (c, d)]
    return min(ends), max(ends)


def _div(given: Sequence[Interval]) -> Interval:
    numerator, (c, d) = given
    if c <= 0 <= d:
        return ALL
    return _mul([numerator, (1 / d, 1 / c)])


def _exp(given: Sequence[Interval]) -> Interval:
    ((low, high),) = given
    with np.errstate(over="ignore"):
        return float(np.exp(low)), float(np.exp(high))


def _sqrt(given: Sequence[Interval]) -> Interval:
    ((low, high),) = given
    return ALL if low < 0 else (float(np.sqrt(low)), float(np.sqrt(high)))


def _clip(given: Sequence[Interval]) -> Interval:
    (low, high), *bounds = given
    if len(bounds) != 2:
        return ALL
    (least, _), (_, most) = bounds
    return max(low, least), min(high, most)


_RANGES: dict[str, Interval] = {
    **dict.fromkeys(("Sigmoid", "HardSigmoid", "Softmax"), (0.0, 1.0)),
    **dict.fromkeys(("Tanh", "Softsign", "Sin", "Cos", "Erf"), (-1.0, 1.0)),
    "Softplus": (0.0, np.inf),
}
_MOVED = "Identity Unsqueeze Squeeze Reshape Transpose Expand Slice Gather Split Tile Flatten"
_RULES: dict[str, Callable[[Sequence[Interval]], Interval]] = {
    **dict.fromkeys(_MOVED.split(), lambda given: given[0]),
    "Add": _add,
    "Sub": _sub,
    "Mul": _mul,
    "Div": _div,
    "Exp": _exp,
    "Sqrt": _sqrt,
    "Clip": _clip,
    "Neg": lambda given: (-given[0][1], -given[0][0]),
    "Relu": lambda given: (max(given[0][0], 0.0), max(given[0][1], 0.0)),
    "Abs": lambda given: (0.0, max(map(abs, given[0]))),
    "Reciprocal": lambda given: _div([(1.0, 1.0), given[0]]),
    "Max": lambda given: (max(low for low, _ in given), max(high for _, high in given)),
    "Min": lambda given: (min(low for low, _ in given), min(high for _, high in given)),
    "Where": lambda given: (min(low for low, _ in given[1:]), max(high for _, high in given[1:])),
    "Concat": lambda given: (min(low for low, _ in given), max(high for _, high in given)),
}
