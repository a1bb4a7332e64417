"""TensorFlow graph to ONNX by tf2onnx, with its rewriters of recurrences switched off, in a canonical form.

tf2onnx recognises LSTM and GRU cells by the shape of the graph, without checking which gate is which nor what its
activation is, and so turns look-alike cells into plain LSTMs. Without these rewriters every recurrence arrives as
one `Loop` that computes what the graph computes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from tf2onnx import convert, optimizer, tfonnx
from tf2onnx.optimizer import MergeDuplicatedNodesOptimizer, TransposeOptimizer

from rnnexport.conversion.canonical import canonicalise, lookalikes, preference
from rnnexport.errors import ConversionError, ForeignCode, reason
from rnnexport.source.trace import TracedModel

# The rewriters of `tfonnx.process_parsed_graph` that replace a recurrence by a recurrent ONNX op.
RNN_REWRITERS = (
    "rewriter_lstm_tf2",
    "rewrite_gru_tf2",
    "rewrite_single_direction_lstm",
    "rewrite_bi_direction_lstm",
    "rewrite_single_direction_gru",
    "rewrite_bi_direction_gru",
    "rewrite_custom_rnn_cell",
)
GEMM_REWRITERS = ("rewrite_gemm",)
# The newest that tf2onnx writes.
NEWEST_OPSET = 18
_MERGE = "_merge_nodes_that_are_duplicated"
_merge = getattr(MergeDuplicatedNodesOptimizer, _MERGE)
_optimize_graph = optimizer.optimize_graph
_lock = threading.Lock()


def to_onnx(traced: TracedModel, opset: int, weights: Collection[str] = ()) -> ir.Model:
    """Convert a traced model. Inputs and outputs still have their TensorFlow names.

    What is inside has its canonical order and names: equal models give equal graphs, in every process.

    Args:
        traced: the model.
        opset: of the graph, `NEWEST_OPSET` at most.
        weights: constants of the traced graph, by their nodes' names, that are to be inputs behind the others: what is
            computed from them stays written out, where the converter would compute it, and round it.

    Raises:
        ConversionError: an op has no ONNX form; names it and the layer it is in.
    """
    graph_def = traced.function.graph.as_graph_def()
    _open(graph_def, weights)
    try:
        with ForeignCode(lambda error: _BrokenError(reason(error))), _tamed(plain=bool(weights), copying=False):
            model = _proto(traced, graph_def, opset, weights)
    except _BrokenError:
        with ForeignCode(lambda error: _unconvertible(traced.name, error)), _tamed(plain=bool(weights), copying=True):
            model = _proto(traced, graph_def, opset, weights)
    unknown = list(_unknown_ops(model.graph, opset))
    if unknown:
        raise ConversionError(
            f"no ONNX form of {'; '.join(unknown)} (opset {opset})",
            "operations that tf2onnx can convert",
            "write them with other operations" + (", or try a higher --opset" if opset < NEWEST_OPSET else ""),
        )
    functions = (node for function in graph_def.library.function for node in function.node_def)
    converted: ir.Model = ir.from_proto(model)
    canonicalise(converted, lookalikes([node.name for node in (*graph_def.node, *functions)]))
    return converted


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
        if node.name in weights:
            tensor = node.attr["value"].tensor
            node.op = "Placeholder"
            node.attr["dtype"].type = tensor.dtype
            node.attr["shape"].shape.CopyFrom(tensor.tensor_shape)
            del node.attr["value"]


def _erfc(graph: Any, node: Any, name: str, arguments: Any) -> None:
    """What Keras 3 writes `gelu` with: 1 - erf(x). An error of the last digit of 1, which `1 + erf(-x)` has as well."""
    del arguments
    shapes, dtypes = ([read(output) for output in node.output] for read in (graph.get_shape, graph.get_dtype))
    (x,), outputs = node.input, list(node.output)
    one = graph.make_const(f"{name}/one", np.array(1, onnx.helper.tensor_dtype_to_np_dtype(dtypes[0])))
    graph.remove_node(name)
    erf = graph.make_node("Erf", [x], name=f"{name}/erf", shapes=shapes, dtypes=dtypes)
    graph.make_node("Sub", [one.output[0], erf.output[0]], outputs=outputs, name=name, shapes=shapes, dtypes=dtypes)


# Operators that tf2onnx has no handler for, in the form in which it takes one.
HANDLERS: Mapping[str, tuple[Any, list[str]]] = {"Erfc": (_erfc, [])}


@contextmanager
def _tamed(*, plain: bool, copying: bool) -> Iterator[None]:
    """tf2onnx without its rewriters of recurrences, silent, and keeping of equal nodes always the same.

    It offers no option for this; its pipeline looks the parts up by name.

    Args:
        plain: whether products and the sums behind them stay two operators, each with its own name in the source.
        copying: whether each pass works on a copy of the graph, and is left out where it fails. The copies take about
            as long as all the rest.
    """
    parts = [
        *((tfonnx, name, _keep) for name in RNN_REWRITERS),
        *((tfonnx, name, _keep) for name in GEMM_REWRITERS if plain),
        *([] if copying else [(optimizer, "optimize_graph", _without_copies)]),
        (MergeDuplicatedNodesOptimizer, _MERGE, _merge_into_the_best),
        (TransposeOptimizer, "merge_duplicated_transposes", _remove_unused),  # the one above merges these too
    ]
    with _lock:
        originals = [getattr(owner, name) for owner, name, _ in parts]
        logger = logging.getLogger("tf2onnx")
        level = logger.level
        logger.setLevel(logging.CRITICAL)  # what it logs as errors is found again by _unknown_ops and raised
        try:
            for owner, name, part in parts:
                setattr(owner, name, part)
            yield
        finally:
            logger.setLevel(level)
            for (owner, name, _), original in zip(parts, originals, strict=True):
                setattr(owner, name, original)


def _keep(graph: Any, ops: Any) -> Any:
    """A rewriter that rewrites nothing."""
    del graph
    return ops


def _without_copies(graph: Any, catch_errors: bool = True, optimizers: Any = None) -> Any:
    """All passes on the one graph; what a pass raises is not caught."""
    del catch_errors
    return _optimize_graph(graph, False, optimizers)


def _merge_into_the_best(optimizer: Any, equal: Any, graph: Any) -> None:
    """Keep of equal nodes the one that `canonicalise` would, not the one that comes first by the hash seed."""
    _merge(optimizer, sorted(equal, key=lambda node: preference(node.name)), graph)


def _remove_unused(optimizer: Any) -> None:
    """What `merge_duplicated_transposes` does besides."""
    graph = optimizer._g
    graph.delete_unused_nodes(graph.outputs)


def _unknown_ops(graph: onnx.GraphProto, opset: int) -> Iterator[str]:
    """`Op in layer/path` for every node, in bodies too, that ONNX does not define. tf2onnx leaves them in silently."""
    for node in graph.node:
        if not onnx.defs.has(node.op_type, opset, node.domain):
            yield f"{node.op_type} in {node.name.rpartition('/')[0] or node.name}"
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _unknown_ops(attribute.g, opset)


def _unconvertible(name: str, error: BaseException) -> ConversionError:
    return ConversionError(
        f"tf2onnx can't convert {name}: {reason(error)}",
        "operations that tf2onnx can convert",
        "write the layer with other operations; --debug shows the traceback",
    )
