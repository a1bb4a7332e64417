"""The traced graph of a model in float64, run by TensorFlow on the CPU.

It has the model's weights and equations as TensorFlow has them, before any converter has read them. Where Keras rounds
to float32 or float16 after every operator, this rounds to float64, and a short constant such as 0.2 is what the source
says, not what float32 holds of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import rewriter_config_pb2
from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.emit.numpy.expression import meant
from rnnexport.source.float64_safety import GraphDef, Meaning, obstacle, remaining_narrow_type
from rnnexport.source.floats import widened
from rnnexport.source.freezing import array_of, needed
from rnnexport.source.trace import TracedModel

# Bytes of large weights in float64 that a session may hold. Of more each run casts all anew.
_HELD = 1 << 30


@dataclass(frozen=True)
class NoDouble:
    """A model has no float64 run.

    Attributes:
        reason: why, as part of a sentence: `operator ResizeBicubic works in float32 alone`.
    """

    reason: str


@dataclass(frozen=True, eq=False)
class Double:
    """A model in float64. It holds a copy of its weights; of more than 1 GiB a run makes one of each, and drops it.

    Attributes:
        name: of the source, for messages.
        graph: in wide types. Its tensors have the names that they have in the traced graph.
        inputs: the placeholder of each of the signature's `all_inputs`, by name.
        outputs: the tensor of each of its `all_outputs`, by name.
        weights: the value of each weight, by its tensor; of the large ones in the dtype of the source.
        held: the large ones by the placeholder that each is cast from in every run.
    """

    name: str
    graph: tf.Graph
    inputs: Mapping[str, tf.Tensor]
    outputs: Mapping[str, tf.Tensor]
    weights: Mapping[tf.Tensor, np.ndarray]
    held: Mapping[tf.Tensor, np.ndarray]
    _session: Any

    def run(
        self, feed: Mapping[str, np.ndarray], weights: Mapping[tf.Tensor, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """What the graph gives for one feed.

        Args:
            feed: an array of each input and state by its name, in the dtype of the signature or a wider one.
            weights: other values for weights.

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
            return dict(self._session.run(dict(self.outputs), placed | dict(self.held) | dict(weights or {})))

    def _not_run(self, error: BaseException) -> ConversionError:
        return ConversionError(
            f"the float64 run of {self.name} raises {reason(error)}",
            "a graph that runs in float64 as it does in float32",
            "check that the model runs at this length; --debug shows the traceback",
        )


class _UnbuiltError(Exception):
    """TensorFlow does not take the graph."""


def double(traced: TracedModel, meaning: Meaning = meant) -> Double | NoDouble:
    """The model in float64, or why there is none.

    Nothing in the graph that is run is narrower than float64: `remaining_narrow_type` looked at every node.

    Args:
        traced: the model as `trace` gives it with `unroll=False`; any batch and length that it takes can be run.
        meaning: of the short constants, 0.2 for the float32 next to it; the graph computes with what it gives.
    """
    outputs = dict(zip([spec.name for spec in traced.signature.all_outputs], traced.output_tensors, strict=True))
    graph_def = needed(traced.graph_def(), [*traced.output_tensors, *traced.input_tensors])
    if problem := obstacle(graph_def):
        return NoDouble(problem)
    wide = widened(graph_def, traced.names.weights, meaning)
    if problem := remaining_narrow_type(wide):
        return NoDouble(problem)
    try:
        with ForeignCode(lambda error: _UnbuiltError(reason(error))):
            return _opened(traced, wide, outputs)
    except _UnbuiltError as error:
        return NoDouble(f"TensorFlow does not take the graph in float64: {error}")


def _opened(traced: TracedModel, graph_def: GraphDef, outputs: Mapping[str, str]) -> Double | NoDouble:
    names = {node.name for node in graph_def.node}
    arrays = {name: array_of(tensor) for name, tensor in traced.open_weights.items() if name in names}
    graph = tf.Graph()
    with graph.as_default():
        held = {name: tf.compat.v1.placeholder(one.dtype, one.shape, f"{name}/held") for name, one in arrays.items()}
        keeps = sum(8 * array.size for array in arrays.values()) <= _HELD
        weights = {name: (_kept if keeps else _cast)(name, one) for name, one in held.items()}
        given = {f"{name}:0": weight.wide for name, weight in weights.items()}
        tf.import_graph_def(_without(graph_def, arrays), input_map=given, name="")
    # Again, of what was imported: TensorFlow has written out what the graph left open.
    ours = {op.name for op in graph.get_operations() if op.name.partition("/held")[0] in arrays}
    if problem := remaining_narrow_type(_without(graph.as_graph_def(), ours)):
        return NoDouble(problem)
    session = plain_session(graph)
    for name, weight in weights.items():
        if weight.store is not None:
            session.run(weight.store, {held[name]: arrays[name]})
    inputs = [spec.name for spec in traced.signature.all_inputs]
    return Double(
        traced.name,
        graph,
        dict(zip(inputs, map(graph.get_tensor_by_name, traced.input_tensors), strict=True)),
        {name: graph.get_tensor_by_name(tensor) for name, tensor in outputs.items()},
        dict(_weights(graph)) | {weights[name].wide: array for name, array in arrays.items()},
        {} if keeps else {held[name]: array for name, array in arrays.items()},
        session,
    )


@dataclass(frozen=True, eq=False)
class _Weight:
    """A large weight in the graph.

    Attributes:
        wide: it in float64.
        store: puts it into the session; None where it is cast in every run.
    """

    wide: tf.Tensor
    store: tf.Operation | None


def _cast(name: str, held: tf.Tensor) -> _Weight:
    return _Weight(tf.raw_ops.Cast(x=held, DstT=tf.float64, name=name), None)


def _kept(name: str, held: tf.Tensor) -> _Weight:
    place = tf.raw_ops.VarHandleOp(dtype=tf.float64, shape=held.shape, shared_name=name, name=f"{name}/held/place")
    wide = tf.raw_ops.Cast(x=held, DstT=tf.float64, name=f"{name}/held/wide")
    store = tf.raw_ops.AssignVariableOp(resource=place, value=wide, name=f"{name}/held/store")
    return _Weight(tf.raw_ops.ReadVariableOp(resource=place, dtype=tf.float64, name=name), store)


def _without(graph_def: GraphDef, names: Collection[str]) -> GraphDef:
    """The graph without these nodes."""
    kept = [node for node in graph_def.node if node.name not in names]
    return type(graph_def)(versions=graph_def.versions, node=kept, library=graph_def.library)


def plain_session(graph: tf.Graph) -> Any:
    """A session on the CPU alone, which runs every node as it stands: no fusing, no rewriting."""
    config = tf.compat.v1.ConfigProto(device_count={"GPU": 0})
    config.graph_options.rewrite_options.CopyFrom(rewriter_config_pb2.RewriterConfig(disable_meta_optimizer=True))
    return tf.compat.v1.Session(graph=graph, config=config)


def _weights(graph: tf.Graph) -> Iterable[tuple[tf.Tensor, np.ndarray]]:
    """Constants of the graph that are real, and more than one number."""
    for operation in graph.get_operations():
        if operation.type == "Const" and operation.outputs[0].dtype == tf.float64:
            value = tf.make_ndarray(operation.get_attr("value"))
            if value.size > 1:
                yield operation.outputs[0], value
