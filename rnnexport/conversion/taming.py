"""tf2onnx 1.17 without those of its parts that change what a graph computes, silent, with one choice of equal nodes.

It offers no option for any of this: its pipeline looks the parts up by name, and here they are replaced for the time of
a conversion. `tests/conversion/test_taming.py` fails where a newer version has them no longer.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.grappler import tf_optimizer
from tf2onnx import optimizer, tf_loader, tf_utils, tfonnx
from tf2onnx.optimizer import MergeDuplicatedNodesOptimizer, TransposeOptimizer, back_to_back_optimizer

from rnnexport.conversion.canonical import preference
from rnnexport.conversion.folding import uncast

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
# Those that see an operator of ONNX in arithmetic that gives something else where a number is not finite: x * (x > a)
# is NaN for -inf and ThresholdedRelu 0, max(0 * x, x) is NaN for inf and LeakyRelu inf.
LOOSE_REWRITERS = ("rewrite_thresholded_relu", "rewrite_leakyrelu")
# Products and the sums behind them stay two operators, each with its own name in the source.
GEMM_REWRITERS = ("rewrite_gemm",)
_MERGE = "_merge_nodes_that_are_duplicated"
_CASTS = ("Cast",)
_merge = getattr(MergeDuplicatedNodesOptimizer, _MERGE)
_optimize_graph = optimizer.optimize_graph
_back_to_back = dict(back_to_back_optimizer._func_map)
# tf2onnx takes bfloat16 for float16, which ends at 65504.
_DTYPES = tf_utils.TF_TO_ONNX_DTYPE | {types_pb2.DT_BFLOAT16: onnx.TensorProto.BFLOAT16}
_lock = threading.Lock()


@contextmanager
def tamed(*, copying: bool) -> Iterator[None]:
    """A block in which tf2onnx converts without recognising recurrences, and changes no value.

    Args:
        copying: whether each pass works on a copy of the graph, and is left out where it fails. The copies take about
            as long as all the rest.
    """
    parts = [
        *((tfonnx, name, _keep) for name in (*RNN_REWRITERS, *LOOSE_REWRITERS, *GEMM_REWRITERS)),
        *uncast(),
        *([] if copying else [(optimizer, "optimize_graph", _without_copies)]),
        (MergeDuplicatedNodesOptimizer, _MERGE, _merge_into_the_best),
        (TransposeOptimizer, "merge_duplicated_transposes", _remove_unused),  # the one above merges these too
        (tf_loader, "tf_optimize_grappler", _inlined),
        (tf_utils, "TF_TO_ONNX_DTYPE", _DTYPES),
        (back_to_back_optimizer, "_func_map", _back_to_back | {_CASTS: _merge_casts}),
    ]
    with _lock:
        originals = [getattr(owner, name) for owner, name, _ in parts]
        logger = logging.getLogger("tf2onnx")
        level = logger.level
        logger.setLevel(logging.CRITICAL)  # what it logs as errors is found again by `convert` and raised
        try:
            for owner, name, part in parts:
                setattr(owner, name, part)
            yield
        finally:
            logger.setLevel(level)
            for (owner, name, _), original in zip(parts, originals, strict=True):
                setattr(owner, name, original)


def _inlined(input_names: list[str], output_names: list[str], graph_def: Any) -> Any:
    """The graph with calls of functions written out, by TensorFlow's graph optimizer.

    tf2onnx lets it fold constants as well, which it does by moving them: (x + 1e10) - 1e10 becomes x, so that what
    rounds in the source rounds no longer.
    """
    config = config_pb2.ConfigProto()
    config.graph_options.infer_shapes = True
    config.graph_options.rewrite_options.optimizers[:] = ["function", "dependency"]
    meta_graph = tf.compat.v1.train.export_meta_graph(graph_def=graph_def)
    fetched = meta_graph_pb2.CollectionDef()
    fetched.node_list.value.extend([*input_names, *output_names])
    meta_graph.collection_def["train_op"].CopyFrom(fetched)
    return tf_optimizer.OptimizeGraph(config, meta_graph)


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


def _merge_casts(graph: Any, node: Any, casts_behind: list[Any]) -> Any:
    """Take away a cast in front of others, but only where it loses nothing.

    tf2onnx takes every cast to a float away, so that float32 -> float16 -> float32, which rounds, becomes nothing.
    """
    source, target = graph.get_dtype(node.input[0]), node.get_attr("to").i
    if source is not None and is_lossless(source, target):
        return _back_to_back[_CASTS](graph, node, casts_behind)
    return [cast.output[0] for cast in casts_behind]


def is_lossless(source: int, target: int) -> bool:
    """Whether every value of one data type of ONNX is one of the other."""
    one, other = (onnx.helper.tensor_dtype_to_np_dtype(kind) for kind in (source, target))
    if one.kind not in "biuf" or other.kind not in "biuf":
        return source == target
    # NumPy calls int64 to float64 safe, which holds 53 bits of it.
    rounds = one.kind in "iu" and one.itemsize == 8 and other.kind == "f"
    safe: bool = np.can_cast(one, other, "safe")
    return safe and not rounds
