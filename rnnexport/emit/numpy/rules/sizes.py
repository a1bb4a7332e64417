"""Arithmetic of sizes: `T - 1`, `min(T, 64)` instead of the operators on vectors of integers that say it."""

from __future__ import annotations

import ast
import re
from functools import cache

import numpy as np

from rnnexport.emit.numpy.expression import Binding, Expression, Operand, Size
from rnnexport.ir.size_arithmetic import Arithmetic, of_numbers

# The longest vector that is followed element by element.
LONGEST = 32
NUMBERS = of_numbers(LONGEST)
# What reads as a size of an array, and so is never negative.
_NATURAL = re.compile(r"[A-Za-z_]\w*|[A-Za-z_][\w.]*\.shape\[\d+\]")


def elements_of(operand: Operand | None) -> tuple[Size, ...] | None:
    """The elements of a scalar or a short vector of integers or truth values, where the program knows them."""
    if operand is None or operand.rank is None:
        return None
    value = operand.value
    if value is not None and value.ndim <= 1 and value.dtype.kind == "b":
        return tuple(bool(item) for item in value.ravel())
    found = operand.elements
    return found if found is not None and len(found) <= LONGEST else None


def sized(elements: tuple[Size, ...], rank: int, dtype: str | None = "int64") -> Expression:
    """A scalar or a vector of sizes."""
    if rank == 0:
        found = written(elements[0])
        return Expression(found.text, found.binding, elements=elements)
    parts = ", ".join(str(element) for element in elements)
    kind = "" if elements and dtype in ("int64", "bool", None) else f", np.{dtype or 'int64'}"
    return Expression(f"np.array([{parts}]{kind})", elements=elements)


@cache
def written(size: Size) -> Expression:
    """A size as Python, with how tightly it binds."""
    text = str(size)
    return Expression(text, _binding(ast.parse(text, mode="eval").body))


def _binding(node: ast.expr) -> Binding:
    match node:
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            return Binding.SUM
        case ast.BinOp():
            return Binding.PRODUCT
        case ast.UnaryOp(op=ast.Not()):
            return Binding.NOT
        case ast.UnaryOp():
            return Binding.UNARY
        case ast.Compare():
            return Binding.COMPARISON
        case ast.BoolOp(op=ast.And()):
            return Binding.AND
        case ast.BoolOp():
            return Binding.OR
        case ast.IfExp() | ast.Lambda():
            return Binding.CHOICE
    return Binding.ATOM


def is_natural(size: Size) -> bool:
    """Whether it can't be negative: the size of something."""
    return size >= 0 if isinstance(size, int) else _NATURAL.fullmatch(size) is not None


def tuple_of(sizes: tuple[Size, ...]) -> str:
    """A shape as Python: `(B, 64)`."""
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(map(str, sizes))})"


def plus(a: Size, b: Size) -> Size:
    """The sum, numbers together at the end."""
    (a_text, a_number), (b_text, b_number) = _parts(a), _parts(b)
    number = a_number + b_number
    if not b_text or not a_text:
        return _with_number(a_text or b_text, number)
    return _with_number(f"{written(a_text).within(Binding.SUM)} + {written(b_text).within(Binding.PRODUCT)}", number)


def minus(a: Size, b: Size) -> Size:
    """The difference, numbers together at the end."""
    (a_text, a_number), (b_text, b_number) = _parts(a), _parts(b)
    number = a_number - b_number
    if a_text == b_text:
        return number
    if not b_text:
        return _with_number(a_text, number)
    taken = written(b_text).within(Binding.PRODUCT)
    if not a_text:
        return f"{number} - {taken}" if number else f"-{written(b_text).within(Binding.UNARY)}"
    return _with_number(f"{written(a_text).within(Binding.SUM)} - {taken}", number)


def _parts(size: Size) -> tuple[str, int]:
    """`T - 1` as `T` and -1."""
    if isinstance(size, int):
        return "", int(size)
    match ast.parse(size, mode="eval").body:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=ast.Constant(value=int() as number)):
            text = ast.get_source_segment(size, left) or ""
            return text, number if isinstance(op, ast.Add) else -number
    return size, 0


def _with_number(text: str, number: int) -> Size:
    if not text:
        return number
    if number == 0:
        return text
    return f"{written(text).within(Binding.SUM)} {'+' if number > 0 else '-'} {abs(number)}"


def times(a: Size, b: Size) -> Size:
    """The product, a number first."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    if isinstance(b, int):
        a, b = b, a
    if a == 0:
        return 0
    if a == 1:
        return b
    if a == -1:
        return minus(0, b)
    return f"{written(a).within(Binding.PRODUCT)} * {written(b).within(Binding.UNARY)}"


def quotient(a: Size, b: Size) -> Size | None:
    """The quotient rounded toward zero; None where b is 0."""
    if b == 0:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    if b == 1:
        return a
    top, bottom = written(a).within(Binding.PRODUCT), written(b).within(Binding.UNARY)
    return f"{top} // {bottom}" if is_natural(a) and is_natural(b) else f"int({top} / {bottom})"


def remainder(a: Size, b: Size) -> Size | None:
    """What is left of a by b, with the sign of b as Python has it; None where b is 0."""
    if b == 0:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    return f"{written(a).within(Binding.PRODUCT)} % {written(b).within(Binding.UNARY)}"


def least(a: Size, b: Size) -> Size:
    """The smaller one."""
    return _either("min", a, b)


def greatest(a: Size, b: Size) -> Size:
    """The larger one."""
    return _either("max", a, b)


def _either(name: str, a: Size, b: Size) -> Size:
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b) if name == "min" else max(a, b)
    if a == b:
        return a
    # A size is never below 0, so its larger one of 0 or less is itself.
    for one, other in ((a, b), (b, a)):
        if isinstance(one, int) and one <= 0 and is_natural(other):
            return other if name == "max" else one
    return f"{name}({a}, {b})"


def compared(sign: str, a: Size, b: Size) -> Size:
    """`a < b`, or the truth where it is known."""
    if isinstance(a, int) and isinstance(b, int):
        return bool(NUMBERS.compared(sign, a, b))
    if a == b:
        return sign in ("==", "<=", ">=")
    if sign == "==" and any(isinstance(x, int) and x < 0 and is_natural(y) for x, y in ((a, b), (b, a))):
        return False
    return f"{written(a).within(Binding.BIT_OR)} {sign} {written(b).within(Binding.BIT_OR)}"


def chosen(condition: Size, a: Size, b: Size) -> Size:
    """What Python has as `a if condition else b`."""
    if isinstance(condition, int):
        return a if condition else b
    if a == b:
        return a
    return f"{written(a).within(Binding.OR)} if {written(condition).within(Binding.OR)} else {b}"


def inverted(condition: Size) -> Size:
    """The other truth value."""
    return not condition if isinstance(condition, int) else f"not {written(condition).within(Binding.NOT)}"


def number_of(condition: Size) -> Size:
    """1 or 0 for a truth value, a number as it is."""
    if isinstance(condition, int):
        return int(condition)
    return f"int({condition})" if written(condition).binding in (Binding.COMPARISON, Binding.NOT) else condition


def truth_of(size: Size) -> Size:
    """Whether it is not 0."""
    return bool(size) if isinstance(size, int) else f"{written(size).within(Binding.BIT_OR)} != 0"


def known_integers(elements: tuple[Size, ...] | None) -> tuple[int, ...] | None:
    """The elements, where all of them are numbers."""
    if elements is None:
        return None
    numbers = tuple(int(item) for item in elements if isinstance(item, int | np.integer))
    return numbers if len(numbers) == len(elements) else None


def _magnitude(size: Size) -> Size | None:
    return abs(size) if isinstance(size, int) else size if is_natural(size) else None


TEXTS = Arithmetic(
    longest=LONGEST,
    plus=plus,
    minus=minus,
    times=times,
    quotient=quotient,
    remainder=remainder,
    least=least,
    greatest=greatest,
    compared=compared,
    chosen=chosen,
    inverted=inverted,
    number_of=number_of,
    truth_of=truth_of,
    magnitude=_magnitude,
)
