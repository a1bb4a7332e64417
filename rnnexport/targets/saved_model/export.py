"""A traced model to a SavedModel folder."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.signature import BATCH, Signature, argument_name
from rnnexport.source.freezing import array_of, imported
from rnnexport.source.trace import Graphs, TracedModel, fresh_state, initial_state
from rnnexport.targets.base import BATCH_ARGUMENT, INITIAL_STATE, SIGNATURE, STEP, ExportOptions

# Gradients are for training, and those of silu are functions that TensorFlow can't save.
_OPTIONS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)


def export(graphs: Graphs, feeds: Sequence[Arrays], path: Path, options: ExportOptions) -> tuple[LoweringDecision, ...]:
    """Write a model to the folder `path`, without a proof. It has one form, whatever the options.

    The signature is `serving_default`. Where there are states it is `step`, beside `initial_state`; then
    `serving_default` is the same function. In a stream it takes whole sequences, and is missing without a graph of
    these.

    Raises:
        OSError: the disk is full or can't be written.
    """
    module = tf.Module()
    graphs, module.weights = _with_variables(graphs)
    module.call = graphs.main.function  # where the values inside are looked for
    try:
        tf.saved_model.save(module, str(path), signatures=_signatures(graphs), options=_OPTIONS)
    except tf.errors.OpError as error:  # how TensorFlow tells of a failed write
        raise OSError(errno.EIO, error.message) from error
    return ()


def _with_variables(graphs: Graphs) -> tuple[Graphs, list[tf.Variable]]:
    """The same with variables for the weights that are outside of the graphs, one for a weight of both."""
    variables: dict[tuple[int, str], tf.Variable] = {}

    def variable(tensor: tf.Tensor) -> tf.Variable:
        place = array_of(tensor).ctypes.data, f"{tensor.dtype} {tensor.shape}"
        if place not in variables:
            variables[place] = tf.Variable(tensor, trainable=False, name=f"weight_{len(variables)}")
        return variables[place]

    def of(traced: TracedModel) -> TracedModel:
        if not traced.open_weights:
            return traced
        graph = imported(traced.graph_def(), {name: variable(one) for name, one in traced.open_weights.items()})
        element = graph.graph.get_tensor_by_name
        fetched = zip(traced.signature.all_outputs, traced.output_tensors, strict=True)
        inputs, outputs = map(element, traced.input_tensors), {spec.name: element(name) for spec, name in fetched}
        return replace(traced, function=graph.prune(list(inputs), outputs), open_weights={})

    sequence = None if graphs.sequence is None else of(graphs.sequence)
    return replace(graphs, main=of(graphs.main), sequence=sequence), list(variables.values())


def _signatures(graphs: Graphs) -> dict[str, Any]:
    traced, sequence, signature = graphs.main, graphs.sequence, graphs.main.signature
    if not signature.states:
        return {SIGNATURE: traced.function}
    stepwise = {STEP: traced.function, INITIAL_STATE: initial_state(signature, BATCH_ARGUMENT)}
    if not graphs.is_stream:
        return {SIGNATURE: traced.function} | stepwise
    if sequence is None:
        return stepwise
    one_call = _takes(signature, sequence.signature)
    return {SIGNATURE: _called(traced, sequence.signature) if one_call else sequence.function} | stepwise


def _takes(chunk: Signature, whole: Signature) -> bool:
    """Whether a chunk may be a whole sequence: whatever is fixed in it is fixed to the same in the sequence."""
    wanted = {spec.name: spec.shape for spec in whole.all_inputs}
    return all(
        isinstance(one, str) or one == other
        for spec in chunk.all_inputs
        for one, other in zip(spec.shape, wanted.get(spec.name, spec.shape), strict=True)
    )


def _called(traced: TracedModel, whole: Signature) -> Any:
    """The function on whole sequences as one call of that on chunks, so that the weights are in the folder once."""
    wanted = whole.all_inputs
    by_row = {spec.name for spec in traced.signature.inputs if spec.shape[:1] == (BATCH,)}
    batched = next((at for at, spec in enumerate(wanted) if spec.name in by_row), None)

    def call(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        rows = None if batched is None else tf.shape(tensors[batched])[0]
        fresh = {state.input.name: fresh_state(state, rows) for state in traced.signature.states}
        given = fresh | {spec.name: tensor for spec, tensor in zip(wanted, tensors, strict=True)}
        outputs = traced.function(**{argument_name(name): tensor for name, tensor in given.items()})
        return {spec.name: outputs[spec.name] for spec in whole.all_outputs}

    shapes = [[None if isinstance(dim, str) else dim for dim in spec.shape] for spec in wanted]
    specs = [
        tf.TensorSpec(shape, np.dtype(spec.dtype), argument_name(spec.name))
        for shape, spec in zip(shapes, wanted, strict=True)
    ]
    return tf.function(call).get_concrete_function(*specs)
