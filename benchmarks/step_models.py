"""The models that the cost of one step is measured on, and how Keras itself steps each: a row and a timestep a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from benchmarks.cells import with_random_weights
from samples.cgru_cell import CGRUCell
from samples.stateful_gru import stateful_gru

FEATURES, UNITS = 8, 64
FILTERS, KERNEL = 16, 5


@dataclass(frozen=True)
class StepModel:
    """One model.

    Attributes:
        name: for `--model`.
        title: for the table.
        build: makes it: on sequences of any length, or stateful with one timestep a call.
        twin: of the built model, the stateful one that Keras steps, with its weights; None where it is stateful itself.
        window: how many timesteps the twin looks at in a call: the last ones, which its caller has to keep.
    """

    name: str
    title: str
    build: Callable[[], Any]
    twin: Callable[[], Any] | None
    window: int = 1


def inputs(model: Any, count: int, seed: int = 3) -> list[np.ndarray]:
    """The input of each of so many steps, of the shape (1, 1, F)."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((1, 1, model.inputs[0].shape[-1])).astype("float32") for _ in range(count)]


def eager_steps(model: Any, xs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The truth: the output of each step, (1, 1, O), by the eager model; on the whole sequence where it takes one."""
    if model.inputs[0].shape[1] == 1:
        return [np.asarray(model(x, training=False)) for x in xs]
    y_BTO = np.asarray(model(np.concatenate(xs, axis=1), training=False))
    return [y_BTO[:, at : at + 1] for at in range(len(xs))]


def stepped_by_keras(spec: StepModel, model: Any) -> Any:
    """A stateful model for one row and timestep, with the weights of `model`, fresh."""
    twin = (spec.twin or spec.build)()
    twin.set_weights(model.get_weights())
    return twin


def _sequences(layer: Callable[..., Any]) -> Callable[[], Any]:
    def build() -> Any:
        x_BTF = keras.Input((None, FEATURES), name="x")
        return with_random_weights(keras.Model(x_BTF, layer(False)(x_BTF), name="steps"))

    return build


def _stateful(layer: Callable[..., Any]) -> Callable[[], Any]:
    def build() -> Any:
        x_BTF = keras.Input(batch_shape=(1, 1, FEATURES), name="x")
        return keras.Model(x_BTF, layer(True)(x_BTF), name="steps")

    return build


def _lstm(stateful: bool) -> Any:
    return keras.layers.LSTM(UNITS, return_sequences=True, stateful=stateful, name="lstm")


def _cgru(stateful: bool) -> Any:
    return keras.layers.RNN(CGRUCell(UNITS), return_sequences=True, stateful=stateful, name="cgru")


def _conv_gru(batch_shape: tuple[int | None, int | None, int], padding: str, stateful: bool) -> Any:
    x_BTF = keras.Input(batch_shape=batch_shape, name="x")
    y_BTC = keras.layers.Conv1D(FILTERS, KERNEL, padding=padding, activation="relu", name="conv")(x_BTF)
    y_BTU = keras.layers.GRU(UNITS, return_sequences=True, stateful=stateful, name="gru")(y_BTC)
    return keras.Model(x_BTF, y_BTU, name="steps")


def _causal_conv_gru() -> Any:
    return with_random_weights(_conv_gru((None, None, FEATURES), "causal", stateful=False))


def _windowed_conv_gru() -> Any:
    """The convolution over the last timesteps alone, which gives one."""
    return _conv_gru((1, KERNEL, FEATURES), "valid", stateful=True)


MODELS = (
    StepModel("stateful_gru", "3 stateful GRU 64 (sample)", stateful_gru, None),
    StepModel("lstm", "LSTM 64", _sequences(_lstm), _stateful(_lstm)),
    StepModel("cgru", "CGRU 64 (custom cell)", _sequences(_cgru), _stateful(_cgru)),
    StepModel("causal_conv_gru", "causal Conv1D 16x5, GRU 64", _causal_conv_gru, _windowed_conv_gru, KERNEL),
)
MODELS_BY_NAME = {model.name: model for model in MODELS}
