"""Models that take cuDNN paths where there is a GPU: nothing of these paths is in a graph, whatever host traces it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.load import load_source
from rnnexport.source.trace import _refuse_gpu_operators, trace

pytestmark = pytest.mark.xdist_group("gpu")


def nested(k):
    """Layers of which each may take a cuDNN path: alone, wrapped both ways, and inside a model inside a model."""
    inner = k.Sequential([k.Input((None, 8)), k.layers.GRU(5, return_sequences=True)], name="inner")
    return k.Sequential(
        [
            k.Input((None, 3)),
            k.layers.Bidirectional(k.layers.LSTM(4, return_sequences=True)),
            inner,
            k.layers.LSTM(2),
        ]
    )


@pytest.mark.parametrize(("name", "switch"), [("keras", "use_cudnn"), ("tf_keras", "_could_use_gpu_kernel")])
def test_every_layer_is_switched_off_while_tracing_and_on_again_after(name, switch):
    k = pytest.importorskip(name)
    model = nested(k)
    source = load_source(model)
    bidirectional, inner, last = model.layers
    layers = [bidirectional.forward_layer, bidirectional.backward_layer, inner.layers[0], last]
    before = [getattr(layer, switch) for layer in layers]
    assert all(before)
    with source.api.plain_loops(model, unroll=False):
        assert [getattr(layer, switch) for layer in layers] == [False] * 4
    assert [getattr(layer, switch) for layer in layers] == before


@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_the_frozen_graph_holds_no_cudnn_operator(name):
    source = load_source(nested(pytest.importorskip(name)))
    traced = trace(source, describe(source, Boundary()), unroll=False)
    graph = traced.function.graph.as_graph_def()
    ops = {node.op for node in graph.node} | {n.op for f in graph.library.function for n in f.node_def}
    assert "MatMul" in ops
    assert not [op for op in ops if "Cudnn" in op]


def test_a_program_with_such_an_operator_is_refused():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3))])
    def gpu(x):
        h = tf.zeros((1, tf.shape(x)[1], 4))
        return tf.raw_ops.CudnnRNN(input=x, input_h=h, input_c=h, params=np.ones(200, "f4"), rnn_mode="lstm").output

    with pytest.raises(ConversionError, match="m holds the operator CudnnRNN, which runs on an NVIDIA GPU alone"):
        _refuse_gpu_operators(SimpleNamespace(name="m"), gpu.get_concrete_function().graph.as_graph_def())
