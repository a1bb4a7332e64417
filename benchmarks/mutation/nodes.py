"""Nodes of an ONNX graph: their attributes, their names in words, what they compute."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator


def evaluated(node: onnx.NodeProto, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What the node makes of these inputs."""
    feed = dict(zip(node.input, inputs, strict=True))
    return [np.asarray(array) for array in ReferenceEvaluator(node).run(None, feed)]


def attribute(node: onnx.NodeProto, name: str) -> onnx.AttributeProto | None:
    """The attribute of that name."""
    return next((a for a in node.attribute if a.name == name), None)


def value_of(node: onnx.NodeProto, name: str, default: object = None) -> object:
    """The value of the attribute of that name."""
    found = attribute(node, name)
    return default if found is None else onnx.helper.get_attribute_value(found)


def set_attribute(node: onnx.NodeProto, name: str, value: object) -> None:
    """Give the attribute that value."""
    made, found = onnx.helper.make_attribute(name, value), attribute(node, name)
    if found is None:
        node.attribute.append(made)
    else:
        found.CopyFrom(made)


def drop_attribute(node: onnx.NodeProto, name: str) -> None:
    """Take the attribute away, so that its default holds."""
    for at, found in enumerate(node.attribute):
        if found.name == name:
            del node.attribute[at]
            return


def told(node: onnx.NodeProto, what: str = "") -> str:
    """A node in words."""
    name = node.name or next(iter(node.output), "")
    return f"{node.op_type} {name}{' ' if what else ''}{what}"
