"""What stands for a tensor while a graph is written anew: a tensor, or both parts of a complex one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

Tensor = Any


@dataclass(frozen=True, eq=False)
class ComplexPair:
    """A complex tensor, or a list of complex tensors that a loop fills: two of one shape and dtype."""

    real: Tensor
    imag: Tensor


# A Tensor or a ComplexPair.
Value = Any
# Gives the outputs of an operator; None to leave the operator as it is.
Form = Callable[[tf.Operation, Sequence[Value]], list[Value] | None]


class FormError(Exception):
    """An operator can't be written so; the message says why, in a few words behind its name."""


def copied(operation: tf.Operation, inputs: Sequence[Tensor], name: str, part: bool = False) -> Sequence[Tensor]:
    """An operation again, in the default graph, on other inputs.

    Args:
        operation: of another graph.
        inputs: what it reads now.
        name: of the copy; with `part` one like it, where it is taken.
        part: whether the inputs are one part of complex tensors: types are those of real ones.
    """
    attributes = {}
    for key, value in operation.node_def.attr.items():
        if not key.startswith("_"):
            attributes[key] = _of_a_part(value) if part else value
    dtypes = [tensor.dtype.real_dtype if part else tensor.dtype for tensor in operation.outputs]
    graph = tf.compat.v1.get_default_graph()
    made = graph.create_op(
        operation.type,
        list(inputs),
        dtypes,
        name=name if part else f"{name}/",
        attrs=attributes,
        op_def=operation.op_def,
    )
    for tensor, known in zip(made.outputs, operation.outputs, strict=True):
        tensor.set_shape(known.shape)
    found: Sequence[Tensor] = made.outputs
    return found


def _of_a_part(value: Any) -> Any:
    """An attribute with real types in the place of complex ones."""
    real = type(value)()
    real.CopyFrom(value)
    if value.HasField("type"):
        real.type = tf.as_dtype(value.type).real_dtype.as_datatype_enum
    elif value.HasField("list"):
        real.list.type[:] = [tf.as_dtype(kind).real_dtype.as_datatype_enum for kind in value.list.type]
    return real
