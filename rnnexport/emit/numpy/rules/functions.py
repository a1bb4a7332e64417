"""Functions of one number, element by element."""

from __future__ import annotations

from collections.abc import Mapping

from rnnexport.emit.numpy.expression import Expression, Use, call
from rnnexport.emit.numpy.rules.common import Rule, as_array


def _function(name: str) -> Rule:
    def rule(use: Use) -> Expression:
        x = as_array(use.operand(0))
        return call(name, x.text, uses=[x])

    return rule


def _erf(use: Use) -> Expression:
    x = as_array(use.operand(0))
    return call("erf", x.text, uses=[x], helper=True)


# Expm1 and Log1p are no operators of ONNX: see `rnnexport.ir.restoring`.
RULES: Mapping[str, Rule] = {
    "Abs": _function("np.abs"),
    "Acos": _function("np.arccos"),
    "Acosh": _function("np.arccosh"),
    "Asin": _function("np.arcsin"),
    "Asinh": _function("np.arcsinh"),
    "Atan": _function("np.arctan"),
    "Atanh": _function("np.arctanh"),
    "Ceil": _function("np.ceil"),
    "Cos": _function("np.cos"),
    "Cosh": _function("np.cosh"),
    "Det": _function("np.linalg.det"),
    "Erf": _erf,
    "Exp": _function("np.exp"),
    "Expm1": _function("np.expm1"),
    "Floor": _function("np.floor"),
    "Log": _function("np.log"),
    "Log1p": _function("np.log1p"),
    # Halves to the even number, as ONNX has it.
    "Round": _function("np.rint"),
    "Sign": _function("np.sign"),
    "Sin": _function("np.sin"),
    "Sinh": _function("np.sinh"),
    "Sqrt": _function("np.sqrt"),
    "Tan": _function("np.tan"),
}
