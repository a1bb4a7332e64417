"""Attributes of nodes of a graph with other types in them: what a copy of the graph in other floats is made of."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from rnnexport.compat.tensorflow import attr_value_pb2
from rnnexport.source.float64_safety import REFERENCES, AttrValue

Types = Mapping[int, int]  # the number of a type by that of the type that it takes the place of
Names = Mapping[str, str]  # of functions, the same
_SAME: Names = MappingProxyType({})


def retyped(value: AttrValue, types: Types, names: Names = _SAME) -> AttrValue:
    """A copy of an attribute with other types, other tensors of these, and other names of functions."""
    made = attr_value_pb2.AttrValue()
    made.CopyFrom(value)
    kind = value.WhichOneof("value")
    if kind == "type":
        made.type = other_type(value.type, types)
    elif kind == "tensor":
        made.tensor.CopyFrom(_tensor(value.tensor, types))
    elif kind == "func":
        _retype_call(made.func, types, names)
    elif kind == "list":
        made.list.type[:] = [other_type(number, types) for number in value.list.type]
        for tensor in made.list.tensor:
            tensor.CopyFrom(_tensor(tensor, types))
        for called in made.list.func:
            _retype_call(called, types, names)
    return made


def retype_arguments(signature: Any, types: Types) -> None:
    """Give what goes into and comes out of a function other types, in place."""
    for arg in (*signature.input_arg, *signature.output_arg):
        arg.type = other_type(arg.type, types)
        arg.ClearField("experimental_full_type")
        arg.ClearField("handle_data")


def other_type(number: int, types: Types) -> int:
    """The type that takes the place of one, or of what refers to one."""
    reference = number - number % REFERENCES
    return types.get(number - reference, number - reference) + reference


def _retype_call(called: Any, types: Types, names: Names) -> None:
    called.name = names.get(called.name, called.name)
    for key in list(called.attr):
        called.attr[key].CopyFrom(retyped(called.attr[key], types, names))


def _tensor(tensor: Any, types: Types) -> Any:
    if tensor.dtype not in types:
        return tensor
    dtype = tf.as_dtype(types[tensor.dtype]).as_numpy_dtype
    return tf.make_tensor_proto(tf.make_ndarray(tensor).astype(dtype))
