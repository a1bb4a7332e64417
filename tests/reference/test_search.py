"""Inputs on both sides of every branch: found where planned feeds do not go, told where nothing goes."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import rnnexport
from rnnexport.api.export import load
from rnnexport.artifact.checksum import sealed
from rnnexport.core.signature import Boundary
from rnnexport.reference.describe import describe_with_truth
from rnnexport.source.branches import Observer
from rnnexport.source.trace import trace


class Guarded(keras.layers.Layer):
    """h + tanh(x) / 2, which takes eleven steps to pass its threshold, and is then another function of h."""

    state_size = 2

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 2), name="kernel")

    def call(self, x, states):
        h = states[0] + 0.5 * keras.ops.tanh(x @ self.kernel)
        h = keras.ops.where(keras.ops.abs(h) > 5.125, 0.5 * h, h)
        return h, [h]


class Leaky(Guarded):
    """A mean of the steps before, between -1 and 1; a threshold that it never comes to."""

    def call(self, x, states):
        h = 0.9 * states[0] + 0.1 * keras.ops.tanh(x @ self.kernel)
        return keras.ops.where(h > 1.375, 2.0 * h, h), [h]


def leaky_cell(x):
    return keras.layers.RNN(Leaky(), return_sequences=True)(x)


def guarded_cell(x):
    return keras.layers.RNN(Guarded(), return_sequences=True)(x)


def beyond_all_scales(x):
    return keras.ops.where(x > 6144.5, 0.25 * x, x)


def between(x):
    """Of a sum with its own threshold: a direction that no constant or random row takes."""
    total = keras.ops.sum(x * keras.ops.array([1.0, -1.0, 1.0]), axis=-1, keepdims=True)
    return keras.ops.where(keras.ops.tanh(x[..., :1] * 0) + total > 77777.5, total, 3.0 * x)


def unreachable(x):
    return keras.ops.where(keras.ops.tanh(x) > 1.5, 2.0 * x, x)


def model(make):
    keras.utils.set_random_seed(6)
    x = keras.Input((None, 3), name="x")
    return keras.Model(x, make(x))


def without_threshold(path, threshold, to, by=1e30):
    """The artifact as a converter that loses the branch would write it: the bound is out of reach."""
    changed = onnx.load(path)
    found = 0

    def move(tensor):
        nonlocal found
        array = numpy_helper.to_array(tensor)
        if array.dtype.kind == "f" and np.any(array == threshold):
            tensor.CopyFrom(
                numpy_helper.from_array(np.where(array == threshold, by, array).astype(array.dtype), tensor.name)
            )
            found += 1

    def walk(graph):
        for tensor in graph.initializer:
            move(tensor)
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    move(attribute.t)
                if attribute.HasField("g"):
                    walk(attribute.g)

    walk(changed.graph)
    assert found == 1
    to.write_bytes(sealed(changed.SerializeToString(deterministic=True)))
    return to


@pytest.mark.parametrize(
    ("make", "threshold"), [(guarded_cell, 5.125), (beyond_all_scales, 6144.5), (between, 77777.5)]
)
def test_a_branch_beyond_planned_feeds_is_found_and_its_loss_is_caught(make, threshold, tmp_path):
    source = load(model(make))
    exported = rnnexport.export(source, "onnx", tmp_path / "m.onnx")
    assert exported.report.status == "passed"
    assert exported.report.coverage.branches >= 1
    assert exported.report.coverage.share == 1
    assert any(feed.label.startswith("chosen for") for feed in exported.report.feeds)
    faulty = without_threshold(tmp_path / "m.onnx", threshold, tmp_path / "faulty.onnx")
    assert rnnexport.verify(faulty).artifacts[0].status == "mismatch"
    assert rnnexport.verify(faulty, source=source).artifacts[0].status == "mismatch"


def test_a_row_that_comes_near_to_a_side_is_kept_where_none_reaches_it(tmp_path):
    exported = rnnexport.export(model(leaky_cell), "onnx", tmp_path / "m.onnx")
    (near,) = [feed.label for feed in exported.report.feeds if feed.label.startswith("chosen near ")]
    assert near.endswith("Greater above")
    moved = without_threshold(exported.path, 1.375, tmp_path / "moved.onnx", by=0.75)
    report = rnnexport.verify(moved).artifacts[0]
    assert [feed.label for feed in report.feeds if not all(one.passed for one in feed.outputs)] == [near]


def test_a_side_that_nothing_reaches_is_named_and_the_rest_is_a_share():
    coverage = describe_with_truth(load(model(unreachable)), Boundary()).coverage
    assert (coverage.branches, coverage.share) == (1, 0.5)
    (side,) = coverage.unreached
    assert side.endswith("above")
    assert any("1 of 2; not reached" in sentence for sentence in coverage.remarks())


def test_a_curve_is_followed_on_both_sides_of_its_middle():
    def gentle(x):
        return keras.ops.softplus(2e-4 * x)

    goldens = describe_with_truth(load(model(gentle)), Boundary()).goldens
    planned = [golden.feed["x"] for golden in goldens if not golden.label.startswith("chosen for")]
    chosen = [golden.feed["x"] for golden in goldens if "far above 0" in golden.label or "far below 0" in golden.label]
    assert max(np.abs(x).max() for x in planned) < 5000  # where a softplus that is wrong past 1 would pass
    assert max(x.max() for x in chosen) > 5000
    assert min(x.min() for x in chosen) < -5000


def test_what_is_observed_is_what_the_graph_computes_in_each_step_of_a_loop():
    source = load(model(guarded_cell))
    known = describe_with_truth(source, Boundary())
    traced = trace(source, known.signature, unroll=False)
    seen = []
    x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype("float32")
    Observer(traced).run({"x": x}, lambda site, margin: seen.append((site, margin.numpy())))
    compared = [margin for site, margin in seen if site.kind == "branch"]
    (states,) = traced.run({"x": x}).values()
    assert len(compared) == 5
    for step, margin in enumerate(compared):
        np.testing.assert_allclose(margin, np.abs(states[:, step]) - 5.125, rtol=1e-5, atol=1e-6)
