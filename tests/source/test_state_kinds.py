"""Stateful layers of every kind, in both Keras: an artifact that is stepped gives what the live model gives."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import tensorflow as tf

import rnnexport
from rnnexport import runtime
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.load import load_source
from rnnexport.targets.registry import target
from tests.in_turn import of_one_keras
from tests.source.stateful import BATCH, FEATURES, KINDS, NOT_CAUSAL, build, cell_of, chain, chunks, remembering

GROUP = pytest.mark.xdist_group("state kinds")
APIS = ("keras", "tf_keras")
CHUNKINGS = ((1, 3, 2), (2, 2, 2))
IN_CI = {
    *(("nested states", "keras"), ("a counter", "keras"), ("subclassed", "keras")),
    *(("a state of rank 3", "tf_keras"), ("a counter", "tf_keras"), ("subclassed", "tf_keras")),
}


def cells(kinds, in_ci, apis=APIS):
    return [
        pytest.param(kind, api, id=f"{api}-{kind}", marks=[] if (kind, api) in in_ci else [pytest.mark.long])
        for api in apis
        for kind in kinds
    ]


def live_states(model):
    layers = model._flatten_layers(include_self=False, recursive=True)
    found = [layer.states for layer in layers if getattr(layer, "stateful", False) and hasattr(layer, "cell")]
    return [np.array(state) for state in tf.nest.flatten(found) if state is not None]


def follows_the_live_model(kind, api, path, chunkings=CHUNKINGS):
    with runtime.open(path) as stream:
        for lengths in chunkings:
            model = build(kind, api)
            stream.reset()
            for x in chunks(kind, lengths):
                wanted = tf.nest.flatten(model(x))
                found = stream.step(x)
                found = list(found.values()) if isinstance(found, dict) else [found]
                for one, other in zip(found, wanted, strict=True):
                    np.testing.assert_allclose(one, np.asarray(other), atol=3e-6, rtol=0, err_msg=str(lengths))


@GROUP
@pytest.mark.parametrize(("kind", "api"), cells(KINDS, IN_CI))
def test_an_onnx_file_goes_on_as_the_live_model_does(kind, api, tmp_path):
    model = build(kind, api)
    model(chunks(kind, [4], seed=2)[0])
    dirty = live_states(model)
    path = rnnexport.export(model, "onnx", tmp_path / "m.onnx").path
    for before, after in zip(dirty, live_states(model), strict=True):
        np.testing.assert_array_equal(before, after)
    states = target("onnx").read_proof(path).provenance.signature.states
    for before, state in zip(dirty, states, strict=True):
        assert np.abs(before - state.initial).max() > 1e-3  # else nothing could have leaked
    if (wanted := KINDS[kind][1]) is not None:
        assert [(s.input.name, s.output.name, s.input.shape) for s in states] == [
            (f"state_{stem}", f"next_state_{stem}", (BATCH, *shape)) for stem, shape, _ in wanted
        ]
        for state, (_, shape, initial) in zip(states, wanted, strict=True):
            np.testing.assert_array_equal(state.initial, np.broadcast_to(np.float32(initial), (BATCH, *shape)))
    follows_the_live_model(kind, api, path)


@GROUP
@pytest.mark.long
@pytest.mark.parametrize(("to", "api"), [("saved-model", "keras"), ("tflite", "tf_keras")])
@pytest.mark.parametrize("kind", KINDS)
def test_every_format_goes_on_as_the_live_model_does(kind, to, api, tmp_path):
    path = tmp_path / ("m" + target(to).suffix)
    rnnexport.export(build(kind, api), to, path, timesteps=2 if to == "tflite" else None)
    follows_the_live_model(kind, api, path, CHUNKINGS[1:] if to == "tflite" else CHUNKINGS)


@GROUP
@pytest.mark.parametrize(
    ("kind", "api"),
    [
        *cells([kind for kind in KINDS if kind not in NOT_CAUSAL], {("a counter", "keras")}, ["keras"]),
        *cells([kind for kind in KINDS if kind not in {*NOT_CAUSAL, "a counter"}], (), ["tf_keras"]),
    ],
)
def test_a_stream_of_a_stateful_model_gives_what_the_whole_gives(kind, api, tmp_path):
    model = build(kind, api)
    path = rnnexport.export(model, "onnx", tmp_path / "m.onnx", stream="dynamic").path
    with runtime.open(path) as stream:
        for lengths in CHUNKINGS:
            pieces = chunks(kind, lengths)
            whole = tf.nest.flatten(build(kind, api)(np.concatenate(pieces, axis=1)))
            stream.reset()
            steps = [stream.step(x) for x in pieces]
            for spec, wanted in zip(stream.signature.outputs, whole, strict=True):
                found = [step[spec.name] if isinstance(step, dict) else step for step in steps]
                joined = np.concatenate(found, axis=1) if "time" in spec.shape else found[-1]
                np.testing.assert_allclose(joined, np.asarray(wanted), atol=3e-6, rtol=0, err_msg=str(lengths))


@GROUP
@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "api", "reason"),
    [
        ("bidirectional", "keras", "from its end"),
        ("bidirectional", "tf_keras", "from its end"),
        ("shared", "keras", "is called 2 times"),
        ("shared", "tf_keras", "is called 2 times"),
        # tf_keras counts in floats during a call, and keeps an integer after it.
        ("a counter", "tf_keras", "something else for the chunks"),
    ],
)
def test_what_can_not_be_cut_is_no_stream(kind, api, reason, tmp_path):
    with pytest.raises(rnnexport.ConversionError, match=reason):
        rnnexport.export(build(kind, api), "onnx", tmp_path / "m.onnx", stream="dynamic")
    assert list(tmp_path.iterdir()) == []


@GROUP
@pytest.mark.parametrize("api", of_one_keras("tf_keras"))
def test_a_state_without_rows_is_refused(api):
    def step(x, states, w, u):
        h, n = states
        h = tf.tanh(x @ w + h @ u)
        return h, [h, n + 1]

    keras = importlib.import_module(api)
    sizes = [4, () if api == "keras" else tf.TensorShape([])]
    weights = [(FEATURES, 4), (4, 4)]
    cell = cell_of(keras, sizes, 4, weights, step, lambda rows: [tf.zeros((rows, 4)), tf.zeros(())])
    source = load_source(chain(keras, remembering(cell, keras)), LoadOptions())
    with pytest.raises(rnnexport.ConversionError, match="state memory_01 of layer memory is one number for the whole"):
        describe(source, Boundary())


@GROUP
@pytest.mark.parametrize("api", of_one_keras("keras"))
def test_a_start_that_is_trained_is_that_of_the_weights_now(api):
    def step(x, states, w, h0):
        h = tf.tanh(x @ w + 0.5 * states[0] - h0)
        return h, [h]

    keras = importlib.import_module(api)
    cell = cell_of(keras, 4, 4, [(FEATURES, 4), (4,)], step, lambda rows: tf.ones((rows, 1)) * cell.weight[1])
    model = chain(keras, remembering(cell, keras))
    built_with = live_states(model)[0]
    cell.weight[1].assign([0.1, -0.2, 0.3, 4.0])
    (state,) = describe(load_source(model, LoadOptions()), Boundary()).states
    np.testing.assert_allclose(state.initial, [[0.1, -0.2, 0.3, 4.0]] * BATCH, rtol=1e-6)
    assert np.abs(built_with - state.initial).max() > 1  # what the live model would go on from
    fresh = chain(keras, remembering(cell, keras))
    np.testing.assert_array_equal(live_states(fresh)[0], state.initial)


@GROUP
@pytest.mark.parametrize("api", of_one_keras("tf_keras"))
def test_a_subclassed_model_has_the_batch_that_its_states_were_made_for(api):
    keras = importlib.import_module(api)

    class Holder(keras.Model):
        def __init__(self):
            super().__init__()
            self.memory = keras.layers.GRU(4, stateful=True, return_sequences=True, name="memory")

        def call(self, x):
            return self.memory(x)

    model = Holder()
    model(np.zeros((BATCH, 5, FEATURES), "float32"))
    loading = LoadOptions(inputs={"x": ((None, None, FEATURES), "float32")})  # Keras 3 keeps none of it
    signature = describe(load_source(model, loading), Boundary())
    assert signature.inputs[0].shape == (BATCH, "time", FEATURES)
    assert signature.outputs[0].shape == (BATCH, "time", 4)
