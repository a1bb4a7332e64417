"""Streams of models: chunks of any lengths give what eager Keras gives for the whole, or are refused by name."""

from __future__ import annotations

import importlib

import keras
import numpy as np
import pytest

from rnnexport.core.errors import ConversionError
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.signature import Boundary
from rnnexport.reference.stream_equivalence import streamed
from rnnexport.source.describe import describe
from rnnexport.source.eager import reference
from rnnexport.source.load import load_source
from tests.in_turn import of_one_keras
from tests.not_causal import NOT_CAUSAL
from tests.streams import BATCH, CAUSAL, CHUNKINGS, STEPS, build, inputs_of, with_random_weights

GROUP = pytest.mark.xdist_group("streaming")
APIS = ("keras", "tf_keras")
# What each Keras does in a way of its own is seen in both; the rest takes minutes, and is seen in Keras 3 or, of kinds
# that differ little from others, by `make test-long` alone.
SELDOM = {"last", "padded ids", "stacked", "convolutional", "nested", "pooling", "window", "far delay"} | {
    *("positional mask", "started by a threshold", "fixed context", "two outputs", "zeroed"),
    *("attention", "strides", "folded", "two fixed", "twice as long", "own length"),
}
BOTH = {
    "padding",
    "convolution",
    "separable convolution",
    "own start",
    "backwards",
    "start from the inputs",
}


def _each_time(kind, api):
    return kind in BOTH if api == "tf_keras" else kind not in SELDOM


def cells(kinds):
    return [
        # tf_keras can't open the length of a model that walks over it, and says so in words of its own.
        pytest.param(kind, api, marks=[] if _each_time(kind, api) else [pytest.mark.long], id=f"{api}-{kind}")
        for api in APIS
        for kind in kinds
        if (api, kind) not in (("tf_keras", "once a step"), ("keras", "separable convolution"))
    ]


def stream_of(model):
    return streamed(load_source(model, LoadOptions()), None, lambda text: None)


def chunked(source, inputs, lengths):
    """The outputs of all chunks, one behind the other where they have timesteps, and the signature."""
    signature = describe(source, Boundary())
    states = {state.input.name: state.start(BATCH) for state in signature.states}
    outputs, done = [], 0
    for length in lengths:
        feed = {
            spec.name: x[:, done : done + length] if "time" in spec.shape else x
            for spec, x in zip(signature.inputs, inputs, strict=True)
        }
        found = reference(source, signature, feed | states)
        states = {state.input.name: found[state.output.name] for state in signature.states}
        outputs.append([found[spec.name] for spec in signature.outputs])
        done += length
    timed = ["time" in spec.shape for spec in signature.outputs]
    return [
        np.concatenate(part, 1) if many else part[-1]
        for many, part in zip(timed, zip(*outputs, strict=True), strict=True)
    ]


@GROUP
@pytest.mark.parametrize(("kind", "api"), cells(CAUSAL))
def test_chunks_of_any_lengths_give_what_the_whole_gives(kind, api):
    model = build(kind, api)
    inputs = inputs_of(model)
    whole = model(inputs)
    whole = whole if isinstance(whole, list | tuple) else [whole]
    source = stream_of(model)
    for lengths in CHUNKINGS:
        assert sum(lengths) == STEPS
        for found, wanted in zip(chunked(source, inputs, lengths), whole, strict=True):
            np.testing.assert_allclose(found, np.asarray(wanted), atol=3e-6, err_msg=str(lengths))


@GROUP
@pytest.mark.parametrize("api", of_one_keras("tf_keras"))
def test_what_is_carried_is_named_after_its_layer_and_starts_where_the_layer_starts(api):
    signature = describe(stream_of(build("convolution", api)), Boundary())
    found = [(state.input.name, state.output.name, state.input.shape) for state in signature.states]
    assert found == [
        ("state_history_00", "next_state_history_00", ("batch", 4, 3)),
        ("state_memory_00", "next_state_memory_00", ("batch", 5)),
    ]
    assert all(not state.initial.any() for state in signature.states)
    signature = describe(stream_of(build("own start", api)), Boundary())
    np.testing.assert_array_equal(signature.states[0].initial, [[0.5, -1.0, 0.25, 2.0]])
    np.testing.assert_array_equal(signature.states[0].start(2), [[0.5, -1.0, 0.25, 2.0]] * 2)


@GROUP
@pytest.mark.parametrize("api", of_one_keras("keras"))
def test_the_live_model_is_as_it_was(api):
    model = build("padding", api)
    layer = model.get_layer("memory")
    inputs = inputs_of(model)
    before, attributes = np.asarray(model(inputs)), set(vars(layer))
    source = stream_of(model)
    chunked(source, inputs, CHUNKINGS[0])
    np.testing.assert_array_equal(np.asarray(model(inputs)), before)
    assert set(vars(layer)) == attributes
    assert not layer.stateful


REFUSED = {
    "bidirectional": ["layer both (Bidirectional)", "from its end"],
    "backwards": ["layer back (GRU)", "go_backwards"],
    "pooling": ["layer pool (GlobalAveragePooling1D)", "pools over time"],
    "window": ["layer pool (MaxPooling1D)", "pools over time"],
    "attention": ["layer attend (Attention)", "attends to the whole sequence"],
    "same": ["layer conv (Conv1D)", 'padding="same"', '"causal" would do'],
    "depthwise": ["layer conv (DepthwiseConv1D)", "a Conv1D that is causal would do"],
    "strides": ["layer conv (Conv1D)", "skips timesteps"],
    "start from the sequence": ["layer memory (GRU)", "chunks 1+3 of a sequence"],
    "twice": ["layer memory (GRU)", "is called 2 times"],
    "sum over time": ["layer running (Running)", "1+3 of a sequence", "looks ahead, or remembers"],
    "looks ahead": ["layer ahead (Ahead)", "looks ahead"],
    "folded": ["layer memory (GRU) has rows that are not those of the batch"],
    "far delay": ["in chunks of a sequence of 512 timesteps", "looks far ahead, or remembers for long"],
    "own length": ["another one at the length it was made for (7 timesteps)"],
    "two fixed": ["runs over sequences of 5 and of 7 timesteps"],
    "once a step": ["layer inner (GRU) is called"],
    "stateful elsewhere": ["layer elsewhere (GRU) is stateful, over something else"],
    "nothing": ["no layer that carries anything"],
    "batch mean": ["other rows alone than in a batch"],
    "twice as long": ["open length that is not that of its input"],
}


@GROUP
@pytest.mark.parametrize(("kind", "api"), cells(REFUSED))
def test_what_is_not_causal_is_refused_by_name(kind, api):
    model = with_random_weights(NOT_CAUSAL[kind](importlib.import_module(api)), len(kind))
    with pytest.raises(ConversionError) as refused:
        stream_of(model)
    for fragment in REFUSED[kind]:
        assert fragment in str(refused.value)


@GROUP
def test_a_program_can_not_be_streamed(tmp_path):
    import keras

    folder = tmp_path / "program"
    build("recurrent", "keras").export(folder, verbose=False)
    with pytest.raises(ConversionError, match=r"layers can't be told"):
        streamed(load_source(folder, LoadOptions()), None, lambda text: None)
    assert keras.backend.backend() == "tensorflow"


def test_a_model_of_positive_inputs_is_streamed_and_one_without_finite_numbers_refused():
    """Chunks are compared where the model is defined, as all else is: the logarithm of a spectrum."""

    def model(inner):
        x = keras.Input((None, 3), name="x")
        y = keras.layers.GRU(4, return_sequences=True, bias_initializer="normal", name="gru")(inner(x))
        return keras.Model(x, y)

    source = stream_of(model(keras.ops.log))
    x = np.abs(np.random.default_rng(4).standard_normal((BATCH, 7, 3))).astype("float32") + np.float32(0.01)
    (found,) = chunked(source, [x], (3, 1, 3))
    assert np.isfinite(found).all()
    with pytest.raises(ConversionError, match="in no domain that was tried gives finite numbers"):
        stream_of(model(lambda x: keras.ops.log(-1.0 - keras.ops.abs(x))))
