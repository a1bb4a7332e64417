"""TensorFlow graph to ONNX by tf2onnx, with its rewriters of recurrences switched off, in a canonical form.

tf2onnx recognises LSTM and GRU cells by the shape of the graph, without checking which gate is which nor what its
activation is, and so turns look-alike cells into plain LSTMs. Without these rewriters every recurrence arrives as
one `Loop` that computes what the graph computes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import onnx
import onnx_ir as ir
from tf2onnx import convert

from rnnexport.conversion.canonical import canonicalise, lookalikes
from rnnexport.conversion.folding import with_exact_constants
from rnnexport.conversion.handlers import HANDLERS
from rnnexport.conversion.refusals import no_form
from rnnexport.conversion.taming import tamed
from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.source.trace import TracedModel

# The newest that tf2onnx writes.
NEWEST_OPSET = 18


def to_onnx(traced: TracedModel, opset: int, weights: Collection[str] | None = None) -> ir.Model:
    """Convert a traced model. Inputs and outputs still have their TensorFlow names.

    What is inside has its canonical order and names: equal models give equal graphs, in every process.

    Args:
        traced: the model.
        opset: of the graph, `NEWEST_OPSET` at most.
        weights: constants of the traced graph, by their nodes' names, that are to be inputs behind the others, as the
            open weights always are: what is computed from them stays written out, where the converter would compute
            it, and round it; what is computed from other constants is computed in float64. None for a graph that is
            not to be run in float64.

    Raises:
        ConversionError: an op has no ONNX form; names it and the layer it is in.
    """
    graph_def = traced.graph_def()
    plain, weights = weights is not None, list(traced.open_weights) if weights is None else list(weights)
    if plain:
        with_exact_constants(graph_def, weights)
    _open(graph_def, weights)
    try:
        with ForeignCode(lambda error: _BrokenError(reason(error))), tamed(plain=plain, copying=False):
            model = _proto(traced, graph_def, opset, weights)
    except _BrokenError:
        with ForeignCode(lambda error: _unconvertible(traced.name, error)), tamed(plain=plain, copying=True):
            model = _proto(traced, graph_def, opset, weights)
    unknown = list(_unknown_ops(model.graph, opset))
    if unknown:
        helps = opset < NEWEST_OPSET and _converts(traced, weights if plain else None)
        raise no_form(unknown, traced.names.layers, NEWEST_OPSET if helps else None)
    functions = (node for function in graph_def.library.function for node in function.node_def)
    converted: ir.Model = ir.from_proto(model)
    _complete(converted)
    canonicalise(converted, lookalikes([node.name for node in (*graph_def.node, *functions)]))
    return converted


def _converts(traced: TracedModel, weights: Collection[str] | None) -> bool:
    """Whether the newest opset has all that a model needs."""
    try:
        to_onnx(traced, NEWEST_OPSET, weights)
    except ConversionError:
        return False
    return True


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
    """Give the step and the condition that loops begin with their rank, which ONNX Runtime asks for.

    Before: body(step, cond, ...)     After: body(step: [], cond: [], ...)
    """
    for node in model.graph.all_nodes():
        if node.op_type == "Loop":
            for value in node.attributes["body"].as_graph().inputs[:2]:
                value.shape = value.shape if value.shape is not None else ir.Shape([])


def _unconvertible(name: str, error: BaseException) -> ConversionError:
    return ConversionError(
        f"tf2onnx can't convert {name}: {reason(error)}",
        "operations that tf2onnx can convert",
        "report it; TFLite and SavedModel are made without that converter; --debug shows the traceback",
    )
