"""LSTMs of a TFLite file as LiteRT's own operator: those that are proven to be one, and no others."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
import tf_keras
from ai_edge_litert.interpreter import Interpreter
from keras import ops

import rnnexport
from benchmarks.lookalikes import lookalike
from rnnexport.api.inspect import inspect_tflite
from rnnexport.core.errors import ConversionError, MismatchError
from rnnexport.core.forms import TFLiteForm
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.trace import Graphs, trace
from rnnexport.targets.registry import target
from rnnexport.targets.tflite.export import converted
from rnnexport.targets.tflite.fusing import fusion_of
from rnnexport.targets.tflite.recurrences import decisions
from rnnexport.targets.tflite.runner import TFLiteRunner

GROUP = pytest.mark.xdist_group("tflite_fused")
FUSED = TFLiteForm("fused")
FEATURES, BATCH = 3, 2
layers = keras.layers


class Peephole(layers.Layer):
    """An LSTM whose gates read the cell state; i and f before the step, o behind it, and f is 1 - i."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units, self.state_size, self.output_size = units, [units, units], units

    def build(self, shape):
        make = partial(self.add_weight, initializer="zeros")
        self.kernel, self.recurrent = make(shape=(shape[-1], 3 * self.units)), make(shape=(self.units, 3 * self.units))
        self.bias, self.peephole = make(shape=(3 * self.units,)), make(shape=(2, self.units))

    def call(self, x, states):
        h, c = states
        z = ops.matmul(x, self.kernel) + ops.matmul(h, self.recurrent) + self.bias
        i, g, o = ops.split(z, 3, axis=-1)
        i = ops.sigmoid(i + self.peephole[0] * c)
        c = (1.0 - i) * c + i * ops.tanh(g)
        return (h := ops.sigmoid(o + self.peephole[1] * c) * ops.tanh(c)), [h, c]


def with_weights(model):
    rng = np.random.default_rng(5)
    model.set_weights([rng.uniform(-0.7, 0.7, array.shape) for array in model.get_weights()])
    return model


def of_layers(*stack, batch=BATCH, steps=None):
    x = y = keras.Input((steps, FEATURES), batch_size=batch, name="x")
    for layer in stack:
        y = layer(y)
    return with_weights(keras.Model(x, y, name="m"))


@pytest.fixture(scope="module")
def fused(tmp_path_factory):
    """(model, path, told) of a file with LSTMs of several kinds, and a GRU; `told` is what became of each."""
    model = of_layers(
        layers.Bidirectional(layers.LSTM(5, return_sequences=True), name="both"),
        layers.RNN(Peephole(4), return_sequences=True, name="peephole"),
        layers.GRU(6, return_sequences=True, name="gru"),
        layers.LSTM(4, activation="relu", name="last"),
    )
    path, source = tmp_path_factory.mktemp("fused") / "m.tflite", rnnexport.load(model)
    traced = trace(source, describe(source, Boundary()), unroll=False)
    data, fusion = converted(graphs := Graphs(traced, rolled=traced), FUSED)
    path.write_bytes(data)
    return model, path, decisions(graphs, FUSED, fusion.why_not)


@GROUP
def test_what_is_an_lstm_is_one_operator_and_another_recurrence_a_loop(fused):
    _, path, told = fused
    operators = target("tflite").operators(path)
    assert (operators["UNIDIRECTIONAL_SEQUENCE_LSTM"], operators["WHILE"], operators["CUSTOM"]) == (4, 2, 0)
    assert [one.chosen for one in told] == ["fused", "fused", "fused", "rolled", "fused"]
    assert "it is a GRU" in told[3].refused["fused"]


@GROUP
def test_an_artifact_is_verified_and_tells_the_form_of_each(tmp_path):
    model = of_layers(layers.LSTM(5, return_sequences=True, name="lstm"), layers.GRU(4, name="gru"), steps=6)
    exported = rnnexport.export(model, "tflite", tmp_path / "m.tflite", tflite=FUSED)
    assert exported.report.status == "passed"
    assert [one.chosen for one in rnnexport.inspect(exported.path).lowering] == ["fused", "rolled"]


@GROUP
@pytest.mark.parametrize(("steps", "provider"), [(1, "cpu"), (7, "no-xnnpack"), (33, "cpu")])
def test_it_computes_what_keras_computes_in_every_call(steps, provider, fused):
    model, path, _ = fused
    x = np.random.default_rng(steps).standard_normal((2, BATCH, steps, FEATURES)).astype(np.float32)
    with target("tflite").runner(path, provider) as runner:
        for one in (*x, x[0]):
            (found,) = runner.run({"x": one}).values()
            np.testing.assert_allclose(found, np.asarray(model(one)), rtol=1e-4, atol=1e-5)


@GROUP
def test_the_operator_goes_on_from_the_call_before_unless_it_is_reset(fused):
    _, path, _ = fused
    x = np.random.default_rng(2).standard_normal((BATCH, 6, FEATURES)).astype(np.float32)
    interpreter = Interpreter(model_path=str(path))
    assert interpreter.get_signature_list() == {"serving_default": {"inputs": ["x"], "outputs": ["last"]}}
    run = interpreter.get_signature_runner("serving_default")
    first, again = (np.array(next(iter(run(x=x).values()))) for _ in range(2))
    assert np.abs(first - again).max() > 1e-3
    interpreter.reset_all_variables()
    np.testing.assert_array_equal(np.array(next(iter(run(x=x).values()))), first)


class NeverReset(Interpreter):
    def reset_all_variables(self):
        """Nothing."""


@GROUP
def test_a_runtime_whose_states_can_not_be_reset_is_noticed(fused):
    _, path, _ = fused
    opened = partial(NeverReset, model_path=str(path))
    x = np.random.default_rng(2).standard_normal((BATCH, 6, FEATURES)).astype(np.float32)
    with pytest.raises(MismatchError, match="gives something else, after a reset"):
        TFLiteRunner(opened, "serving_default", holds_state=True).run({"x": x})


@GROUP
def test_a_file_that_gives_something_else_in_a_later_call_is_wrong(fused):
    """As LiteRT does with some files of an open batch; here one that goes on from the call before."""
    _, path, _ = fused
    opened = partial(Interpreter, model_path=str(path))
    x = np.random.default_rng(2).standard_normal((BATCH, 6, FEATURES)).astype(np.float32)
    with pytest.raises(MismatchError, match=r"a later call of the same inputs gives something else \(--batch N"):
        TFLiteRunner(opened, "serving_default", holds_state=False).run({"x": x})


def reason(model):
    """Why nothing of a model is fused."""
    source = rnnexport.load(model)
    traced = trace(source, describe(source, Boundary()), unroll=False)
    with pytest.raises(ConversionError) as caught:
        fusion_of(Graphs(traced))
    return caught.value


def with_states(*, read):
    x = keras.Input((None, FEATURES), batch_size=BATCH, name="x")
    y, h, c = layers.LSTM(4, return_state=True)(x)
    return with_weights(keras.Model(x, [y, {"h": h, "c": c}[read]], name="m"))


class GivesTheCell(layers.LSTMCell):
    """What it gives is c, not h."""

    def call(self, x, states, training=False):
        _, (h, c) = super().call(x, states, training=training)
        return c, [h, c]


class Backwards(layers.Layer):
    """An LSTM over the sequence backwards in time, by places counted down."""

    def __init__(self):
        super().__init__()
        self.cell = layers.LSTMCell(4)

    def build(self, shape):
        self.cell.build((shape[0], shape[2]))

    def call(self, x):
        zeros, steps = ops.zeros((BATCH, 4)), ops.shape(x)[1]

        def step(t, states):
            return self.cell(ops.take(x, steps - 1 - t, axis=1), list(states))[1]

        return ops.fori_loop(0, steps, step, [zeros, zeros])[0]


REFUSED = {
    "a GRU": (partial(of_layers, layers.GRU(4)), "it is a GRU"),
    "hard gates": (
        partial(of_layers, layers.LSTM(4, recurrent_activation="hard_sigmoid")),
        "its gates are HardSigmoid",
    ),
    "two activations": (partial(of_layers, layers.LSTM(4, activation="softsign")), "Softsign"),
    "no activation": (partial(of_layers, layers.LSTM(4, activation=None)), "its activations are none and none"),
    "a mask": (partial(of_layers, layers.Masking(), layers.LSTM(4)), "a mask leaves steps out"),
    "states": (partial(of_layers, layers.LSTM(4, stateful=True)), "it does not begin at zero"),
    "an open batch": (partial(of_layers, layers.LSTM(4), batch=None), "its batch is open"),
    "its c is read": (partial(with_states, read="c"), "something reads its last cell state"),
    "its c is what it gives": (
        partial(of_layers, layers.RNN(GivesTheCell(4), return_sequences=True)),
        "something else",
    ),
    "backwards": (partial(of_layers, Backwards()), ""),
    "gate of tanh": (partial(lookalike, "input gate tanh"), "no gate"),
    "output of tanh": (partial(lookalike, "output gate tanh"), ""),
    "output of relu": (partial(lookalike, "output gate relu"), ""),
}


@GROUP
@pytest.mark.parametrize("name", REFUSED)
def test_another_one_is_refused(name):
    make, why = REFUSED[name]
    error = reason(make())
    assert why in error.found
    assert ("give --batch N" if name == "an open batch" else "give --form rolled") in error.todo


@GROUP
def test_a_model_tells_which_forms_its_recurrences_may_have(tmp_path):
    model = of_layers(layers.LSTM(5, return_sequences=True), layers.GRU(4), batch=None, steps=7)
    model.save(tmp_path / "m.keras")
    lstm, gru = inspect_tflite(tmp_path / "m.keras")
    assert (lstm.chosen, lstm.proven, lstm.refused) == ("unroll", ("fused", "rolled", "unroll"), {})
    assert (gru.chosen, gru.proven) == ("unroll", ("rolled", "unroll"))
    assert "it is a GRU" in gru.refused["fused"]
    of_layers(layers.LSTM(5), batch=None).save(tmp_path / "open.keras")
    (lstm,) = inspect_tflite(tmp_path / "open.keras")
    assert (lstm.chosen, lstm.proven) == ("rolled", ("fused", "rolled"))
    assert "--timesteps" in lstm.refused["unroll"]


@GROUP
def test_a_last_h_that_is_read_is_the_last_output():
    source = rnnexport.load(with_states(read="h"))
    fusion = fusion_of(Graphs(trace(source, describe(source, Boundary()), unroll=False)))
    assert list(fusion.why_not.values()) == [""]


@GROUP
def test_a_layer_of_tf_keras_is_fused_too():
    x = tf_keras.Input((None, FEATURES), batch_size=BATCH, name="x")
    outputs = [
        tf_keras.layers.LSTM(4, return_sequences=True)(x),
        tf_keras.layers.RNN(tf_keras.layers.LSTMCell(5), go_backwards=True)(x),
    ]
    source = rnnexport.load(with_weights(tf_keras.Model(x, outputs)))
    fusion = fusion_of(Graphs(trace(source, describe(source, Boundary()), unroll=False)))
    assert list(fusion.why_not.values()) == ["", ""]
