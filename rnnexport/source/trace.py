"""A source model to one frozen TensorFlow function: weights are in it or captured, states are arguments and results.

All targets convert this function and nothing else, so what is verified for one is the base of all.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import set_flag
from rnnexport.core.errors import ConversionError, ForeignCode, layer_of, reason
from rnnexport.core.names import SourceNames
from rnnexport.core.signature import Signature, TensorSpec, argument_name, as_text
from rnnexport.source.api import hidden_state, random_numbers
from rnnexport.source.freezing import OPEN_FROM, Frozen, array_of, frozen, imported, interpret_compiled, live
from rnnexport.source.freezing import needed as part_of
from rnnexport.source.graphs import CASES, every_node
from rnnexport.source.held import variable_of
from rnnexport.source.model import SourceModel
from rnnexport.source.naming import source_names
from rnnexport.source.unrolling import unrolls
from rnnexport.source.while_traced import constant_tables, known_values, losses_written

if TYPE_CHECKING:
    from rnnexport.ir.from_onnx import Converted, NotConverted
from rnnexport.core.signature import BATCH, StateSpec

_TABLE = re.compile(r"(?P<scope>(?:.*/)?embedding_lookup(?:_\d+)?)/\d+")
# What a node of a GraphDef reads: `node`, `node:1`, or `^node` for the order alone.
_READ = re.compile(r"(?P<control>\^?)(?P<node>[^:]+)(?P<port>(?::\d+)?)")


@dataclass(frozen=True, eq=False)
class TracedModel:
    """The frozen graph of a model.

    Attributes:
        name: of the source, for messages.
        signature: what goes in and comes out.
        function: a `ConcreteFunction` without variables, which captures `open_weights`. Its keyword arguments are
            `argument_name` of each of `signature.all_inputs`; it returns a dict by the names of
            `signature.all_outputs`.
        input_tensors: the graph's name of each input, such as `x:0`, in the signature's order.
        output_tensors: the same for the outputs.
        names: what the model's code calls what is in the graph; of an unrolled one, in which all is there for every
            timestep, nothing.
        open_weights: the weights of `OPEN_FROM` bytes and more, which are placeholders of the graph, by their names
            there.
    """

    name: str
    signature: Signature
    function: Any
    input_tensors: tuple[str, ...]
    output_tensors: tuple[str, ...]
    names: SourceNames = field(default_factory=SourceNames)
    open_weights: Mapping[str, tf.Tensor] = field(default_factory=dict)

    def graph_def(self) -> Any:
        """The graph, without the numbers of `open_weights`: a message that may be changed."""
        return self.function.graph.as_graph_def()

    def weights(self) -> dict[str, np.ndarray]:
        """The weights by their names in the graph, in the order of their paths; the open ones are not copied.

        They are the constants that `names` calls so, and `open_weights`.
        """
        nodes = {node.name: node for node in self.graph_def().node if node.op == "Const"}
        paths = self.names.weights
        known = {name for name in nodes if name in paths} | set(self.open_weights)
        return {
            name: array_of(self.open_weights[name])
            if name in self.open_weights
            else tf.make_ndarray(nodes[name].attr["value"].tensor)
            for name in sorted(known, key=lambda name: (paths.get(name, name), name))
        }

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What the graph gives for `feed`, by the names of the signature on both sides."""
        specs = self.signature.all_inputs
        found = self.function(
            **{argument_name(spec.name): tf.constant(feed[spec.name], np.dtype(spec.dtype)) for spec in specs}
        )
        return {name: as_text(np.asarray(tensor.numpy())) for name, tensor in found.items()}


@dataclass(frozen=True, eq=False)
class Graphs:
    """What an artifact is made of.

    Attributes:
        main: what is called; of a stream, one chunk of it.
        sequence: of a stream, the model on whole sequences, for a signature of its own; None without that signature.
        is_stream: whether chunks of `main` are no whole sequences.
        converted: `main` in ONNX, or why it can't be; None where nothing converted it yet.
        rolled: the same with every recurrence a loop; None where it can't be traced so.
    """

    main: TracedModel
    sequence: TracedModel | None = None
    is_stream: bool = False
    converted: Converted | NotConverted | None = None
    rolled: TracedModel | None = None


def trace(source: SourceModel, signature: Signature, *, unroll: bool, open_from: int = OPEN_FROM) -> TracedModel:
    """Trace `source` at `signature` and freeze it.

    Args:
        unroll: whether recurrent layers become straight-line code; the length must be fixed then. Else they are loops,
            those too that ask to be unrolled, unless the code of such a layer works unrolled alone.
        open_from: bytes from which a weight is none of the graph's constants, but one of `open_weights`.

    Raises:
        ConversionError: the model's code can't be traced, or it keeps state that is no recurrent state.
    """
    try:
        return _traced(source, signature, unroll=unroll, open_from=open_from)
    except ConversionError:
        layers = [layer for layer in source.api.layers(source.model) if source.api.recurrent(layer)]
        if unroll or not any(map(unrolls, layers)):
            raise
        return _traced(source, signature, unroll=None, open_from=open_from)


def _traced(source: SourceModel, signature: Signature, *, unroll: bool | None, open_from: int) -> TracedModel:
    specs = [_tensor_spec(spec) for spec in signature.all_inputs]
    count = len(signature.inputs)
    variables = source.api.states(source.model)

    def call(*tensors: tf.Tensor) -> list[tf.Tensor]:
        outputs, states = source.api.call_stateless(source.model, tensors[:count], variables, tensors[count:])
        return [tf.identity(tensor) for tensor in [*outputs, *states]]

    plain_loops = source.api.plain_loops(source.model, unroll=unroll)
    with plain_loops, constant_tables(), known_values(), losses_written(), _told(source):
        concrete = tf.function(call, autograph=source.api.autograph).get_concrete_function(*specs)
        _keep_cases(concrete)
        needed = live(concrete, _variable_names(source))
        _refuse_assignments(needed)
        closed = frozen(needed, open_from)
        _refuse_gpu_operators(source, closed.graph_def)
        names = SourceNames() if unroll else source_names(source, concrete, __file__)
        return _named(source.name, signature, needed, closed, names)


def _told(source: SourceModel) -> ForeignCode:
    return ForeignCode(lambda error: _untraceable(source, error))


def _variable_names(source: SourceModel) -> dict[int, str]:
    named = [(name, variable_of(variable)) for name, variable in source.api.untrained(source.model)]
    return {id(variable.handle): name for name, variable in named if isinstance(variable, tf.Variable)}


def _refuse_gpu_operators(source: SourceModel, graph_def: Any) -> None:
    """A program that was saved with both paths of a layer may have taken that of the GPU on a host that has one."""
    for node in every_node(graph_def):
        if node.op.startswith("CudnnRNN"):
            raise ConversionError(
                f"{source.name} holds the operator {node.op}, which runs on an NVIDIA GPU alone",
                "a recurrence that runs anywhere",
                "export the model that the program was made from",
            )


def _keep_cases(concrete: Any) -> None:
    """Let freezing leave choices by an index as they are, as it leaves those by a condition: no format has switches."""
    for operation in concrete.graph.get_operations():
        if operation.type in CASES:
            set_flag(operation, "_lower_using_switch_merge", value=False)


def _refuse_assignments(concrete: Any) -> None:
    """A write to a variable is state that the artifact would have to keep hidden; so is a random number's."""
    for node in every_node(part_of(concrete.graph.as_graph_def(), [tensor.name for tensor in concrete.outputs])):
        if node.op in ("RngReadAndSkip", "RngSkip"):
            raise random_numbers(node.name)
        if node.op.startswith("Assign") and node.op.endswith("VariableOp"):
            raise hidden_state(f"written by {node.name}")


def _captured_tensors(concrete: Any, closed: Frozen) -> dict[str, np.ndarray]:
    """Small tensors that the model's code made outside the call (in `build`, say), by their name in the graph."""
    pairs = [pair for pair in concrete.graph.captures if pair[0].dtype != tf.resource]
    return {inner.name: outer.numpy() for outer, inner in pairs if inner.op.name not in closed.weights}


def _tensor_spec(spec: TensorSpec) -> tf.TensorSpec:
    shape = [None if isinstance(dim, str) else dim for dim in spec.shape]
    return tf.TensorSpec(shape, np.dtype(spec.dtype), name=argument_name(spec.name))


def _named(name: str, signature: Signature, concrete: Any, closed: Frozen, names: SourceNames) -> TracedModel:
    """The function as a frozen one: results named, captured tensors made constants."""
    inputs = tuple(tensor.name for tensor in concrete.inputs[: len(signature.all_inputs)])
    outputs = tuple(tensor.name for tensor in concrete.outputs)
    captured = _captured_tensors(concrete, closed)
    graph_def = closed.graph_def
    interpret_compiled(graph_def)
    renamed = _name_tables(graph_def, closed.weights)
    weights = {renamed.get(node, node): tensor for node, tensor in closed.weights.items()}

    def constants() -> dict[str, tf.Tensor]:
        made = {tensor: tf.constant(value) for tensor, value in captured.items()}
        renamed.update({tensor.removesuffix(":0"): constant.op.name for tensor, constant in made.items()})
        return made

    graph = imported(graph_def, weights, constants)
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
    return TracedModel(name, signature, function, inputs, outputs, names.with_constants(renamed), weights)


def _name_tables(graph_def: Any, weights: Collection[str]) -> dict[str, str]:
    """TensorFlow calls the table of an Embedding `embedding_lookup/7097`, after a count of all it has made so far.

    Before: m/embedding/embedding_lookup/7097     After: m/embedding/embedding_lookup/table

    Returns:
        The new name of each by its old one.
    """
    taken = {node.name for node in graph_def.node}
    renamed: dict[str, str] = {}
    for node in graph_def.node:
        if (node.op == "Const" or node.name in weights) and (found := _TABLE.fullmatch(node.name)):
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
    layer = layer_of(error)
    of_keras = any(
        layer in (one.name, type(one).__name__) and type(one).__module__.startswith(("keras.", "tf_keras."))
        for one in source.api.layers(source.model)
    )
    todo = f"use another layer than {layer} of Keras" if of_keras else f"mend {layer or 'the call()'}"
    return ConversionError(
        f"{source.name} can't be traced: {reason(error)}",
        "a call() of TensorFlow or Keras operations on its arguments",
        f"{todo}; --debug shows the traceback",
    )


def initial_state(signature: Signature, argument: str) -> Any:
    """A `ConcreteFunction` that gives every state as it is before the first call, under the argument that it is for.

    Args:
        signature: of the model; it has states.
        argument: the name of its one argument, an int32 scalar that says how many rows are wanted. It has none where
            the batch is fixed.
    """
    states = signature.states
    if not any(BATCH in state.input.shape for state in states):
        fixed = tf.function(lambda: {argument_name(state.input.name): fresh_state(state, None) for state in states})
        return fixed.get_concrete_function()
    by_rows = tf.function(lambda rows: {argument_name(state.input.name): fresh_state(state, rows) for state in states})
    return by_rows.get_concrete_function(tf.TensorSpec([], tf.int32, argument))


def fresh_state(state: StateSpec, rows: tf.Tensor | None) -> tf.Tensor:
    """The state of `rows` fresh rows, an int32 scalar; where the batch is fixed, of as many as it is fixed to."""
    value = tf.constant(state.initial)
    if BATCH not in state.input.shape:
        return value
    return tf.broadcast_to(value, [rows if dim == BATCH else dim for dim in state.input.shape])
