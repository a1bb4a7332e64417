"""What rules share: literals, dtypes by name, axes, and Python numbers told from arrays."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from math import gcd
from typing import Any

import numpy as np

from rnnexport.emit.numpy.expression import Binding, Expression, Operand, UnwrittenError, Use, call, combined

Rule = Callable[[Use], Expression | tuple[Expression, ...]]

FLOATS = ("float16", "bfloat16", "float32", "float64")
_PLAIN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_MANY_DIGITS = 7
_PLAIN_DTYPES = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float64")


def is_plain(expression: Expression) -> bool:
    """Whether it is a name or an attribute: to write it twice costs nothing."""
    return _PLAIN.fullmatch(expression.text) is not None


def literal(value: Any) -> Expression:
    """A number or a truth value in the shortest form that means it in its own dtype.

    A float32 of many digits that is the quotient or the root of small integers was written so in the source: few
    numbers are such ones, and float64 is to compute with what the source says.
    """
    value = np.asarray(value)
    if value.dtype.kind in "bui":
        text = repr(value.item())
    else:
        number = float(value)
        text = _shortest(number, value.dtype) if np.isfinite(number) else _unbounded(number)
    if value.dtype == np.float32 and len(text.strip("-0.").replace(".", "")) >= _MANY_DIGITS and "e" not in text:
        found = _exact_forms().get(abs(number))
        if found is not None:
            text, binding = found
            return Expression(f"-{text}", Binding.UNARY) if number < 0 else Expression(text, binding)
    return Expression(text, Binding.UNARY if text.startswith("-") else Binding.ATOM)


@cache
def _exact_forms() -> dict[float, tuple[str, Binding]]:
    """Quotients and roots of small integers, by their float32 value; all are Python numbers, which have no dtype."""
    forms = {f"({p} / {q})": p / q for q in range(3, 17) for p in range(1, 2 * q) if gcd(p, q) == 1}
    forms |= {"(2 / np.pi) ** 0.5": (2 / np.pi) ** 0.5, "np.pi": np.pi, "(np.pi / 2)": np.pi / 2}
    forms |= {f"{n}**-0.5": n**-0.5 for n in range(2, 4097)} | {f"{n}**0.5": n**0.5 for n in range(2, 17)}
    powers = {text: Binding.POWER if text.endswith("0.5") else Binding.ATOM for text in forms}
    return {float(np.float32(value)): (text, powers[text]) for text, value in reversed(forms.items())}


def _shortest(number: float, dtype: np.dtype[Any]) -> str:
    texts = (f"{number:.{digits}g}" for digits in range(1, 18))
    with np.errstate(over="ignore"):  # the largest of all, rounded up
        return repr(float(next(text for text in texts if float(np.array(float(text)).astype(dtype)) == number)))


def _unbounded(number: float) -> str:
    return "np.nan" if np.isnan(number) else "np.inf" if number > 0 else "-np.inf"


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
