"""TensorFlow graph to ONNX by tf2onnx, with its rewriters of recurrences switched off, in a canonical form.

tf2onnx recognises LSTM and GRU cells by the shape of the graph, without checking which gate is which nor what its
activation is, and so turns look-alike cells into plain LSTMs. Without these rewriters every recurrence arrives as
one `Loop` that computes what the graph computes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from typing import Any

import onnx
import onnx_ir as ir
from tf2onnx import convert

from rnnexport.compat.tf2onnx import tamed
from rnnexport.conversion.boundary import restore_boundary
from rnnexport.conversion.canonical import canonicalise, lookalikes, preference
from rnnexport.conversion.cleanup import infer_shapes, quiet
from rnnexport.conversion.folding import with_exact_constants
from rnnexport.conversion.forms import in_forms
from rnnexport.conversion.handlers import HANDLERS
from rnnexport.conversion.refusals import no_form
from rnnexport.conversion.sizes import ask_inputs_for_sizes
from rnnexport.conversion.slices import leave_whole_axes_out
from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.ir.from_onnx import Converted, NotConverted
from rnnexport.source.graphs import every_node
from rnnexport.source.trace import Graphs, TracedModel

# The newest that tf2onnx writes.
NEWEST_OPSET = 18


def converted(traced: TracedModel, opset: int = NEWEST_OPSET) -> Converted:
    """Convert a model, its recurrences not unrolled, once for all that is written of it.

    Raises:
        ConversionError: an operator has no ONNX form; names it and the layer it is in.
    """
    traced = in_forms(traced)
    tensors = traced.weights()
    weights = {f"{node}:0": array for node, array in tensors.items()}
    model = to_onnx(traced, opset, list(tensors))
    restore_boundary(model, traced, list(weights))
    with quiet():
        infer_shapes(model)
        ask_inputs_for_sizes(model, model.graph.inputs[: len(traced.input_tensors)])
    names = replace(traced.names, weights={f"{node}:0": path for node, path in traced.names.weights.items()})
    return Converted(model, traced.signature, names, weights)


def conversion(traced: TracedModel) -> Converted | NotConverted:
    """What a model is converted to, or why it can't be."""
    try:
        # A fault of this package is no reason to refuse what needs no conversion: the report tells of it.
        with ForeignCode(lambda error: _failed(traced.name, error)):
            return converted(traced)
    except ConversionError as error:
        return NotConverted(error)


def require_converted(graphs: Graphs) -> Converted:
    """What is called, converted: as it was before, where it was. Raises as `converted`."""
    found = graphs.converted or conversion(graphs.main)
    if isinstance(found, NotConverted):
        raise found.error
    return found


def to_onnx(traced: TracedModel, opset: int, weights: Collection[str]) -> ir.Model:
    """Convert a traced model. Inputs and outputs still have their TensorFlow names.

    What is inside has its canonical order and names: equal models give equal graphs, in every process.

    Args:
        traced: the model.
        opset: of the graph, `NEWEST_OPSET` at most.
        weights: those of the model, by their nodes' names: they are inputs behind the others. What is computed from
            them stays written out, where the converter would compute it, and round it; what is computed from other
            constants is computed in float64.

    Raises:
        ConversionError: an op has no ONNX form; names it and the layer it is in.
    """
    graph_def = traced.graph_def()
    with_exact_constants(graph_def, weights)
    _open(graph_def, weights)
    try:
        with ForeignCode(lambda error: _BrokenError(reason(error))), tamed(preference, copying=False):
            model = _proto(traced, graph_def, opset, weights)
    except _BrokenError:
        with ForeignCode(lambda error: _unconvertible(traced.name, error)), tamed(preference, copying=True):
            model = _proto(traced, graph_def, opset, weights)
    unknown = list(_unknown_ops(model.graph, opset))
    if unknown:
        # An older opset is asked for where the newest has all that a model needs.
        raise no_form(unknown, traced.names.layers, NEWEST_OPSET if opset < NEWEST_OPSET else None)
    whole: ir.Model = ir.from_proto(model)
    _complete(whole)
    leave_whole_axes_out(whole)
    canonicalise(whole, lookalikes([node.name for node in every_node(graph_def)]))
    return whole


def _proto(traced: TracedModel, graph_def: Any, opset: int, weights: Iterable[str]) -> onnx.ModelProto:
    model, _ = convert.from_graph_def(
        graph_def,
        name=traced.name,
        input_names=[*traced.input_tensors, *(f"{node}:0" for node in weights)],
        output_names=list(traced.output_tensors),
        opset=opset,
        custom_op_handlers=dict(HANDLERS),
    )
    return model


class _BrokenError(Exception):
    """A pass of tf2onnx failed, or there is an operator that it does not know."""


def _open(graph_def: Any, weights: Collection[str]) -> None:
    """Make placeholders of constants, in place.

    Before: kernel = Const(value)     After: kernel = Placeholder(dtype, shape)
    """
    for node in graph_def.node:
        if node.op == "Const" and node.name in weights:
            tensor = node.attr["value"].tensor
            node.op = "Placeholder"
            node.attr["dtype"].type = tensor.dtype
            node.attr["shape"].shape.CopyFrom(tensor.tensor_shape)
            del node.attr["value"]


def _unknown_ops(graph: onnx.GraphProto, opset: int) -> Iterator[tuple[str, str]]:
    """(op, path) of every node, in bodies too, that ONNX does not define. tf2onnx leaves them in silently."""
    for node in graph.node:
        if not onnx.defs.has(node.op_type, opset, node.domain):
            yield node.op_type, node.name.rpartition("/")[0] or node.name
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _unknown_ops(attribute.g, opset)


def _complete(model: ir.Model) -> None:
    """Say what checkers and runtimes ask for: of a loop's step and condition the rank, of a size that it is all.

    Before: body(step, cond, ...)         After: body(step: [], cond: [], ...)
    Before: Resize(x, [], [], sizes)      After: Resize(x, , , sizes), which in a branch are no two ways of saying it
    """
    for node in model.graph.all_nodes():
        if node.op_type == "Loop":
            for value in node.attributes["body"].as_graph().inputs[:2]:
                value.shape = value.shape if value.shape is not None else ir.Shape([])
        if node.op_type == "Resize":
            for at, given in enumerate(node.inputs):
                known = None if given is None else ir.convenience.get_const_tensor(given)
                if known is not None and known.size == 0:
                    node.replace_input_with(at, None)


def _failed(name: str, error: BaseException) -> ConversionError:
    return ConversionError(f"converting {name} failed with {reason(error)}", "an ONNX graph", "report this model")


def _unconvertible(name: str, error: BaseException) -> ConversionError:
    return ConversionError(
        f"tf2onnx can't convert {name}: {reason(error)}",
        "operations that tf2onnx can convert",
        "report it; TFLite and SavedModel are made without that converter; --debug shows the traceback",
    )
