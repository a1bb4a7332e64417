"""The operators of ONNX that programs are made of, a row each: what is known of one, whatever it is written as.

A row says what a value of it is called, its shape, its value if its operands are constants, what it is over all steps
at once, and, if it computes each number from those at its place, its text in NumPy and in C. What takes more than a
line to write is a function of the same name in `rnnexport.emit.numpy.rules` and in `rnnexport.emit.c.operators`.
`tests/ir/test_operators.py` shows which operator has which of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from rnnexport.ir import vectorize_time as batching
from rnnexport.ir.terms import OPEN_END, Term, broadcast

# Sizes are numbers, names of open ones, or not known.
OpenShape = tuple[int | str | None, ...]
ShapeRule = Callable[[Term, Sequence[OpenShape | None]], OpenShape | None]
Fold = Callable[[Term, Sequence[np.ndarray]], "np.ndarray | Sequence[np.ndarray] | None"]


@dataclass(frozen=True, kw_only=True)
class Operator:
    """One operator.

    Attributes:
        name: in ONNX, with its domain unless that is ONNX's own; Expm1, Log1p and FloorDiv are of `tidying`.
        noun: what a value of it is called if the source has no name for it; empty for the operator's own.
        shape: that of its first output, by the shapes of its inputs; None if only ONNX's shape inference knows it.
        folded: its value of constants; None if it is not folded, which is always safe.
        batched: it over all steps at once, one more leading axis; None if it stays in the step.
    """

    name: str
    noun: str = ""
    shape: ShapeRule | None = None
    folded: Fold | None = None
    batched: batching.BatchRule | None = None


def _elementwise(term: Term, shapes: Sequence[OpenShape | None]) -> OpenShape | None:
    return broadcast([shape for part, shape in zip(term.inputs, shapes, strict=True) if part is not None])


def _first(term: Term, shapes: Sequence[OpenShape | None]) -> OpenShape | None:
    return shapes[0]


def _matmul(term: Term, shapes: Sequence[OpenShape | None]) -> OpenShape | None:
    left, right = shapes
    if left is None or right is None or len(left) < 2:
        return None
    if len(right) <= 2:
        return (*left[:-1], *right[1:])
    many = broadcast([left[:-2], right[:-2]])
    return None if many is None else (*many, left[-2], right[-1])


def _reduced(term: Term, shapes: Sequence[OpenShape | None]) -> OpenShape | None:
    shape = shapes[0]
    given = term.inputs[1] if len(term.inputs) > 1 else None
    axes = given.array.ravel() if given is not None and given.op == "Const" else term.attribute("axes")
    if shape is None or axes is None or len(axes) == 0:
        return None
    gone = {int(axis) % len(shape) for axis in axes}
    sizes = [1 if at in gone else size for at, size in enumerate(shape)]
    return tuple(size for at, size in enumerate(sizes) if term.attribute("keepdims", 1) or at not in gone)


def _gathered(term: Term, shapes: Sequence[OpenShape | None]) -> OpenShape | None:
    shape, at = shapes
    axis = term.attribute("axis", 0)
    return None if shape is None or at is None else (*shape[:axis], *at, *shape[axis % len(shape) + 1 :])


def _transposed(term: Term, shapes: Sequence[OpenShape | None]) -> OpenShape | None:
    (shape,) = shapes
    order = term.attribute("perm")
    return None if shape is None else tuple(shape[int(axis)] for axis in order or range(len(shape))[::-1])


def _along_axis(term: Term, shapes: Sequence[OpenShape | None]) -> OpenShape | None:
    """Of another size along one axis, which ONNX's shape inference knows."""
    shape = shapes[0]
    if shape is None or term.shape is None or len(shape) != len(term.shape):
        return None
    axis = term.attribute("axis", 0) % len(shape) if shape else 0
    return tuple(size if at != axis else None for at, size in enumerate(shape))


def _sliced(term: Term, shapes: Sequence[OpenShape | None]) -> OpenShape | None:
    shape = shapes[0]
    axes = term.inputs[3] if len(term.inputs) > 3 else None
    if shape is None or axes is None or axes.op != "Const":
        return None
    cut = {int(axis) % len(shape) for axis, full in zip(axes.array, _are_full(term), strict=True) if not full}
    return tuple(None if at in cut else size for at, size in enumerate(shape))


def _are_full(term: Term) -> list[bool]:
    """Of each axis of a Slice, whether it is kept whole."""
    starts, ends, axes = term.operands[1:4]
    if starts.op != "Const" or ends.op != "Const" or len(term.operands) > 4:
        return [False] * int(axes.array.size)
    return [start == 0 and end >= 2**31 - 1 for start, end in zip(starts.array, ends.array, strict=True)]


def _squeezed(term: Term, shapes: Sequence[OpenShape | None]) -> OpenShape | None:
    """Squeeze and Unsqueeze."""
    shape = shapes[0]
    axes = term.inputs[1] if len(term.inputs) > 1 else None
    if shape is None or axes is None or axes.op != "Const":
        return None
    numbers = [int(axis) for axis in axes.array.ravel()]
    if term.op == "Squeeze":
        gone = {axis % len(shape) for axis in numbers}
        return tuple(size for at, size in enumerate(shape) if at not in gone)
    rank = len(shape) + len(numbers)
    new, rest = {axis % rank for axis in numbers}, iter(shape)
    return tuple(1 if at in new else next(rest) for at in range(rank))


# Only what models do to weights is folded.


def _with(function: Callable[..., np.ndarray]) -> Fold:
    return lambda term, given: function(*given)


def _folded_split(term: Term, given: Sequence[np.ndarray]) -> list[np.ndarray]:
    axis = term.attribute("axis", 0)
    if len(given) == 2:
        return np.split(given[0], np.cumsum(given[1])[:-1], axis)
    size, parts = given[0].shape[axis], len(term.call.results)
    step = -(-size // parts)  # the last part is the smaller one
    return np.split(given[0], range(step, step * parts, step), axis)


def slice_index(rank: int, given: Sequence[np.ndarray]) -> tuple[slice, ...]:
    """The index that a Slice of (starts, ends[, axes[, steps]]) is."""
    starts, ends = given[0], given[1]
    axes = given[2] if len(given) > 2 else np.arange(len(starts))
    steps = given[3] if len(given) > 3 else np.ones(len(starts), np.int64)
    index = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        # An end before the first element, stepping back, is what None means to Python.
        stop = None if step < 0 and end <= -OPEN_END else int(end)
        index[int(axis)] = slice(int(start), stop, int(step))
    return tuple(index)


def _folded_squeeze(term: Term, given: Sequence[np.ndarray]) -> np.ndarray:
    return given[0].squeeze(tuple(int(axis) for axis in given[1]) if len(given) > 1 else None)


def _folded_reshape(term: Term, given: Sequence[np.ndarray]) -> np.ndarray | None:
    if term.attribute("allowzero", 0):
        return None
    return given[0].reshape([given[0].shape[at] if size == 0 else int(size) for at, size in enumerate(given[1])])


def _folded_cast(term: Term, given: Sequence[np.ndarray]) -> np.ndarray | None:
    kind = term.dtype.numpy() if term.dtype is not None else None
    return given[0].astype(kind) if kind is not None and np.issubdtype(kind, np.number) else None


def _folded_div(term: Term, given: Sequence[np.ndarray]) -> np.ndarray | None:
    return given[0] / given[1] if np.issubdtype(given[0].dtype, np.floating) else None


def _folded_expand(term: Term, given: Sequence[np.ndarray]) -> np.ndarray:
    return np.broadcast_to(given[0], np.broadcast_shapes(given[0].shape, tuple(int(size) for size in given[1])))


@dataclass(frozen=True, kw_only=True)
class Elementwise(Operator):
    """An operator that computes each number from the numbers at its place, with NumPy's broadcasting.

    In texts `{0}` and `{1}` are operands, `{a}` is the attribute `alpha`, and `{f}` the suffix of C's functions of
    float32. A text of NumPy that begins with `np.` is NumPy's own; others call functions of
    `rnnexport.emit.numpy.operators`.

    Attributes:
        sign: what stands between two operands in Python and in C; the texts are not needed then.
        numpy: as Python.
        lanes: as C of vectors of float32.
        number: as C of one number of any dtype.
        library: its function in <math.h>, if C has no own text for it.
        alpha: the default of the attribute.
    """

    shape: ShapeRule | None = _elementwise
    batched: batching.BatchRule | None = batching.elementwise
    sign: str = ""
    numpy: str = ""
    lanes: str = ""
    number: str = ""
    library: str = ""
    alpha: float = 0.0


_E, _O = Elementwise, Operator
_ELEMENTWISE = (
    _E(name="Abs", numpy="np.abs({0})", lanes="vabs({0})", number="({0} < 0 ? -{0} : {0})"),
    _E(name="Acos", numpy="np.arccos({0})", library="acos"),
    _E(name="Acosh", numpy="np.arccosh({0})", library="acosh"),
    _E(name="Add", noun="total", sign="+", folded=_with(np.add)),
    _E(name="And", noun="mask", sign="&"),
    _E(name="Asin", numpy="np.arcsin({0})", library="asin"),
    _E(name="Asinh", numpy="np.arcsinh({0})", library="asinh"),
    _E(name="Atan", numpy="np.arctan({0})", library="atan"),
    _E(name="Atanh", numpy="np.arctanh({0})", library="atanh"),
    _E(name="BitShift"),
    _E(name="BitwiseAnd", sign="&"),
    _E(name="BitwiseNot", number="(~{0})"),
    _E(name="BitwiseOr", sign="|"),
    _E(name="BitwiseXor", sign="^"),
    _E(name="Cast", folded=_folded_cast),
    _E(name="Ceil", numpy="np.ceil({0})", lanes="(-vfloor(-{0}))", number="ceil{f}({0})"),
    _E(name="Clip"),
    _E(name="Cos", numpy="np.cos({0})", library="cos"),
    _E(name="Cosh", numpy="np.cosh({0})", library="cosh"),
    _E(name="Div", noun="ratio", sign="/", folded=_folded_div),
    _E(name="Elu", numpy="elu({0}, {a})", lanes="velu({0}, {a})", alpha=1.0),
    _E(name="Equal", noun="mask", sign="=="),
    _E(name="Erf", numpy="erf({0})", library="erf"),
    _E(name="Exp", numpy="np.exp({0})", lanes="vexp({0})", number="exp{f}({0})", folded=_with(np.exp)),
    _E(name="Expm1", numpy="np.expm1({0})", library="expm1"),
    _E(name="Floor", numpy="np.floor({0})", lanes="vfloor({0})", number="floor{f}({0})"),
    _E(name="FloorDiv", sign="//"),
    _E(name="Greater", noun="mask", sign=">"),
    _E(name="GreaterOrEqual", noun="mask", sign=">="),
    _E(name="HardSigmoid"),
    _E(name="Identity", folded=lambda term, given: given[0]),
    _E(name="IsInf"),
    _E(name="IsNaN", number="({0} != {0})"),
    _E(name="LeakyRelu", numpy="leaky_relu({0}, {a})", lanes="vleaky({0}, {a})", alpha=0.01),
    _E(name="Less", noun="mask", sign="<"),
    _E(name="LessOrEqual", noun="mask", sign="<="),
    _E(name="Log", numpy="np.log({0})", library="log"),
    _E(name="Log1p", numpy="np.log1p({0})", library="log1p"),
    _E(name="Max", folded=lambda term, given: reduce(np.maximum, given)),
    _E(name="Min", folded=lambda term, given: reduce(np.minimum, given)),
    _E(name="Mod"),
    _E(name="Mul", noun="product", sign="*", folded=_with(np.multiply)),
    _E(name="Neg", noun="difference", folded=_with(np.negative)),
    _E(name="Not", noun="mask", number="(!{0})"),
    _E(name="Or", noun="mask", sign="|"),
    _E(name="Pow"),
    _E(name="Reciprocal", noun="ratio", lanes="(1.0f / {0})", number="(1 / {0})", folded=_with(np.reciprocal)),
    _E(name="Relu", numpy="np.maximum({0}, 0)", lanes="vrelu({0})", number="({0} < 0 ? 0 : {0})"),
    _E(name="Round", numpy="np.rint({0})", library="rint"),  # halves to the even number
    _E(name="Selu"),
    _E(name="Sigmoid", noun="weight", numpy="sigmoid({0})", lanes="vsigmoid({0})", number="(1 / (1 + exp{f}(-{0})))"),
    _E(name="Sign", numpy="np.sign({0})", lanes="vsign({0})", number="(({0} > 0) - ({0} < 0))"),
    _E(name="Sin", numpy="np.sin({0})", library="sin"),
    _E(name="Sinh", numpy="np.sinh({0})", library="sinh"),
    _E(name="Softplus", numpy="np.logaddexp({0}, 0)", lanes="vsoftplus({0})"),
    _E(name="Softsign", numpy="softsign({0})", lanes="vsoftsign({0})", number="({0} / (1 + fabs{f}({0})))"),
    _E(
        name="Sqrt", noun="root", numpy="np.sqrt({0})", lanes="vsqrt({0})", number="sqrt{f}({0})", folded=_with(np.sqrt)
    ),
    _E(name="Sub", noun="difference", sign="-", folded=_with(np.subtract)),
    _E(name="Tan", numpy="np.tan({0})", library="tan"),
    _E(name="Tanh", numpy="np.tanh({0})", lanes="vtanh({0})", number="tanh{f}({0})"),
    _E(name="Where", noun="chosen"),
    _E(name="Xor", sign="^"),
)
_REDUCTIONS = tuple(
    _O(name=name, noun=noun, shape=_reduced, batched=batching.reduction)
    for name, noun in (
        ("ReduceMax", ""),
        ("ReduceMean", "mean"),
        ("ReduceMin", ""),
        ("ReduceProd", ""),
        ("ReduceSum", "total"),
        ("ReduceSumSquare", ""),
    )
)
_OTHERS = (
    _O(name="ArgMax", batched=batching.one_axis),
    _O(name="ArgMin", batched=batching.one_axis),
    _O(name="AveragePool", batched=batching.by_sample),
    _O(name="BatchNormalization", batched=batching.by_sample),
    _O(name="Compress"),
    _O(
        name="Concat",
        shape=_along_axis,
        folded=lambda term, given: np.concatenate(list(given), axis=term.attribute("axis")),
        batched=batching.concat,
    ),
    _O(name="ConstantOfShape"),
    _O(name="Conv", batched=batching.by_sample),
    _O(name="ConvTranspose", batched=batching.by_sample),
    _O(name="CumSum", noun="total", shape=_first),
    _O(name="DepthToSpace"),
    _O(name="Dropout"),
    _O(name="Einsum", noun="product"),
    _O(name="Expand", folded=_folded_expand),
    _O(name="EyeLike"),
    _O(name="Flatten"),
    _O(
        name="Gather",
        noun="part",
        shape=_gathered,
        folded=lambda term, given: np.take(given[0], given[1], axis=term.attribute("axis", 0)),
        batched=batching.gather,
    ),
    _O(name="GatherElements"),
    _O(name="GatherND", noun="part"),
    _O(name="Gemm"),
    _O(name="GlobalAveragePool", batched=batching.by_sample),
    _O(name="GlobalMaxPool", batched=batching.by_sample),
    _O(name="InstanceNormalization", batched=batching.by_sample),
    _O(name="LRN"),
    _O(name="LayerNormalization", batched=batching.one_axis),  # of `rnnexport.lowering.composites`
    _O(name="LogSoftmax", shape=_first, batched=batching.one_axis),
    _O(name="MatMul", noun="product", shape=_matmul, folded=_with(np.matmul), batched=batching.matmul),
    _O(name="MaxPool", batched=batching.by_sample),
    _O(name="NonZero"),
    _O(name="OneHot"),
    _O(name="Pad"),
    _O(name="Range", noun="steps"),
    _O(name="Reshape", folded=_folded_reshape, batched=batching.reshape),
    _O(name="Resize"),
    _O(name="ReverseSequence", noun="backwards", shape=_first),
    _O(name="ScatterElements"),
    _O(name="ScatterND"),
    _O(name="Shape", noun="shape"),
    _O(name="Size", noun="shape"),
    _O(
        name="Slice",
        noun="part",
        shape=_sliced,
        folded=lambda term, given: given[0][slice_index(given[0].ndim, given[1:])],
        batched=batching.cut,
    ),
    _O(name="Softmax", noun="weight", shape=_first, batched=batching.one_axis),
    _O(name="SpaceToDepth"),
    _O(name="Split", noun="part", shape=_along_axis, folded=_folded_split, batched=batching.one_axis),
    _O(name="Squeeze", noun="part", shape=_squeezed, folded=_folded_squeeze, batched=batching.axes_input),
    _O(name="Tile"),
    _O(name="TopK"),
    _O(
        name="Transpose",
        shape=_transposed,
        folded=lambda term, given: given[0].transpose(term.attribute("perm")),
        batched=batching.transpose,
    ),
    _O(name="Unique"),
    _O(
        name="Unsqueeze",
        shape=_squeezed,
        folded=lambda term, given: np.expand_dims(given[0], tuple(int(axis) for axis in given[1])),
        batched=batching.axes_input,
    ),
    _O(name="ai.onnx.ml.LabelEncoder"),
)
OPERATORS: Mapping[str, Operator] = {row.name: row for row in (*_ELEMENTWISE, *_REDUCTIONS, *_OTHERS)}


def operator(name: str) -> Operator:
    """What is known of an operator; a row without anything for one that is in no table."""
    return OPERATORS.get(name) or Operator(name=name)


def elementwise(name: str) -> Elementwise | None:
    """The row of an operator that is computed element by element; None for others."""
    row = OPERATORS.get(name)
    return row if isinstance(row, Elementwise) else None
