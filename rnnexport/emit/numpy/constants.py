"""What is known when a program is written, as Python: constants and what they mean, attributes of operators, dtypes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from math import gcd
from typing import Any

import numpy as np
import onnx_ir as ir

from rnnexport.emit.numpy.expression import Binding, Expression, Operand
from rnnexport.ir.terms import Term

_MANY_DIGITS = 7
# The dtypes that NumPy gives a list of literals.
_OWN = (np.bool_, np.int64, np.float64)


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


def written_constant(array: np.ndarray) -> Expression:
    """A constant that is written where it is used: a number, or a few of them."""
    if array.ndim == 0:
        return literal(array)
    texts = np.array([literal(item).text for item in array.ravel()], object).reshape(array.shape).tolist()
    listed = str(texts).replace("'", "")
    if array.dtype == np.float32:
        return Expression(f"np.array({listed}, dtype)", needs_dtype=True)
    return Expression(f"np.array({listed})" if array.dtype in _OWN else f"np.array({listed}, np.{array.dtype})")


def as_array(written: Expression, term: Term) -> Expression:
    """What is written as a Python number, as an array of its dtype: where no operator is there to make it one."""
    if (written.elements is None and term.op != "Const") or term.dtype is None:
        return written
    if term.op == "Const" and term.array.ndim:
        return written
    kind = "dtype" if term.dtype == ir.DataType.FLOAT else f"np.{term.dtype.numpy()}"
    return Expression(f"np.asarray({written.text}, {kind})", helpers=written.helpers, needs_dtype=kind == "dtype")


def exact_number(operand: Operand) -> Operand:
    """A number to compare with as all its digits; any other operand as it is."""
    value = operand.value
    if value is None or value.ndim or value.dtype.kind != "f" or not np.isfinite(value):
        return operand
    text = repr(float(value))
    return replace(operand, expression=Expression(text, Binding.UNARY if text.startswith("-") else Binding.ATOM))


def attribute_value(attribute: ir.Attr) -> object:
    """As a Python value; a tensor is an array."""
    value = attribute.value
    if attribute.type == ir.AttributeType.TENSOR:
        return value.numpy()
    return list(value) if isinstance(value, tuple) else value


def dtype_name(dtype: ir.DataType | None) -> str | None:
    """The NumPy name, and `bfloat16`; None where it is not known."""
    if dtype is None:
        return None
    return "bfloat16" if dtype == ir.DataType.BFLOAT16 else str(dtype.numpy().name)


def meant(array: np.ndarray) -> np.ndarray:
    """Numbers in float64 as `literal` writes them: of the float32 next to 0.2 it is 0.2.

    Args:
        array: of a floating dtype.
    """
    flat = [_value(item) for item in np.asarray(array).ravel()]
    return np.array(flat, np.float64).reshape(np.shape(array))


def _value(item: Any) -> float:
    return float(eval(literal(item).text, {"np": np}))  # the text is this package's own
