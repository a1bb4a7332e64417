"""tf2onnx has the parts that are replaced while it converts, and has them back afterwards."""

from __future__ import annotations

import inspect
import re

import onnx
from tf2onnx import optimizer, tf_loader, tf_utils, tfonnx
from tf2onnx.optimizer import (
    ConstFoldOptimizer,
    MergeDuplicatedNodesOptimizer,
    TransposeOptimizer,
    back_to_back_optimizer,
)

from rnnexport.compat.tf2onnx import GEMM_REWRITERS, LOOSE_REWRITERS, RNN_REWRITERS, is_lossless, tamed
from rnnexport.conversion.canonical import preference

PARTS = [
    *((tfonnx, name) for name in (*RNN_REWRITERS, *LOOSE_REWRITERS, *GEMM_REWRITERS)),
    (tfonnx, "compute_const_folding_using_tf"),
    (tfonnx, "rewrite_constant_fold"),
    (ConstFoldOptimizer, "_fold_node"),
    (optimizer, "optimize_graph"),
    (MergeDuplicatedNodesOptimizer, "_merge_nodes_that_are_duplicated"),
    (TransposeOptimizer, "merge_duplicated_transposes"),
    (tf_loader, "tf_optimize_grappler"),
    (tf_utils, "TF_TO_ONNX_DTYPE"),
    (back_to_back_optimizer, "_func_map"),
]


def test_parts_are_replaced_and_put_back():
    before = [getattr(owner, name) for owner, name in PARTS]
    with tamed(preference, copying=False):
        inside = [getattr(owner, name) for owner, name in PARTS]
    assert not any(one is other for one, other in zip(before, inside, strict=True))
    assert all(one is getattr(owner, name) for one, (owner, name) in zip(before, PARTS, strict=True))


def test_no_rewriter_of_recurrences_is_new():
    """Of those that this package leaves on, `rewrite_generic_loop` writes the Loops that it reads."""
    (pipeline,) = re.findall(r"    rewriters = \[(.*?)\]", inspect.getsource(tfonnx.process_parsed_graph), re.DOTALL)
    names = set(re.findall(r"rewriter?_\w+", pipeline))
    assert len(names) > 20
    recurrent = {name for name in names if re.search("lstm|gru|rnn|loop|scan|while|cell", name)}
    assert recurrent == {*RNN_REWRITERS, "rewrite_generic_loop"}
    assert names >= {*LOOSE_REWRITERS, *GEMM_REWRITERS}


def test_what_a_cast_loses():
    kind = onnx.TensorProto
    assert is_lossless(kind.FLOAT16, kind.FLOAT)
    assert is_lossless(kind.BOOL, kind.INT32)
    assert is_lossless(kind.INT32, kind.DOUBLE)
    assert is_lossless(kind.INT32, kind.INT64)
    for source, target in [
        (kind.FLOAT, kind.FLOAT16),
        (kind.FLOAT, kind.BFLOAT16),
        (kind.INT32, kind.FLOAT),
        (kind.INT64, kind.DOUBLE),
        (kind.INT64, kind.INT32),
        (kind.FLOAT, kind.INT32),
        (kind.INT8, kind.UINT8),
    ]:
        assert not is_lossless(source, target)
