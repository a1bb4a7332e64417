"""`--cast float32`: an artifact in float32 of a model in another float, compared with the model as it is."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import rnnexport
from rnnexport.report.words import computed_line
from rnnexport.targets.registry import target

LONG = pytest.mark.long
GROUP = pytest.mark.xdist_group("casting")
STEPS = 6


def model_of(api, dtype, steps=STEPS, stateful=False):
    """In `dtype`, what goes in and comes out too, but where that is mixed."""
    layers, rng = api.layers, np.random.default_rng(5)
    policy = dtype if api is keras else api.mixed_precision.Policy(dtype)
    given = dtype.removeprefix("mixed_") if not dtype.startswith("mixed_") else "float32"
    x = api.Input((steps, 3), batch_size=2 if stateful else None, dtype=given, name="x")
    # The usual initializer, a QR, there is not in bfloat16.
    options = {"recurrent_initializer": "glorot_normal", "dtype": policy}
    y = layers.GRU(4, return_sequences=True, stateful=stateful, name="gru", **options)(x)
    model = api.Model(x, layers.Dense(2, dtype=policy, name="y")(y), name="other")
    model.set_weights([rng.uniform(-0.9, 0.9, array.shape).astype(array.dtype) for array in model.get_weights()])
    return model


@GROUP
@pytest.mark.parametrize(
    ("api", "dtype"),
    [
        pytest.param(keras, "float64", marks=LONG),
        pytest.param(keras, "mixed_bfloat16", marks=LONG),
        pytest.param(keras, "bfloat16", marks=LONG),
        (tf_keras, "float16"),
        pytest.param(tf_keras, "float64", marks=LONG),
        pytest.param(keras, "mixed_float16", marks=LONG),
    ],
)
def test_a_tflite_file_is_refused_for_its_dtype_and_made_with_a_cast(api, dtype, tmp_path):
    model, path = model_of(api, dtype), tmp_path / "m.tflite"
    with pytest.raises(rnnexport.ConversionError, match=r"float64|float16|bfloat16") as caught:
        rnnexport.export(model, "tflite", path)
    assert "cast='float32'" in str(caught.value)
    assert len(str(caught.value)) < 250
    assert not path.exists()

    exported = rnnexport.export(model, "tflite", path, cast="float32")
    provenance = exported.report.provenance
    assert {spec.dtype for spec in (*provenance.signature.all_inputs, *provenance.signature.all_outputs)} == {"float32"}
    assert provenance.options["cast"] == "float32"
    assert [note for note in provenance.semantics if note.startswith("cast: ")]
    assert re.search(r"cast to float32 in the artifact, which is up to \S+ off", computed_line(exported.report))
    x = np.random.default_rng(9).standard_normal((3, STEPS, 3)).astype(np.float32)
    with target("tflite").runner(path, "cpu") as runner:
        (found,) = runner.run({"x": x}).values()
    wanted = np.asarray(model(tf.cast(x, model.inputs[0].dtype)))
    bound = 2e-6 if dtype == "float64" else 2e-2
    np.testing.assert_allclose(found, wanted.astype(np.float64), rtol=0, atol=bound)


@pytest.mark.long
@GROUP
def test_it_is_verified_anew_beside_its_source(tmp_path):
    model, path = model_of(keras, "float64"), tmp_path / "m.tflite"
    rnnexport.export(model, "tflite", path, cast="float32")
    assert rnnexport.verify(path).passed
    assert rnnexport.verify(path, source=model).passed
    weights = model.get_weights()
    weights[-2][0, 1] += 1e-3
    model.set_weights(weights)
    assert not rnnexport.verify(path, source=model).passed


@GROUP
@pytest.mark.parametrize("to", ["onnx", *(pytest.param(name, marks=LONG) for name in ("numpy", "saved-model"))])
def test_other_formats_keep_the_dtype_unless_it_is_cast(to, tmp_path):
    model = model_of(keras, "float64")
    for cast, dtype in (("", "float64"), ("float32", "float32")):
        path = tmp_path / f"{dtype}{target(to).suffix}"
        exported = rnnexport.export(model, to, path, cast=cast)
        assert {spec.dtype for spec in exported.report.provenance.signature.all_outputs} == {dtype}


@GROUP
@pytest.mark.parametrize(
    ("api", "options"), [pytest.param(tf_keras, {"timesteps": STEPS}, marks=LONG), (keras, {"stream": "dynamic"})]
)
def test_states_are_cast_as_well(api, options, tmp_path):
    model, path = model_of(api, "float64", steps=None, stateful=api is tf_keras), tmp_path / "m.tflite"
    exported = rnnexport.export(model, "tflite", path, cast="float32", **options)
    (state,) = exported.report.provenance.signature.states
    assert state.input.dtype == state.output.dtype == "float32"


def inside(dtype):
    """Of float32, but for quantiles, which Keras computes in float64, and a layer of that dtype between two."""
    x = keras.Input((STEPS, 3))
    y = keras.layers.Dense(4, activation="tanh", dtype=dtype)(x)
    parts = [keras.ops.median(y, axis=1), keras.ops.quantile(y, 0.3, axis=1), keras.ops.nextafter(y[:, 0], y[:, 1])]
    return keras.Model(x, [keras.layers.Dense(2)(part) for part in parts], name="inside")


@GROUP
def test_float64_inside_a_model_in_float32_is_cast_by_itself(tmp_path):
    assert rnnexport.export(inside("float32"), "tflite", tmp_path / "m.tflite").report.status == "passed"


@LONG
@GROUP
def test_weights_in_float64_inside_a_model_in_float32_are_not(tmp_path):
    model, path = inside("float64"), tmp_path / "m.tflite"
    with pytest.raises(rnnexport.ConversionError, match=r"float64 in .*give cast='float32'"):
        rnnexport.export(model, "tflite", path)
    assert rnnexport.export(model, "tflite", path, cast="float32").report.status == "passed"


def test_another_cast_is_a_usage_error(tmp_path):
    with pytest.raises(rnnexport.UsageError, match="cast='float16'"):
        rnnexport.export(model_of(keras, "float32"), "tflite", tmp_path / "m.tflite", cast="float16")
