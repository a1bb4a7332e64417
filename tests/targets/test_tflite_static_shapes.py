"""Files with an open batch in which LiteRT knows every shape before it runs, and gives the same in every call."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers

import rnnexport
from rnnexport.core.forms import TFLiteForm
from rnnexport.targets.base import Kernels
from rnnexport.targets.registry import target
from rnnexport.targets.tflite.static_shapes import with_static_shapes
from rnnexport.targets.tflite.tree import kind_of, tree_of

STEPS, TOKENS = 6, 20
BATCHES = (1, 2, 5, 7, 33)
RNG = np.random.default_rng(29)
H0 = RNG.standard_normal((1, 4)).astype(np.float32)


def written(function, *specs):
    """What the converter makes of a function, as it is."""
    module = tf.Module()
    module.function = tf.function(function, input_signature=specs)
    concrete = module.function.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([concrete], module).convert()


def called(data, feeds, *, delegate=True):
    """The outputs of one interpreter, call by call."""
    kinds = OpResolverType.AUTO if delegate else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    run = Interpreter(model_content=data, experimental_op_resolver_type=kinds).get_signature_runner("serving_default")
    return [{name: np.array(array) for name, array in run(**feed).items()} for feed in feeds]


def unknown(data, batch):
    """The kinds of operators whose outputs LiteRT has no memory for before it runs."""
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(model_content=data, experimental_op_resolver_type=plain)
    for detail in interpreter.get_input_details():
        interpreter.resize_tensor_input(detail["index"], [batch, *detail["shape"][1:]])
    interpreter.allocate_tensors()
    tree = tree_of(data)
    found = []
    for operator in tree.subgraphs[0].operators:
        try:
            [interpreter.tensor(int(at))() for at in operator.outputs]
        except ValueError:
            found.append(kind_of(tree, operator))
    return found


def spec(*shape, dtype=tf.float32, name="x"):
    return tf.TensorSpec(shape, dtype, name=name)


FORMS = {
    "a value": (lambda x: {"y": tf.fill([tf.shape(x)[0], 4], 2.5)}, "FILL"),
    "minus zero": (lambda x: {"y": tf.fill([tf.shape(x)[0], 4], -0.0)}, "FILL"),
    "whole numbers": (lambda x: {"y": tf.fill([tf.shape(x)[0], 3], 7)}, "FILL"),
    "an initial state": (lambda x: {"y": tf.broadcast_to(H0, [tf.shape(x)[0], 4])}, "BROADCAST_TO"),
    "a row": (lambda x: {"y": tf.tile(H0[:, None], [tf.shape(x)[0], 1, 1])}, "TILE"),
    "one number": (lambda x: {"y": tf.tile([[2.5]], [tf.shape(x)[0], 4])}, "TILE"),
    "rows behind": (lambda x: {"y": tf.fill([4, tf.shape(x)[0]], 0.5)}, "FILL"),
    "another shape": (lambda x: {"y": tf.reshape(tf.reshape(x, [tf.shape(x)[0] * 5, 3]), [-1, 3, 5])}, "RESHAPE"),
    "a slice": (lambda x: {"y": tf.slice(x, [0, 1, 0], [-1, 3, 2])}, "SLICE"),
    "a slice to the end": (lambda x: {"y": tf.slice(x, [0, 2, 1], [-1, -1, -1])}, "SLICE"),
}


@pytest.mark.parametrize("name", FORMS)
def test_what_a_file_computes_of_its_open_size_is_the_same_and_known_before(name):
    function, kind = FORMS[name]
    before = written(function, spec(None, 5, 3))
    after = with_static_shapes(before)
    kinds = [kind_of(tree, one) for tree in [tree_of(after)] for one in tree.subgraphs[0].operators]
    assert "SHAPE" not in kinds
    if kind != "RESHAPE":
        assert kind not in kinds
    assert unknown(before, 7) or kind == "RESHAPE"  # which has the memory of its input
    assert unknown(after, 7) == []
    for batch in (1, 7):
        x = RNG.standard_normal((batch, 5, 3)).astype(np.float32)
        x[:1, 0] = np.inf, np.nan, -np.inf  # nothing of the rows may get into what only has their number
        (found,), (wanted,) = called(after, [{"x": x}]), called(before, [{"x": x}], delegate=False)
        np.testing.assert_array_equal(found["y"], wanted["y"])
        np.testing.assert_allclose(found["y"], function(x)["y"], rtol=1e-6)
        np.testing.assert_array_equal(np.signbit(found["y"]), np.signbit(wanted["y"]))


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x: {"y": tf.reshape(x, [tf.shape(x)[1], tf.shape(x)[0], 3])}, (None, None, 3)),
        (lambda x: {"y": tf.fill([tf.shape(x)[1], tf.shape(x)[0]], 2.0)}, (None, None, 3)),
        (lambda x: {"y": tf.tile(H0, [tf.shape(x)[0], 2])}, (None, 5, 3)),
        (lambda x: {"y": tf.fill([tf.shape(x)[0] + 1, 2], 2.0)}, (None, 5, 3)),
    ],
    ids=["another shape", "a value", "a row twice", "a row more"],
)
def test_what_is_no_size_of_an_input_stays_computed(function, shape):
    data = written(function, spec(*shape))
    assert with_static_shapes(data) == data


def test_a_file_of_known_shapes_stays_as_it_is():
    data = written(lambda x: {"y": tf.reshape(x, [5, 6])}, spec(2, 5, 3))
    assert with_static_shapes(data) is data


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """(file, model): what was wrong in later calls, by 2 of 2, at batches of 2, 5 and 7."""
    keras.utils.set_random_seed(3)
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.SimpleRNN(6, return_sequences=True)(layers.Embedding(TOKENS, 2)(ids))
    x = layers.GroupNormalization(3)(layers.Add()([x, layers.Dense(6, "sigmoid")(x)]))
    model = keras.Model(ids, layers.SimpleRNN(6, return_sequences=True)(x), name="normed")
    model.set_weights([RNG.normal(size=array.shape) * 0.7 for array in model.get_weights()])
    path = tmp_path_factory.mktemp("static") / "normed.tflite"
    rnnexport.export(model, "tflite", path, timesteps=STEPS, verify=False)
    return path, model


def test_no_call_of_a_model_with_an_open_batch_is_wrong(artifact):
    path, model = artifact
    data = path.read_bytes()
    assert unknown(data, 5) == []
    for batch in BATCHES:
        feeds = [{"ids": RNG.integers(0, TOKENS, (batch, STEPS)).astype(np.int32)} for _ in range(3)]
        for feed, found in zip(feeds, called(data, feeds), strict=True):
            np.testing.assert_allclose(*found.values(), np.asarray(model(feed["ids"])), atol=2e-5)


def test_a_loop_of_a_known_length_has_known_shapes(tmp_path):
    """70 steps are two blocks and a part of one; nothing reads what a loop hands on unchanged, which has no memory."""
    x = keras.Input((None, 3), name="x")
    y = layers.GRU(5, return_sequences=True)(layers.LSTM(4, return_sequences=True, go_backwards=True)(x))
    model = keras.Model(x, y, name="looped")
    model.set_weights([RNG.uniform(-0.8, 0.8, array.shape) for array in model.get_weights()])
    for batch in (None, 2):
        path = tmp_path / f"{batch}.tflite"
        rolled = TFLiteForm("rolled")
        rnnexport.export(model, "tflite", path, timesteps=70, batch=batch, tflite=rolled, verify=False, proof="none")
        data = path.read_bytes()
        assert set(unknown(data, 2)) <= {"WHILE"}
        assert "CONCATENATION" not in target("tflite").operators(path)
        feeds = [{"x": RNG.standard_normal((2, 70, 3)).astype(np.float32)} for _ in range(3)]
        for feed, found in zip(feeds, called(data, feeds), strict=True):
            np.testing.assert_allclose(*found.values(), np.asarray(model(feed["x"])), atol=2e-5)


@pytest.mark.parametrize(("terms", "spreads"), [(4, 0.25), (100, 1.25), (300, 2.0)])
def test_a_file_may_be_as_imprecise_as_its_longest_sum(terms, spreads, tmp_path):
    """Whose products XNNPACK adds to the bias one after the other."""
    short, long = (RNG.standard_normal((size, 3)).astype(np.float32) for size in (3, terms))
    path = tmp_path / "m.tflite"
    path.write_bytes(written(lambda x: {"y": tf.tanh(x @ long + 0.5) @ short[:, :2] + 0.25}, spec(1, terms)))
    assert "FULLY_CONNECTED" in target("tflite").operators(path)
    assert target("tflite").kernels(path) == Kernels(spreads=spreads)
