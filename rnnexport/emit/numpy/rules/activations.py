"""Activation functions as NumPy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from rnnexport.emit.numpy.expression import Expression, Use, call
from rnnexport.emit.numpy.rules.attributes import helper, number, scaled, shifted
from rnnexport.emit.numpy.rules.common import Rule, as_array, axis_at, literal

# What a float of ONNX can't hold: the constants of Selu, of which its attributes are the rounded ones.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _helped(function: str) -> Rule:
    """`function(x)`, without settings."""

    def rule(use: Use) -> Expression:
        return helper(function, use)

    return rule


def _with(function: str, attribute: str, default: float) -> Rule:
    """`function(x, attribute)`."""

    def rule(use: Use) -> Expression:
        return helper(function, use, number(use, attribute, default).text)

    return rule


def _along(function: str) -> Rule:
    """`function(x)` along the last axis, or `function(x, axis=1)`."""

    def rule(use: Use) -> Expression:
        rank = use.operand(0).rank
        axis = int(use.attributes.get("axis", -1))
        last = axis == -1 or (rank is not None and axis == rank - 1)
        return helper(function, use, *([] if last else [f"axis={axis_at(axis, rank)}"]))

    return rule


def _tanh(use: Use) -> Expression:
    x = as_array(use.operand(0))
    return call("np.tanh", x.text, uses=[x])


def _relu(use: Use) -> Expression:
    x = as_array(use.operand(0))
    return call("np.maximum", x.text, "0", uses=[x])


def _softplus(use: Use) -> Expression:
    x = as_array(use.operand(0))
    return call("np.logaddexp", x.text, "0", uses=[x])


def _p_relu(use: Use) -> Expression:
    return helper("leaky_relu", use, inputs=(0, 1))


def _selu(use: Use) -> Expression:
    alpha = _unrounded(use, "alpha", _SELU_ALPHA)
    return scaled(_unrounded(use, "gamma", _SELU_SCALE), helper("elu", use, alpha.text))


def _unrounded(use: Use, name: str, constant: float) -> Expression:
    """The constant where the attribute is it as far as ONNX can tell."""
    given = np.float32(use.attributes.get(name, constant))
    return literal(constant if given == np.float32(constant) else given)


def _hard_sigmoid(use: Use) -> Expression:
    line = shifted(scaled(number(use, "alpha", 0.2), as_array(use.operand(0))), number(use, "beta", 0.5))
    return call("np.clip", line.text, "0", "1", uses=[line])


def _gelu(use: Use) -> Expression:
    return helper("gelu_tanh" if use.attributes.get("approximate") in ("tanh", b"tanh") else "gelu", use)


RULES: Mapping[str, Rule] = {
    "Celu": _with("celu", "alpha", 1.0),
    "Elu": _with("elu", "alpha", 1.0),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _helped("hard_swish"),
    "Hardmax": _along("hardmax"),
    "LeakyRelu": _with("leaky_relu", "alpha", 0.01),
    "LogSoftmax": _along("log_softmax"),
    "Mish": _helped("mish"),
    "PRelu": _p_relu,
    "Relu": _relu,
    "Selu": _selu,
    "Sigmoid": _helped("sigmoid"),
    "Softmax": _along("softmax"),
    "Softplus": _softplus,
    "Softsign": _helped("softsign"),
    "Tanh": _tanh,
    "ThresholdedRelu": _with("thresholded_relu", "alpha", 1.0),
}
