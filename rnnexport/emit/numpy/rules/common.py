"""What rules share: dtypes by name, axes, Python numbers told from arrays, attributes as literals."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from rnnexport.emit.numpy.expression import Binding, Expression, Operand, UnwrittenError, Use, call, combined, literal

Rule = Callable[[Use], Expression | tuple[Expression, ...]]

FLOATS = ("float16", "bfloat16", "float32", "float64")
_PLAIN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_PLAIN_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float64")


def is_plain(expression: Expression) -> bool:
    """Whether it is a name or an attribute: to write it twice costs nothing."""
    return _PLAIN.fullmatch(expression.text) is not None


def dtype_of(name: str | None) -> Expression:
    """A dtype as the program has it: `dtype` for the floats of the model.

    Raises:
        UnwrittenError: it is none of NumPy's, or not known.
    """
    if name in ("float32", "bfloat16"):
        return Expression("dtype", needs_dtype=True)
    if name == "float16":
        return call("half", "dtype", uses=[Expression("dtype", needs_dtype=True)], helper=True)
    if name in _PLAIN_DTYPES:
        return Expression(f"np.{name}")
    if name == "bool":
        return Expression("bool")
    raise UnwrittenError(f"of dtype {name or 'unknown'}")


def is_number(operand: Operand) -> bool:
    """Whether the program may have it as a Python number, which takes the dtype of what it meets."""
    return operand.rank == 0 and (operand.value is not None or operand.expression.elements is not None)


def as_array(operand: Operand) -> Expression:
    """It as something that has the dtype of the model and the methods of an array."""
    if not is_number(operand):
        return operand.expression
    expression = operand.expression
    if operand.dtype in (None, "int64", "bool"):
        return call("np.asarray", expression.text, uses=[expression])
    dtype = dtype_of(operand.dtype)
    return call("np.asarray", expression.text, dtype.text, uses=[expression, dtype])


def unchanged(operand: Operand) -> Expression:
    """It as the result of an operator: a Python number only where the program knows it as a size."""
    return operand.expression if operand.expression.elements is not None else as_array(operand)


def with_an_array(operands: Sequence[Operand]) -> list[Expression]:
    """The operands of one computation, of which one is an array: Python numbers alone would not have the dtype."""
    if all(map(is_number, operands)):
        return [as_array(operands[0]), *(operand.expression for operand in operands[1:])]
    return [operand.expression for operand in operands]


def method(operand: Operand, name: str, *arguments: str, uses: Sequence[Expression] = ()) -> Expression:
    """`operand.name(arguments)`."""
    expression = as_array(operand)
    return call(f"{expression.within(Binding.ATOM)}.{name}", *arguments, uses=[expression, *uses])


def indexed(expression: Expression, index: str, *uses: Expression) -> Expression:
    """`expression[index]`."""
    return combined(f"{expression.within(Binding.ATOM)}[{index}]", Binding.ATOM, [expression, *uses])


def result_dtype(use: Use) -> str | None:
    """The dtype of the first output, or of the first input where that is not known."""
    return use.results[0].dtype or next((given.dtype for given in use.inputs if given is not None), None)


def integers(operand: Operand, what: str) -> tuple[int, ...]:
    """The elements of a constant.

    Raises:
        UnwrittenError: they are computed.
    """
    elements = operand.elements
    if elements is None or not all(isinstance(item, int) for item in elements):
        raise UnwrittenError(f"with {what} that are computed")
    return tuple(int(item) for item in elements)


def rank_of(operand: Operand) -> int:
    """How many dimensions it has.

    Raises:
        UnwrittenError: that is not known.
    """
    if operand.rank is None:
        raise UnwrittenError("of an input of unknown rank")
    return operand.rank


def axis_at(axis: int, rank: int | None) -> str:
    """An axis as a person counts it: the last one is -1, unless it is the first too."""
    if rank is None:
        return str(axis)
    axis %= max(rank, 1)
    return "-1" if axis == rank - 1 and axis > 0 else str(axis)


def from_front(axis: int, rank: int | None) -> int:
    """An axis counted from the first.

    Raises:
        UnwrittenError: it is counted from the last, and the rank is not known.
    """
    if axis >= 0:
        return axis
    if rank is None:
        raise UnwrittenError("of an input of unknown rank")
    return axis + rank


def index_at(axis: int, rank: int | None, item: str) -> str:
    """What stands in the brackets to take `item` of an axis: `:, 1:`, `..., 1:`."""
    if axis < 0 and rank is not None:
        axis += rank
    if axis < 0:
        return ", ".join(["...", item, *[":"] * (-axis - 1)])
    if rank is not None and axis == rank - 1 and axis > 1:
        return f"..., {item}"
    return ", ".join([*[":"] * axis, item])


def number(use: Use, name: str, default: float) -> Expression:
    """An attribute that is a float, in the shortest decimal form that ONNX stores as this."""
    return literal(np.float32(use.attributes.get(name, default)))


def word(use: Use, name: str, default: str) -> str:
    """An attribute that is a string."""
    found = use.attributes.get(name, default)
    return found.decode() if isinstance(found, bytes) else str(found)


def scaled(factor: Expression, value: Expression) -> Expression:
    """`factor * value`; the value where the factor is 1."""
    if factor.text == "1.0":
        return value
    return combined(f"{factor.within(Binding.PRODUCT)} * {value.within(Binding.UNARY)}", Binding.PRODUCT, [value])


def shifted(value: Expression, amount: Expression) -> Expression:
    """`value + amount`, or `value - -amount`; the value where the amount is 0."""
    if amount.text in ("0.0", "-0.0"):
        return value
    sign, text = ("-", amount.text[1:]) if amount.text.startswith("-") else ("+", amount.text)
    return combined(f"{value.within(Binding.SUM)} {sign} {text}", Binding.SUM, [value])


def helper(function: str, use: Use, *settings: str, inputs: Iterable[int] = (0,)) -> Expression:
    """`function(input, ..., setting, ...)` of a function of `operators`; of the inputs, those that are there."""
    values = [as_array(given) for at in inputs if (given := use.optional(at)) is not None]
    return call(function, *(value.text for value in values), *settings, uses=values, helper=True)
