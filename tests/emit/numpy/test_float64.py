"""The program in float64 against Keras in float64, for every sample: it is the truth that artifacts are measured by."""

from __future__ import annotations

import importlib
from functools import cache

import numpy as np
import pytest

from rnnexport.core.signature import TIME
from rnnexport.emit.numpy.oracle import Oracle, oracle
from rnnexport.source.eager import reference
from rnnexport.source.trace import trace
from rnnexport.verification.feeds import chunks, feed_at
from samples.catalog import SAMPLES
from tests.emit.numpy.double_keras import Twins, floats_of, twins

# Samples whose code asks for float32 by name, which no setting of Keras makes float64: none does.
HARD_CODED: dict[str, str] = {}
# Feeds of 1, 9 and 7 timesteps where the length is open, each from random states, and one from fresh ones.
FEEDS = (1, 2, 5, 4)
BOUND = 1e-12
GROUP = pytest.mark.xdist_group("float64")
EACH = [
    pytest.param(
        sample, id=sample.name, marks=[pytest.mark.skip(HARD_CODED[sample.name])] if sample.name in HARD_CODED else []
    )
    for sample in SAMPLES
]


@cache
def both(sample) -> tuple[Twins, Oracle]:
    made = twins(sample.build)
    found = oracle(trace(made.narrow, made.signature, unroll=False))
    assert isinstance(found, Oracle), found
    return made, found


def assert_near(found, expected):
    """Equal to float64 rounding. Where a program took 0.2 for what float32 holds of it, s_lstm was 9e-9 off."""
    assert list(found) == list(expected)
    for name, wanted in expected.items():
        assert found[name].dtype == wanted.dtype == np.float64
        assert found[name].shape == wanted.shape
        assert np.abs(found[name] - wanted).max() <= BOUND * max(1.0, np.abs(wanted).max()), name


@GROUP
@pytest.mark.parametrize("sample", EACH)
def test_the_program_in_float64_is_keras_in_float64(sample):
    made, program = both(sample)
    for index in FEEDS:
        feed = feed_at(made.signature, 3, index)
        expected = made.truth(feed.arrays)
        assert_near(program.run(feed.arrays), expected)
        if TIME in made.signature.dynamic_dims:
            assert {1: 1, 2: 9, 5: 7, 4: 3}[index] in {array.shape[1] for array in feed.arrays.values()}
    rounded = reference(made.narrow, made.signature, feed.arrays)
    # The bound tells float64 from float32.
    assert max(np.abs(rounded[name] - expected[name]).max() for name in expected) > 1e3 * BOUND


@GROUP
@pytest.mark.parametrize("sample", [one for one in EACH if one.id == "stateful_gru"])
def test_states_are_carried_in_float64(sample):
    made, program = both(sample)
    found, expected = {}, {}
    for feed in chunks(made.signature, 3):
        carried = [made.signature.carried(before) if feed.carries else {} for before in (found, expected)]
        found = program.run({**feed.arrays, **carried[0]})
        expected = made.truth({**feed.arrays, **carried[1]})
        assert_near(found, expected)


@pytest.mark.parametrize("package", ["keras", "tf_keras"])
def test_keras_computes_in_float32_again(package):
    keras = importlib.import_module(package)
    with floats_of(package, "float64"):
        assert keras.layers.Dense(2).compute_dtype == "float64"
    assert keras.layers.Dense(2).compute_dtype == keras.backend.floatx() == "float32"
