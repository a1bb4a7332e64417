"""What no output depends on is cut before a model is frozen, and what an output does depend on is not."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import tensorflow as tf

import rnnexport
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.trace import trace

APIS = ("keras", "tf_keras")
GROUP = pytest.mark.xdist_group("live")


def counter(layer):
    return layer.add_weight(name="calls", shape=(), initializer="zeros", trainable=False)


def losing(layer, keras, x):
    """The loss of a training model, and noise in another."""
    rows, steps = tf.shape(x)[0], tf.shape(x)[1]
    of_each = tf.ones((rows,), "int32")
    if keras.__name__ == "keras":
        loss = keras.ops.ctc_loss(tf.ones((rows, 2), "int32"), x, of_each * 2, of_each * steps)
    else:
        loss = keras.backend.ctc_batch_cost(
            tf.ones((rows, 2)), tf.nn.softmax(x), (of_each * steps)[:, None], of_each[:, None] * 2
        )
    layer.add_loss(tf.reduce_mean(loss))
    layer.add_loss(tf.reduce_mean(x) * tf.random.normal(()))


def measuring(layer, keras, x):
    layer.mean.update_state(x)


def counting(layer, keras, x):
    layer.calls.assign_add(1.0)


def counting_in_a_loop(layer, keras, x):
    def body(at):
        layer.calls.assign(layer.calls + 1.0)
        return (at + 1,)

    tf.while_loop(lambda at: at < 3, body, (tf.constant(0),))


def model(api, aside, *, reads=False):
    keras = importlib.import_module(api)

    class Aside(keras.layers.Layer):
        def build(self, _):
            self.calls, self.mean = counter(self), keras.metrics.Mean(name="mean_of_x")
            self.built = True

        def call(self, x):
            tf.debugging.assert_less(x, 1e6)
            aside(self, keras, x)
            return x * (self.calls + 1.5 if reads else 1.5)

    x = keras.Input((None, 4), name="x")
    h = Aside(name="aside")(keras.layers.GRU(5, return_sequences=True, bias_initializer="glorot_normal")(x))
    return keras.Model(x, keras.layers.Dense(3)(h))


def traced(source):
    return trace(source, describe(source, Boundary()), unroll=False)


@GROUP
@pytest.mark.parametrize("aside", [losing, measuring, counting])
@pytest.mark.parametrize("api", APIS)
def test_what_feeds_no_output_is_cut(api, aside):
    live = model(api, aside)
    before = [np.asarray(variable.numpy()) for variable in live.variables]
    found = traced(rnnexport.load(live))
    for variable, value in zip(live.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)
    kinds = [operation.type for operation in found.function.graph.get_operations()]
    assert not [kind for kind in kinds if kind.startswith(("CTC", "Random", "Assign", "Rng"))]
    assert kinds.count("While") == 1
    assert "If" in kinds  # a check, which stays
    x = np.random.default_rng(1).standard_normal((2, 7, 4)).astype("float32")
    (name,) = (spec.name for spec in found.signature.outputs)
    np.testing.assert_allclose(found.run({"x": x})[name], np.asarray(live(x)), atol=1e-6)


@GROUP
@pytest.mark.parametrize("aside", [counting, counting_in_a_loop])
def test_what_an_output_reads_is_not(aside):
    with pytest.raises(rnnexport.ConversionError, match=r"calls.* changes at inference and is no state"):
        traced(rnnexport.load(model("tf_keras", aside, reads=True)))


@GROUP
def test_a_loop_that_counts_is_cut():
    found = traced(rnnexport.load(model("tf_keras", counting_in_a_loop)))
    assert [operation.type for operation in found.function.graph.get_operations()].count("While") == 1


@GROUP
@pytest.mark.long
def test_a_training_model_exports(tmp_path):
    assert rnnexport.export(model("keras", losing), "onnx", tmp_path / "m.onnx").report.status == "passed"
