"""What is known of the shapes of terms, with the names of open sizes: `B` and `T` follow the model's inputs inwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rnnexport.emit.numpy.expression import Shape, Size
from rnnexport.ir.operators import operator
from rnnexport.ir.program import If, Scan
from rnnexport.ir.size_arithmetic import Vector, of_numbers, of_term
from rnnexport.ir.terms import Term, below, broadcast

_WHOLE = of_numbers(64)
KnownShapes = dict[Term, Shape | None]


def shapes_of(roots: Iterable[Term], given: Mapping[Term, Shape | None]) -> KnownShapes:
    """The shape of every term below the roots.

    Args:
        roots: of one function.
        given: those of its parameters, and of the functions around.
    """
    found: KnownShapes = dict(given)
    numbers: dict[Term, Vector | None] = {}
    for term in below(roots):
        inputs = [None if part is None else found[part] for part in term.inputs]
        numbers[term] = _numbers(term, inputs, [None if part is None else numbers[part] for part in term.inputs])
        if term not in found:
            told = _told(term, inputs)
            if term.op in ("Expand", "Reshape", "ConstantOfShape"):
                told = _sized(numbers[term.operands[-1]])
            if term.op == "Expand":
                told = broadcast([inputs[0], told])
            found[term] = joined(term.shape, told)
    return found


def _told(term: Term, inputs: Sequence[Shape | None]) -> Shape | None:
    """The shape of a term by those of its inputs."""
    if isinstance(term.call, Scan):
        return _scan(term, inputs)
    if isinstance(term.call, If):
        return inputs[1] if inputs[1] == inputs[2] else None
    rule = operator(term.op).shape
    return None if rule is None else rule(term, inputs)


def _sized(wanted: Vector | None) -> Shape | None:
    """The shape that a vector of sizes asks for: what is -1 or 0 in it is told by the operand."""
    if wanted is None:
        return None
    return tuple(size if isinstance(size, str) or (size or 0) > 0 else None for size in wanted.flat)


def _numbers(term: Term, shapes: Sequence[Shape | None], parts: Sequence[Vector | None]) -> Vector | None:
    """The elements of a scalar or a vector of sizes, as far as shape arithmetic tells them."""
    if term.op == "Const":
        array = term.array
        known = array.dtype.kind in "iu" and array.ndim <= 1 and array.size <= _WHOLE.longest
        return Vector(array.ndim, tuple(int(item) for item in array.ravel())) if known else None
    if term.op == "Shape":
        part = slice(term.attribute("start", 0), term.attribute("end"))
        return None if shapes[0] is None else Vector(1, shapes[0][part])
    return of_term(term, parts, _WHOLE)


def joined(one: Shape | None, other: Shape | None) -> Shape | None:
    """What two shapes of one value know together; a number is known better than a name."""
    if one is None or other is None or len(one) != len(other):
        return one if other is None else (other if one is None else one)
    return tuple(_better(a, b) for a, b in zip(one, other, strict=True))


def _better(one: Size | None, other: Size | None) -> Size | None:
    if isinstance(one, int) or other is None:
        return one
    return other


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
