"""Variables that a layer of a model's own updates at inference: states, given and taken, where a row is a sequence."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import rnnexport
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.signature import Boundary
from rnnexport.reference.stream_equivalence import streamed
from rnnexport.source.describe import describe
from rnnexport.source.eager import reference
from rnnexport.source.load import load_source
from rnnexport.source.trace import trace
from rnnexport.targets.registry import TARGET_NAMES, target
from tests.in_turn import of_one_keras
from tests.streams import with_random_weights

APIS = ("keras", "tf_keras")
GROUP = pytest.mark.xdist_group("updated")
BATCH, FEATURES, KEPT = 2, 3, 2


def ring(keras, rows, shape=None, how="assign"):
    """A convolution over what it was called with before, too, as streaming layers are."""
    import tensorflow as tf

    class Ring(keras.layers.Layer):
        def build(self, _):
            size = (rows, KEPT, FEATURES) if shape is None else shape
            self.kernel = self.add_weight(shape=(KEPT + 1, FEATURES, 4), name="kernel")
            self.input_state = self.add_weight(shape=size, trainable=False, initializer="zeros", name="input_state")
            self.built = True

        def call(self, x):
            joined = tf.concat([self.input_state + tf.zeros_like(x[:, :1]), x], axis=1)
            if how == "assign":
                self.input_state.assign(joined[:, -KEPT:])
            else:
                with tf.control_dependencies([self.input_state.assign_add(joined[:, -KEPT:] * 0.5)]):
                    joined = joined + tf.reduce_mean(self.input_state, axis=1, keepdims=True)
            return tf.tanh(tf.nn.conv1d(joined, tf.convert_to_tensor(self.kernel), 1, "VALID"))

        def compute_output_shape(self, size):
            return (*size[:-1], 4)

    return Ring(name="ring")


def streaming_model(api, *, rows=BATCH, batch=BATCH, memory=True, stateful=True, **options):
    keras = importlib.import_module(api)
    x = keras.Input((None, FEATURES), batch_size=batch, name="x")
    y = ring(keras, rows, **options)(x)
    if batch is not None and memory:
        y = keras.layers.GRU(3, return_sequences=True, stateful=stateful, name="gru")(y)
    model = with_random_weights(keras.Model(x, y), 3)
    for layer in model.layers:
        if layer.name == "ring":
            size = layer.input_state.shape
            layer.input_state.assign(np.linspace(-1, 1, np.prod(size)).reshape(size))
    return model


def carried(run, signature, x):
    """The outputs for three calls, one behind the other, the states handed on."""
    states = {state.input.name: state.start(len(x)) for state in signature.states}
    found = []
    for begin, end in ((0, 3), (3, 4), (4, 9)):
        outputs = run({"x": x[:, begin:end]} | states)
        states = {state.input.name: outputs[state.output.name] for state in signature.states}
        found.append(outputs[signature.outputs[0].name])
    return np.concatenate(found, axis=1)


def some(rows=BATCH, steps=9):
    return np.random.default_rng(rows).standard_normal((rows, steps, FEATURES)).astype("float32")


def called(model, x):
    return np.concatenate([np.asarray(model(x[:, begin:end])) for begin, end in ((0, 3), (3, 4), (4, 9))], axis=1)


@GROUP
@pytest.mark.parametrize("how", ["assign", "add"])
@pytest.mark.parametrize("api", of_one_keras("tf_keras"))
def test_what_a_layer_keeps_is_a_state_that_starts_from_what_the_model_holds(api, how):
    model = streaming_model(api, how=how)
    held = np.asarray(model.get_layer("ring").input_state)
    source = load_source(model, LoadOptions())
    signature = describe(source, Boundary())
    states = {state.input.name: state for state in signature.states}
    assert set(states) == {"state_ring_00", "state_gru_00"}
    np.testing.assert_array_equal(states["state_ring_00"].initial, held)
    assert any("input_state" in note and "is a state" in note for note in source.semantics)
    traced = trace(source, signature, unroll=False)
    x = some()
    found = carried(traced.run, signature, x)
    np.testing.assert_allclose(carried(lambda feed: reference(source, signature, feed), signature, x), found, atol=3e-6)
    np.testing.assert_array_equal(np.asarray(model.get_layer("ring").input_state), held)  # the live model is as it was
    np.testing.assert_allclose(called(model, x), found, atol=3e-6)


@GROUP
@pytest.mark.parametrize(
    ("api", "to"),
    [
        pytest.param(api, to, marks=[] if (at + which) % len(APIS) else [pytest.mark.long])
        for at, to in enumerate(TARGET_NAMES)
        for which, api in enumerate(APIS)
    ],
)
def test_artifacts_carry_it(api, to, tmp_path):
    model = streaming_model(api, rows=1, batch=None)
    path = tmp_path / ("m" + target(to).suffix)
    # TFLite takes sequences of one length.
    done = rnnexport.export(model, to, path, batch=1, timesteps=3 if to == "tflite" else None)
    assert done.report.status == "passed"
    signature = target(to).read_proof(path).provenance.signature
    assert [state.input.name for state in signature.states] == ["state_ring_00"]
    x = some(1)
    states = {state.input.name: state.start(1) for state in signature.states}
    with target(to).runner(path, "cpu") as runner:
        for at in (0, 3, 6):
            outputs = runner.run({"x": x[:, at : at + 3]} | states)
            states = {state.input.name: outputs[state.output.name] for state in signature.states}
            wanted = np.asarray(model(x[:, at : at + 3]))
            np.testing.assert_allclose(outputs[signature.outputs[0].name], wanted, atol=3e-6)


@GROUP
@pytest.mark.parametrize("api", of_one_keras("keras"))
def test_an_open_batch_is_refused_with_the_one_that_works(api):
    source = load_source(streaming_model(api, rows=1, batch=None), LoadOptions())
    with pytest.raises(rnnexport.ConversionError, match=r"ring_00 of layer ring has 1 rows.*give --batch 1"):
        describe(source, Boundary())


@GROUP
@pytest.mark.parametrize("api", of_one_keras("tf_keras"))
def test_what_has_no_row_for_each_sequence_is_refused(api):
    source = load_source(streaming_model(api, shape=(1, KEPT, FEATURES), how="add", rows=1, batch=1), LoadOptions())
    assert describe(source, Boundary()).states
    other = load_source(counting(api), LoadOptions())
    signature = describe(other, Boundary())
    assert not signature.states
    with pytest.raises(rnnexport.ConversionError, match=r"calls.* changes at inference and is no state"):
        trace(other, signature, unroll=False)


def counting(api):
    keras = importlib.import_module(api)

    class Counter(keras.layers.Layer):
        def build(self, _):
            self.calls = self.add_weight(name="calls", shape=(1,), initializer="zeros", trainable=False)

        def call(self, x):
            self.calls.assign(self.calls + 1)
            return x * self.calls

    x = keras.Input((None, FEATURES), batch_size=BATCH)
    return keras.Model(x, Counter(name="counter")(x))


@GROUP
@pytest.mark.parametrize("api", of_one_keras("keras"))
@pytest.mark.parametrize("behind", [False, True])
def test_a_stream_carries_what_it_keeps(api, behind):
    """Beside what the recurrent layer behind it starts from, which the model itself does not carry."""
    model = streaming_model(api, stateful=False) if behind else streaming_model(api, rows=1, batch=1, memory=False)
    rows = BATCH if behind else 1
    x = some(rows)
    source = load_source(model, LoadOptions())
    signature = describe(source, Boundary())
    feed = {"x": x} | {state.input.name: state.start(rows) for state in signature.states}
    wanted = reference(source, signature, feed)[signature.outputs[0].name]
    stream = streamed(source, None, lambda text: None)
    signature = describe(stream, Boundary())
    assert [state.layer for state in signature.states] == (["gru", "ring"] if behind else ["ring"])
    traced = trace(stream, signature, unroll=False)
    np.testing.assert_allclose(carried(traced.run, signature, x), wanted, atol=3e-6)
    np.testing.assert_allclose(
        carried(lambda feed: reference(stream, signature, feed), signature, x), wanted, atol=3e-6
    )
