"""The spread of a model, beside what float32 does to it in Keras."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import rnnexport
from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import Boundary
from rnnexport.reference import conditioning
from rnnexport.reference.conditioning import Conditioning
from rnnexport.reference.describe import describe_with_truth
from rnnexport.reference.float64 import Float64Run
from rnnexport.verification.tolerance import Tolerance, leeway

INPUTS, H = 4, 5


def keras():
    import keras

    return keras


def with_weights(model, scale):
    rng = np.random.default_rng(11)
    model.set_weights([rng.uniform(-scale, scale, weight.shape).astype("float32") for weight in model.get_weights()])
    return model


def tame():
    x = keras().Input((None, INPUTS), name="x")
    return with_weights(keras().Model(x, keras().layers.GRU(H, return_sequences=True, name="gru")(x)), 0.5)


def chaotic():
    """A recurrence whose weights are so large that each step makes an error some times as large."""
    x = keras().Input((None, INPUTS), name="x")
    layer = keras().layers.SimpleRNN(16, return_sequences=True, activation="tanh", name="rnn")
    return with_weights(keras().Model(x, layer(x)), 3.0)


def rounded():
    """A unit that is cut to whole numbers, beside one that is not."""
    x = keras().Input((None, INPUTS), name="x")
    h = keras().layers.LSTM(H, return_sequences=True, name="lstm")(x)
    y = keras().layers.Lambda(lambda h: keras().ops.concatenate([keras().ops.floor(h * 1e6), h], -1), name="cut")(h)
    return with_weights(keras().Model(x, y), 0.5)


@cache
def described(build):
    return describe_with_truth(rnnexport.load(build()), Boundary())


def parts(build, name):
    """Expected values, truth and spread of every golden."""
    goldens = described(build).goldens
    assert not described(build).no_truth
    return [(one.label, one.expected[name], one.truth[name], one.spread[name]) for one in goldens]


def divergent():
    """The logistic map at 4, 60 times a step: after that no digit of its start is left in float32."""
    x = keras().Input((None, INPUTS), name="x")

    def mapped(x):
        y = keras().ops.sigmoid(x)
        for _ in range(60):
            y = 3.99 * y * (1 - y)
        return y

    h = keras().layers.GRU(H, return_sequences=True)(x)
    return with_weights(keras().Model(x, keras().layers.Lambda(mapped, name="mapped")(h)), 0.5)


def test_what_rounding_alone_decides_is_refused():
    with pytest.raises(ConversionError, match=r"rounding alone moves [\d,]+ of [\d,]+ values of output mapped of"):
        describe_with_truth(rnnexport.load(divergent()), Boundary())


def test_a_tame_model_has_about_the_usual_bounds_everywhere():
    wider = []
    for label, expected, _, spread in parts(tame, "gru"):
        assert np.all(leeway(spread) < 2 * Tolerance().bound(expected)), label
        wider.append((leeway(spread) > Tolerance().bound(expected)).ravel())
    assert np.mean(np.concatenate(wider)) < 0.05
    assert described(tame).tolerance == Tolerance()


@pytest.mark.parametrize(("build", "name"), [(tame, "gru"), (chaotic, "rnn")])
def test_the_source_is_as_far_from_the_truth_as_its_spread_says(build, name):
    for label, expected, truth, spread in parts(build, name):
        assert np.all(np.abs(expected - truth) <= np.maximum(leeway(spread), 1e-7)), label


def test_what_is_chaotic_is_uncertain_later_on_and_certain_at_first():
    long = max((spread for _, _, _, spread in parts(chaotic, "rnn")), key=lambda spread: spread.shape[1])
    assert long[:, 0].max() < 1e-5
    assert long[:, -1].max() > 100 * long[:, 0].max()


def test_what_rounding_has_lost_may_be_anywhere_that_the_output_goes():
    """Twelve runs show some of the places where it may be; right artifacts were seen at others."""
    lost = []
    for label, expected, truth, spread in parts(chaotic, "rnn"):
        values = np.concatenate([expected.ravel(), truth.ravel()])
        beyond = leeway(spread) > np.maximum(np.abs(expected), np.sqrt(np.mean(np.square(expected))))
        assert np.all(leeway(spread[beyond]) >= np.ptp(values)), label
        lost.append(beyond.ravel())
    assert 0 < np.mean(np.concatenate(lost)) < 1


def centred():
    """Each row less the mean over the batch, which copies of all rows would not change."""
    x = keras().Input((None, INPUTS), name="x")
    h = keras().layers.GRU(H, return_sequences=True)(x)
    y = keras().layers.Lambda(lambda h: h - keras().ops.mean(h, axis=0, keepdims=True), name="centred")(h)
    return with_weights(keras().Model(x, y), 0.5)


@pytest.mark.parametrize(("build", "alone"), [(tame, True), (centred, False)])
def test_rows_are_computed_together_only_where_none_tells_of_another(build, alone):
    known = described(build)
    runs = Conditioning(Float64Run(known.traced, "", known.converted), known.signature, "float32")
    golden = next(one for one in known.goldens if len(one.feed["x"]) > 1 and not one.carries)
    assert runs._is_row_by_row(golden) is alone


def test_a_value_that_alone_is_lost_has_the_reach_of_its_output_and_its_neighbours_keep_theirs():
    expected = np.array([[-0.0, 0.1, 0.96], [0.9, -0.9, -0.1]])
    spread = np.array([[0.0, 1e-6, 0.7], [0.3, 0.2, 0.2]])
    found = conditioning._anywhere(spread, expected, np.float64(1.9))
    np.testing.assert_array_equal(found, [[0.0, 1e-6, 1.9], [0.3, 0.2, 0.2]])


def test_a_value_beside_an_edge_is_uncertain_by_the_step_and_its_neighbours_are_not():
    """A floor of millionths, which float32 can't hold for sure: a whole one, or none."""
    steps = np.concatenate([spread[..., :H].ravel() for _, _, _, spread in parts(rounded, "cut")])
    assert set(np.unique(steps)) <= {0.0, 1.0, 2.0, 3.0}
    assert 0 < np.mean(steps > 0) < 1
    for _, expected, _, spread in parts(rounded, "cut"):
        assert np.all(leeway(spread[..., H:]) < 2 * Tolerance().bound(expected[..., H:]))


def tied():
    """Whether a score is larger than another: nearly the same one in the last unit, far apart in all others."""
    x = keras().Input((None, INPUTS), name="x")
    h = keras().layers.LSTM(H, return_sequences=True, name="lstm")(x)
    thrice = keras().ops.concatenate([h[..., :-1] + 2.0, h[..., -1:] * 1.1 + h[..., -1:] * 1.2 + 1e-9], -1)
    chosen = keras().ops.cast(h * 2.3 > thrice, "int32")
    return with_weights(keras().Model(x, keras().layers.Identity(name="chosen")(chosen)), 0.5)


def test_a_whole_number_is_free_where_rounding_decides_it_and_certain_elsewhere():
    for golden in described(tied).goldens:
        (name,) = golden.expected
        assert golden.truth == {}
        open_gates = 0.5 < np.abs(golden.feed["x"]).max() < 5  # others leave states near 0, where 1e-9 is much
        assert np.mean(np.isinf(golden.spread[name][..., -1])) > 0.5 or not open_gates
        np.testing.assert_array_equal(golden.spread[name][..., :-1], 0)


def saturated():
    """A tame model whose outputs are near 1, so that rounding moves them by a small part of what they may be off."""
    x = keras().Input((None, INPUTS), name="x")
    h = keras().layers.LSTM(H, return_sequences=True, name="lstm")(x)
    return with_weights(keras().Model(x, keras().layers.Lambda(lambda h: 1 + 0.01 * h, name="near")(h)), 0.5)


def counted(monkeypatch):
    """How many samples each call opens."""
    opened = []
    plain = conditioning.Sample.__init__

    def init(self, run, signature, dtype, seed, copies=1):
        opened.append(copies)
        plain(self, run, signature, dtype, seed, copies)

    monkeypatch.setattr(conditioning.Sample, "__init__", init)
    return opened


@pytest.mark.long
def test_one_pair_tells_of_a_model_that_rounding_hardly_moves_what_all_pairs_tell(monkeypatch):
    monkeypatch.setattr(conditioning, "_LARGE", 0)
    opened = counted(monkeypatch)
    one = describe_with_truth(rnnexport.load(saturated()), Boundary()).goldens
    assert opened == [1]
    monkeypatch.setattr(conditioning, "_CLEAR", np.inf)
    every = describe_with_truth(rnnexport.load(saturated()), Boundary()).goldens
    assert opened == [1, 1, 10]
    for few, many in zip(one, every, strict=True):
        shares = few.spread["near"].mean() / many.spread["near"].mean()
        assert 0.7 < shares < 3, few.label
        assert np.all(leeway(few.spread["near"]) <= Tolerance().bound(few.expected["near"])), few.label


def test_a_small_model_takes_all_pairs(monkeypatch):
    """It is run in no time, and one of its values may be on an edge that the first pair does not show."""
    opened = counted(monkeypatch)
    describe_with_truth(rnnexport.load(saturated()), Boundary())
    assert opened == [12]


def test_a_step_anywhere_in_a_model_takes_all_pairs(monkeypatch):
    """A gate that is open or closed, far from its edge in most values, whose outputs are otherwise as tame."""

    def build():
        x = keras().Input((None, INPUTS), name="x")
        h = keras().layers.LSTM(H, return_sequences=True, name="lstm")(x)
        gate = keras().layers.Lambda(lambda h: keras().ops.where(h > 0.0, 1.0, 0.9), name="gate")
        return with_weights(keras().Model(x, gate(h)), 0.5)

    monkeypatch.setattr(conditioning, "_LARGE", 0)
    opened = counted(monkeypatch)
    describe_with_truth(rnnexport.load(build()), Boundary())
    assert opened == [1, 10]
