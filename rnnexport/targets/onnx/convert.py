"""TensorFlow graph to ONNX by tf2onnx, with its rewriters of recurrences switched off.

tf2onnx recognises LSTM and GRU cells by the shape of the graph, without checking which gate is which nor what its
activation is, and so turns look-alike cells into plain LSTMs. Without these rewriters every recurrence arrives as
one `Loop` that computes what the graph computes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx
from tf2onnx import convert, tfonnx

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
# The newest that tf2onnx writes.
NEWEST_OPSET = 18
_lock = threading.Lock()


def to_onnx(traced: TracedModel, opset: int) -> onnx.ModelProto:
    """Convert a traced model. Inputs and outputs still have their TensorFlow names.

    Raises:
        ConversionError: an op has no ONNX form; names it and the layer it is in.
    """
    with ForeignCode(lambda error: _unconvertible(traced.name, error)), _without_rnn_rewriters():
        model, _ = convert.from_graph_def(
            traced.function.graph.as_graph_def(),
            name=traced.name,
            input_names=list(traced.input_tensors),
            output_names=list(traced.output_tensors),
            opset=opset,
        )
    unknown = list(_unknown_ops(model.graph, opset))
    if unknown:
        raise ConversionError(
            f"no ONNX form of {'; '.join(unknown)} (opset {opset})",
            "operations that tf2onnx can convert",
            "write them with other operations" + (", or try a higher --opset" if opset < NEWEST_OPSET else ""),
        )
    return model


@contextmanager
def _without_rnn_rewriters() -> Iterator[None]:
    """tf2onnx offers no option for this; its pipeline looks the rewriters up in its module by name."""
    with _lock:
        originals = {name: getattr(tfonnx, name) for name in RNN_REWRITERS}
        logger = logging.getLogger("tf2onnx")
        level = logger.level
        logger.setLevel(logging.CRITICAL)  # what it logs as errors is found again by _unknown_ops and raised
        try:
            for name in RNN_REWRITERS:
                setattr(tfonnx, name, _keep)
            yield
        finally:
            logger.setLevel(level)
            for name, original in originals.items():
                setattr(tfonnx, name, original)


def _keep(graph: Any, ops: Any) -> Any:
    """A rewriter that rewrites nothing."""
    del graph
    return ops


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
