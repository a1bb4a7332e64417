"""Models that people have, on every target, judged here by inputs of our own besides the tool's verification."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import rnnexport
from rnnexport.api import export_job
from rnnexport.api.export import export_all
from rnnexport.core.errors import MismatchError
from rnnexport.core.signature import argument_name
from rnnexport.targets.registry import TARGET_NAMES, target
from rnnexport.verification.tolerance import Tolerance
from tests.in_turn import wanted_targets

APIS = ("keras", "tf_keras")
RNG = np.random.default_rng(21)
LENGTH = 6


def group(build):
    return pytest.mark.xdist_group(build.__name__)


def random_weights(model, seed=5):
    rng = np.random.default_rng(seed)
    model.set_weights([rng.uniform(-0.7, 0.7, weight.shape) for weight in model.get_weights()])
    return model


def padded(values, patterns):
    """`values` with 0 at the steps where `patterns` (a string a row, `.` is padding) says so."""
    keep = np.array([[character != "." for character in row] for row in patterns])
    return np.where(keep.reshape(keep.shape + (1,) * (values.ndim - 2)), values, 0).astype(values.dtype)


PATTERNS = ("xxxxxx", "xxx...", "...xxx", "xx..xx", "......")


def masked_ids(keras):
    x = keras.Input((None,), dtype="int32", name="ids")
    y = keras.layers.Embedding(5000, 3, mask_zero=True)(x)
    y = keras.layers.Bidirectional(keras.layers.LSTM(4, return_sequences=True))(y)
    return random_weights(keras.Model(x, keras.layers.GRU(3)(y))), [
        padded(RNG.integers(1, 5000, (5, LENGTH)), PATTERNS)
    ]


def masked_features(keras):
    x = keras.Input((None, 3), name="features")
    y = keras.layers.Masking()(x)
    y = keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True), merge_mode="sum")(y)
    model = random_weights(
        keras.Model(x, keras.layers.Bidirectional(keras.layers.SimpleRNN(2, return_sequences=True))(y))
    )
    return model, [padded(RNG.standard_normal((5, LENGTH, 3)).astype("float32"), PATTERNS)]


def float_ids(keras):
    x = keras.Input((None,), name="ids")
    y = keras.layers.LSTM(4)(keras.layers.Embedding(7, 3, mask_zero=True)(x))
    return random_weights(keras.Model(x, y)), [RNG.integers(0, 7, (2, LENGTH)).astype("float32")]


def two_lengths(keras):
    e, d = keras.Input((None, 3), name="encoder"), keras.Input((None, 2), name="decoder")
    state = keras.layers.GRU(4)(keras.layers.LayerNormalization()(e))
    y = keras.layers.GRU(4, return_sequences=True)(keras.layers.LayerNormalization()(d), initial_state=state)
    x = [RNG.standard_normal((2, LENGTH, 3)), RNG.standard_normal((2, LENGTH, 2))]
    return random_weights(keras.Model([e, d], y)), [array.astype("float32") for array in x]


def odd_names(keras):
    inputs = [keras.Input((None, 2), name=name) for name in ("class", "self", "1st", "a.b")]
    y = keras.layers.GRU(3, return_sequences=True)(keras.layers.Concatenate()(inputs))
    x = [RNG.standard_normal((2, LENGTH, 2)).astype("float32") for _ in inputs]
    return random_weights(keras.Model(inputs, y)), x


def time_distributed(keras):
    x = keras.Input((None, 3), name="x")
    y = keras.layers.TimeDistributed(keras.layers.Dense(4, activation="tanh"))(
        keras.layers.GRU(5, return_sequences=True)(x)
    )
    return random_weights(keras.Model(x, y)), [RNG.standard_normal((2, LENGTH, 3)).astype("float32")]


def convolutional(keras):
    x = keras.Input((None, 5, 4, 2), name="frames")
    y = keras.layers.ConvLSTM2D(3, 3, padding="same", return_sequences=True)(x)
    y = keras.layers.ConvLSTM2D(2, 3, go_backwards=True)(y)
    return random_weights(keras.Model(x, y)), [RNG.standard_normal((2, LENGTH, 5, 4, 2)).astype("float32")]


def dropout_and_stack(keras):
    x = keras.Input((None, 3), name="x")
    y = keras.layers.LSTM(4, dropout=0.3, recurrent_dropout=0.2, return_sequences=True)(x)
    y = keras.layers.RNN([keras.layers.GRUCell(3), keras.layers.LSTMCell(2)], return_sequences=True)(y)
    return random_weights(keras.Model(x, y)), [RNG.standard_normal((2, LENGTH, 3)).astype("float32")]


def valid_convolution(keras):
    """Needs three steps: the source itself can't run the feed of one."""
    x = keras.Input((None, 3), name="x")
    y = keras.layers.GRU(4, return_sequences=True)(keras.layers.Conv1D(5, 3)(x))
    return random_weights(keras.Model(x, y)), [RNG.standard_normal((2, LENGTH, 3)).astype("float32")]


BUILDS = [
    masked_ids,
    masked_features,
    float_ids,
    two_lengths,
    odd_names,
    time_distributed,
    convolutional,
    dropout_and_stack,
    valid_convolution,
]


def each_time(at: int, api: str, to: str) -> bool:
    """ONNX and another target, in turn, from one Keras, in turn. `make test-long` runs all.

    Masks of features and convolutional recurrences are among the layers of `test_origins`.
    """
    if BUILDS[at] in (masked_features, convolutional):
        return False
    others = [name for name in TARGET_NAMES if name != "onnx"]
    return api == APIS[at % len(APIS)] and to in ("onnx", others[at // len(APIS) % len(others)])


CELLS = [
    pytest.param(build, api, to, marks=[group(build), *([] if each_time(at, api, to) else [pytest.mark.long])])
    for at, build in enumerate(BUILDS)
    for api in APIS
    for to in TARGET_NAMES
]


@pytest.fixture(scope="module")
def exported_for(request, tmp_path_factory):
    """A model, its inputs, and its export to a target; all targets of one model that are wanted share a load."""
    done = {}

    def export(build, api, to):
        if (build, api) not in done:
            model, arrays = build(importlib.import_module(api))
            targets = list(dict.fromkeys([*wanted_targets(request, build=build, api=api), to]))
            folder = tmp_path_factory.mktemp(build.__name__)
            artifacts = export_all(model, targets, folder, tflite_timesteps=LENGTH)
            done[build, api] = model, arrays, dict(zip(targets, artifacts, strict=True))
        model, arrays, artifacts = done[build, api]
        return model, arrays, artifacts[to]

    return export


@pytest.mark.parametrize(("build", "api", "to"), CELLS)
def test_artifacts_are_right_on_other_inputs_too(build, api, to, exported_for):
    model, arrays, exported = exported_for(build, api, to)
    assert exported.report is not None
    assert exported.report.tolerances.usual
    signature = target(to).read_proof(exported.path).provenance.signature
    feed = {spec.name: array.astype(spec.dtype) for spec, array in zip(signature.inputs, arrays, strict=True)}
    expected = np.asarray(model(list(feed.values()) if len(feed) > 1 else next(iter(feed.values()))))
    with target(to).runner(exported.path, "cpu") as runner:
        assert {tensor.name for tensor in runner.inputs} == {target(to).input_name(name) for name in feed}
        (found,) = runner.run(feed).values()
    np.testing.assert_allclose(found, expected, atol=3e-6, rtol=1e-5)


@group(two_lengths)
def test_sequences_of_two_lengths_have_two_names_and_run(exported_for):
    model, _, exported = exported_for(two_lengths, "tf_keras", "onnx")
    e, d = (RNG.standard_normal(shape).astype("float32") for shape in ((2, 9, 3), (2, 5, 2)))
    with target("onnx").runner(exported.path, "cpu") as runner:
        assert [tensor.shape for tensor in runner.inputs] == [("batch", "time", 3), ("batch", "decoder_time", 2)]
        assert [tensor.shape for tensor in runner.outputs] == [("batch", "decoder_time", 4)]
        (found,) = runner.run({"encoder": e, "decoder": d}).values()
    np.testing.assert_allclose(found, np.asarray(model([e, d])), atol=3e-6)


@pytest.mark.long
@pytest.mark.xdist_group("two_lengths")
def test_sequences_that_must_be_as_long_share_a_name(tmp_path):
    import keras

    a, b = keras.Input((None, 3), name="a"), keras.Input((None, 3), name="b")
    model = keras.Model([a, b], keras.layers.GRU(2, return_sequences=True)(keras.layers.Add()([a, b])))
    path = rnnexport.export(model, "onnx", tmp_path / "m.onnx").path
    with target("onnx").runner(path, "cpu") as runner:
        assert [tensor.shape for tensor in runner.inputs] == [("batch", "time", 3)] * 2


@pytest.mark.xdist_group("positions")
def test_a_model_with_few_positions_is_probed_and_fed_within_them(tmp_path):
    import keras
    from keras import ops

    class Positions(keras.layers.Layer):
        def build(self, shape):
            self.table = self.add_weight(name="table", shape=(16, shape[-1]), initializer="random_normal")

        def call(self, x):
            return x + ops.take(self.table, ops.arange(ops.shape(x)[1]), axis=0)

    x = keras.Input((None, 3), name="x")
    model = random_weights(keras.Model(x, keras.layers.GRU(4, return_sequences=True)(Positions()(x))))
    exported = rnnexport.export(model, "onnx", tmp_path / "m.onnx")
    assert exported.report is not None
    assert len(exported.report.feeds) == 12  # without the long one: the table has 16 positions


@pytest.mark.long
@pytest.mark.xdist_group("precision")
def test_a_source_that_is_less_certain_is_judged_less_tightly(tmp_path):
    import keras

    x = keras.Input((None, 8), name="x")
    chaotic = keras.Model(x, keras.layers.GRU(64, return_sequences=True)(x))
    rng = np.random.default_rng(0)
    chaotic.set_weights([rng.normal(0, 0.6, weight.shape) for weight in chaotic.get_weights()])
    half = random_weights(keras.Model(x, keras.layers.GRU(4, dtype="mixed_float16")(x)))
    for name, model in (("chaotic", chaotic), ("half", half)):
        for to in ("onnx", "saved-model"):
            exported = rnnexport.export(model, to, tmp_path / (name + target(to).suffix))
            assert exported.report is not None
            tolerance = exported.report.tolerances.default
            assert rnnexport.verify(exported.path).artifacts[0].tolerances.default == tolerance
            (output,) = exported.report.outputs()
            if name == "chaotic":  # at the values that rounding moves, and at no others
                assert tolerance == Tolerance()
                assert 0 < output.bounds.wider < output.errors.count
            else:
                assert Tolerance().rtol < tolerance.rtol <= 1e-1


@pytest.mark.xdist_group("precision")
@pytest.mark.parametrize("kind", ["counter", "noise"])
def test_a_source_that_does_not_repeat_itself_is_refused(kind, tmp_path):
    """Its own movement must never widen the tolerance it is judged with."""
    import keras

    class Odd(keras.layers.Layer):
        calls = 0

        def call(self, x):
            type(self).calls += 1
            return x + (keras.random.normal((3,)) if kind == "noise" else 0.01 * self.calls)

    x = keras.Input((None, 3), name="x")
    model = random_weights(keras.Model(x, keras.layers.GRU(4)(Odd()(x))))
    with pytest.raises(rnnexport.ConversionError, match="different results for the same inputs"):
        rnnexport.export(model, "onnx", tmp_path / "m.onnx")


@pytest.mark.xdist_group("precision")
def test_a_float32_readout_of_a_float16_layer_is_judged_as_float16(tmp_path):
    import keras

    x = keras.Input((None, 8), name="x")
    y = keras.layers.Dense(2, dtype="float32")(keras.layers.GRU(4, dtype="mixed_float16")(x))
    exported = rnnexport.export(random_weights(keras.Model(x, y)), "onnx", tmp_path / "m.onnx")
    assert exported.report is not None
    assert 1e-5 < exported.report.tolerances.default.rtol <= 5e-2


@pytest.mark.xdist_group("precision")
@pytest.mark.parametrize("dtype", ["float64"])
def test_wide_models_keep_their_dtype(dtype, tmp_path):
    import keras

    x = keras.Input((None, 3), name="x", dtype=dtype)
    model = random_weights(keras.Model(x, keras.layers.GRU(4, dtype=dtype)(x)))
    for to in ("onnx", "saved-model"):
        exported = rnnexport.export(model, to, tmp_path / ("m" + target(to).suffix))
        assert exported.report is not None
        assert exported.report.max_abs < 1e-12
        with target(to).runner(exported.path, "cpu") as runner:
            assert [tensor.dtype for tensor in (*runner.inputs, *runner.outputs)] == [dtype, dtype]


def test_argument_names_of_odd_names_are_apart():
    names = [argument_name(name) for name in ("class", "self", "1st", "a.b")]
    assert names == ["class_", "self_", "input_1st", "a_b"]


def test_a_form_that_leaves_the_tolerance_keeps_the_loop(tmp_path, monkeypatch):
    import keras

    verified, calls = export_job._verified, []

    def strict_at_first(form, proof, order, path, override, progress):
        calls.append(path)
        if len(calls) == 1:
            raise MismatchError("model.onnx differs", "agreement", "-")
        return verified(form, proof, order, path, override, progress)

    monkeypatch.setattr(export_job, "_verified", strict_at_first)
    x = keras.Input((None, 3), name="x")
    model = random_weights(keras.Model(x, keras.layers.GRU(4)(x)))
    exported = rnnexport.export(model, "onnx", tmp_path / "model.onnx")
    assert exported.report.status == "passed"
    assert exported.lowering[0].chosen == "loop"
    assert exported.lowering[0].why == "the faster form left the tolerance: model.onnx differs"
    assert rnnexport.verify(exported.path).artifacts[0].lowering == exported.lowering
    calls.clear()
    asked = rnnexport.LoweringRequest("native")
    with pytest.raises(MismatchError):
        rnnexport.export(model, "onnx", tmp_path / "model.onnx", lowering=asked)
