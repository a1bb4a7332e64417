"""What a step computes from its own elements of the sequences alone, computed for all steps at once.

Before: x_BI @ W_IG, in every step          After: x_TBI @ W_IG, once, and each step takes its part

Every rule adds one leading dimension, the steps. An operator without a rule stays in the step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from rnnexport.ir.terms import OPEN_END, Term

if TYPE_CHECKING:
    from rnnexport.ir.loop_invariants import Batching

_ONE_AXIS = {"Softmax": -1, "LogSoftmax": -1, "Split": 0, "LayerNormalization": -1, "ArgMax": 0, "ArgMin": 0}
BatchRule = Callable[["Batching", Term], "Term | None"]


def elementwise(batch: Batching, term: Term) -> Term | None:
    """Operands of fewer dimensions get more behind the steps."""
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


def matmul(batch: Batching, term: Term) -> Term | None:
    """A stack of products; the operand that is the same in every step must have no more dimensions."""
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


def one_axis(batch: Batching, term: Term) -> Term | None:
    """Operators along one axis, of an operand alone."""
    first, *rest = term.inputs
    if first is None or not first.of_step or any(part is not None and part.of_step for part in rest):
        return None
    batched, attributes = batch(first), dict(term.call.attributes)
    axis = term.attribute("axis", _ONE_AXIS[term.op])
    attributes["axis"] = ir.AttrInt64("axis", axis if axis < 0 else axis + 1)
    return None if batched is None else batch.result(term, [batched, *rest], attributes)


def reduction(batch: Batching, term: Term) -> Term | None:
    """Along axes that are known."""
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


def concat(batch: Batching, term: Term) -> Term | None:
    """Of parts that all change from step to step."""
    if any(not part.of_step for part in term.operands):
        return None
    inputs: list[Term | None] = [batch(part) for part in term.operands]
    axis = term.attribute("axis")
    attributes = {"axis": ir.AttrInt64("axis", axis if axis < 0 else axis + 1)}
    return None if None in inputs else batch.result(term, inputs, attributes)


def axes_input(batch: Batching, term: Term) -> Term | None:
    """Squeeze and Unsqueeze."""
    axes = batch.axes_of(term.inputs[1]) if len(term.inputs) > 1 else None
    batched = batch(term.operands[0])
    if axes is None or batched is None:
        return None
    moved = batch.terms.const([axis if axis < 0 else axis + 1 for axis in axes], np.int64)
    return batch.result(term, [batched, moved], {})


def transpose(batch: Batching, term: Term) -> Term | None:
    """With the steps first."""
    batched, perm = batch(term.operands[0]), term.attribute("perm")
    if batched is None or perm is None:
        return None
    return batch.result(term, [batched], {"perm": ir.AttrInt64s("perm", [0, *(axis + 1 for axis in perm)])})


def cut(batch: Batching, term: Term) -> Term | None:
    """Slice, at places that are the same in every step."""
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


def gather(batch: Batching, term: Term) -> Term | None:
    """Rows of a table at computed places, or the same places of changing data."""
    data, at = term.operands
    axis = term.attribute("axis", 0)
    if at.of_step and not data.of_step and axis == 0:
        batched = batch(at)
        return None if batched is None else batch.result(term, [data, batched], {"axis": 0})
    if data.of_step and not at.of_step:
        batched = batch(data)
        return None if batched is None else batch.result(term, [batched, at], {"axis": axis + (axis >= 0)})
    return None


def reshape(batch: Batching, term: Term) -> Term | None:
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


def by_sample(batch: Batching, term: Term) -> Term | None:
    """Operators over samples: the steps are more samples, (T, B, ...) as (T * B, ...)."""
    first, *rest = term.inputs
    if first is None or any(part is not None and part.of_step for part in rest) or len(term.call.results) > 1:
        return None
    batched, terms = batch(first), batch.terms
    if batched is None or first.shape is None:
        return None
    vector = [(ir.DataType.INT64, (None,))]
    cut = [terms.const([at], np.int64) for at in (0, 2, OPEN_END)]
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
