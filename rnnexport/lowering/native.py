"""A matched cell as the ONNX operator LSTM, GRU or RNN, and what the step gives besides computed after it.

Layouts, from the ONNX operator specification:  X (T, B, I), Y (T, 1, B, H), states (1, B, H).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from rnnexport.ir.lengths import Refusal
from rnnexport.ir.loop_body import Constants
from rnnexport.ir.loop_invariants import Batching, is_zero
from rnnexport.ir.recurrence import Recurrence, State
from rnnexport.ir.sequences import length_term, steps_term, turn_round, turned
from rnnexport.ir.terms import Shape, Term, Terms, below, substituted
from rnnexport.lowering.algebra import Lanes, Sum, Unreadable, lanes, stretched
from rnnexport.lowering.cells import Cell, CellState, attributes_of, peepholes_of, weights_of
from rnnexport.lowering.compaction import Compaction, Masked, masked
from rnnexport.lowering.forms import Form
from rnnexport.lowering.normal_form import NormalForms
from rnnexport.lowering.recurrent_operators import gru, lstm, rnn

# Added to the update gate of a GRU in a step that a mask leaves out: the gate is then 1, and the state stays, unless
# the sum of the gate is below -1e9, which takes a state of that size: the input is 0 there.
_KEEPS = 1e9
# Computed again after the loop these would take as long as in it.
_COSTLY = ("MatMul", "Gemm", "Conv")
_INT64 = ir.DataType.INT64


@dataclass(frozen=True, eq=False)
class Native:
    """A recurrence as a native operator.

    Attributes:
        cell: what it is.
        form: a term for every output of the Loop.
        masked: whether it leaves steps out.
        by_lengths: whether it does so by `sequence_lens`.
    """

    cell: Cell
    form: Form
    masked: bool = False
    by_lengths: bool = False


def native(recurrence: Recurrence, constants: Constants) -> Native | Refusal:
    """The recurrence as LSTM, GRU or RNN, or why it is none of them."""
    try:
        mask = masked(recurrence, constants)
        taken = recurrence if mask is None else mask.taken
        parts = _parts(taken, NormalForms(recurrence.terms, constants))
        cell = _matched([part for part, _ in parts])
        emission = _Emission(recurrence, constants, cell, dict(parts), mask)
        return Native(cell, emission.form(), mask is not None, emission.by_lengths)
    except Unreadable as error:
        return Refusal(str(error))


def _parts(recurrence: Recurrence, forms: NormalForms) -> list[tuple[CellState, State]]:
    """The states of the cell: those of the recurrence, cut where their next values are put together."""
    parts = []
    for state in recurrence.states:
        if state.before.dtype != ir.DataType.FLOAT:
            raise Unreadable(f"a state is {state.before.dtype}, and ONNX Runtime has the operators for FLOAT alone")
        start = 0
        row, width = forms(state.after), state.before.width or 0
        for after in row:
            # A single lane is stretched over the state.
            after = after if len(row) > 1 else stretched(after, width)
            stop = width if len(row) == 1 else start + after.width
            parts.append((CellState(Lanes(state.before, start, stop), after), state))
            start = stop
        if start != state.before.width:
            raise Unreadable("a state changes its width")
    return parts


@dataclass(frozen=True, eq=False)
class _OperatorOutputs:
    """What an operator gives.

    Attributes:
        y: (T, 1, B, H), in the order of the sequence.
        last_h: (B, H), after the last step.
        last_c: of an LSTM; else that of h.
        lengths: how long the sequences are, where they are read backwards.
        plan: where there is a mask.
    """

    y: Term
    last_h: Term
    last_c: Term
    lengths: Term | None
    plan: Compaction | None

    def whole(self, start_BH: Term, terms: Terms, *, keeps: bool = True) -> Term:
        """The results (T, B, H) of all steps in the order of the Loop; `start_BH` until the first that is taken."""
        if self.plan is None:
            shape: Shape = (None, None, self.y.width)
            whole = terms.call("Squeeze", [self.y, terms.const([1], np.int64)], results=[(self.y.dtype, shape)])[0]
        else:
            # Made anew: the model may compute a whole step to know the shape of its zeros.
            start_BH = self.plan.zeros(self.y.width or 1) if is_zero(start_BH) else start_BH
            whole = self.plan.expanded(self.y, start_BH, keeps=keeps)
        # Backwards, the operator gives its outputs in the order of the sequence; the Loop, in that of the steps.
        return whole if self.lengths is None else turn_round(whole, self.lengths, terms)

    def at_end(self, last_BH: Term, initial_BH: Term) -> Term:
        """A last state. The operator gives zero where it takes no step at all."""
        return last_BH if self.plan is None or is_zero(initial_BH) else self.plan.at_end(last_BH, initial_BH)


class _Emission:
    """Makes the terms of one native operator."""

    def __init__(
        self,
        recurrence: Recurrence,
        constants: Constants,
        cell: Cell,
        states: Mapping[CellState, State],
        mask: Masked | None,
    ) -> None:
        self._recurrence, self._terms, self._constants = recurrence, recurrence.terms, constants
        self._cell, self._states, self._mask = cell, states, mask
        self._batching = Batching(self._terms, constants, steps_term(recurrence.length, self._terms))
        self._forms = NormalForms(self._terms, constants)
        self._size = cell.hidden.lanes.width
        gated = cell.op == "GRU" and cell.functions[0].name in ("Sigmoid", "HardSigmoid")
        # A GRU can keep its state by itself, which takes fewer operators around it than moving its steps.
        self._kept_by = mask.flag if mask is not None and gated and not mask.only_held else None
        self.by_lengths = mask is not None and self._kept_by is None

    def form(self) -> Form:
        """A term for every output of the Loop."""
        ran = self._operator()
        finals = {self._cell.hidden: ran.last_h} | ({self._cell.cell: ran.last_c} if self._cell.cell else {})
        form: dict[ir.Value, Term] = {}
        for state in dict.fromkeys(self._states.values()):
            end = self._terms.concat([finals[part] for part, owner in self._states.items() if owner is state])
            form |= dict.fromkeys(state.finals, ran.at_end(end, state.initial))
        for state, other in self._mask.only_held.items() if self._mask else ():
            if not self._is_hidden(other.after):
                raise Unreadable("it keeps something else than its last state")
            form |= dict.fromkeys(state.finals, ran.at_end(ran.last_h, state.initial))
        return form | self._outputs(ran) | dict(self._recurrence.kept)

    def _outputs(self, ran: _OperatorOutputs) -> dict[ir.Value, Term]:
        """What every step gives, computed for all steps at once."""
        known: dict[Term, Term] = {}
        done = {}
        for output in self._recurrence.outputs:
            held = self._held(output.each, ran)
            if held is None:
                known = known or self._known(ran.whole(self._initial_rows(), self._terms))
                held = self._computed(output.each, known)
            done[output.whole] = held
        return done

    def _held(self, each: Term, ran: _OperatorOutputs) -> Term | None:
        """An output that is the new h of every step that is taken, and of the others what was before, or zero."""
        if not self._is_hidden(each if self._mask is None else self._mask.now[each]):
            return None
        initial = self._initial_rows()
        if self._mask is None:
            return ran.whole(initial, self._terms)
        skipped = self._mask.skipped[each]
        if is_zero(skipped):
            return self._or_zero(ran.whole(skipped, self._terms, keeps=False))
        if self._is_lanes(skipped, self._cell.hidden.lanes):
            return ran.whole(initial, self._terms)
        held = next((state for state in self._mask.only_held if state.before is skipped), None)
        return None if held is None else ran.whole(held.initial, self._terms)

    def _or_zero(self, whole: Term) -> Term:
        """The results, with zeros in steps that are left out."""
        if self._kept_by is None:
            return whole
        taken, zero = self._column(self._kept_by), self._terms.const(0, np.float32)
        return self._call("Where", [taken, whole, zero], whole.shape)

    def _is_hidden(self, term: Term) -> bool:
        """Whether a term of a step is the new h."""
        state = self._states[self._cell.hidden]
        if term is state.after and self._size == state.before.width:
            return True
        row = self._row(term)
        return row is not None and row.equals(self._cell.hidden.after)

    def _is_lanes(self, term: Term, part: Lanes) -> bool:
        row = self._row(term)
        return row is not None and row.equals(lanes(part.leaf, part.start, part.stop))

    def _row(self, term: Term) -> Sum | None:
        try:
            row = self._forms(term)
        except Unreadable:
            return None
        return row[0] if len(row) == 1 else None

    def _known(self, whole: Term) -> dict[Term, Term]:
        """The state before and after every step, where h is all that it holds."""
        hidden = self._states[self._cell.hidden]
        if self._size != hidden.before.width:
            return {}
        state = next(state for state in self._recurrence.states if state.before is hidden.before)
        return {
            state.after: self._element(whole),
            state.before: self._element(before_each_step(state, whole, self._terms)),
        }

    def _computed(self, output: Term, known: Mapping[Term, Term]) -> Term:
        """An output that is computed from the states before and after the step, and from what the step is given."""
        after, before = list(known) or (None, None)
        each = output if after is None else substituted(self._terms, [output], {after: known[after]})[output]
        costly = any(term.op in _COSTLY and term.of_state for term in below([each]))
        if before is not None and each.of_state and not costly:
            each = substituted(self._terms, [each], {before: known[before]})[each]
        batched = self._batching(each) if each.of_step else None
        if each.of_state or batched is None:
            raise Unreadable("a step gives something else than its new state")
        return batched

    def _initial_rows(self) -> Term:
        """The initial h, (B, H)."""
        state, part = self._states[self._cell.hidden], self._cell.hidden.lanes
        return state.initial if part.width == state.before.width else self._cut(state.initial, part)

    def _element(self, whole: Term) -> Term:
        return self._terms.element(whole)

    def _operator(self) -> _OperatorOutputs:
        cell, size, terms = self._cell, self._size, self._terms
        x_TBI, columns, lengths, plan = self._input()
        taken = None if plan is None else plan.lengths
        weights = weights_of(cell, columns, _KEEPS if self._kept_by else None, terms)
        inputs: list[Term | None] = [x_TBI, *weights, taken, self._initial(cell.hidden)]
        state: Shape = (1, None, size)
        results = [(ir.DataType.FLOAT, (None, 1, None, size)), (ir.DataType.FLOAT, state)]
        if cell.cell is not None:
            inputs += [self._initial(cell.cell), peepholes_of(cell, terms)]
            results.append((ir.DataType.FLOAT, state))
        while inputs[-1] is None:
            inputs.pop()
        attributes = attributes_of(cell) | ({} if lengths is None else {"direction": "reverse"})
        made = terms.call(cell.op, inputs, attributes, results)
        last = [self._call("Squeeze", [end, self._ints(0)], (None, size)) for end in made[1:]]
        return _OperatorOutputs(made[0], last[0], last[-1], lengths, plan)

    def _input(self) -> tuple[Term, dict[Term, int], Term | None, Compaction | None]:
        """The input as (T, B, I), where each part of it begins, its lengths if it is read backwards, and the plan."""
        leaves = list(dict.fromkeys(leaf for gate in self._cell.gates for leaf in gate.inputs))
        parts = [self._column(leaf) for leaf in leaves]
        starts = np.cumsum([0, *(leaf.width or 1 for leaf in leaves)])
        columns = {leaf: int(start) for leaf, start in zip(leaves, starts, strict=False)}
        if not parts and self._kept_by is None:
            parts.append(self._spread(self._terms.const(np.zeros((1, 1), np.float32)), 1))
        flags = [] if self._mask is None else [self._column(self._mask.flag)]
        known = [pair for part in (*parts, *flags) if (pair := turned(part, self._terms)) is not None]
        lengths = None
        if known and len(known) == len(parts) + len(flags):
            lengths, every = known[0][1], [pair[0] for pair in known]
            parts, flags = every[: len(parts)], every[len(parts) :]
        if self._kept_by is not None:
            return self._terms.concat(self._gated(parts, flags[0])), columns, lengths, None
        if self._mask is None:
            return self._terms.concat(parts), columns, lengths, None
        plan = Compaction(flags[0], self._terms, backwards=lengths is not None)
        return plan.compacted(self._terms.concat(parts)), columns, lengths, plan

    def _gated(self, parts: Sequence[Term], taken_TB1: Term) -> list[Term]:
        """The input with zeros in steps that are left out, and 1 there: a padding must not outweigh `_KEEPS`."""
        zero = self._terms.const(0, np.float32)
        left_out = self._call("Not", [taken_TB1], (None, None, 1), ir.DataType.BOOL)
        numbers = {"to": ir.DataType.FLOAT.value}
        ones = self._terms.call("Cast", [left_out], numbers, [(ir.DataType.FLOAT, (None, None, 1))])[0]
        return [*(self._call("Where", [taken_TB1, part, zero], part.shape) for part in parts), ones]

    def _column(self, leaf: Term) -> Term:
        width = leaf.width or 1
        if leaf.of_step and leaf.rank == 2:
            whole = self._batching(leaf)
            if whole is None:
                raise Unreadable(f"{leaf.op} of the sequence can't be computed for all steps at once")
            # A row for all of the batch has to be repeated for each.
            return self._spread(whole, width) if leaf.shape is not None and leaf.shape[0] == 1 else whole
        if leaf.of_step:
            raise Unreadable("what the cell is given in each step has no batch")
        return self._spread(leaf, width)

    def _spread(self, part: Term, width: int) -> Term:
        """A part as (T, B, width)."""
        terms = self._terms
        batch = self._call("Shape", [self._states[self._cell.hidden].initial], (2,), _INT64)
        batch = self._call("Slice", [batch, self._ints(0), self._ints(1)], (1,), _INT64)
        steps = self._call("Reshape", [length_term(self._recurrence.length, terms), self._ints(1)], (1,), _INT64)
        sizes = [steps, batch, self._ints(width)]
        (shape,) = terms.call("Concat", sizes, {"axis": 0}, [(_INT64, (3,))])
        return self._call("Expand", [part, shape], (None, None, width), part.dtype)

    def _initial(self, part: CellState) -> Term | None:
        state = self._states[part]
        if is_zero(state.initial):
            return None
        initial, width = state.initial, part.lanes.width
        if width != state.before.width:
            initial = self._cut(initial, part.lanes)
        return self._call("Unsqueeze", [initial, self._ints(0)], (1, None, width))

    def _cut(self, initial: Term, part: Lanes) -> Term:
        bounds = [self._ints(part.start), self._ints(part.stop), self._ints(1)]
        return self._call("Slice", [initial, *bounds], (None, part.width))

    def _ints(self, *numbers: int) -> Term:
        return self._terms.const(numbers, np.int64)

    def _call(self, op: str, inputs: Sequence[Term], shape: Shape | None, dtype: ir.DataType | None = None) -> Term:
        return self._terms.call(op, inputs, results=[(dtype or ir.DataType.FLOAT, shape)])[0]


def before_each_step(state: State, whole: Term, terms: Terms) -> Term:
    """The state before each step, (T, B, H): the initial one, then all that are after a step but the last."""

    def ints(*numbers: int) -> Term:
        return terms.const(numbers, np.int64)

    like = whole.dtype, (1, *(state.before.shape or ()))
    first = terms.call("Unsqueeze", [state.initial, ints(0)], results=[like])[0]
    rest = terms.call("Slice", [whole, ints(0), ints(-1), ints(0)], results=[(whole.dtype, whole.shape)])[0]
    return terms.call("Concat", [first, rest], {"axis": 0}, [(whole.dtype, whole.shape)])[0]


def _matched(parts: Sequence[CellState]) -> Cell:
    """The native operator that the states together are.

    Raises:
        Unreadable: there is none; tells why for the one that came nearest.
    """
    tries: list[Callable[[], Cell]]
    if len(parts) == 1:
        (part,) = parts
        tries = [lambda: rnn(part), lambda: gru(part), lambda: lstm(part, part)]
    elif len(parts) == 2:
        first, second = parts
        tries = [lambda: lstm(first, second), lambda: lstm(second, first)]
    else:
        raise Unreadable(f"it has {len(parts)} states, and ONNX knows cells of one or two")
    reasons = []
    for attempt in tries:
        try:
            return attempt()
        except Unreadable as error:
            reasons.append(str(error))
    raise Unreadable("; ".join(dict.fromkeys(reasons)))
