"""Calls of the same shapes: they give what others give, in arrays of their own, or are made plainly."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest

from rnnexport.targets.base import Repeatable
from rnnexport.targets.onnx.repeated import RepeatedRunner
from rnnexport.targets.onnx.runner import open_runner

STEP = """<ir_version: 8, opset_import: ["": 17]>
m (float[B, T, 2] x, int64[B] ids, float[B, 2] state) => (float[B, T, 2] y, float[B, 2] after, int64[3] sizes)
<int64[1] axis = {1}>
{
  kept = Unsqueeze (state, axis)
  y = Add (x, kept)
  summed = ReduceSum <keepdims = 0> (x, axis)
  wide = Unsqueeze (ids, axis)
  number = Cast <to = 1> (wide)
  moved = Add (summed, number)
  after = Add (moved, state)
  sizes = Shape (x)
}"""
FOUND = """<ir_version: 8, opset_import: ["": 17]>
m (float[B] x) => (int64[1, N] places) { places = NonZero (x) }"""
TEXT = """<ir_version: 8, opset_import: ["": 17]>
m (string[B] words) => (string[B] same) { same = Identity (words) }"""


@pytest.fixture
def opened(tmp_path):
    """Loads a model twice: as it is, and for repeated calls."""
    with_runners = []

    def open_both(text):
        path = tmp_path / "m.onnx"
        onnx.save(onnx.parser.parse_model(text), path)
        manager = open_runner(path, "cpu")
        plain = manager.__enter__()
        with_runners.append(manager)
        assert isinstance(plain, Repeatable)
        return plain, plain.repeated()

    yield open_both
    for manager in with_runners:
        manager.__exit__(None, None, None)


def feed(batch, steps, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "x": rng.standard_normal((batch, steps, 2)).astype("float32"),
        "ids": rng.integers(0, 9, batch),
        "state": rng.standard_normal((batch, 2)).astype("float32"),
    }


def test_it_gives_the_same_for_all_shapes_in_arrays_of_its_own(opened):
    plain, repeated = opened(STEP)
    assert isinstance(repeated, RepeatedRunner)
    assert (repeated.inputs, repeated.outputs, repeated.settings) == (plain.inputs, plain.outputs, plain.settings)
    kept = []
    for at, size in enumerate([(1, 1), (1, 1), (3, 4), (1, 1), (2, 1)]):
        given = feed(*size, seed=at)
        wanted = plain.run(given)
        kept.append((repeated.run(given), wanted))
    for found, wanted in kept:  # none was written over by a later call
        assert list(found) == list(wanted)
        for name, array in wanted.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)


def test_what_goes_in_is_not_kept_and_may_be_any_view(opened):
    plain, repeated = opened(STEP)
    given = feed(2, 3)
    turned = given | {"x": np.asfortranarray(given["x"])[:, ::-1]}
    np.testing.assert_array_equal(repeated.run(turned)["y"], plain.run(turned)["y"])
    before = {name: array.copy() for name, array in turned.items()}
    repeated.run(feed(2, 3, seed=5))
    for name, array in before.items():
        np.testing.assert_array_equal(turned[name], array)


def test_states_that_are_fed_back_go_on(opened):
    plain, repeated = opened(STEP)
    states = [feed(2, 1)["state"]] * 2
    for at in range(4):
        given = feed(2, 1, seed=at)
        states = [
            runner.run(given | {"state": state})["after"]
            for runner, state in zip((plain, repeated), states, strict=True)
        ]
        np.testing.assert_array_equal(*states)


@pytest.mark.parametrize("text", [FOUND, TEXT])
def test_what_can_not_be_bound_is_called_plainly(text, opened):
    plain, repeated = opened(text)
    for values in ([1.0, 0.0, 3.0], [0.0, 0.0, 2.0]):
        given = (
            {"x": np.float32(values)} if text is FOUND else {"words": np.array([str(one) for one in values], object)}
        )
        for name, array in plain.run(given).items():
            np.testing.assert_array_equal(repeated.run(given)[name], array)


@pytest.mark.parametrize(
    "change",
    [
        {"x": np.zeros((2, 1, 2))},  # of another dtype
        {"x": np.zeros((2, 1, 3), "float32")},
        {"x": np.zeros((2, 2), "float32")},
        {"state": np.zeros((3, 2), "float32")},
    ],
)
def test_what_does_not_fit_raises_what_the_runtime_raises(change, opened):
    _, repeated = opened(STEP)
    repeated.run(feed(2, 1))
    with pytest.raises(Exception, match=r"INVALID_ARGUMENT|RUNTIME_EXCEPTION|FAIL") as caught:
        repeated.run(feed(2, 1) | change)
    assert type(caught.value).__module__.startswith(onnxruntime.__name__)
    assert set(repeated.run(feed(2, 1))) == {"y", "after", "sizes"}
