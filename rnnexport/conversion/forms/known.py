"""Integers and truth values that a graph computes of constants alone: sizes, axes, and conditions of branches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.conversion.forms.values import Pair, Value, copied
from rnnexport.source.double import plain_session
from rnnexport.source.graphs import CHOICES

GraphDef = Any

# So many numbers are computed, no more.
_FEW = 64
# What takes elements out of a shape, of which some are not known: there is no such number among indices and sizes.
_PICKS, _OPEN = frozenset({"GatherV2", "Slice", "StridedSlice"}), -(2**31) + 1


def has_known_branch(graph_def: GraphDef) -> bool:
    """Whether the graph has a choice of functions by a condition that depends on constants alone."""
    known: set[str] = set()
    for node in graph_def.node:
        read = [name.removeprefix("^").partition(":")[0] for name in node.input]
        if node.op in CHOICES and read[0] in known:
            return True
        if node.op == "Const" or (read and set(read) <= known):
            known.add(node.name)
    return False


def known_integers(operation: tf.Operation, inputs: Sequence[Value]) -> np.ndarray | None:
    """What an operation on known numbers gives, a few integers or truth values; None for any other.

    Args:
        operation: of another graph.
        inputs: what it reads in the default graph.
    """
    if not inputs or len(operation.outputs) != 1 or operation.op_def.is_stateful:
        return None
    dtype = operation.outputs[0].dtype
    if not (dtype.is_integer or dtype.is_bool) or any(isinstance(value, Pair) for value in inputs):
        return None
    known = _sizes if operation.type in _PICKS else tf.get_static_value
    values = [value for value in map(known, inputs) if value is not None]
    if len(values) < len(inputs) or any(np.size(value) > _FEW for value in values):
        return None
    with tf.Graph().as_default() as graph:
        (output,) = copied(operation, list(map(tf.constant, values)), "known")
        found: np.ndarray = np.asarray(plain_session(graph).run(output))
    is_open = operation.type in _PICKS and (found == _OPEN).any()
    return found if found.size <= _FEW and not is_open else None


def computed(operation: tf.Operation) -> list[Value] | None:
    """What TensorFlow's kernel gives, as constants of the default graph; None where it depends on more than constants.

    Args:
        operation: of another graph.
    """
    seen, todo = {operation}, [operation]
    while todo:
        one = todo.pop()
        if one.type != "Const" and (not one.inputs or one.op_def.is_stateful):
            return None
        new = {tensor.op for tensor in one.inputs} - seen
        seen |= new
        todo += new
    return [_constant(array) for array in plain_session(operation.graph).run(list(operation.outputs))]


def _constant(array: np.ndarray) -> Value:
    if np.iscomplexobj(array):
        return Pair(tf.constant(array.real, name="real"), tf.constant(array.imag, name="imag"))
    return tf.constant(array)


def _sizes(value: Any) -> np.ndarray | None:
    """A known array; of a shape with open sizes the others."""
    if value.op.type == "Shape" and value.op.inputs[0].shape.rank is not None:
        sizes = [_OPEN if size is None else size for size in value.op.inputs[0].shape]
        return np.array(sizes, value.dtype.as_numpy_dtype)
    known: np.ndarray | None = tf.get_static_value(value)
    return known
