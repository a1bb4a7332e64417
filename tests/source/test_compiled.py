"""What a model compiles by XLA, convolutions in groups above all, is converted like all else."""

from __future__ import annotations

import importlib

import numpy as np
import onnx
import pytest

import rnnexport
from rnnexport.conversion.boundary import hold_weights
from rnnexport.conversion.cleanup import clean_up
from rnnexport.conversion.convert import converted
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.eager import reference
from rnnexport.source.load import load_source
from rnnexport.source.trace import trace
from tests.in_turn import in_turn, of_one_keras
from tests.streams import chain, with_random_weights

CHANNELS = 6


def compiled_cell(keras):
    """A cell of a recurrence whose step is compiled, and calls a function that is too."""
    import tensorflow as tf

    class Compiled(keras.layers.Layer):
        state_size = output_size = 4

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1] + 4, 4), name="kernel")
            self.built = True

        @tf.function(jit_compile=True)
        def step(self, x, h, kernel):
            return tf.tanh(tf.matmul(tf.concat([x, h], 1), kernel))

        def call(self, x, states):
            h = self.step(x, states[0], tf.convert_to_tensor(self.kernel))
            return h, [h]

    return Compiled()


def built(keras, kind):
    layers = keras.layers
    shape, made = {
        "causal": ((None,), lambda: layers.Conv1D(8, 4, padding="causal", groups=2, activation="tanh")),
        "each channel": ((None,), lambda: layers.Conv1D(12, 3, padding="causal", groups=6, dilation_rate=2)),
        "dilated": ((None,), lambda: layers.Conv1D(4, 3, padding="same", groups=2, dilation_rate=3)),
        "strided": ((None,), lambda: layers.Conv1D(9, 3, groups=3, strides=2)),
        "fixed": ((11,), lambda: layers.Conv1D(9, 3, groups=3)),
        "dilated, even": ((None,), lambda: layers.Conv1D(4, 4, padding="same", dilation_rate=3)),
        "dilated, each": ((None,), lambda: layers.DepthwiseConv1D(4, padding="same", dilation_rate=3)),
        "dilated, separable": ((None,), lambda: layers.SeparableConv1D(4, 4, padding="same", dilation_rate=3)),
        "volumes": ((None, 5, 4), lambda: layers.Conv3D(9, 2, padding="same", groups=3)),
        "images": ((None, 5), lambda: layers.Conv2D(4, 3, padding="same", groups=2)),
        "cell": ((None,), lambda: layers.RNN(compiled_cell(keras), return_sequences=True)),
    }[kind]
    return with_random_weights(chain(keras, made(), shape=(*shape, CHANNELS)), len(kind))


KINDS = (
    *("causal", "each channel", "strided", "fixed", "images", "volumes", "cell"),
    *("dilated", "dilated, even", "dilated, each", "dilated, separable"),
)


def functions(traced):
    return traced.function.graph.as_graph_def().library.function


@pytest.mark.parametrize(("kind", "api"), in_turn(KINDS))
def test_nothing_stays_compiled_and_the_values_are_those_of_eager_keras(api, kind):
    source = load_source(built(importlib.import_module(api), kind), LoadOptions())
    signature = describe(source, Boundary())
    traced = trace(source, signature, unroll=False)
    assert not any("_XlaMustCompile" in function.attr for function in functions(traced))
    spec = signature.inputs[0]
    for batch, length in ((2, 11), (3, 7)):
        shape = (batch, *(length if isinstance(size, str) else size for size in spec.shape[1:]))
        feed = {spec.name: np.random.default_rng(batch).standard_normal(shape).astype("float32")}
        for name, wanted in reference(source, signature, feed).items():
            np.testing.assert_allclose(traced.run(feed)[name], wanted, atol=3e-6)


@pytest.mark.parametrize("api", of_one_keras("tf_keras"))
def test_a_convolution_in_groups_is_one_in_onnx(api, tmp_path):
    keras = importlib.import_module(api)
    layers = keras.layers
    conv = layers.Conv1D(8, 4, padding="causal", groups=2, activation="tanh")
    model = chain(keras, conv, layers.GRU(3, return_sequences=True), shape=(None, CHANNELS))
    done = rnnexport.export(with_random_weights(model, 2), "onnx", tmp_path / "m.onnx")
    nodes = [node for node in onnx.load(done.path).graph.node if node.op_type == "Conv"]
    assert [attribute.i for node in nodes for attribute in node.attribute if attribute.name == "group"] == [2]
    assert (done.report.status, [one.chosen for one in done.lowering]) == ("passed", ["native"])


@pytest.mark.parametrize(("kind", "api"), in_turn(["dilated, even", "dilated, each", "dilated, separable"]))
def test_the_padding_of_a_dilated_convolution_is_not_computed_from_the_length(api, kind):
    source = load_source(built(importlib.import_module(api), kind), LoadOptions())
    found = converted(trace(source, describe(source, Boundary()), unroll=False))
    model = found.model.clone()
    hold_weights(model, found.weights)
    clean_up(model)
    assert len(list(model.graph)) < 12


def channels_in_front(keras):
    """Of rows, pictures, volumes and films, each an output."""
    layers, first = keras.layers, {"data_format": "channels_first"}
    inputs = [keras.Input((CHANNELS, *space)) for space in ((11,), (7, 8), (3, 4, 5))]
    rows, pictures, volumes = inputs
    outputs = [
        layers.Conv1D(4, 3, padding="same", dilation_rate=2, **first)(rows),
        layers.Conv2D(4, 3, groups=2, strides=(2, 1), **first)(pictures),
        layers.DepthwiseConv2D(3, **first)(pictures),
        layers.Conv3D(4, 2, groups=2, **first)(volumes),
        layers.Conv3DTranspose(2, 2, strides=2, **first)(volumes),
        layers.ConvLSTM2D(3, 3, padding="same", **first)(layers.Reshape((3, 2, 7, 8))(pictures)),
    ]
    return with_random_weights(keras.Model(inputs, outputs), 4)


@pytest.mark.parametrize("api", ["keras", pytest.param("tf_keras", marks=pytest.mark.long)])
def test_channels_in_front_are_moved_behind_space(api, tmp_path):
    """TensorFlow has no other kernels of some on a CPU, and in loops of none."""
    source = rnnexport.load(channels_in_front(importlib.import_module(api)))
    traced = trace(source, describe(source, Boundary()), unroll=False)
    nodes = [*traced.graph_def().node, *(node for function in functions(traced) for node in function.node_def)]
    assert {node.attr["data_format"].s for node in nodes if node.op.startswith("Conv")} <= {b"NHWC", b"NDHWC"}
    done = rnnexport.export_all(source, ["numpy", "tflite"], tmp_path / "m")
    assert [one.report.status for one in done] == ["passed", "passed"]
