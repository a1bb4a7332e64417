"""The signatures of SavedModel and TFLite, `serving_default`, `step` and `initial_state`, called by their runtimes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module

import numpy as np
import pytest

import rnnexport
from rnnexport.core.signature import Boundary, Signature, StateSpec, argument_name
from rnnexport.targets.base import BATCH_ARGUMENT, DEFAULT_OPSET, INITIAL_STATE, SIGNATURE, STEP, ExportOptions
from rnnexport.targets.registry import target

pytestmark = pytest.mark.xdist_group("entries")

FEATURES, UNITS, MEMORY, OUTPUTS = 5, 32, 4, 3
STEPS, LENGTH = 2, 6  # of a chunk and of a sequence where they are fixed
STARTS = (np.linspace(-1, 1, UNITS, dtype="float32"), np.array([0.5, -0.25, 2, -3], "float32"))
LAYER = "my-layer"  # no identifier
ARGUMENT = "my_layer"  # what TensorFlow calls it where it is an input
EITHER = pytest.mark.parametrize("to", ["saved-model", "tflite"])
OPTIONS = ExportOptions(DEFAULT_OPSET, rnnexport.LoweringRequest())


def cell():
    """A cell with two states that start from numbers of their own."""
    import keras

    class Cell(keras.layers.Layer):
        state_size = (UNITS, MEMORY)
        output_size = UNITS

        def build(self, shape):
            self.kernel = self.add_weight(shape=(shape[-1], UNITS), name="kernel")
            self.recurrent = self.add_weight(shape=(UNITS, UNITS), name="recurrent")
            self.mixing = self.add_weight(shape=(UNITS, MEMORY), name="mixing")
            self.reading = self.add_weight(shape=(MEMORY, UNITS), name="reading")
            self.bias = self.add_weight(shape=(UNITS,), name="bias")

        def call(self, x, states):
            h, c = states
            h = keras.ops.tanh(x @ self.kernel + h @ self.recurrent + c @ self.reading + self.bias)
            c = 0.5 * c + h @ self.mixing
            return h, [h, c]

        def get_initial_state(self, batch_size=None):
            return [keras.ops.tile(keras.ops.reshape(start, (1, -1)), (batch_size, 1)) for start in STARTS]

    return Cell(name="cell")


def with_random_weights(model):
    rng = np.random.default_rng(5)
    model.set_weights([rng.uniform(-0.4, 0.4, weight.shape) for weight in model.get_weights()])
    return model


def stateful():
    """Batch 2, any length."""
    import keras

    x = keras.Input(batch_shape=(2, None, FEATURES), name="x")
    y = keras.layers.RNN(cell(), stateful=True, return_sequences=True, name=LAYER)(x)
    return with_random_weights(keras.Model(x, keras.layers.Dense(OUTPUTS, name="y")(y), name="stateful"))


def pair():
    """One set of weights on whole sequences, and with its states as inputs and outputs."""
    import keras

    x = keras.Input((None, FEATURES), name="x")
    before = [keras.Input((len(start),), name=f"state_{LAYER}_{at:02d}") for at, start in enumerate(STARTS)]
    rnn = keras.layers.RNN(cell(), return_sequences=True, return_state=True, name=LAYER)
    dense = keras.layers.Dense(OUTPUTS, name="y")
    whole = with_random_weights(keras.Model(x, dense(rnn(x)[0]), name="whole"))
    steps, *after = rnn(x, initial_state=before)
    after = [keras.layers.Identity(name=f"next_state_{LAYER}_{at:02d}")(state) for at, state in enumerate(after)]
    return whole, keras.Model([x, *before], [dense(steps), *after], name="chunk")


@dataclass(frozen=True)
class Stream:
    """The model on whole sequences, and traces of it and of its chunks: (chunk, sequence) by target."""

    model: object
    traces: dict[str, tuple[object, object]]

    def signature(self, to):
        return self.traces[to][0].signature


def trace_of(model, *, unroll, **lengths):
    from rnnexport.source.describe import describe
    from rnnexport.source.trace import trace

    source = rnnexport.load(model)
    return trace(source, describe(source, Boundary(**lengths)), unroll=unroll)


def graphs_of(*parts):
    from rnnexport.source.trace import Graphs

    return Graphs(*parts)


def as_stream(traced):
    """The trace of a model that takes and gives its states by itself, told as one that has states."""
    (x, *before), (y, *after) = traced.signature.inputs, traced.signature.outputs
    states = [StateSpec(LAYER, *ends, start[None]) for *ends, start in zip(before, after, STARTS, strict=True)]
    return replace(traced, signature=Signature((x,), (y,), tuple(states)))


@pytest.fixture(scope="module")
def stream():
    whole, chunk = pair()
    opened = as_stream(trace_of(chunk, unroll=False)), trace_of(whole, unroll=False)
    fixed = [(chunk, STEPS), (whole, LENGTH)]
    steps, sequence = (trace_of(model, unroll=True, timesteps=length) for model, length in fixed)
    return Stream(whole, {"saved-model": opened, "tflite": (as_stream(steps), sequence)})


@pytest.fixture(scope="module")
def streams(stream, tmp_path_factory):
    folder = tmp_path_factory.mktemp("streams")
    paths = {to: folder / f"m{target(to).suffix}" for to in stream.traces}
    for to, (chunk, sequence) in stream.traces.items():
        assert target(to).export(graphs_of(chunk, sequence, True), [], paths[to], OPTIONS) == ()
    return paths


@pytest.fixture(scope="module")
def stateful_artifacts(tmp_path_factory):
    folder, model = tmp_path_factory.mktemp("stateful"), stateful()
    paths = {"saved-model": folder / "m_saved_model", "tflite": folder / "m.tflite"}
    rnnexport.export(model, "saved-model", paths["saved-model"])
    rnnexport.export(model, "tflite", paths["tflite"], timesteps=LENGTH)
    return paths


def opened(to, path):
    return target(to).runner(path, "cpu")


def sequences(batch):
    return np.random.default_rng(batch).standard_normal((batch, LENGTH, FEATURES)).astype("float32")


def names(tensors):
    return {tensor.name for tensor in tensors}


@EITHER
def test_initial_state_gives_the_recorded_one_at_every_batch(to, stream, streams):
    with opened(to, streams[to]) as runner:
        initial = runner.at(INITIAL_STATE)
        assert names(initial.inputs) == {BATCH_ARGUMENT}
        for batch in (2, 5, 1):
            found = initial.run({BATCH_ARGUMENT: np.array(batch, np.int32)})
            assert set(found) == {f"state_{ARGUMENT}_00", f"state_{ARGUMENT}_01"}
            for state, start in zip(stream.signature(to).states, STARTS, strict=True):
                np.testing.assert_array_equal(found[argument_name(state.input.name)], np.tile(start, (batch, 1)))
                np.testing.assert_array_equal(found[argument_name(state.input.name)], state.start(batch))


@EITHER
def test_initial_state_of_a_fixed_batch_takes_nothing(to, stateful_artifacts):
    with opened(to, stateful_artifacts[to]) as runner:
        initial = runner.at(INITIAL_STATE)
        assert initial.inputs == ()
        assert {tensor.name: tensor.shape for tensor in initial.outputs} == {
            f"state_{ARGUMENT}_00": (2, UNITS),
            f"state_{ARGUMENT}_01": (2, MEMORY),
        }
        found = initial.run({})
    for at, start in enumerate(STARTS):
        np.testing.assert_array_equal(found[f"state_{ARGUMENT}_{at:02d}"], np.tile(start, (2, 1)))


@EITHER
def test_steps_from_the_initial_state_equal_eager_keras_on_the_whole(to, stream, streams):
    x = sequences(batch=3)
    with opened(to, streams[to]) as runner:
        assert set(runner.entries) == {SIGNATURE, STEP, INITIAL_STATE}
        states = runner.at(INITIAL_STATE).run({BATCH_ARGUMENT: np.array(3, np.int32)})
        given = []
        for at in range(0, LENGTH, STEPS):
            outputs = runner.run({"x": x[:, at : at + STEPS]} | states)
            states = {state.input.name: outputs[state.output.name] for state in stream.signature(to).states}
            given.append(outputs["y"])
    wanted = np.asarray(stream.model(x))
    assert np.ptp(wanted) > 0.5
    np.testing.assert_allclose(np.concatenate(given, axis=1), wanted, atol=1e-6)


@EITHER
def test_serving_default_of_a_stream_takes_whole_sequences(to, stream, streams):
    x = sequences(batch=4)
    with opened(to, streams[to]) as runner:
        serving = runner.at(SIGNATURE)
        assert (names(serving.inputs), names(serving.outputs)) == ({"x"}, {"y"})
        outputs = serving.run({"x": x})
        # The signatures share one artifact in memory; a call of one leaves the others as they were.
        state = runner.at(INITIAL_STATE).run({BATCH_ARGUMENT: np.array(4, np.int32)})
        first = runner.run({"x": x[:, :STEPS]} | state)["y"]
        again = serving.run({"x": x})
    assert set(outputs) == {"y"}
    np.testing.assert_allclose(outputs["y"], np.asarray(stream.model(x)), atol=1e-6)
    np.testing.assert_allclose(first, outputs["y"][:, :STEPS], atol=1e-6)
    np.testing.assert_array_equal(again["y"], outputs["y"])


@EITHER
def test_a_stream_without_sequences_has_no_serving_default(to, stream, tmp_path):
    path = tmp_path / f"m{target(to).suffix}"
    chunk, _ = stream.traces[to]
    target(to).export(graphs_of(chunk, None, True), [], path, OPTIONS)
    with opened(to, path) as runner:
        assert set(runner.entries) == {STEP, INITIAL_STATE}
        states = runner.at(INITIAL_STATE).run({BATCH_ARGUMENT: np.array(3, np.int32)})
        x = sequences(batch=3)[:, :STEPS]
        np.testing.assert_allclose(runner.run({"x": x} | states)["y"], np.asarray(stream.model(x)), atol=1e-6)
        with pytest.raises(KeyError, match=SIGNATURE):
            runner.at(SIGNATURE)


def test_a_chunk_of_fixed_length_beside_sequences_of_any_length(stream, tmp_path):
    """One call of such a chunk is no sequence: the folder holds both functions."""
    path = tmp_path / "m_saved_model"
    graphs = graphs_of(stream.traces["tflite"][0], stream.traces["saved-model"][1], True)
    target("saved-model").export(graphs, [], path, OPTIONS)
    x = sequences(batch=3)
    with opened("saved-model", path) as runner:
        serving = runner.at(SIGNATURE)
        assert {tensor.name: tensor.shape for tensor in runner.inputs}["x"] == (None, STEPS, FEATURES)
        for length in (1, 3, LENGTH):
            found = serving.run({"x": x[:, :length]})["y"]
            np.testing.assert_allclose(found, np.asarray(stream.model(x[:, :length])), atol=1e-6)


def test_sequences_of_fixed_size_beside_chunks_of_any(stream, tmp_path):
    path = tmp_path / "m_saved_model"
    sequence = trace_of(stream.model, unroll=False, batch=3, timesteps=LENGTH)
    target("saved-model").export(graphs_of(stream.traces["saved-model"][0], sequence, True), [], path, OPTIONS)
    x = sequences(batch=3)
    with opened("saved-model", path) as runner:
        serving = runner.at(SIGNATURE)
        assert [tensor.shape for tensor in serving.inputs] == [(3, LENGTH, FEATURES)]
        np.testing.assert_allclose(serving.run({"x": x})["y"], np.asarray(stream.model(x)), atol=1e-6)


@EITHER
def test_of_a_stateful_model_serving_default_and_step_are_one_function(to, stateful_artifacts):
    rng = np.random.default_rng(6)
    feed = {f"state_{LAYER}_{at:02d}": rng.standard_normal((2, len(start))) for at, start in enumerate(STARTS)}
    feed = {name: array.astype("float32") for name, array in feed.items()} | {"x": sequences(batch=2)}
    with opened(to, stateful_artifacts[to]) as runner:
        assert set(runner.entries) == {SIGNATURE, STEP, INITIAL_STATE}
        step, serving = runner.at(STEP), runner.at(SIGNATURE)
        assert set(step.inputs) == set(serving.inputs) == set(runner.inputs)
        assert names(step.inputs) == {argument_name(name) for name in feed}
        assert set(step.outputs) == set(serving.outputs) == set(runner.outputs)
        found = [one.run(feed) for one in (step, serving, runner)]
    assert set(found[0]) == {"y", f"next_state_{LAYER}_00", f"next_state_{LAYER}_01"}
    for name, array in found[0].items():
        np.testing.assert_array_equal(array, found[1][name])
        np.testing.assert_array_equal(array, found[2][name])


def graphs(path):
    """The number of each signature's graph in a TFLite file, and how many graphs there are."""
    from rnnexport.targets.tflite.metadata import parse

    model, _ = parse(path)
    entries = [model.SignatureDefs(at) for at in range(model.SignatureDefsLength())]
    return {entry.SignatureKey().decode(): entry.SubgraphIndex() for entry in entries}, model.SubgraphsLength()


def test_the_first_graph_of_a_tflite_file_is_that_of_its_main_signature(streams, stateful_artifacts):
    """It is the one that runs in an interpreter that is told no signature."""
    assert graphs(streams["tflite"]) == ({STEP: 0, INITIAL_STATE: 1, SIGNATURE: 2}, 3)
    assert graphs(stateful_artifacts["tflite"]) == ({STEP: 0, INITIAL_STATE: 1, SIGNATURE: 0}, 2)


@EITHER
def test_weights_are_in_an_artifact_once(to, stream, streams, stateful_artifacts):
    weights = [weight for weight in stream.model.get_weights() if weight.size > UNITS]
    assert len(weights) == 5
    for path in (streams[to], stateful_artifacts[to]):
        data = (path / "saved_model.pb" if path.is_dir() else path).read_bytes()
        for weight in weights:  # a product may have been turned round
            assert data.count(weight.tobytes()) + data.count(weight.T.tobytes()) == 1, (path.name, weight.shape)


@EITHER
def test_the_values_inside_are_those_of_the_main_signature(to, stream, streams):
    x = sequences(batch=3)[:, :STEPS]
    feed = {"x": x} | {state.input.name: state.start(3) for state in stream.signature(to).states}
    values = import_module(f"{target(to).package}.values").inner_values(streams[to], feed).values
    wanted = np.asarray(stream.model(x))
    assert any(value.array.shape == wanted.shape and np.allclose(value.array, wanted, atol=1e-6) for value in values)


@EITHER
def test_a_model_without_states_has_one_signature(to, stream, tmp_path):
    path = tmp_path / f"m{target(to).suffix}"
    target(to).export(graphs_of(stream.traces[to][1]), [], path, OPTIONS)
    x = sequences(batch=3)
    with opened(to, path) as runner:
        assert runner.entries == (SIGNATURE,)
        np.testing.assert_allclose(runner.run({"x": x})["y"], np.asarray(stream.model(x)), atol=1e-6)
        np.testing.assert_array_equal(runner.at(SIGNATURE).run({"x": x})["y"], runner.run({"x": x})["y"])
        for entry in (STEP, INITIAL_STATE, "other"):
            with pytest.raises(KeyError, match=entry):
                runner.at(entry)


def other_signature(to, path):
    """A file of another tool, which calls its one function `other`."""
    import tensorflow as tf

    module = tf.Module()
    module.double = tf.function(lambda x: {"y": 2 * x}, input_signature=[tf.TensorSpec([None, 3], name="x")])
    folder = path.with_name("saved")
    tf.saved_model.save(module, str(folder), signatures={"other": module.double})
    if to == "saved-model":
        return folder
    path.write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=["other"]).convert())
    return path


@EITHER
def test_an_artifact_without_a_main_signature_is_refused(to, tmp_path):
    with (
        pytest.raises(rnnexport.UsageError, match=SIGNATURE),
        opened(to, other_signature(to, tmp_path / "m.tflite")),
    ):
        pass


@pytest.mark.parametrize("where", ["chunk", "sequence"])
def test_what_tflite_lacks_is_refused_with_its_layer_whichever_function_it_is_in(where, stream, tmp_path):
    import keras

    class Spectrum(keras.layers.Layer):
        def call(self, x):
            import tensorflow as tf

            return tf.math.real(tf.linalg.eigvals(x[:, :, None] * x[:, None, :]))

    x = keras.Input((4,), name="x")
    odd = trace_of(keras.Model(x, Spectrum(name="spectrum")(x), name="odd"), unroll=True)
    chunk, sequence = stream.traces["tflite"]
    odd_chunk = replace(odd, signature=replace(odd.signature, states=chunk.signature.states))
    pairs = {"chunk": (odd_chunk, sequence), "sequence": (chunk, odd)}
    path = tmp_path / "m.tflite"
    with pytest.raises(rnnexport.ConversionError, match=r"form of Eig .*in .*spectrum"):
        target("tflite").export(graphs_of(*pairs[where], True), [], path, OPTIONS)
    assert not path.exists()


def test_equal_models_give_equal_bytes(stream, streams, tmp_path):
    """Whatever was converted before: TensorFlow numbers what it makes."""
    whole, chunk = pair()
    steps, sequence = (
        trace_of(model, unroll=True, timesteps=length) for model, length in [(chunk, STEPS), (whole, LENGTH)]
    )
    target("tflite").export(graphs_of(as_stream(steps), sequence, True), [], tmp_path / "m.tflite", OPTIONS)
    assert (tmp_path / "m.tflite").read_bytes() == streams["tflite"].read_bytes()
