"""Subclassed models, which no file format holds, by the Python API: any structure of inputs, lengths left open."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

import rnnexport
from rnnexport.core.load_options import LoadOptions
from tests.in_turn import of_one_keras

pytestmark = pytest.mark.xdist_group("subclassed")
RNG = np.random.default_rng(12)
X = RNG.standard_normal((2, 7, 3)).astype("float32")
B = RNG.standard_normal((2, 3)).astype("float32")


def randomised(model):
    model.set_weights([RNG.normal(0, 0.5, weight.shape).astype("float32") for weight in model.get_weights()])
    return model


def one(k):
    class One(k.Model):
        def __init__(self):
            super().__init__()
            self.recurrent = k.layers.GRU(4, return_sequences=True)
            self.dense = k.layers.Dense(2)

        def call(self, x):
            return self.dense(self.recurrent(x))

    return One()


def python_loop(k):
    """Its length is a Python number: what it was called with is what it has."""

    class Loop(k.Model):
        def __init__(self):
            super().__init__()
            self.cell = k.layers.GRUCell(4)

        def call(self, x):
            import tensorflow as tf

            h, found = tf.zeros((tf.shape(x)[0], 4)), []
            for t in range(x.shape[1]):
                h, _ = self.cell(x[:, t], [h])
                found.append(h)
            return tf.stack(found, 1)

    return Loop()


def several(k, read):
    class Several(k.Model):
        def __init__(self):
            super().__init__()
            self.recurrent = k.layers.LSTM(4)
            self.dense = k.layers.Dense(4)

        def call(self, inputs):
            a, b = read(inputs)
            return {"total": self.recurrent(a) + self.dense(b), "first": a[:, 0]}

    return Several()


def run(path, *arrays):
    session = onnxruntime.InferenceSession(str(path))
    feed = {spec.name: array for spec, array in zip(session.get_inputs(), arrays, strict=True)}
    shapes = {spec.name: spec.shape for spec in session.get_inputs()}
    return session.run(None, feed), shapes


@pytest.mark.parametrize("name", of_one_keras("tf_keras"))
def test_the_length_it_was_first_called_with_is_no_part_of_it(name, tmp_path):
    model = one(pytest.importorskip(name))
    model(X)
    randomised(model)
    path = rnnexport.export(model, "onnx", tmp_path / "m.onnx").path
    longer = RNG.standard_normal((5, 13, 3)).astype("float32")
    (found,), shapes = run(path, longer)
    assert list(shapes.values()) == [["batch", "time", 3]]
    np.testing.assert_allclose(found, np.asarray(model(longer)), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", of_one_keras("keras"))
def test_a_length_in_python_stays_what_it_was(name, tmp_path):
    model = python_loop(pytest.importorskip(name))
    model(X)
    randomised(model)
    path = rnnexport.export(model, "onnx", tmp_path / "m.onnx").path
    more = RNG.standard_normal((5, 7, 3)).astype("float32")
    (found,), shapes = run(path, more)
    assert list(shapes.values()) == [["batch", 7, 3]]
    np.testing.assert_allclose(found, np.asarray(model(more)), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", of_one_keras("tf_keras"))
@pytest.mark.parametrize("structure", ["list", pytest.param("dict", marks=pytest.mark.long)])
def test_several_inputs_keep_their_structure_and_their_own_lengths(name, structure, tmp_path):
    read = (lambda inputs: inputs) if structure == "list" else (lambda inputs: (inputs["a"], inputs["b"]))
    packed = (lambda a, b: [a, b]) if structure == "list" else (lambda a, b: {"a": a, "b": b})
    model = several(pytest.importorskip(name), read)
    model(packed(X, B))
    randomised(model)
    path = rnnexport.export(model, "onnx", tmp_path / "m.onnx").path
    a, b = RNG.standard_normal((4, 9, 3)).astype("float32"), RNG.standard_normal((4, 3)).astype("float32")
    found, shapes = run(path, a, b)
    assert list(shapes.values()) == [["batch", "time", 3], ["batch", 3]]
    expected = model(packed(a, b))
    assert len(found) == 2
    for array in found:
        wanted = expected["total"] if array.shape == (4, 4) else expected["first"]
        np.testing.assert_allclose(array, np.asarray(wanted), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", of_one_keras("keras"))
def test_inputs_may_be_given_for_a_model_that_was_never_called(name, tmp_path):
    model = one(pytest.importorskip(name))
    loading = LoadOptions(inputs={"sound": ((None, None, 3), "float32")})
    path = rnnexport.export(model, "onnx", tmp_path / "m.onnx", loading=loading).path
    (found,), shapes = run(path, X)
    assert shapes == {"sound": ["batch", "time", 3]}
    np.testing.assert_allclose(found, np.asarray(model(X)), rtol=1e-5, atol=2e-6)


def test_arguments_of_their_own_are_given_by_their_names(tmp_path):
    import keras

    class Arguments(keras.Model):
        def __init__(self):
            super().__init__()
            self.recurrent = keras.layers.LSTM(4)
            self.dense = keras.layers.Dense(4)

        def call(self, left, right):
            return self.recurrent(left) - self.dense(right)

    model = Arguments()
    model(X, B)
    randomised(model)
    loading = LoadOptions(inputs={"left": ((None, None, 3), "float32"), "right": ((None, 3), "float32")})
    path = rnnexport.export(model, "onnx", tmp_path / "m.onnx", loading=loading).path
    (found,), shapes = run(path, X, B)
    assert shapes == {"left": ["batch", "time", 3], "right": ["batch", 3]}
    np.testing.assert_allclose(found, np.asarray(model(X, B)), rtol=1e-5, atol=2e-6)


def with_state(k):
    class Arguments(k.Model):
        def __init__(self):
            super().__init__()
            self.recurrent = k.layers.SimpleRNN(4, return_sequences=True)
            self.dense = k.layers.Dense(2)

        def call(self, sound, state, training=False):
            return self.dense(self.recurrent(sound, initial_state=state))

    return Arguments()


STATES = RNG.standard_normal((5, 4)).astype("float32")


@pytest.mark.parametrize("call", ["by place", "by name", "with a flag"])
def test_what_each_argument_was_called_with_is_known(call):
    """tf_keras keeps it for all of them."""
    import tensorflow as tf

    model = with_state(pytest.importorskip("tf_keras"))
    sound, state = tf.constant(X), tf.constant(STATES[:2])
    if call == "by name":
        model(sound=sound, state=state)
    else:
        model(sound, state, **({"training": False} if call == "with a flag" else {}))
    source = rnnexport.load(randomised(model))
    found = [(one.name, one.shape, one.dtype) for one in source.api.inputs(source.model)]
    assert sorted(found) == [("sound", (None, None, 3), "float32"), ("state", (None, 4), "float32")]
    longer = RNG.standard_normal((5, 13, 3)).astype("float32")
    feed = {"sound": longer, "state": STATES}
    (given,) = source.api.call(source.model, [tf.constant(feed[name]) for name, _, _ in found])
    np.testing.assert_array_equal(given, model(tf.constant(longer), tf.constant(STATES)))


@pytest.mark.parametrize("name", of_one_keras("tf_keras"))
def test_a_model_of_several_arguments_is_exported(name, tmp_path):
    import tensorflow as tf

    model = with_state(pytest.importorskip(name))
    model(tf.constant(X), tf.constant(STATES[:2]))
    loading = LoadOptions()
    if name == "keras":  # which keeps what the first was called with
        told = r'give LoadOptions\(inputs=\{"sound": \(SHAPE, DTYPE\), "state": \(SHAPE, DTYPE\)\}\)'
        with pytest.raises(rnnexport.ConversionError, match=told):
            rnnexport.load(model)
        loading = LoadOptions(inputs={"sound": ((None, None, 3), "float32"), "state": ((None, 4), "float32")})
    path = rnnexport.export(randomised(model), "onnx", tmp_path / "m.onnx", loading=loading).path
    longer = RNG.standard_normal((5, 13, 3)).astype("float32")
    (found,) = onnxruntime.InferenceSession(str(path)).run(None, {"sound": longer, "state": STATES})
    wanted = model(tf.constant(longer), tf.constant(STATES))
    np.testing.assert_allclose(found, np.asarray(wanted), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", of_one_keras("keras"))
def test_inputs_that_the_model_does_not_take_are_told(name, tmp_path):
    model = one(pytest.importorskip(name))
    model(X)
    loading = LoadOptions(inputs={"x": ((None, None, 9), "float32")})
    with pytest.raises(rnnexport.ConversionError, match=r"can't be called with .*9.*give LoadOptions\(inputs="):
        rnnexport.export(model, "onnx", tmp_path / "m.onnx", loading=loading)


def test_the_live_model_is_left_as_it_was(tmp_path):
    import keras

    model = one(keras)
    before = np.asarray(model(X))
    rnnexport.export(model, "onnx", tmp_path / "m.onnx")
    assert not getattr(model, "inputs", None)
    np.testing.assert_array_equal(np.asarray(model(X)), before)


@pytest.mark.parametrize("name", of_one_keras("tf_keras"))
@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_ids_are_integers_at_the_boundary(name, policy, tmp_path):
    k = pytest.importorskip(name)

    class Ids(k.Model):
        def __init__(self):
            super().__init__(dtype=policy)
            self.embedding = k.layers.Embedding(5000, 3, dtype=policy)
            self.recurrent = k.layers.GRU(4, dtype=policy)

        def call(self, ids):
            return self.recurrent(self.embedding(ids))

    model = Ids()
    ids = np.array([[4097, 4095, 2], [1, 4999, 4097]], "int32")
    model(ids)
    randomised(model)
    path = rnnexport.export(model, "onnx", tmp_path / "m.onnx").path
    session = onnxruntime.InferenceSession(str(path))
    (spec,) = session.get_inputs()
    assert (spec.type, spec.shape) == ("tensor(int32)", ["batch", "time"])
    found = session.run(None, {spec.name: ids})[0]
    np.testing.assert_allclose(found, np.asarray(model(ids)), atol=2e-3 if "16" in policy else 2e-6)


def test_floats_of_a_mixed_model_are_float32_at_the_boundary(tmp_path):
    import keras

    class Mixed(keras.Model):
        def __init__(self):
            super().__init__(dtype="mixed_float16")
            self.recurrent = keras.layers.GRU(4, dtype="mixed_float16")

        def call(self, x):
            return self.recurrent(x)

    model = Mixed()
    model(X)
    path = rnnexport.export(model, "onnx", tmp_path / "m.onnx").path
    (spec,) = onnxruntime.InferenceSession(str(path)).get_inputs()
    assert spec.type == "tensor(float)"
