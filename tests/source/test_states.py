"""States of stateful layers: never hidden, never dirty, carried by the caller; in both Keras APIs."""

from __future__ import annotations

import importlib
from itertools import product

import numpy as np
import pytest

import rnnexport
from rnnexport.api.export import export_all
from rnnexport.targets.registry import TARGET_NAMES, target
from tests.in_turn import of_one_keras, wanted_targets

GROUP = pytest.mark.xdist_group("states")
CHUNKS = np.random.default_rng(3).standard_normal((3, 2, 5, 4)).astype("float32")


def keras3_stack():
    import keras

    x = keras.Input(batch_shape=(2, None, 4), name="x")
    y = keras.layers.Bidirectional(keras.layers.GRU(3, return_sequences=True, stateful=True, name="gru"), name="both")(
        x
    )
    cells = [keras.layers.LSTMCell(5), keras.layers.GRUCell(6)]
    y = keras.layers.RNN(cells, stateful=True, return_sequences=True, name="stack")(y)
    return with_random_weights(keras.Model(x, y, name="keras3_stack"))


def keras2_stack():
    import tf_keras

    x = tf_keras.Input(batch_shape=(2, None, 4), name="x")
    y = tf_keras.layers.LSTM(3, return_sequences=True, stateful=True, name="lstm")(x)
    cells = [tf_keras.layers.LSTMCell(5), tf_keras.layers.GRUCell(6)]
    y = tf_keras.layers.RNN(cells, stateful=True, return_sequences=True, name="stack")(y)
    return with_random_weights(tf_keras.Model(x, y, name="keras2_stack"))


def with_random_weights(model):
    rng = np.random.default_rng(2)
    model.set_weights([rng.uniform(-0.8, 0.8, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def stacks(request, tmp_path_factory):
    """The exports of a model by target, and what it gives for chunks in turn; those that are wanted share a load."""
    done = {}

    def export(build):
        if build not in done:
            model, targets = build(), wanted_targets(request, build=build)
            artifacts = export_all(model, targets, tmp_path_factory.mktemp(build.__name__), tflite_timesteps=5)
            wanted = [np.asarray(model(chunk)) for chunk in CHUNKS]
            done[build] = dict(zip(targets, artifacts, strict=True)), wanted
        return done[build]

    return export


def each_time(at):
    """Of one all formats; the other by `make test-long`."""
    build, _ = at
    return build is keras2_stack


@GROUP
@pytest.mark.parametrize(
    ("build", "to"),
    [
        pytest.param(*at, marks=[] if each_time(at) else [pytest.mark.long])
        for at in product((keras3_stack, keras2_stack), TARGET_NAMES)
    ],
)
def test_chunks_with_the_state_carried_equal_the_live_model(build, to, stacks):
    exported, wanted = stacks(build)
    path = exported[to].path
    assert exported[to].report is not None
    assert exported[to].report.status == "passed"
    signature = target(to).read_proof(path).provenance.signature
    states = {state.input.name: state.initial for state in signature.states}
    assert len(states) >= 4
    with target(to).runner(path, "cpu") as runner:
        for chunk, expected in zip(CHUNKS, wanted, strict=True):
            outputs = runner.run({"x": chunk} | states)
            np.testing.assert_allclose(outputs[signature.outputs[0].name], expected, atol=2e-6)
            states = {state.input.name: outputs[state.output.name] for state in signature.states}


@pytest.mark.long
@GROUP
@pytest.mark.parametrize("build", [pytest.param(keras3_stack, marks=pytest.mark.long), keras2_stack])
def test_a_dirty_live_model_leaks_nothing_and_keeps_its_state(build, tmp_path):
    fresh = rnnexport.export(build(), "onnx", tmp_path / "fresh.onnx")
    dirty_model = build()
    x = np.ones((2, 3, 4), "float32")
    dirty_model(x)
    before = np.asarray(build()(x)), np.asarray(dirty_model(x))
    assert np.abs(before[0] - before[1]).max() > 1e-3  # the state matters at all
    dirty_model(x)
    dirty = rnnexport.export(dirty_model, "onnx", tmp_path / "dirty.onnx")
    proofs = [target("onnx").read_proof(item.path) for item in (fresh, dirty)]
    for one, two in zip(*(proof.provenance.signature.states for proof in proofs), strict=True):
        np.testing.assert_array_equal(one.initial, two.initial)
    for one, two in zip(proofs[0].goldens, proofs[1].goldens, strict=True):
        for name, array in one.expected.items():
            np.testing.assert_array_equal(array, two.expected[name])
    # The next call goes on from where the live model was: as a twin that was never exported.
    twin = build()
    for _ in range(3):
        twin(x)
    np.testing.assert_array_equal(np.asarray(dirty_model(x)), np.asarray(twin(x)))


def counting(keras):
    class Counter(keras.layers.Layer):
        def build(self, shape):
            self.calls = self.add_weight(name="calls", shape=(), initializer="zeros", trainable=False)

        def call(self, x):
            self.calls.assign(self.calls + 1)
            return x * self.calls

    x = keras.Input((None, 2))
    return keras.Model(x, Counter(name="counter")(x))


@GROUP
@pytest.mark.parametrize("api", of_one_keras("tf_keras"))
def test_a_counter_outside_the_recurrent_state_is_refused_and_left_alone(api, tmp_path):
    model = counting(importlib.import_module(api))
    before = model.get_weights()
    with pytest.raises(rnnexport.ConversionError, match=r"calls.* changes at inference and is no state"):
        rnnexport.export(model, "onnx", tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []
    np.testing.assert_array_equal(model.get_weights(), before)


@GROUP
def test_a_variable_that_no_layer_tracks_is_refused_too(tmp_path):
    import keras
    import tensorflow as tf

    hidden = tf.Variable(0.0)

    class Counter(keras.layers.Layer):
        def call(self, x):
            return x + hidden.assign_add(1.0)

    x = keras.Input((None, 2))
    with pytest.raises(rnnexport.ConversionError, match=r"different results for the same inputs|written by"):
        rnnexport.export(keras.Model(x, Counter()(x)), "onnx", tmp_path / "m.onnx")


@GROUP
@pytest.mark.parametrize("api", of_one_keras("keras"))
def test_unroll_is_put_back_and_leaves_no_loop(api, tmp_path):
    keras = importlib.import_module(api)
    x = keras.Input((None, 3), name="x")
    both = keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True))
    model = keras.Model(x, keras.layers.LSTM(2, unroll=False)(both(x)))
    path = rnnexport.export(model, "tflite", tmp_path / "m.tflite", timesteps=4).path
    assert "WHILE" not in target("tflite").operators(path)
    assert not both.forward_layer.unroll
    assert not both.backward_layer.unroll
    assert not model.layers[-1].unroll
    assert model(np.zeros((2, 9, 3), "float32")).shape == (2, 2)


@GROUP
@pytest.mark.parametrize("to", TARGET_NAMES)
def test_a_tensor_made_in_build_is_a_constant_never_an_input(to, tmp_path):
    import keras
    import tensorflow as tf

    class ScaledCell(keras.layers.SimpleRNNCell):
        def build(self, shape):
            super().build(shape)
            # Above 128 bytes: TensorFlow makes a smaller one a constant by itself.
            self.scale = tf.constant(np.linspace(0.5, 2, 40), "float32")

        def call(self, x, states, training=False):
            return super().call(x * self.scale, states, training=training)

    x = keras.Input((None, 40), name="x")
    model = keras.Model(x, keras.layers.RNN(ScaledCell(3), return_sequences=True)(x))
    exported = rnnexport.export(model, to, tmp_path / ("m" + target(to).suffix), timesteps=5)
    assert exported.report is not None
    assert exported.report.status == "passed"
    with target(to).runner(exported.path, "cpu") as runner:
        assert [tensor.name for tensor in runner.inputs] == ["x"]
