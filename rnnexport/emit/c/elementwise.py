"""Operators that compute each number from the numbers at its place: how C writes them.

Most have their texts in the rows of `rnnexport.ir.operators`, one for vectors of float32 and one for a number of any
dtype. In the first, operands are vectors (`vec`) or truth values of lanes (`mask`). Here are those that need more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnexport.emit.c.arrays import C_TYPES
from rnnexport.ir.operators import elementwise
from rnnexport.ir.terms import Term


@dataclass(frozen=True)
class CExpression:
    """A part of an expression.

    Attributes:
        text: C; it binds as an atom, so that anything may stand around it.
        kind: `vec`, `scalar` (one number for all lanes) or `mask`.
        value: the number that it always is.
    """

    text: str
    kind: str
    value: Any = None

    @property
    def vec(self) -> str:
        """As a vector."""
        if self.kind == "mask":
            return f"choose({self.text}, splat(1.0f), splat(0.0f))"
        return f"splat({self.text})" if self.kind == "scalar" else self.text


class NoFormError(Exception):
    """C has no form of this use of an operator; the message says why.

    Args:
        why: in words.
        term: the use, where it is another one than the one that is being written.
    """

    def __init__(self, why: str, term: Term | None = None) -> None:
        super().__init__(why)
        self.term = term


_SHIFTS = {"LEFT": "<<", "RIGHT": ">>"}
_ARITHMETIC, _COMPARISONS, _LOGIC = ["+", "-", "*", "/"], ["<", ">", "<=", ">=", "=="], ["&", "|", "^"]


def number(value: Any) -> str:
    """A number of a NumPy dtype as C has it; it reads back to the same bits."""
    value = np.asarray(value)
    if value.dtype.kind == "b":
        return str(int(value))
    if value.dtype.kind in "iu":
        whole = int(value)
        return "INT64_MIN" if whole == -(2**63) else f"INT64_C({whole})" if abs(whole) >= 2**31 else str(whole)
    if not np.isfinite(value):
        return "NAN" if np.isnan(value) else "(-INFINITY)" if value < 0 else "INFINITY"
    text = f"{value.item()!r}" if value.dtype == np.float64 else str(np.float32(value))
    text = text if any(char in text for char in ".e") else text + ".0"
    text += "f" if value.dtype == np.float32 else ""
    return f"({text})" if text.startswith("-") else text


def vector(term: Term, parts: Sequence[CExpression]) -> CExpression:
    """An operator on float32 and truth values, in lanes.

    Raises:
        NoFormError: there is none.
    """
    row = elementwise(term.op)
    if row is None:
        raise NoFormError("no row of C writes it")
    if row.sign:
        return _signed(row.sign, parts)
    if term.op in _OWN:
        return _OWN[term.op](term, parts)
    if row.lanes:
        texts = [bare(part.vec) if "({0})" in row.lanes else part.vec for part in parts]
        return CExpression(row.lanes.format(*texts, a=_attribute(term, "alpha", row.alpha)), "vec")
    if row.library:
        return CExpression(f"vmap({row.library}f, {bare(parts[0].vec)})", "vec")
    raise NoFormError("no row of C writes it")


def _signed(sign: str, parts: Sequence[CExpression]) -> CExpression:
    """`a sign b`: scalars stay as they are in arithmetic; in comparisons operands are vectors."""
    if sign in _COMPARISONS:
        return _compared(sign, parts)
    if sign in _LOGIC:
        return CExpression(f"({f' {sign} '.join(part.text for part in parts)})", "mask")
    if sign not in _ARITHMETIC:
        raise NoFormError("no row of C writes it")
    kind = "scalar" if all(part.kind == "scalar" for part in parts) else "vec"
    texts = [part.vec if part.kind == "mask" else part.text for part in parts]
    return CExpression(f"({f' {sign} '.join(texts)})", kind)


def _negated(term: Term, parts: Sequence[CExpression]) -> CExpression:
    (part,) = parts
    return CExpression(
        f"(-{part.vec if part.kind == 'mask' else part.text})", "scalar" if part.kind == "scalar" else "vec"
    )


def _infinite(term: Term, text: str, size: str, infinity: str) -> str:
    """A comparison with the infinities that count, of which ONNX may leave one out."""
    above, below = term.attribute("detect_positive", 1), term.attribute("detect_negative", 1)
    if above and below:
        return f"({size}({bare(text)}) == {infinity})"
    return f"({text} == {infinity if above else f'-{infinity}'})"


def bare(written: str) -> str:
    """An expression without the brackets around all of it."""
    if not written.startswith("("):
        return written
    depth = 0
    for at, char in enumerate(written):
        depth += (char == "(") - (char == ")")
        if depth == 0:
            return written[1:-1] if at == len(written) - 1 else written
    return written


def _compared(sign: str, parts: Sequence[CExpression]) -> CExpression:
    if all(part.kind == "mask" for part in parts):
        if sign != "==":
            raise NoFormError("truth values are compared by size")
        return CExpression(f"(({parts[0].text} ^ {parts[1].text}) == 0)", "mask")
    return CExpression(f"({parts[0].vec} {sign} {parts[1].vec})", "mask")


def _where(term: Term, parts: Sequence[CExpression]) -> CExpression:
    condition, one, other = (part.text for part in parts)
    if parts[1].kind == "mask" or parts[2].kind == "mask":
        return CExpression(f"(({condition} & {one}) | (({condition} == 0) & {other}))", "mask")
    return CExpression(f"choose({bare(condition)}, {bare(parts[1].vec)}, {bare(parts[2].vec)})", "vec")


def _cast(term: Term, parts: Sequence[CExpression]) -> CExpression:
    to_mask = term.dtype is not None and term.dtype.numpy() == np.bool_
    if to_mask and parts[0].kind != "mask":
        return CExpression(f"({parts[0].vec} != splat(0.0f))", "mask")
    return parts[0] if to_mask else CExpression(parts[0].vec, "vec")


def _of_text(
    write: Callable[[Term, Sequence[CExpression]], str],
) -> Callable[[Term, Sequence[CExpression]], CExpression]:
    def written(term: Term, parts: Sequence[CExpression]) -> CExpression:
        return CExpression(write(term, parts), "vec")

    return written


def _attribute(term: Term, name: str, default: float) -> str:
    return number(np.float32(term.attribute(name, default)))


def _selu(term: Term, parts: Sequence[CExpression]) -> str:
    alpha, gamma = _attribute(term, "alpha", 1.6732632423543772), _attribute(term, "gamma", 1.0507009873554805)
    return f"({gamma} * velu({parts[0].vec}, {alpha}))"


def _hard_sigmoid(term: Term, parts: Sequence[CExpression]) -> str:
    line = f"{_attribute(term, 'alpha', 0.2)} * {parts[0].vec} + {_attribute(term, 'beta', 0.5)}"
    return f"vmin(vmax({line}, splat(0.0f)), splat(1.0f))"


def _clip(term: Term, parts: Sequence[CExpression]) -> str:
    text, bounds = parts[0].vec, iter(parts[1:])
    if term.inputs[1] is not None:
        text = f"vmax({bare(text)}, {bare(next(bounds).vec)})"
    if len(term.inputs) > 2 and term.inputs[2] is not None:
        text = f"vmin({bare(text)}, {bare(next(bounds).vec)})"
    return text


def _folded(function: str) -> Callable[[Term, Sequence[CExpression]], str]:
    def written(term: Term, parts: Sequence[CExpression]) -> str:
        text = parts[0].vec
        for part in parts[1:]:
            text = f"{function}({text}, {part.vec})"
        return text

    return written


def _pow(term: Term, parts: Sequence[CExpression]) -> str:
    base, exponent = parts[0].vec, parts[1].value
    if exponent is not None and exponent.size == 1:
        found = {2.0: f"vsquare({base})", 0.5: f"vsqrt({base})", 1.0: base}.get(float(exponent.ravel()[0]))
        if found is not None:
            return found
    return f"vmap2(powf, {base}, {parts[1].vec})"


def _mod(term: Term, parts: Sequence[CExpression]) -> str:
    return f"vmap2({'fmodf' if term.attribute('fmod', 0) else 'float_rest'}, {parts[0].vec}, {parts[1].vec})"


_TEXTS: dict[str, Callable[[Term, Sequence[CExpression]], str]] = {
    "Selu": _selu,
    "HardSigmoid": _hard_sigmoid,
    "Clip": _clip,
    "Max": _folded("vmaximum"),
    "Min": _folded("vminimum"),
    "Pow": _pow,
    "Mod": _mod,
}

_OWN: dict[str, Callable[[Term, Sequence[CExpression]], CExpression]] = {
    **{op: _of_text(write) for op, write in _TEXTS.items()},
    "Cast": _cast,
    "IsInf": lambda term, parts: CExpression(_infinite(term, parts[0].vec, "vabs", "splat(INFINITY)"), "mask"),
    "IsNaN": lambda term, parts: CExpression(f"visnan({bare(parts[0].vec)})", "mask"),
    "Neg": _negated,
    "Not": lambda term, parts: CExpression(f"({parts[0].text} == 0)", "mask"),
    "Where": _where,
}


def scalar(term: Term, parts: Sequence[CExpression], dtype: str, source: str) -> CExpression:
    """An operator on one number of any dtype.

    Args:
        term: the use.
        parts: its operands.
        dtype: of the result.
        source: of the first operand.

    Raises:
        NoFormError: there is none.
    """
    row, texts = elementwise(term.op), [part.text for part in parts]
    suffix = "" if source == "float64" else "f"
    floating = source.startswith("float")
    assert row is not None
    if term.op == "Cast":
        return CExpression(_cast_scalar(texts[0], dtype, source), "scalar")
    if term.op == "Div" and not floating:
        return CExpression(f"whole_quotient({texts[0]}, {texts[1]})", "scalar")
    if row.sign in (*_ARITHMETIC, *_COMPARISONS, *_LOGIC):
        return CExpression(f"({f' {row.sign} '.join(texts)})", "scalar")
    if row.number:
        return CExpression(row.number.format(*texts, f=suffix), "scalar")
    if row.library and floating:
        return CExpression(f"{row.library}{suffix}({texts[0]})", "scalar")
    return CExpression(_several(term, texts, suffix, floating), "scalar")


def _cast_scalar(text: str, dtype: str, source: str) -> str:
    if dtype == "bool":
        return f"({text} != 0)"
    return text if dtype == source else f"({C_TYPES[dtype]})({text})"


def _several(term: Term, texts: Sequence[str], suffix: str, floating: bool) -> str:
    """Operators with several operands of one kind, or with attributes."""
    if term.op == "Where":
        return f"({texts[0]} ? {texts[1]} : {texts[2]})"
    if term.op == "Neg":
        return f"(-{texts[0]})"
    if term.op in ("Max", "Min", "Clip"):
        return _bounded(term, texts, floating)
    if term.op == "IsInf":
        return _infinite(term, texts[0], f"fabs{suffix}", "INFINITY")
    if term.op == "Mod":
        cut = term.attribute("fmod", 0)
        names = (f"fmod{suffix}", "float_rest" if suffix else "double_rest")
        function = (names if floating else ("truncated_rest", "whole_rest"))[0 if cut else 1]
        return f"{function}({texts[0]}, {texts[1]})"
    if term.op == "FloorDiv" and not floating:
        return f"whole_below({texts[0]}, {texts[1]})"
    if term.op == "Pow" and floating:
        return f"pow{suffix}({texts[0]}, {texts[1]})"
    if term.op == "BitShift":
        return f"({texts[0]} {_SHIFTS[term.attribute('direction')]} {texts[1]})"
    raise NoFormError("no row of C writes it for these dtypes")


def _bounded(term: Term, texts: Sequence[str], floating: bool) -> str:
    """The largest or smallest operand, NaN where one is NaN; or the first between the others, which are bounds."""
    found = texts[0]
    if term.op == "Clip":
        bounds = iter(texts[1:])
        for at, sign in ((1, "<"), (2, ">")):
            if len(term.inputs) > at and term.inputs[at] is not None:
                bound = next(bounds)
                found = f"({found} {sign} {bound} ? {bound} : {found})"
        return found
    sign = "<" if term.op == "Max" else ">"
    for text in texts[1:]:
        nan = f" || {text} != {text}" if floating else ""
        found = f"({found} {sign} {text}{nan} ? {text} : {found})"
    return found


def is_elementwise(op: str) -> bool:
    """Whether an operator is one of these; Identity is another name of an array."""
    return op != "Identity" and elementwise(op) is not None
