"""tf2onnx 1.17 without those of its parts that change what a graph computes, silent, with one choice of equal nodes.

It offers no option for any of this: its pipeline looks the parts up by name, and here they are replaced for the time of
a conversion. Seen with 1.17.0. `tests/compat/test_tf2onnx.py` fails where a newer version has a part no longer, or a
rewriter of recurrences that is not known here.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import tensorflow as tf
from tf2onnx import optimizer, tf_loader, tf_utils, tfonnx
from tf2onnx.optimizer import (
    ConstFoldOptimizer,
    MergeDuplicatedNodesOptimizer,
    TransposeOptimizer,
    back_to_back_optimizer,
)

from rnnexport.compat.supported import part_of
from rnnexport.compat.tensorflow import config_pb2, meta_graph_pb2, tf_optimizer, types_pb2

Preference = Callable[[str], Any]
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
_merge = part_of(MergeDuplicatedNodesOptimizer, _MERGE)
_passes = part_of(optimizer, "_get_optimizers")
_MOST_ROUNDS = 20  # of all passes; a handful are usual
_back_to_back = dict(part_of(back_to_back_optimizer, "_func_map"))
# The three places where it would cast a constant of float64 at once, which `conversion.convert` put in.
_BY_TENSORFLOW, _OF_TENSORFLOW, _OF_ONNX = "compute_const_folding_using_tf", "rewrite_constant_fold", "_fold_node"
_by_tensorflow, _of_tensorflow = part_of(tfonnx, _BY_TENSORFLOW), part_of(tfonnx, _OF_TENSORFLOW)
_of_onnx = part_of(ConstFoldOptimizer, _OF_ONNX)
# tf2onnx takes bfloat16 for float16, which ends at 65504.
_DTYPES = part_of(tf_utils, "TF_TO_ONNX_DTYPE") | {types_pb2.DT_BFLOAT16: onnx.TensorProto.BFLOAT16}
_lock = threading.Lock()


@contextmanager
def tamed(preference: Preference, *, copying: bool) -> Iterator[None]:
    """A block in which tf2onnx converts without recognising recurrences, and changes no value.

    Args:
        preference: gives the least for the name that stays of those of equal nodes.
        copying: whether each pass works on a copy of the graph, and is left out where it fails. The copies take about
            as long as all the rest.
    """
    parts = [
        *((tfonnx, name, _keep) for name in (*RNN_REWRITERS, *LOOSE_REWRITERS, *GEMM_REWRITERS)),
        (tfonnx, _BY_TENSORFLOW, _fold_by_tensorflow),
        (tfonnx, _OF_TENSORFLOW, _fold_of_tensorflow),
        (ConstFoldOptimizer, _OF_ONNX, _fold_of_onnx),
        *([] if copying else [(optimizer, "optimize_graph", _without_copies)]),
        (MergeDuplicatedNodesOptimizer, _MERGE, _merging(preference)),
        (TransposeOptimizer, "merge_duplicated_transposes", _remove_unused),  # the one above merges these too
        (tf_loader, "tf_optimize_grappler", _inlined),
        (tf_utils, "TF_TO_ONNX_DTYPE", _DTYPES),
        (back_to_back_optimizer, "_func_map", _back_to_back | {_CASTS: _merge_casts}),
    ]
    with _lock:
        originals = [part_of(owner, name) for owner, name, _ in parts]
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
    """All passes on the one graph, a few times: what a pass raises is not caught.

    tf2onnx goes on as long as one changes something, for ever where two undo each other: transposes in front of two
    convolutions of one volume.
    """
    del catch_errors
    passes = (_passes() if optimizers is None else optimizers).values()
    for iteration in range(_MOST_ROUNDS):
        changed = False
        for factory in passes:
            one = factory()
            graph = one.optimize(graph, iteration)
            changed = changed or one.graph_been_opt
        if not changed:
            break
    graph.topological_sort(graph.get_nodes())
    return graph


def _merging(preference: Preference) -> Callable[[Any, Any, Any], None]:
    def merge(optimizer: Any, equal: Any, graph: Any) -> None:
        """Keep of equal nodes the one that is preferred, not the one that comes first by the hash seed."""
        _merge(optimizer, sorted(equal, key=lambda node: preference(node.name)), graph)

    return merge


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


def _fold_by_tensorflow(graph: Any, known: Any, outputs: Any) -> Any:
    values, dtypes = _by_tensorflow(graph, known, outputs)
    casts = [one for one in graph.get_operations() if one.type == "Cast" and one.inputs[0].dtype == tf.float64]
    for operation in casts:
        values.pop(operation.outputs[0].name, None)
    return values, dtypes


def _fold_of_tensorflow(graph: Any, ops: Any) -> Any:
    held = [_is_cast_of_double(graph, op) for op in ops]
    rest = iter(_of_tensorflow(graph, [op for op, is_held in zip(ops, held, strict=True) if not is_held]))
    return [op if is_held else next(rest) for op, is_held in zip(ops, held, strict=True)]


def _fold_of_onnx(optimizer: Any, node: Any, graph: Any) -> bool:
    return not _is_cast_of_double(graph, node) and bool(_of_onnx(optimizer, node, graph))


def _is_cast_of_double(graph: Any, node: Any) -> bool:
    return bool(node.type == "Cast" and graph.get_dtype(node.input[0]) == onnx.TensorProto.DOUBLE)
