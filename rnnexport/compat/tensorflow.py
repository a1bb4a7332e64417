"""What this package uses of TensorFlow that has no public name, all of it: seen with 2.21.

`tests/compat/test_tensorflow.py` uses each part. Messages (`..._pb2`) are how graphs and options are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# The operator that writes a part of a tensor, which TFLite has and no public function gives.
from tensorflow.compiler.tf2xla.ops.gen_xla_ops import xla_dynamic_update_slice as dynamic_update_slice

# The message of a node's attribute and the numbers of dtypes; options of Grappler, and what it is given.
from tensorflow.core.framework import attr_value_pb2, types_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2, rewriter_config_pb2

# Operators by name with their inputs and the tape, as the functions of `tf.raw_ops` run them; functions that are known.
# `prune`, which `freezing` and `live` cut functions with, is a method of what is wrapped alone.
from tensorflow.python.eager import context, execute, wrap_function

# Freezing a function without holding each variable twice, which `convert_variables_to_constants_v2` does.
# Which dtypes an operator has kernels for, and what its inputs, outputs and attributes are.
from tensorflow.python.framework import convert_to_constants, kernels, op_def_registry

# The body of a loop or a branch as a graph.
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph, function_def_to_graph_def

# The value of a tensor that is known while a graph is made.
from tensorflow.python.framework.smart_cond import smart_constant_value

# Calls of functions written out, and nothing else: Grappler as tf2onnx calls it.
from tensorflow.python.grappler import tf_optimizer

# What Keras' lookup layers keep are instances of classes in it.
from tensorflow.python.ops import lookup_ops

__all__ = [
    "attr_value_pb2",
    "config_pb2",
    "context",
    "convert_to_constants",
    "dynamic_update_slice",
    "execute",
    "function_def_to_graph",
    "function_def_to_graph_def",
    "function_of",
    "kernels",
    "lookup_ops",
    "meta_graph_pb2",
    "op_def_registry",
    "order_behind",
    "rewriter_config_pb2",
    "set_flag",
    "set_words",
    "smart_constant_value",
    "tf_optimizer",
    "types_pb2",
    "wrap_function",
]


def set_flag(operation: Any, name: str, *, value: bool) -> None:
    """Set an attribute of an operation that is in a graph already."""
    operation._set_attr(name, attr_value_pb2.AttrValue(b=value))


def set_words(operation: Any, name: str, words: Sequence[bytes]) -> None:
    """Set an attribute of an operation to a list of words."""
    listed = attr_value_pb2.AttrValue.ListValue(s=words)
    operation._set_attr(name, attr_value_pb2.AttrValue(list=listed))


def order_behind(operation: Any, others: list[Any], *, only: bool = False) -> None:
    """Let an operation run behind others; with `only`, behind no others than these."""
    if only:
        operation._remove_all_control_inputs()
    operation._add_control_inputs(others)


def function_of(graph: Any, name: str) -> Any:
    """The function of that name in a graph's library."""
    return graph._get_function(name)
