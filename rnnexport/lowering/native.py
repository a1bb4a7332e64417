"""A matched cell as the ONNX operator LSTM, GRU or RNN, and what the step gives besides computed after it.

Layouts, from the ONNX operator specification:  X (T, B, I), W (1, G*H, I), R (1, G*H, H), B (1, 2*G*H) with the biases
of W before those of R, P (1, 3*H) for i, o, f, Y (T, 1, B, H), states (1, B, H). Gates stand in the order z r h, or
i o f c; the matrices here are (inputs, H), as Keras has them, and are transposed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from rnnexport.lowering.algebra import Lanes, Unreadable, single, stretched, times
from rnnexport.lowering.cells import DEFAULT_ACTIVATIONS, Cell, Part
from rnnexport.lowering.constants import Constants
from rnnexport.lowering.forms import Form
from rnnexport.lowering.gates import Function
from rnnexport.lowering.loop_invariants import is_zero
from rnnexport.lowering.match import matched
from rnnexport.lowering.normal_form import NormalForms
from rnnexport.lowering.rebuild import substituted
from rnnexport.lowering.recurrence import Recurrence, State
from rnnexport.lowering.reverse import turn_round, turned
from rnnexport.lowering.sequences import length_term, steps_term
from rnnexport.lowering.terms import Shape, Term, below
from rnnexport.lowering.trip_count import Refusal
from rnnexport.lowering.vectorize_time import Batching

# Added to an update gate where a mask is 0: the gate is then 1 unless its sum is below -1e9, which takes a state of
# that size: the input is 0 there.
_KEEPS = 1e9
# Computed again after the loop these would take as long as in it.
_COSTLY = ("MatMul", "Gemm", "Conv")
_INT64 = ir.DataType.INT64


@dataclass(frozen=True, eq=False)
class Native:
    """A recurrence as a native operator."""

    cell: Cell
    form: Form


def native(recurrence: Recurrence, constants: Constants) -> Native | Refusal:
    """The recurrence as LSTM, GRU or RNN, or why it is none of them."""
    try:
        parts = _parts(recurrence, NormalForms(recurrence.terms, constants))
        cell = matched([part for part, _ in parts])
        return Native(cell, _Emission(recurrence, constants, cell, dict(parts)).form())
    except Unreadable as error:
        return Refusal(str(error))


def _parts(recurrence: Recurrence, forms: NormalForms) -> list[tuple[Part, State]]:
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
            parts.append((Part(Lanes(state.before, start, stop), after), state))
            start = stop
        if start != state.before.width:
            raise Unreadable("a state changes its width")
    return parts


class _Emission:
    """Makes the terms of one native operator."""

    def __init__(self, recurrence: Recurrence, constants: Constants, cell: Cell, states: Mapping[Part, State]) -> None:
        self._recurrence, self._terms, self._constants = recurrence, recurrence.terms, constants
        self._cell, self._states = cell, states
        self._batching = Batching(self._terms, constants, steps_term(recurrence.length, self._terms))
        self._size = cell.hidden.lanes.width

    def form(self) -> Form:
        """A term for every output of the Loop."""
        whole, last_h, last_c = self._operator()
        finals = {self._cell.hidden: last_h} | ({self._cell.cell: last_c} if self._cell.cell else {})
        form: dict[ir.Value, Term] = {}
        for state in self._recurrence.states:
            ends = [finals[part] for part, owner in self._states.items() if owner is state]
            form |= dict.fromkeys(state.finals, self._terms.concat(ends))
        return form | self._outputs(whole) | dict(self._recurrence.kept)

    def _outputs(self, whole: Term) -> dict[ir.Value, Term]:
        """What every step gives, computed for all steps at once from the states before and after them."""
        terms, hidden = self._terms, self._cell.hidden
        if not self._recurrence.outputs:
            return {}
        state = self._states[hidden]
        known: dict[Term, Term] = {}
        if hidden.lanes.width == state.before.width:
            known[state.before] = self._element(self._shifted(state, whole))
            known[state.after] = self._element(whole)
        # Where one state holds both, or h has its value under another name, it is found by its normal form.
        forms = NormalForms(terms, self._constants)
        done = {}
        for output in self._recurrence.outputs:
            each = substituted(terms, [output.each], {state.after: known[state.after]} if known else {})[output.each]
            if each.of_state:
                each = self._as_masked(forms, output.each, whole) or each
            if each.of_state and not any(term.op in _COSTLY and term.of_state for term in below([each])):
                each = substituted(terms, [each], known)[each]
            batched = self._batching(each) if each.of_step else None
            if each.of_state or batched is None:
                raise Unreadable("a step gives something else than its new state")
            done[output.whole] = batched
        return done

    def _as_masked(self, forms: NormalForms, each: Term, whole: Term) -> Term | None:
        """An output that is the new h, or the new h where the mask is 1 and zero elsewhere."""
        try:
            row = forms(each)
        except Unreadable:
            return None
        after, mask = self._cell.hidden.after, self._cell.kept_by
        if len(row) != 1:
            return None
        if row[0].equals(after):
            return self._element(whole)
        if mask is not None and row[0].equals(times(single(mask), after)):
            return self._terms.elementwise("Mul", self._element(whole), mask.leaf)
        return None

    def _element(self, whole: Term) -> Term:
        shape = None if whole.shape is None else whole.shape[1:]
        return self._terms.leaf("Element", whole, whole.dtype, shape)

    def _shifted(self, state: State, whole: Term) -> Term:
        """The state before each step: the initial one, then all new ones but the last."""
        terms = self._terms
        first = self._call("Unsqueeze", [state.initial, self._ints(0)], (1, *(state.before.shape or ())))
        rest = self._call("Slice", [whole, self._ints(0), self._ints(-1), self._ints(0)], whole.shape)
        return terms.call("Concat", [first, rest], {"axis": 0}, [(whole.dtype, whole.shape)])[0]

    def _operator(self) -> tuple[Term, Term, Term]:
        cell, size, terms = self._cell, self._size, self._terms
        x_TBI, columns, lengths = self._input()
        inputs: list[Term | None] = [x_TBI, *self._weights(columns), None, self._initial(cell.hidden)]
        state: Shape = (1, None, size)
        results = [(ir.DataType.FLOAT, (None, 1, None, size)), (ir.DataType.FLOAT, state)]
        if cell.cell is not None:
            inputs += [self._initial(cell.cell), self._peepholes()]
            results.append((ir.DataType.FLOAT, state))
        while inputs[-1] is None:
            inputs.pop()
        attributes = self._attributes() | ({} if lengths is None else {"direction": "reverse"})
        made = terms.call(cell.op, inputs, attributes, results)
        whole = self._call("Squeeze", [made[0], self._ints(1)], (None, None, size))
        # Backwards, the operator gives its outputs in the order of the sequence; the Loop, in that of the steps.
        whole = whole if lengths is None else turn_round(whole, lengths, terms)
        last = [self._call("Squeeze", [end, self._ints(0)], (None, size)) for end in made[1:]]
        return whole, last[0], last[-1]

    def _attributes(self) -> dict[str, object]:
        cell = self._cell
        attributes: dict[str, object] = {"hidden_size": self._size}
        names = tuple(function.name for function in cell.functions)
        if names != DEFAULT_ACTIVATIONS[cell.op]:
            attributes["activations"] = list(names)
            attributes |= _constants_of(cell.functions)
        if cell.op == "GRU" and cell.reset_after:
            attributes["linear_before_reset"] = 1
        return attributes

    def _input(self) -> tuple[Term, dict[Term, int], Term | None]:
        """The input as (T, B, I), where each part of it begins, and its lengths if it is read backwards."""
        leaves = list(dict.fromkeys(leaf for gate in self._cell.gates for leaf in gate.inputs))
        parts = [self._column(leaf) for leaf in leaves]
        starts = np.cumsum([0, *(leaf.width or 1 for leaf in leaves)])
        columns = {leaf: int(start) for leaf, start in zip(leaves, starts, strict=False)}
        if self._cell.kept_by is not None:
            parts = [self._unpadded(part) for part in parts]
            parts.append(self._column(self._masked_out(self._cell.kept_by)))
        if not parts:
            parts.append(self._spread(self._terms.const(np.zeros((1, 1), np.float32)), 1))
        backwards = [turned(part, self._terms) for part in parts]
        known = [pair for pair in backwards if pair is not None]
        if len(known) == len(parts):
            return self._terms.concat([pair[0] for pair in known]), columns, known[0][1]
        return self._terms.concat(parts), columns, None

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
        return self._call("Expand", [part, shape], (None, None, width))

    def _unpadded(self, part: Term) -> Term:
        """A part of the input with zeros where the mask is 0: what a padding holds must not outweigh `_KEEPS`."""
        assert self._cell.kept_by is not None
        (flags,) = self._cell.kept_by.leaf.operands
        mask = self._batching(flags)
        if mask is None:
            raise Unreadable("its mask can't be computed for all steps at once")
        zero = self._terms.const(0, np.float32)
        return self._call("Where", [mask, part, zero], part.shape)

    def _masked_out(self, mask: Lanes) -> Term:
        """1 where the mask is 0."""
        cast = mask.leaf
        turned = self._terms.elementwise("Not", cast.operands[0])
        return self._terms.call("Cast", [turned], cast.call.attributes, cast.call.results)[0]

    def _weights(self, columns: Mapping[Term, int]) -> tuple[Term, Term, Term | None]:
        cell, size = self._cell, self._size
        count = len(cell.gates)
        width = sum(leaf.width or 1 for leaf in columns) + (cell.kept_by is not None)
        w_GHI = np.zeros((count, size, max(width, 1)))
        for at, gate in enumerate(cell.gates):
            for leaf, matrix in gate.inputs.items():
                w_GHI[at, :, columns[leaf] : columns[leaf] + matrix.shape[0]] = matrix.T
        if cell.kept_by is not None:
            w_GHI[0, :, -1] = _KEEPS  # the update gate is the first
        r_GHH = np.stack([gate.recurrent.T for gate in cell.gates])
        bias = np.concatenate([gate.bias for gate in cell.gates])
        behind = np.zeros_like(bias) if cell.recurrent_bias is None else cell.recurrent_bias
        both = np.concatenate([bias, behind])
        return (
            self._weight(w_GHI.reshape(1, count * size, -1)),
            self._weight(r_GHH.reshape(1, count * size, size)),
            self._weight(both[None]) if both.any() else None,
        )

    def _peepholes(self) -> Term | None:
        # The operator wants them in the order i o f, which is that of the gates; the candidate has none.
        peepholes = np.concatenate([gate.peephole for gate in self._cell.gates[:3]])
        return self._weight(peepholes[None]) if peepholes.any() else None

    def _initial(self, part: Part) -> Term | None:
        state = self._states[part]
        if is_zero(state.initial):
            return None
        initial, lanes = state.initial, part.lanes
        if lanes.width != state.before.width:
            cut = [self._ints(lanes.start), self._ints(lanes.stop), self._ints(1)]
            initial = self._call("Slice", [initial, *cut], (None, lanes.width))
        return self._call("Unsqueeze", [initial, self._ints(0)], (1, None, lanes.width))

    def _weight(self, array: np.ndarray) -> Term:
        return self._terms.const(array, np.float32)

    def _ints(self, *numbers: int) -> Term:
        return self._terms.const(numbers, np.int64)

    def _call(self, op: str, inputs: Sequence[Term], shape: Shape | None, dtype: ir.DataType | None = None) -> Term:
        return self._terms.call(op, inputs, results=[(dtype or ir.DataType.FLOAT, shape)])[0]


def _constants_of(functions: Sequence[Function]) -> dict[str, list[float]]:
    """Alphas and betas: each activation that has one takes the next of the list."""
    alphas = [function.alpha for function in functions if function.alpha is not None]
    betas = [function.beta for function in functions if function.beta is not None]
    return ({"activation_alpha": alphas} if alphas else {}) | ({"activation_beta": betas} if betas else {})
