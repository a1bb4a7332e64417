"""What a step computes from its own elements of the sequences alone, computed for all steps at once.

Before: x_BI @ W_IG, in every step          After: x_TBI @ W_IG, once, and each step takes its part

Every rule adds one leading dimension, the steps. An operator without a rule stays in the step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from rnnexport.ir.constants import Constants
from rnnexport.ir.terms import Result, Term, Terms

_UNARY = """Neg Abs Exp Log Sqrt Reciprocal Tanh Sigmoid Relu LeakyRelu Elu Selu Celu Softplus Softsign HardSigmoid
    HardSwish Erf Sin Cos Tan Atan Floor Ceil Round Sign Not Cast ThresholdedRelu Identity IsNaN IsInf Gelu Mish"""
_BROADCASTING = """Add Sub Mul Div Pow Min Max Sum Mean Mod And Or Xor Equal Less Greater LessOrEqual GreaterOrEqual
    Where Clip PRelu"""
UNARY = frozenset(_UNARY.split())
ELEMENTWISE = UNARY | frozenset(_BROADCASTING.split())
# Their `axes` are an attribute in older opsets and an input in newer ones.
REDUCTIONS = """ReduceSum ReduceMean ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceSumSquare
    ReduceLogSumExp"""
_ONE_AXIS = {"Softmax": -1, "LogSoftmax": -1, "Hardmax": -1, "Split": 0, "LayerNormalization": -1, "ArgMax": 0}
_BY_SAMPLE = """Conv ConvTranspose MaxPool AveragePool GlobalAveragePool GlobalMaxPool BatchNormalization
    InstanceNormalization"""
Rule = Callable[["Batching", Term], "Term | None"]


class Batching:
    """Batches terms over the steps, each once.

    Args:
        steps: 0, 1, ... for every step.
    """

    def __init__(self, terms: Terms, constants: Constants, steps: Term) -> None:
        self.terms, self.constants, self._steps = terms, constants, steps
        self._found: dict[Term, Term | None] = {}

    def __call__(self, term: Term) -> Term | None:
        """All steps of a term that depends on no state, the step first; None where no rule is known."""
        if term not in self._found:
            self._found[term] = self._batched(term)
        return self._found[term]

    def _batched(self, term: Term) -> Term | None:
        if term.of_state or term.shape is None:
            return None
        if term.op == "Element":
            return term.sequence
        if term.op == "Step":
            return self._steps
        rule = _RULES.get(term.op)
        return None if rule is None or not term.of_step else rule(self, term)

    def operand(self, term: Term | None) -> Term | None:
        """An input as it is beside batched ones: batched too, or the same in every step."""
        if term is None or not term.of_step:
            return term
        return self(term)

    def result(self, term: Term, inputs: Sequence[Term | None], attributes: Mapping[str, Any]) -> Term:
        """The call of `term` on batched inputs."""
        results: list[Result] = [
            (dtype, None if shape is None else (None, *shape)) for dtype, shape in term.call.results
        ]
        return self.terms.call(term.op, inputs, attributes, results)[term.port]

    def widened(self, term: Term, rank: int) -> Term | None:
        """A batched operand whose dimensions are aligned for an operation of `rank` dimensions a step."""
        batched = self(term)
        if batched is None or term.shape is None or len(term.shape) == rank:
            return batched
        missing = rank - len(term.shape)
        axes = self.terms.const(range(1, missing + 1), np.int64)
        shape = (None, *(1,) * missing, *term.shape)
        return self.terms.call("Unsqueeze", [batched, axes], results=[(term.dtype, shape)])[0]

    def axes_of(self, term: Term | None) -> list[int] | None:
        """Constant axes, as numbers."""
        value = None if term is None else self.constants(term)
        return None if value is None else [int(axis) for axis in value.ravel()]


def _elementwise(batch: Batching, term: Term) -> Term | None:
    inputs: list[Term | None] = []
    for part in term.inputs:
        if part is None or not part.of_step:
            inputs.append(part)
            continue
        wide = batch.widened(part, len(term.shape or ()))
        if wide is None:
            return None
        inputs.append(wide)
    return batch.result(term, inputs, dict(term.call.attributes))


def _matmul(batch: Batching, term: Term) -> Term | None:
    left, right = term.operands
    if left.rank is None or right.rank is None or min(left.rank, right.rank) < 2:
        return None
    # The operand that is the same in every step lines up with the last dimensions of the other.
    fits = (
        left.rank == right.rank
        if right.of_step and left.of_step
        else (left.rank >= right.rank if left.of_step else right.rank >= left.rank)
    )
    inputs = [batch.operand(left), batch.operand(right)]
    return batch.result(term, inputs, {}) if fits and None not in inputs else None


def _one_axis(batch: Batching, term: Term) -> Term | None:
    first, *rest = term.inputs
    if first is None or not first.of_step or any(part is not None and part.of_step for part in rest):
        return None
    batched, attributes = batch(first), dict(term.call.attributes)
    axis = term.attribute("axis", _ONE_AXIS[term.op])
    attributes["axis"] = ir.AttrInt64("axis", axis if axis < 0 else axis + 1)
    return None if batched is None else batch.result(term, [batched, *rest], attributes)


def _reduction(batch: Batching, term: Term) -> Term | None:
    first = term.operands[0]
    batched, attributes = batch(first), dict(term.call.attributes)
    if batched is None or first.rank is None:
        return None
    of_input = len(term.inputs) > 1 and term.inputs[1] is not None
    axes = batch.axes_of(term.inputs[1]) if of_input else term.attribute("axes", [])
    if axes is None or (not axes and term.attribute("noop_with_empty_axes", 0)):
        return None
    # No axes are all of them.
    moved = [axis if axis < 0 else axis + 1 for axis in axes or range(first.rank)]
    # ReduceSum takes its axes as an input in every opset from 13 on; the others follow in 18.
    if of_input or term.op == "ReduceSum":
        return batch.result(term, [batched, batch.terms.const(moved, np.int64)], attributes)
    attributes["axes"] = ir.AttrInt64s("axes", moved)
    return batch.result(term, [batched], attributes) if "axes" in term.call.attributes else None


def _concat(batch: Batching, term: Term) -> Term | None:
    if any(not part.of_step for part in term.operands):
        return None
    inputs: list[Term | None] = [batch(part) for part in term.operands]
    axis = term.attribute("axis")
    attributes = {"axis": ir.AttrInt64("axis", axis if axis < 0 else axis + 1)}
    return None if None in inputs else batch.result(term, inputs, attributes)


def _axes_input(batch: Batching, term: Term) -> Term | None:
    """Squeeze and Unsqueeze."""
    axes = batch.axes_of(term.inputs[1]) if len(term.inputs) > 1 else None
    batched = batch(term.operands[0])
    if axes is None or batched is None:
        return None
    moved = batch.terms.const([axis if axis < 0 else axis + 1 for axis in axes], np.int64)
    return batch.result(term, [batched, moved], {})


def _transpose(batch: Batching, term: Term) -> Term | None:
    batched, perm = batch(term.operands[0]), term.attribute("perm")
    if batched is None or perm is None:
        return None
    return batch.result(term, [batched], {"perm": ir.AttrInt64s("perm", [0, *(axis + 1 for axis in perm)])})


def _slice(batch: Batching, term: Term) -> Term | None:
    first, starts, ends, *rest = term.inputs
    if first is None or starts is None or any(part is not None and part.of_step for part in term.inputs[1:]):
        return None
    if rest and rest[0] is not None:
        axes = batch.axes_of(rest[0])
    else:
        axes = None if starts.shape is None or starts.shape[0] is None else list(range(starts.shape[0]))
    batched = batch(first)
    if axes is None or batched is None:
        return None
    # All of them have one type of integers.
    kind = np.int32 if starts.dtype == ir.DataType.INT32 else np.int64
    moved = batch.terms.const([axis if axis < 0 else axis + 1 for axis in axes], kind)
    return batch.result(term, [batched, starts, ends, moved, *rest[1:]], {})


def _gather(batch: Batching, term: Term) -> Term | None:
    data, at = term.operands
    axis = term.attribute("axis", 0)
    if at.of_step and not data.of_step and axis == 0:
        batched = batch(at)
        return None if batched is None else batch.result(term, [data, batched], {"axis": 0})
    if data.of_step and not at.of_step:
        batched = batch(data)
        return None if batched is None else batch.result(term, [batched, at], {"axis": axis + (axis >= 0)})
    return None


def _reshape(batch: Batching, term: Term) -> Term | None:
    """A 0 in the shape keeps the dimension at its place, and both the shape and the tensor move by one place."""
    first, shape = term.operands
    if shape.of_step or term.attribute("allowzero", 0):
        return None
    batched = batch(first)
    if batched is None:
        return None
    known = batch.constants(shape)
    zero = batch.terms.const([0], np.int64)
    wide = (
        batch.terms.const([0, *known], np.int64)
        if known is not None
        else batch.terms.call("Concat", [zero, shape], {"axis": 0}, [(ir.DataType.INT64, (None,))])[0]
    )
    return batch.result(term, [batched, wide], {})


def _by_sample(batch: Batching, term: Term) -> Term | None:
    """Operators over samples: the steps are more samples, (T, B, ...) as (T * B, ...)."""
    first, *rest = term.inputs
    if first is None or any(part is not None and part.of_step for part in rest) or len(term.call.results) > 1:
        return None
    batched, terms = batch(first), batch.terms
    if batched is None or first.shape is None:
        return None
    vector = [(ir.DataType.INT64, (None,))]
    cut = [terms.const([at], np.int64) for at in (0, 2, 1 << 30)]
    (shape,) = terms.call("Shape", [batched], results=vector)
    (outer,) = terms.call("Slice", [shape, cut[0], cut[1]], results=vector)
    (inner,) = terms.call("Slice", [shape, cut[1], cut[2]], results=vector)
    (merged,) = terms.call("Concat", [terms.const([-1], np.int64), inner], {"axis": 0}, vector)
    # The steps and the rows together are a number that no dimension of a single step tells.
    many = [(dtype, None if shape is None else (None, *shape[1:])) for dtype, shape in term.call.results]
    (samples,) = terms.call("Reshape", [batched, merged], results=[(first.dtype, (None, *first.shape[1:]))])
    (made,) = terms.call(term.op, [samples, *rest], term.call.attributes, many)
    (made_shape,) = terms.call("Shape", [made], results=vector)
    (made_inner,) = terms.call("Slice", [made_shape, terms.const([1], np.int64), cut[2]], results=vector)
    (whole,) = terms.call("Concat", [outer, made_inner], {"axis": 0}, vector)
    return terms.call("Reshape", [made, whole], results=[(term.dtype, (None, *(term.shape or ())))])[0]


_RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(REDUCTIONS.split(), _reduction),
    **dict.fromkeys(_ONE_AXIS, _one_axis),
    **dict.fromkeys(_BY_SAMPLE.split(), _by_sample),
    "MatMul": _matmul,
    "Concat": _concat,
    "Squeeze": _axes_input,
    "Unsqueeze": _axes_input,
    "Transpose": _transpose,
    "Slice": _slice,
    "Gather": _gather,
    "Reshape": _reshape,
}
