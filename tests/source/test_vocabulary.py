"""Ids are found wherever they come from: through slices, casts, reshapes, loops, and in inputs of real numbers."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from rnnexport.api.export import load
from rnnexport.core.signature import Boundary, TensorSpec
from rnnexport.reference.describe import describe_with_truth
from rnnexport.verification.domain import Domain
from rnnexport.verification.feeds import feed_at
from tests.in_turn import in_turn


def embedding(api, count=7):
    return api.layers.Embedding(count, 3)


def functional(api, make, shape=(None,), dtype="float32"):
    x = api.Input(shape, name="x", dtype=dtype)
    return api.Model(x, make(api, x))


class Cell(keras.layers.Layer):
    """Looks its ids up inside the loop."""

    state_size = 3

    def build(self, shape):
        self.table = self.add_weight(shape=(9, 3), name="table")

    def call(self, x, states):
        h = keras.ops.tanh(states[0] + keras.ops.take(self.table, keras.ops.cast(x[:, 1], "int32"), axis=0) + x[:, :1])
        return h, [h]


def looked_up_in_a_cell(api, x):
    return api.layers.RNN(Cell(), return_sequences=True)(x)


def from_a_column(api, x):
    return api.layers.Embedding(7, 3)(x[..., 1]) + x[..., :1]


def from_two_columns(api, x):
    return api.layers.Embedding(7, 3)(x[:, :, 0]) + api.layers.Embedding(5, 3)(x[:, :, 2])


def reshaped(api, x):
    return api.layers.Embedding(7, 3)(api.layers.Reshape((-1,))(x))


def cast(api, x):
    return api.layers.Lambda(lambda one: tf.gather(tf.ones([7, 3]), tf.cast(one, tf.int64)))(x)


def spread(api, x):
    return api.layers.Lambda(lambda one: tf.one_hot(tf.cast(one, tf.int32), 6))(x)


def split(api, x):
    return api.layers.Embedding(7, 3)(x[:, :, 0]) + api.layers.Embedding(5, 3)(x[:, :, 1])


FOUND = {
    "a column of real numbers": (from_a_column, (None, 3), "float32", {"high": 7, "columns": (1,)}),
    "two columns": (from_two_columns, (None, 3), "float32", {"high": 5, "columns": (0, 2)}),
    "two columns of ints": (split, (None, 2), "int32", {"high": 5, "columns": (0, 1)}),
    "a reshape": (reshaped, (None, 1), "int32", {"high": 7}),
    "a cast": (cast, (None,), "float32", {"high": 7}),
    "one-hot": (spread, (None,), "float32", {"words": 6}),
}


@pytest.mark.parametrize(("kind", "api"), in_turn(FOUND, (keras, tf_keras)))
def test_ids_are_found(kind, api):
    make, shape, dtype, told = FOUND[kind]
    known = describe_with_truth(load(functional(api, make, shape, dtype)), Boundary())
    (spec,) = known.signature.inputs
    assert {"high": spec.high, "words": spec.words, "columns": spec.columns} == {
        "high": None,
        "words": None,
        "columns": None,
    } | told
    assert len(known.goldens) >= 11
    assert not [note for note in known.coverage.notes if "uncertain" not in note and "certain" not in note]
    ids = np.concatenate([spec.ids(golden.feed["x"]).ravel() for golden in known.goldens])
    assert set(ids) == set(range(told.get("high", told.get("words"))))


def test_ids_that_are_looked_up_inside_a_loop_are_found():
    known = describe_with_truth(load(functional(keras, looked_up_in_a_cell, (None, 4))), Boundary())
    (spec,) = known.signature.inputs
    assert spec.high == 9


def test_an_id_that_is_a_timestep_is_learnt_by_trying():
    """Lengths from 1: no table says how many there are."""
    x, lengths = keras.Input((None, 3), name="x"), keras.Input((), dtype="int32", name="lengths")
    last = keras.layers.Lambda(lambda both: tf.gather(both[0], both[1] - 1, batch_dims=1), output_shape=(3,))
    known = describe_with_truth(load(keras.Model([x, lengths], last([x, lengths]))), Boundary())
    assert any("ids up to" in note for note in known.coverage.notes)
    assert len(known.goldens) >= 8


def test_columns_hold_ids_and_the_others_real_numbers():
    from rnnexport.core.signature import Signature

    spec = TensorSpec("x", "float32", ("batch", "time", 3), high=40, columns=(1,))
    assert TensorSpec.from_json(spec.to_json()) == spec
    for index in range(7):
        x = feed_at(Signature((spec,), ()), 0, index).arrays["x"]
        assert (x[..., 1] == x[..., 1].round()).all()
        assert {x[..., 1].min(), x[..., 1].max()} == {0, 39}
        assert not (x[..., [0, 2]] == x[..., [0, 2]].round()).any()
        assert feed_at(Signature((spec,), ()), 0, index, Domain(last=4)).arrays["x"][..., 1].max() == 4
