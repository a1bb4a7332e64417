"""Operators that compute each number from the numbers at its place: how C writes them, a row each.

A row has the text for vectors of float32, and that for one number. In the first, operands are vectors (`vec`) or truth
values of lanes (`mask`); in the second, `{f}` is the suffix of the functions of <math.h>, `f` for float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnexport.emit.c.arrays import C_TYPES
from rnnexport.ir.terms import Term


@dataclass(frozen=True)
class Written:
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


# Texts with operators keep scalars as they are; in those with functions, operands are vectors.
_INFIX = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/"}
_COMPARED = {"Less": "<", "Greater": ">", "LessOrEqual": "<=", "GreaterOrEqual": ">=", "Equal": "=="}
_LOGICAL = {"And": "&", "Or": "|", "Xor": "^"}
_VECTORS = {
    "Abs": "vabs({0})",
    "Sqrt": "vsqrt({0})",
    "Exp": "vexp({0})",
    "Tanh": "vtanh({0})",
    "Sigmoid": "vsigmoid({0})",
    "Relu": "vrelu({0})",
    "Softsign": "vsoftsign({0})",
    "Reciprocal": "(1.0f / {0})",
    "Sign": "vsign({0})",
    "Floor": "vfloor({0})",
    "Ceil": "(-vfloor(-{0}))",
}
# By functions of <math.h>, a lane after the other.
_LIBRARY = {
    "Log": "log",
    "Sin": "sin",
    "Cos": "cos",
    "Tan": "tan",
    "Sinh": "sinh",
    "Cosh": "cosh",
    "Asin": "asin",
    "Acos": "acos",
    "Atan": "atan",
    "Asinh": "asinh",
    "Acosh": "acosh",
    "Atanh": "atanh",
    "Erf": "erf",
    "Round": "rint",
    "Log1p": "log1p",
    "Expm1": "expm1",
}
_SCALARS = {
    "Abs": "({0} < 0 ? -{0} : {0})",
    "Relu": "({0} < 0 ? 0 : {0})",
    "Sign": "(({0} > 0) - ({0} < 0))",
    "Sqrt": "sqrt{f}({0})",
    "Exp": "exp{f}({0})",
    "Tanh": "tanh{f}({0})",
    "Sigmoid": "(1 / (1 + exp{f}(-{0})))",
    "Softsign": "({0} / (1 + fabs{f}({0})))",
    "Reciprocal": "(1 / {0})",
    "Floor": "floor{f}({0})",
    "Ceil": "ceil{f}({0})",
    "Not": "(!{0})",
    "IsNaN": "({0} != {0})",
    "BitwiseAnd": "({0} & {1})",
    "BitwiseOr": "({0} | {1})",
    "BitwiseXor": "({0} ^ {1})",
    "BitwiseNot": "(~{0})",
}


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


def vector(term: Term, parts: Sequence[Written]) -> Written:
    """An operator on float32 and truth values, in lanes.

    Raises:
        NoFormError: there is none.
    """
    op, texts = term.op, [part.text for part in parts]
    if op in _INFIX or op == "Neg":
        kind = "scalar" if all(part.kind == "scalar" for part in parts) else "vec"
        texts = [part.vec if part.kind == "mask" else part.text for part in parts]
        return Written(f"(-{texts[0]})" if op == "Neg" else f"({f' {_INFIX[op]} '.join(texts)})", kind)
    if op in _LOGICAL or op == "Not":
        return Written(f"({texts[0]} == 0)" if op == "Not" else f"({f' {_LOGICAL[op]} '.join(texts)})", "mask")
    if op in _COMPARED:
        return _compared(op, parts)
    if op in _SPECIAL:
        return _SPECIAL[op](term, parts)
    if op == "IsNaN":
        return Written(f"visnan({bare(parts[0].vec)})", "mask")
    if op == "IsInf":
        return Written(_infinite(term, parts[0].vec, "vabs", "splat(INFINITY)"), "mask")
    if op in _VECTORS:
        text = parts[0].vec
        return Written(_VECTORS[op].format(bare(text) if "({0})" in _VECTORS[op] else text), "vec")
    if op in _LIBRARY:
        return Written(f"vmap({_LIBRARY[op]}f, {bare(parts[0].vec)})", "vec")
    raise NoFormError("no row of C writes it")


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


def _compared(op: str, parts: Sequence[Written]) -> Written:
    if all(part.kind == "mask" for part in parts):
        if op != "Equal":
            raise NoFormError("truth values are compared by size")
        return Written(f"(({parts[0].text} ^ {parts[1].text}) == 0)", "mask")
    return Written(f"({parts[0].vec} {_COMPARED[op]} {parts[1].vec})", "mask")


def _where(term: Term, parts: Sequence[Written]) -> Written:
    condition, one, other = (part.text for part in parts)
    if parts[1].kind == "mask" or parts[2].kind == "mask":
        return Written(f"(({condition} & {one}) | (({condition} == 0) & {other}))", "mask")
    return Written(f"choose({bare(condition)}, {bare(parts[1].vec)}, {bare(parts[2].vec)})", "vec")


def _cast(term: Term, parts: Sequence[Written]) -> Written:
    to_mask = term.dtype is not None and term.dtype.numpy() == np.bool_
    if to_mask and parts[0].kind != "mask":
        return Written(f"({parts[0].vec} != splat(0.0f))", "mask")
    return parts[0] if to_mask else Written(parts[0].vec, "vec")


def _of_text(write: Callable[[Term, Sequence[Written]], str]) -> Callable[[Term, Sequence[Written]], Written]:
    def written(term: Term, parts: Sequence[Written]) -> Written:
        return Written(write(term, parts), "vec")

    return written


def _attribute(term: Term, name: str, default: float) -> str:
    return number(np.float32(term.attribute(name, default)))


def _leaky(term: Term, parts: Sequence[Written]) -> str:
    return f"vleaky({parts[0].vec}, {_attribute(term, 'alpha', 0.01)})"


def _elu(term: Term, parts: Sequence[Written]) -> str:
    return f"velu({parts[0].vec}, {_attribute(term, 'alpha', 1.0)})"


def _selu(term: Term, parts: Sequence[Written]) -> str:
    alpha, gamma = _attribute(term, "alpha", 1.6732632423543772), _attribute(term, "gamma", 1.0507009873554805)
    return f"({gamma} * velu({parts[0].vec}, {alpha}))"


def _hard_sigmoid(term: Term, parts: Sequence[Written]) -> str:
    line = f"{_attribute(term, 'alpha', 0.2)} * {parts[0].vec} + {_attribute(term, 'beta', 0.5)}"
    return f"vmin(vmax({line}, splat(0.0f)), splat(1.0f))"


def _clip(term: Term, parts: Sequence[Written]) -> str:
    text, bounds = parts[0].vec, iter(parts[1:])
    if term.inputs[1] is not None:
        text = f"vmax({bare(text)}, {bare(next(bounds).vec)})"
    if len(term.inputs) > 2 and term.inputs[2] is not None:
        text = f"vmin({bare(text)}, {bare(next(bounds).vec)})"
    return text


def _folded(function: str) -> Callable[[Term, Sequence[Written]], str]:
    def written(term: Term, parts: Sequence[Written]) -> str:
        text = parts[0].vec
        for part in parts[1:]:
            text = f"{function}({text}, {part.vec})"
        return text

    return written


def _pow(term: Term, parts: Sequence[Written]) -> str:
    base, exponent = parts[0].vec, parts[1].value
    if exponent is not None and exponent.size == 1:
        found = {2.0: f"vsquare({base})", 0.5: f"vsqrt({base})", 1.0: base}.get(float(exponent.ravel()[0]))
        if found is not None:
            return found
    return f"vmap2(powf, {base}, {parts[1].vec})"


def _mod(term: Term, parts: Sequence[Written]) -> str:
    return f"vmap2({'fmodf' if term.attribute('fmod', 0) else 'float_rest'}, {parts[0].vec}, {parts[1].vec})"


def _softplus(term: Term, parts: Sequence[Written]) -> str:
    return f"vsoftplus({parts[0].vec})"


def _gelu(term: Term, parts: Sequence[Written]) -> str:
    name = "vgelu_by_tanh" if term.attribute("approximate", "none") in ("tanh", b"tanh") else "vgelu"
    return f"{name}({parts[0].vec})"


def _celu(term: Term, parts: Sequence[Written]) -> str:
    alpha = _attribute(term, "alpha", 1.0)
    return f"({alpha} * vmap(expm1f, vmin({parts[0].vec}, splat(0.0f)) / {alpha}) + vrelu({parts[0].vec}))"


def _mean(term: Term, parts: Sequence[Written]) -> str:
    return f"(({' + '.join(part.vec for part in parts)}) / {float(len(parts))}f)"


_TEXTS: dict[str, Callable[[Term, Sequence[Written]], str]] = {
    "LeakyRelu": _leaky,
    "Elu": _elu,
    "Selu": _selu,
    "Celu": _celu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda term, parts: f"vhardswish({parts[0].vec})",
    "Clip": _clip,
    "Max": _folded("vmaximum"),
    "Min": _folded("vminimum"),
    "Sum": lambda term, parts: f"({' + '.join(part.vec for part in parts)})",
    "Mean": _mean,
    "Pow": _pow,
    "Softplus": _softplus,
    "Gelu": _gelu,
    "PRelu": lambda term, parts: f"vprelu({parts[0].vec}, {parts[1].vec})",
    "Mod": _mod,
}

_SPECIAL: dict[str, Callable[[Term, Sequence[Written]], Written]] = {
    **{op: _of_text(write) for op, write in _TEXTS.items()},
    "Where": _where,
    "Cast": _cast,
}


def scalar(term: Term, parts: Sequence[Written], dtype: str, source: str) -> Written:
    """An operator on one number of any dtype.

    Args:
        term: the use.
        parts: its operands.
        dtype: of the result.
        source: of the first operand.

    Raises:
        NoFormError: there is none.
    """
    op, texts = term.op, [part.text for part in parts]
    suffix = "" if source == "float64" else "f"
    floating = source.startswith("float")
    if op in _COMPARED:
        return Written(f"({texts[0]} {_COMPARED[op]} {texts[1]})", "scalar")
    if op in _LOGICAL:
        return Written(f"({texts[0]} {_LOGICAL[op]} {texts[1]})", "scalar")
    if op == "Cast":
        return Written(_cast_scalar(texts[0], dtype, source), "scalar")
    if op == "Div" and not floating:
        return Written(f"whole_quotient({texts[0]}, {texts[1]})", "scalar")
    if op in _INFIX:
        return Written(f"({f' {_INFIX[op]} '.join(texts)})", "scalar")
    if op == "Where":
        return Written(f"({texts[0]} ? {texts[1]} : {texts[2]})", "scalar")
    if op == "Neg":
        return Written(f"(-{texts[0]})", "scalar")
    if op in _SCALARS:
        return Written(_SCALARS[op].format(*texts, f=suffix), "scalar")
    if op in _LIBRARY and floating:
        return Written(f"{_LIBRARY[op]}{suffix}({texts[0]})", "scalar")
    return Written(_several(term, texts, suffix, floating), "scalar")


def _cast_scalar(text: str, dtype: str, source: str) -> str:
    if dtype == "bool":
        return f"({text} != 0)"
    return text if dtype == source else f"({C_TYPES[dtype]})({text})"


def _several(term: Term, texts: Sequence[str], suffix: str, floating: bool) -> str:
    """Operators with several operands of one kind, or with attributes."""
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
    if term.op == "Sum":
        return f"({' + '.join(texts)})"
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


_ALONE = ("Neg", "IsInf", "FloorDiv")
OPERATORS = frozenset((*_INFIX, *_COMPARED, *_LOGICAL, *_VECTORS, *_LIBRARY, *_SCALARS, *_SPECIAL, *_ALONE))
