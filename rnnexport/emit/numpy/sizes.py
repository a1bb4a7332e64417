"""What is known of the shapes of terms, with the names of open sizes: `B` and `T` follow the model's inputs inwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from rnnexport.emit.numpy.expression import Shape, Size
from rnnexport.ir.program import Scan
from rnnexport.ir.terms import Term, below, broadcast
from rnnexport.ir.vectorize_time import ELEMENTWISE, REDUCTIONS

Known = dict[Term, Shape | None]
Rule = Callable[[Term, Sequence["Shape | None"]], "Shape | None"]


def shapes_of(roots: Iterable[Term], given: Mapping[Term, Shape | None]) -> Known:
    """The shape of every term below the roots.

    Args:
        roots: of one function.
        given: those of its parameters, and of the functions around.
    """
    found: Known = dict(given)
    numbers: dict[Term, Shape | None] = {}
    for term in below(roots):
        inputs = [None if part is None else found[part] for part in term.inputs]
        numbers[term] = _numbers(term, inputs, [None if part is None else numbers[part] for part in term.inputs])
        if term not in found:
            rule = _RULES.get(term.op)
            told = rule(term, inputs) if rule is not None else None
            if term.op in ("Expand", "Reshape", "ConstantOfShape"):
                told = _sized(numbers[term.operands[-1]])
            if term.op == "Expand":
                told = broadcast([inputs[0], told])
            found[term] = joined(term.shape, told)
    return found


def _sized(wanted: Shape | None) -> Shape | None:
    """The shape that a vector of sizes asks for: what is -1 or 0 in it is told by the operand."""
    return (
        None if wanted is None else tuple(size if isinstance(size, str) or (size or 0) > 0 else None for size in wanted)
    )


def _numbers(term: Term, shapes: Sequence[Shape | None], parts: Sequence[Shape | None]) -> Shape | None:
    """The elements of a scalar or a vector of sizes, as far as shape arithmetic tells them."""
    if term.op == "Const":
        array = term.array
        return tuple(int(item) for item in array.ravel()) if array.dtype.kind in "iu" and array.ndim <= 1 else None
    if term.op == "Shape":
        return None if shapes[0] is None else shapes[0][slice(term.attribute("start", 0), term.attribute("end"))]
    if term.op in ("Cast", "Squeeze", "Unsqueeze", "Identity"):
        return parts[0]
    if term.op == "Concat":
        return None if None in parts else tuple(size for part in parts if part is not None for size in part)
    if not parts or parts[0] is None or any(part is None for part in parts[1:]):
        return None
    rest = [[size for size in part or () if isinstance(size, int)] for part in parts[1:]]
    if term.op == "Gather":
        return tuple(parts[0][at] for at in rest[0])
    if term.op == "Slice" and all(len(bound) == 1 for bound in rest) and len(rest) <= 3:
        return parts[0][rest[0][0] : rest[1][0]]
    return None


def joined(one: Shape | None, other: Shape | None) -> Shape | None:
    """What two shapes of one value know together; a number is known better than a name."""
    if one is None or other is None or len(one) != len(other):
        return one if other is None else (other if one is None else one)
    return tuple(_better(a, b) for a, b in zip(one, other, strict=True))


def _better(one: Size | None, other: Size | None) -> Size | None:
    if isinstance(one, int) or other is None:
        return one
    return other


def _elementwise(term: Term, inputs: Sequence[Shape | None]) -> Shape | None:
    return broadcast([shape for part, shape in zip(term.inputs, inputs, strict=True) if part is not None])


def _matmul(term: Term, inputs: Sequence[Shape | None]) -> Shape | None:
    left, right = inputs[0], inputs[1]
    if left is None or right is None or len(left) < 2:
        return None
    if len(right) <= 2:
        return (*left[:-1], *right[1:])
    many = broadcast([left[:-2], right[:-2]])
    return None if many is None else (*many, left[-2], right[-1])


def _reduction(term: Term, inputs: Sequence[Shape | None]) -> Shape | None:
    shape = inputs[0]
    given = term.inputs[1] if len(term.inputs) > 1 else None
    axes = given.array.ravel() if given is not None and given.op == "Const" else term.attribute("axes")
    if shape is None or axes is None or len(axes) == 0:
        return None
    gone = {int(axis) % len(shape) for axis in axes}
    sizes = [1 if at in gone else size for at, size in enumerate(shape)]
    return tuple(size for at, size in enumerate(sizes) if term.attribute("keepdims", 1) or at not in gone)


def _gather(term: Term, inputs: Sequence[Shape | None]) -> Shape | None:
    shape, at = inputs
    axis = term.attribute("axis", 0)
    return None if shape is None or at is None else (*shape[:axis], *at, *shape[axis % len(shape) + 1 :])


def _transpose(term: Term, inputs: Sequence[Shape | None]) -> Shape | None:
    (shape,) = inputs
    if shape is None:
        return None
    order = term.attribute("perm") or range(len(shape))[::-1]
    return tuple(shape[int(axis)] for axis in order)


def _same_but(term: Term, inputs: Sequence[Shape | None]) -> Shape | None:
    """Operators that change the size of some dimensions to what ONNX tells, and keep the others."""
    shape = inputs[0]
    if shape is None or term.shape is None or len(shape) != len(term.shape):
        return None
    axis = term.attribute("axis", 0) % len(shape) if shape else 0
    return tuple(size if at != axis else None for at, size in enumerate(shape))


def _slice(term: Term, inputs: Sequence[Shape | None]) -> Shape | None:
    shape = inputs[0]
    axes = term.inputs[3] if len(term.inputs) > 3 else None
    if shape is None or axes is None or axes.op != "Const":
        return None
    cut = {int(axis) % len(shape) for axis, full in zip(axes.array, _is_full(term), strict=True) if not full}
    return tuple(None if at in cut else size for at, size in enumerate(shape))


def _is_full(term: Term) -> list[bool]:
    """Of each axis of a Slice, whether it is kept whole."""
    starts, ends, axes = term.operands[1:4]
    if starts.op != "Const" or ends.op != "Const" or (len(term.operands) > 4):
        return [False] * int(axes.array.size)
    pairs = zip(starts.array, ends.array, strict=True)
    return [start == 0 and end >= 2**31 - 1 for start, end in pairs]


def _moved(term: Term, inputs: Sequence[Shape | None]) -> Shape | None:
    """Squeeze and Unsqueeze."""
    shape = inputs[0]
    axes = term.inputs[1] if len(term.inputs) > 1 else None
    if shape is None or axes is None or axes.op != "Const":
        return None
    numbers = [int(axis) for axis in axes.array.ravel()]
    if term.op == "Squeeze":
        gone = {axis % len(shape) for axis in numbers}
        return tuple(size for at, size in enumerate(shape) if at not in gone)
    rank = len(shape) + len(numbers)
    new = {axis % rank for axis in numbers}
    rest = iter(shape)
    return tuple(1 if at in new else next(rest) for at in range(rank))


def _scan(term: Term, inputs: Sequence[Shape | None]) -> Shape | None:
    call = term.call
    assert isinstance(call, Scan)
    given = step_shapes(call, inputs)
    if term.port >= call.outputs:
        return given[call.leading + term.port - call.outputs]
    first = inputs[0] if call.leading else None
    inner = shapes_of(call.step.results, dict(zip(call.step.parameters, given, strict=True)))
    each = inner[call.each[term.port]]
    return None if each is None else (first[0] if first else None, *each)


def step_shapes(call: Scan, inputs: Sequence[Shape | None]) -> list[Shape | None]:
    """The shapes of the parameters of the step of a Scan in every one of its steps, from those of its inputs.

    A state has the sizes that the first one and all that follow have in common.
    """
    function = call.step
    states = slice(call.leading, call.leading + call.states)
    found: list[Shape | None] = [
        joined(parameter.shape, (None if shape is None else shape[1:]) if at < call.leading else shape)
        for at, (parameter, shape) in enumerate(zip(function.parameters, inputs, strict=False))
    ]
    found[states] = inputs[states]
    while True:
        inner = shapes_of(function.results, dict(zip(function.parameters, found, strict=True)))
        after = [inner[term] for term in call.after]
        common = [_common(one, other) for one, other in zip(found[states], after, strict=True)]
        if common == found[states]:
            return found
        found[states] = common


def _common(one: Shape | None, other: Shape | None) -> Shape | None:
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(a if a == b else None for a, b in zip(one, other, strict=True))


_RULES: dict[str, Rule] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(("Softmax", "LogSoftmax", "CumSum", "ReverseSequence"), lambda term, inputs: inputs[0]),
    **dict.fromkeys(("Split", "Concat"), _same_but),
    **dict.fromkeys(("Squeeze", "Unsqueeze"), _moved),
    **dict.fromkeys(REDUCTIONS.split(), _reduction),
    "MatMul": _matmul,
    "Gather": _gather,
    "Transpose": _transpose,
    "Slice": _slice,
    "scan": _scan,
    "if": lambda term, inputs: inputs[1] if inputs[1] == inputs[2] else None,
}
