"""Who judges an artifact of long sequences: eager Keras first, then the model's own graph, if both agree."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import rnnexport
from rnnexport.core.signature import Boundary
from rnnexport.reference.describe import traced_at
from rnnexport.reference.domain import Judge
from rnnexport.verification.feeds import REQUIRED, feed_at, is_long, wanted

STEPS = 300


@pytest.fixture(scope="module")
def source():
    x = keras.Input((None, 3), name="x")
    model = keras.Model(x, keras.layers.SimpleRNN(2, name="y")(x), name="long")
    rng = np.random.default_rng(4)
    model.set_weights([rng.uniform(-0.7, 0.7, array.shape) for array in model.get_weights()])
    return rnnexport.load(model)


@pytest.fixture(scope="module")
def at_length(source):
    """(signature, graph) at a length that is fixed."""
    signature, traced, _ = traced_at(source, Boundary(2, STEPS))
    return signature, traced


class Counted:
    """A graph that counts its calls, and may be another one."""

    def __init__(self, traced, off=0.0):
        self.traced, self.off, self.calls = traced, off, 0

    def run(self, feed):
        self.calls += 1
        return {name: array + self.off for name, array in self.traced.run(feed).items()}


def test_a_long_length_that_is_fixed_takes_fewer_feeds(source, at_length):
    signature, _ = at_length
    assert is_long(signature)
    open_length, _, _ = traced_at(source, Boundary(2))
    assert not is_long(open_length)
    assert REQUIRED <= wanted(signature) < wanted(open_length)


def test_the_graph_runs_what_follows_feeds_on_which_both_agree(source, at_length):
    signature, traced = at_length
    graph = Counted(traced)
    judge = Judge(source, signature, graph)
    found = [judge(feed_at(signature, 0, index).arrays) for index in range(REQUIRED + 1)]
    assert graph.calls == REQUIRED + 1
    assert judge.notes() == (
        "long feeds run by the model's TensorFlow graph: 1; on 3 others it gave what eager Keras gives",
    )
    feed = feed_at(signature, 0, REQUIRED).arrays
    np.testing.assert_allclose(found[-1]["y"], np.asarray(source.model(feed["x"])), rtol=1e-4, atol=1e-5)


def test_a_graph_that_gives_something_else_judges_nothing(source, at_length):
    signature, traced = at_length
    graph = Counted(traced, off=0.01)
    judge = Judge(source, signature, graph)
    feed = feed_at(signature, 0, 0).arrays
    for _ in range(2):
        np.testing.assert_allclose(judge(feed)["y"], np.asarray(source.model(feed["x"])), rtol=1e-4, atol=1e-5)
    assert (graph.calls, judge.notes()) == (1, ())
