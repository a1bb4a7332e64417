"""A source model to one frozen TensorFlow function: weights are constants, states are arguments and results.

All targets convert this function and nothing else, so what is verified for one is the base of all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from rnnexport.core.errors import ConversionError, ForeignCode, layer_of, reason
from rnnexport.core.signature import Signature, TensorSpec, argument_name
from rnnexport.source.api import hidden_state
from rnnexport.source.compiled import interpret_compiled
from rnnexport.source.model import SourceModel
from rnnexport.source.naming import SourceNames, source_names
from rnnexport.source.tables import constant_tables
from rnnexport.source.unrolling import unrolls

_TABLE = re.compile(r"(?P<scope>(?:.*/)?embedding_lookup(?:_\d+)?)/\d+")
# What a node of a GraphDef reads: `node`, `node:1`, or `^node` for the order alone.
_READ = re.compile(r"(?P<control>\^?)(?P<node>[^:]+)(?P<port>(?::\d+)?)")


@dataclass(frozen=True, eq=False)
class TracedModel:
    """The frozen graph of a model.

    Attributes:
        name: of the source, for messages.
        signature: what goes in and comes out.
        function: a `ConcreteFunction` without variables. Its keyword arguments are `argument_name` of each of
            `signature.all_inputs`; it returns a dict by the names of `signature.all_outputs`.
        input_tensors: the graph's name of each input, such as `x:0`, in the signature's order.
        output_tensors: the same for the outputs.
        names: what the model's code calls what is in the graph; of an unrolled one, in which all is there for every
            timestep, nothing.
    """

    name: str
    signature: Signature
    function: Any
    input_tensors: tuple[str, ...]
    output_tensors: tuple[str, ...]
    names: SourceNames = field(default_factory=SourceNames)

    def weights(self) -> dict[str, np.ndarray]:
        """The constants of the graph that `names` calls weights, by their names there, in the order of their paths."""
        nodes = {node.name: node for node in self.function.graph.as_graph_def().node if node.op == "Const"}
        paths = self.names.weights
        known = sorted(set(paths) & set(nodes), key=lambda name: (paths[name], name))
        return {name: tf.make_ndarray(nodes[name].attr["value"].tensor) for name in known}

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the graph gives for `feed`, by the names of the signature on both sides."""
        specs = self.signature.all_inputs
        found = self.function(**{argument_name(spec.name): tf.constant(feed[spec.name], spec.dtype) for spec in specs})
        return {name: tensor.numpy() for name, tensor in found.items()}


@dataclass(frozen=True, eq=False)
class Graphs:
    """What an artifact is made of.

    Attributes:
        main: what is called; of a stream, one chunk of it.
        sequence: of a stream, the model on whole sequences, for a signature of its own; None without that signature.
        is_stream: whether chunks of `main` are no whole sequences.
    """

    main: TracedModel
    sequence: TracedModel | None = None
    is_stream: bool = False


def trace(source: SourceModel, signature: Signature, *, unroll: bool) -> TracedModel:
    """Trace `source` at `signature` and freeze it.

    Args:
        unroll: whether recurrent layers become straight-line code; the length must be fixed then. Else they are loops,
            those too that ask to be unrolled, unless the code of such a layer works unrolled alone.

    Raises:
        ConversionError: the model's code can't be traced, or it keeps state that is no recurrent state.
    """
    try:
        return _traced(source, signature, unroll=unroll)
    except ConversionError:
        layers = [layer for layer in source.api.layers(source.model) if source.api.recurrent(layer)]
        if unroll or not any(map(unrolls, layers)):
            raise
        return _traced(source, signature, unroll=None)


def _traced(source: SourceModel, signature: Signature, *, unroll: bool | None) -> TracedModel:
    specs = [_tensor_spec(spec) for spec in signature.all_inputs]
    count = len(signature.inputs)
    variables = source.api.states(source.model)

    def call(*tensors: tf.Tensor) -> list[tf.Tensor]:
        outputs, states = source.api.call_stateless(source.model, tensors[:count], variables, tensors[count:])
        return [tf.identity(tensor) for tensor in [*outputs, *states]]

    plain_loops = source.api.plain_loops(source.model, unroll=unroll)
    with plain_loops, constant_tables(), ForeignCode(lambda error: _untraceable(source, error)):
        concrete = tf.function(call, autograph=source.api.autograph).get_concrete_function(*specs)
        _refuse_assignments(concrete)
        _keep_cases(concrete)
        frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
        _refuse_gpu_operators(source, frozen)
        names = SourceNames() if unroll else source_names(source, concrete, __file__)
        return _named(source.name, signature, frozen, _captured_tensors(concrete), names)


def _nodes(function: Any) -> list[Any]:
    """The nodes of a function and of all that its graph may call."""
    graph_def = function.graph.as_graph_def()
    return [*graph_def.node, *(node for inner in graph_def.library.function for node in inner.node_def)]


def _refuse_gpu_operators(source: SourceModel, frozen: Any) -> None:
    """A program that was saved with both paths of a layer may have taken that of the GPU on a host that has one."""
    for node in _nodes(frozen):
        if node.op.startswith("CudnnRNN"):
            raise ConversionError(
                f"{source.name} holds the operator {node.op}, which runs on an NVIDIA GPU alone",
                "a recurrence that runs anywhere",
                "export the model that the program was made from",
            )


def _keep_cases(concrete: Any) -> None:
    """Let freezing leave choices by an index as they are, as it leaves those by a condition: no format has switches."""
    for operation in concrete.graph.get_operations():
        if operation.type in ("Case", "StatelessCase"):
            operation._set_attr("_lower_using_switch_merge", attr_value_pb2.AttrValue(b=False))


def _refuse_assignments(concrete: Any) -> None:
    """A write to a variable is state that the artifact would have to keep hidden; so is a random number's."""
    for node in _nodes(concrete):
        if node.op in ("RngReadAndSkip", "RngSkip"):
            raise ConversionError(
                f"{node.name} may draw random numbers",
                "a model that gives the same for the same inputs",
                "leave that layer out of the model that is exported: what it does in training is not wanted there",
            )
        if node.op.startswith("Assign") and node.op.endswith("VariableOp"):
            raise hidden_state(f"written by {node.name}")


def _captured_tensors(concrete: Any) -> dict[str, np.ndarray]:
    """Tensors that the model's code made outside the call (in `build`, say), by their name in the graph."""
    pairs = [pair for pair in concrete.graph.captures if pair[0].dtype != tf.resource]
    return {inner.name: outer.numpy() for outer, inner in pairs}


def _tensor_spec(spec: TensorSpec) -> tf.TensorSpec:
    shape = [None if isinstance(dim, str) else dim for dim in spec.shape]
    return tf.TensorSpec(shape, spec.dtype, name=argument_name(spec.name))


def _named(
    name: str, signature: Signature, frozen: Any, captured: dict[str, np.ndarray], names: SourceNames
) -> TracedModel:
    """The frozen function again, in a graph of its own: results named, captured tensors made constants."""
    inputs = tuple(tensor.name for tensor in frozen.inputs[: len(signature.all_inputs)])
    outputs = tuple(tensor.name for tensor in frozen.outputs)
    graph_def = frozen.graph.as_graph_def()
    interpret_compiled(graph_def)
    renamed = _name_tables(graph_def)

    def rebuild() -> None:
        constants = {tensor: tf.constant(value) for tensor, value in captured.items()}
        renamed.update({tensor.removesuffix(":0"): constant.op.name for tensor, constant in constants.items()})
        tf.import_graph_def(graph_def, input_map=constants, name="")

    graph = tf.compat.v1.wrap_function(rebuild, [])
    fetches = {}
    for spec, tensor_name in zip(signature.all_outputs, outputs, strict=True):
        tensor, shape = graph.graph.get_tensor_by_name(tensor_name), _tensor_spec(spec).shape
        if not tensor.shape.is_compatible_with(shape):
            raise ConversionError(
                f"output {spec.name} of {name} is {tensor.shape} when traced and {shape} in eager mode",
                "one shape",
                "look for a layer that reads a dynamic dimension as a number",
            )
        fetches[spec.name] = tensor
    function = graph.prune([graph.graph.get_tensor_by_name(tensor) for tensor in inputs], fetches)
    return TracedModel(name, signature, function, inputs, outputs, names.with_constants(renamed))


def _name_tables(graph_def: Any) -> dict[str, str]:
    """TensorFlow calls the table of an Embedding `embedding_lookup/7097`, after a count of all it has made so far.

    Before: m/embedding/embedding_lookup/7097     After: m/embedding/embedding_lookup/table

    Returns:
        The new name of each by its old one.
    """
    taken = {node.name for node in graph_def.node}
    renamed: dict[str, str] = {}
    for node in graph_def.node:
        if node.op == "Const" and (found := _TABLE.fullmatch(node.name)):
            renamed[node.name] = next(
                name for at in count() if (name := f"{found['scope']}/table{at or ''}") not in taken
            )
            taken.add(renamed[node.name])
    for node in graph_def.node:
        node.name = renamed.get(node.name, node.name)
        for at, read in enumerate(node.input):
            found = _READ.fullmatch(read)
            if found and found["node"] in renamed:
                node.input[at] = f"{found['control']}{renamed[found['node']]}{found['port']}"
    return renamed


def _untraceable(source: SourceModel, error: BaseException) -> ConversionError:
    return ConversionError(
        f"{source.name} can't be traced: {reason(error)}",
        "a call() of TensorFlow or Keras operations on its arguments",
        f"mend {layer_of(error) or 'the call()'}; --debug shows the traceback",
    )
