"""What an operator is written from, and what it is written as: Python expressions with how tightly they bind.

What is known when a program is written, as Python: constants and what they mean, attributes of operators, dtypes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache
from math import gcd
from typing import Any

import numpy as np
import onnx_ir as ir

from rnnexport.ir.terms import Term

# A size that the program knows is a number, or Python for one: `B`, `T - 1`, `x.shape[1]`.
Size = int | str
Shape = tuple[Size | None, ...]
_MANY_DIGITS = 7
# The dtypes that NumPy gives a list of literals.
_OWN = (np.bool_, np.int64, np.float64)


class Binding(IntEnum):
    """How tightly an expression binds, as Python's grammar has it; the tightest last."""

    CHOICE = 0  # a if c else b, lambda
    OR = 1
    AND = 2
    NOT = 3
    COMPARISON = 4
    BIT_OR = 5
    BIT_XOR = 6
    BIT_AND = 7
    SUM = 9
    PRODUCT = 10  # *, /, //, %, @
    UNARY = 11
    POWER = 12
    ATOM = 14  # a name, a literal that is not negative, a call, an index, brackets


@dataclass(frozen=True, eq=False)
class Expression:
    """Python for one value.

    Attributes:
        text: the code, on one line.
        binding: how tightly it binds.
        helpers: the functions of `rnnexport.emit.numpy.operators` that it calls, by name.
        needs_dtype: whether it reads the name `dtype`: the floating dtype that the program computes in.
        elements: of an integer scalar or vector whose elements the program knows as sizes, these; `text` gives the same
            as an array, or as a Python number where it is a scalar.
    """

    text: str
    binding: Binding = Binding.ATOM
    helpers: frozenset[str] = frozenset()
    needs_dtype: bool = False
    elements: tuple[Size, ...] | None = None

    def within(self, binding: Binding) -> str:
        """The text where something that binds at least so tightly is wanted: in brackets where it binds less."""
        return self.text if self.binding >= binding else f"({self.text})"


@dataclass(frozen=True, eq=False)
class Operand:
    """An input of an operator.

    Attributes:
        expression: what gives it.
        dtype: the NumPy name, `bfloat16` among them; None where it is not known.
        shape: None where the rank is not known; None in it for a size that is not.
        value: what it always is; None for what is computed, and for weights.
    """

    expression: Expression
    dtype: str | None
    shape: Shape | None
    value: np.ndarray | None = None

    @property
    def rank(self) -> int | None:
        """How many dimensions it has."""
        return None if self.shape is None else len(self.shape)

    @property
    def elements(self) -> tuple[Size, ...] | None:
        """The elements of an integer scalar or vector, where the program knows them as sizes."""
        if self.value is not None and self.value.ndim <= 1 and self.value.dtype.kind in "iu":
            return tuple(int(item) for item in self.value.ravel())
        return self.expression.elements


@dataclass(frozen=True, eq=False)
class OutputSpec:
    """An output of an operator, as far as it is known before it is written."""

    dtype: str | None
    shape: Shape | None


@dataclass(frozen=True, eq=False)
class Use:
    """One application of an operator, to be written.

    Attributes:
        op: the ONNX operator, of opset 18.
        inputs: None for an optional one that is left out.
        attributes: by name, as Python values; tensors are arrays.
        results: one an output.
    """

    op: str
    inputs: tuple[Operand | None, ...]
    attributes: Mapping[str, Any]
    results: tuple[OutputSpec, ...]

    def operand(self, at: int) -> Operand:
        """The input of that number, which is there."""
        found = self.inputs[at]
        assert found is not None, f"{self.op} without input {at}"
        return found

    def optional(self, at: int) -> Operand | None:
        """The input of that number, or None where it is left out."""
        return self.inputs[at] if at < len(self.inputs) else None


class UnwrittenError(Exception):
    """There is no NumPy for this use of an operator; the message says why, in a few words after the operator's name."""


class UnnamedError(UnwrittenError):
    """There is one once every input has a name: it is read more than once."""


def call(function: str, *arguments: str, uses: Sequence[Expression] = (), helper: bool = False) -> Expression:
    """`function(arguments)`, which needs what `uses` need; with `helper` it is one of `operators`."""
    names = frozenset({function}) if helper else frozenset()
    return combined(f"{function}({', '.join(arguments)})", Binding.ATOM, uses, names)


def combined(
    text: str, binding: Binding, uses: Sequence[Expression], helpers: frozenset[str] = frozenset()
) -> Expression:
    """An expression made of others, which needs what they need."""
    return Expression(
        text, binding, helpers.union(*(part.helpers for part in uses)), any(part.needs_dtype for part in uses)
    )


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
