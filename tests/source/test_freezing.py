"""Weights that stay outside of a traced graph: no graph holds them, and every reader of one computes the same."""

from __future__ import annotations

from functools import cache

import keras
import numpy as np
import pytest
import tensorflow as tf

from rnnexport.api.export import load
from rnnexport.conversion.boundary import hold_weights
from rnnexport.conversion.convert import converted, to_onnx
from rnnexport.conversion.forms import in_forms
from rnnexport.core.lowering import LoweringRequest
from rnnexport.core.signature import Boundary
from rnnexport.emit.numpy.oracle import oracle
from rnnexport.source.branches import Observer
from rnnexport.source.describe import describe
from rnnexport.source.double import double
from rnnexport.source.floats import in_float32
from rnnexport.source.freezing import array_of
from rnnexport.source.trace import Graphs, trace
from rnnexport.source.vocabulary import with_vocabularies
from rnnexport.targets.base import DEFAULT_OPSET, ExportOptions
from rnnexport.targets.onnx import session
from rnnexport.targets.onnx.export import lowered_model
from rnnexport.targets.saved_model import export as saved_model

LIMIT = 64  # bytes: every matrix of the models below, and no scalar
WORDS, E, H, SCORES = 11, 5, 7, 3
IDS = np.array([[1, 4, 10, 0], [2, 2, 9, 3], [5, 6, 7, 8]], np.int32)


class Spectral(keras.layers.Layer):
    """Something that only another form of it can be converted, with a weight behind it."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(5, H), name="scale", initializer="random_normal")

    def call(self, x_BTH):
        frames = tf.signal.fft(tf.cast(x_BTH, tf.complex64))
        return x_BTH + tf.reduce_mean(tf.math.real(frames), -1, keepdims=True) * self.scale[1]


def text_model(dtype="float32", extra=()):
    keras.utils.set_random_seed(3)
    layers = keras.layers
    x = keras.Input((None,), dtype="int32", name="ids")
    h = layers.Embedding(WORDS, E, dtype=dtype)(x)
    h = layers.LSTM(H, return_sequences=True, bias_initializer="random_normal", dtype=dtype)(h)
    h = layers.RNN(
        layers.GRUCell(H, bias_initializer="random_normal", dtype=dtype), return_sequences=True, dtype=dtype
    )(h)
    for layer in extra:
        h = layer(h)
    return keras.Model(x, layers.Dense(SCORES, bias_initializer="random_normal", name="scores", dtype=dtype)(h))


@cache
def both(dtype="float32", spectral=False):
    """(source, the model with its weights outside, the same with them inside)."""
    source = load(text_model(dtype, [Spectral()] if spectral else []))
    signature = describe(source, Boundary())
    return source, *(trace(source, signature, unroll=False, open_from=limit) for limit in (LIMIT, 1 << 40))


def sizes(graph_def):
    """Bytes of every constant of a graph and of its functions."""
    functions = [node for function in graph_def.library.function for node in function.node_def]
    constants = [node.attr["value"].tensor for node in (*graph_def.node, *functions) if node.op == "Const"]
    return [tf.make_ndarray(one).nbytes for one in constants]


def test_no_graph_holds_a_large_weight():
    _, opened, closed = both()
    assert len(opened.open_weights) == 8
    assert not closed.open_weights
    assert max(sizes(opened.graph_def())) < LIMIT <= max(sizes(closed.graph_def()))
    assert max(sizes(double(opened).graph.as_graph_def())) < 2 * LIMIT  # a small constant in float64
    model = to_onnx(opened, DEFAULT_OPSET, list(opened.weights()))
    assert all(value.const_value.nbytes < LIMIT for value in model.graph.initializers.values())
    assert {value.name for value in model.graph.inputs} > {f"{name}:0" for name in opened.open_weights}


def test_weights_are_those_of_keras_not_copies():
    source, opened, closed = both()
    weights, copies = opened.weights(), closed.weights()
    assert list(weights) == list(copies)
    kept = [array_of(variable.value.read_value()) for variable in source.model.variables]
    for name, array in weights.items():
        assert np.array_equal(array, copies[name])
        assert name not in opened.open_weights or any(np.shares_memory(array, one) for one in kept)
        assert name not in opened.open_weights or not array.flags.writeable


@pytest.mark.parametrize("spectral", [pytest.param(False, marks=pytest.mark.long), True])
def test_every_reader_computes_the_same(spectral):
    source, opened, closed = both(spectral=spectral)
    feed = {"ids": IDS}
    wanted = np.asarray(source.model(IDS))
    np.testing.assert_allclose(opened.run(feed)["scores"], wanted, rtol=0, atol=1e-6)
    np.testing.assert_allclose(in_forms(opened).run(feed)["scores"], wanted, rtol=0, atol=1e-5)
    for read in (oracle, double):
        one, other = (read(traced).run(feed)["scores"] for traced in (opened, closed))
        assert one.dtype == np.float64
        np.testing.assert_allclose(one, wanted, rtol=0, atol=1e-5)
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-14)


def test_a_graph_in_float32_has_its_weights_in_float32():
    _, opened, _ = both("float64")
    narrow = in_float32(opened)
    assert {tensor.dtype for tensor in opened.open_weights.values()} == {tf.float64}
    assert {tensor.dtype for tensor in narrow.open_weights.values()} == {tf.float32}
    np.testing.assert_allclose(
        narrow.run({"ids": IDS})["scores"], opened.run({"ids": IDS})["scores"], rtol=0, atol=1e-5
    )


def test_a_vocabulary_is_read_off_a_table_that_is_outside():
    _, opened, closed = both()
    assert with_vocabularies(opened).inputs == with_vocabularies(closed).inputs
    assert with_vocabularies(opened).inputs[0].high == WORDS


def test_branches_are_looked_for_with_the_weights():
    _, opened, closed = both()
    seen = [[], []]
    for traced, found in zip((opened, closed), seen, strict=True):
        Observer(traced).run({"ids": IDS}, lambda site, margin, found=found: found.append((str(site), margin.numpy())))
    assert len(seen[0]) == len(seen[1]) > 0
    for (site, margin), (other, wanted) in zip(*seen, strict=True):
        assert site == other
        np.testing.assert_allclose(margin, wanted, rtol=0, atol=1e-6)


def test_a_saved_model_of_many_weights_gives_the_outputs_and_not_a_weight(tmp_path):
    """Reading a variable takes the name `Identity`, which outputs have, too."""
    source, opened, _ = both()
    assert any(name.startswith("Identity") for name in opened.output_tensors)
    saved_model.export(Graphs(opened), [], tmp_path / "m", ExportOptions(DEFAULT_OPSET, LoweringRequest()))
    program = tf.saved_model.load(str(tmp_path / "m")).signatures["serving_default"]
    assert program.structured_outputs["scores"].shape.as_list() == [None, None, SCORES]
    found = program(ids=tf.constant(IDS))["scores"]
    np.testing.assert_allclose(found, np.asarray(source.model(IDS)), rtol=0, atol=1e-6)


def test_an_onnx_model_is_the_same_but_for_names():
    _, opened, closed = both()
    options = ExportOptions(DEFAULT_OPSET, LoweringRequest())
    models = [lowered_model(Graphs(traced), [{"ids": IDS}], options)[0] for traced in (opened, closed)]
    one, other = ([node.op_type for node in model.graph.all_nodes()] for model in models)
    assert sorted(one) == sorted(other)
    (found,), (wanted,) = (session.run(model, [{"ids": IDS}]) for model in models)
    np.testing.assert_allclose(found["scores"], wanted["scores"], rtol=0, atol=1e-7)


def test_a_weight_of_an_onnx_graph_is_the_array_itself():
    _, opened, _ = both()
    found = converted(opened)
    model, arrays = found.model.clone(), found.weights
    hold_weights(model, arrays)
    held = [value.const_value.numpy() for value in model.graph.initializers.values()]
    assert [value.name for value in model.graph.inputs] == ["ids"]
    assert all(any(np.shares_memory(array, one) for one in held) for array in arrays.values())
