"""The float64 truth of a model: its frozen graph in float64, run by TensorFlow on the CPU.

It shares the model's weights and equations with eager Keras, and no rounding: where Keras rounds to float32 or float16
after every operation, this rounds to float64. So the two differ by what rounding does to the model, and how far an
artifact may be from either can be told from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import rewriter_config_pb2

from rnnexport.errors import ConversionError, ForeignCode, reason
from rnnexport.source.narrow import GraphDef, narrow_left, obstacle
from rnnexport.source.trace import TracedModel
from rnnexport.source.widening import widened


@dataclass(frozen=True)
class NoOracle:
    """There is no float64 truth of a model.

    Attributes:
        reason: why, as part of a sentence: `operator ResizeBicubic works in float32 alone`.
    """

    reason: str


@dataclass(frozen=True, eq=False)
class Oracle:
    """A model in float64. Use it in a `with` block, or `close` it: it holds a copy of the weights.

    Attributes:
        name: of the source, for messages.
        inputs: the placeholder of each of the signature's `all_inputs`, by name.
        outputs: the tensor of each of its `all_outputs`, by name.
    """

    name: str
    inputs: Mapping[str, tf.Tensor]
    outputs: Mapping[str, tf.Tensor]
    _session: Any

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The truth for one feed.

        Args:
            feed: an array of each input and state by its name, in the dtype of the signature.

        Returns:
            The outputs and the states after the call by name. What is of a floating dtype in the signature is float64
            here (complex is complex128); the rest has the dtype of the signature.

        Raises:
            ConversionError: TensorFlow can't run the graph on this feed, such as a length that the model does not take.
        """
        placed = {
            tensor: np.asarray(feed[name]).astype(tensor.dtype.as_numpy_dtype, casting="same_kind")
            for name, tensor in self.inputs.items()
        }
        with ForeignCode(self._not_run):
            return dict(self._session.run(dict(self.outputs), placed))

    def close(self) -> None:
        """Give back the memory."""
        self._session.close()

    def __enter__(self) -> Oracle:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _not_run(self, error: BaseException) -> ConversionError:
        return ConversionError(
            f"the float64 run of {self.name} raises {reason(error)}",
            "a graph that runs in float64 as it does in float32",
            "check that the model runs at this length; --debug shows the traceback",
        )


class _UnbuiltError(Exception):
    """TensorFlow does not take the graph."""


def oracle(traced: TracedModel) -> Oracle | NoOracle:
    """The model in float64, or why there is none.

    Nothing in the graph that is run is narrower than float64: `narrow_left` has looked at every node and function.

    Args:
        traced: the model as `trace` gives it with `unroll=False`; any batch and length that it takes can be run.
    """
    function = traced.function
    outputs = {name: tensor.name for name, tensor in function.structured_outputs.items()}
    graph_def = _needed(function.graph.as_graph_def(), [*outputs.values(), *traced.input_tensors])
    if problem := obstacle(graph_def):
        return NoOracle(problem)
    wide = widened(graph_def)
    if problem := narrow_left(wide):
        return NoOracle(problem)
    try:
        with ForeignCode(lambda error: _UnbuiltError(reason(error))):
            return _opened(traced, wide, outputs)
    except _UnbuiltError as error:
        return NoOracle(f"TensorFlow does not take the graph in float64: {error}")


def _opened(traced: TracedModel, graph_def: GraphDef, outputs: Mapping[str, str]) -> Oracle | NoOracle:
    """A session of the graph on the CPU alone, which runs every node as it stands: no fusing, no rewriting."""
    graph = tf.Graph()
    with graph.as_default():
        tf.import_graph_def(graph_def, name="")
    # Again, of what was imported: TensorFlow has written out what the graph left open.
    if problem := narrow_left(graph.as_graph_def()):
        return NoOracle(problem)
    config = tf.compat.v1.ConfigProto(device_count={"GPU": 0})
    config.graph_options.rewrite_options.CopyFrom(rewriter_config_pb2.RewriterConfig(disable_meta_optimizer=True))
    inputs = [spec.name for spec in traced.signature.all_inputs]
    return Oracle(
        traced.name,
        dict(zip(inputs, map(graph.get_tensor_by_name, traced.input_tensors), strict=True)),
        {name: graph.get_tensor_by_name(tensor) for name, tensor in outputs.items()},
        tf.compat.v1.Session(graph=graph, config=config),
    )


def _needed(graph_def: GraphDef, tensors: list[str]) -> GraphDef:
    """What the tensors depend on: a branch that nothing reads needs no float64 form."""
    nodes = {node.name: node for node in graph_def.node}
    functions = {function.signature.name: function for function in graph_def.library.function}
    read = _closure({_node_of(tensor) for tensor in tensors}, lambda name: map(_node_of, nodes[name].input))
    kept = [node for node in graph_def.node if node.name in read]
    called = _closure(_called(kept, functions), lambda name: _called(functions[name].node_def, functions))
    needed = type(graph_def)(versions=graph_def.versions, node=kept)
    needed.library.function.extend(functions[name] for name in sorted(called))
    return needed


def _closure(start: set[str], following: Callable[[str], Iterable[str]]) -> set[str]:
    """`start`, and all that is reached from it."""
    reached: set[str] = set()
    todo = set(start)
    while todo:
        reached |= todo
        todo = {after for name in todo for after in following(name)} - reached
    return reached


def _node_of(tensor: str) -> str:
    """Of `node`, `node:1` or `^node`."""
    return tensor.removeprefix("^").partition(":")[0]


def _called(nodes: Any, functions: Mapping[str, Any]) -> set[str]:
    """The functions that nodes call, by their operator or by an attribute."""
    attributes = [value for node in nodes for value in node.attr.values()]
    named = [func.name for value in attributes for func in (value.func, *value.list.func)]
    return {name for name in [*(node.op for node in nodes), *named] if name in functions}
