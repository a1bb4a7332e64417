"""Normalizations as NumPy."""

from __future__ import annotations

from collections.abc import Mapping

from rnnexport.emit.numpy.expression import Expression, UnwrittenError, Use
from rnnexport.emit.numpy.rules.attributes import helper, number
from rnnexport.emit.numpy.rules.common import Rule, axis_at


def _batch(use: Use) -> Expression:
    if use.attributes.get("training_mode", 0):
        raise UnwrittenError("in training")
    return helper("batch_normalize", use, number(use, "epsilon", 1e-5).text, inputs=range(5))


def _instance(use: Use) -> Expression:
    return helper("instance_normalize", use, number(use, "epsilon", 1e-5).text, inputs=range(3))


def _layer(use: Use) -> Expression:
    if len(use.results) > 1:
        raise UnwrittenError("with its statistics")
    axis = axis_at(int(use.attributes.get("axis", -1)), use.operand(0).rank)
    epsilon = number(use, "epsilon", 1e-5).text
    settings = [*([] if axis == "-1" else [f"axis={axis}"]), f"epsilon={epsilon}"]
    return helper("layer_normalize", use, *settings, inputs=range(3))


def _local_response(use: Use) -> Expression:
    settings = [number(use, name, default).text for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))]
    return helper("local_response_normalize", use, str(use.attributes["size"]), *settings)


def _length(use: Use) -> Expression:
    axis, p = axis_at(int(use.attributes.get("axis", -1)), use.operand(0).rank), use.attributes.get("p", 2)
    return helper("to_unit_length", use, *([] if axis == "-1" else [f"axis={axis}"]), *([] if p == 2 else [f"p={p}"]))


RULES: Mapping[str, Rule] = {
    "BatchNormalization": _batch,
    "InstanceNormalization": _instance,
    "LRN": _local_response,
    "LayerNormalization": _layer,
    "LpNormalization": _length,
}
