"""The models that the benchmarks run: one recurrence each, at any number of units, with distinct random weights.

Shape letters: B batch, T time, F features of the input, U units.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tf_keras

from benchmarks.custom_cells import (
    LayerNormLSTMCell,
    MinGRUCell,
    MinimalGatedCell,
    PeepholeLSTMCell,
    SelectiveCell,
    SLSTMBlockCell,
    SRUCell,
)
from rnnexport.core.errors import UsageError
from samples.attention_decoder import AttentionDecoder
from samples.cgru_cell import CGRUCell
from samples.conv3d_gru import Conv3DGRUCell
from samples.multi_output_gru import CustomMultiTimeStepGRUCell
from samples.s_lstm import SLSTMCell

WIDE_FROM = 128
CONSTANT = 8  # width of the constant that the multi-output GRU joins to its state
OTHER_OUTPUT = 15  # width of its second output
LABELS = 8  # width of the attention decoder's output
SELECTIVE = 4  # numbers for each unit of the selective state space
GAIN = 0.8  # a recurrence of weights above 1 would be chaotic, and rounding alone would make peers disagree


@dataclass(frozen=True, order=True)
class Size:
    """What a model is run at."""

    batch: int
    timesteps: int
    units: int

    @classmethod
    def parse(cls, text: str) -> Size:
        """`BxTxU`, such as 32x100x256.

        Raises:
            UsageError: it is no such text.
        """
        if not re.fullmatch(r"[1-9]\d*x[1-9]\d*x[1-9]\d*", text):
            raise UsageError(f"size {text!r}", "BxTxU such as 32x100x256", "change --size")
        batch, timesteps, units = map(int, text.split("x"))
        return cls(batch, timesteps, units)

    def __str__(self) -> str:
        return f"{self.batch}x{self.timesteps}x{self.units}"


SIZES = (Size(1, 1, 64), Size(1, 100, 32), Size(1, 100, 256), Size(32, 100, 64), Size(32, 100, 256))


def features(units: int) -> int:
    """F, the width of the input, at that many units."""
    return 64 if units >= WIDE_FROM else 8


def grid(units: int) -> tuple[int, int]:
    """Edge n and channels C of the convolutional GRU's state, with n * n * n * C = U.

    Raises:
        UsageError: there is no such grid.
    """
    edge = 4 if units >= WIDE_FROM else 2
    if units % edge**3:
        raise UsageError(f"{units} units for the 3-D conv GRU", f"a multiple of {edge**3}", "change --size")
    return edge, units // edge**3


@dataclass(frozen=True)
class Cell:
    """One kind of model.

    Attributes:
        name: for `--cell`.
        title: for the table.
        build: (F, U) to an untrained model of dynamic batch and length.
        products: (T, F, U) to the multiplications in matrix products, convolutions among them, that one step of one
            row of the batch needs. This is the work that no implementation can leave out.
        taken: (generator, B, T) to the steps of each row that are not masked, (B, T); None for a model without masks.
    """

    name: str
    title: str
    build: Callable[[int, int], Any]
    products: Callable[[int, int, int], int]
    taken: Callable[[np.random.Generator, int, int], np.ndarray] | None = None

    def feed(self, model: Any, size: Size) -> list[np.ndarray]:
        """The inputs of the model: zeros in steps that are masked."""
        arrays = feed(model, size)
        if self.taken is not None:
            taken_BT = self.taken(np.random.default_rng(3), size.batch, size.timesteps)
            arrays[0] = arrays[0] * taken_BT[:, :, None].astype("float32")
        return arrays

    def model(self, units: int) -> Any:
        """The model at that many units, with its weights."""
        return with_random_weights(self.build(features(units), units))

    def operations(self, size: Size) -> int:
        """Floating-point operations in the matrix products of one call."""
        per_step = self.products(size.timesteps, features(size.units), size.units)
        return 2 * size.batch * size.timesteps * per_step


def with_random_weights(model: Any, seed: int = 1) -> Any:
    """Distinct weights and non-zero biases, as a trained model has them; scales and variances around 1."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        path = getattr(weight, "path", weight.name)
        if "seed" in path:
            continue
        if "gamma" in path or "variance" in path:
            value = rng.uniform(0.5, 1.5, weight.shape)
        elif len(weight.shape) == 1:
            value = rng.uniform(-0.5, 0.5, weight.shape)
        else:
            bound = GAIN * math.sqrt(3 / math.prod(weight.shape[:-1]))
            value = rng.uniform(-bound, bound, weight.shape)
        weight.assign(value.astype("float32"))
    return model


def feed(model: Any, size: Size, seed: int = 2) -> list[np.ndarray]:
    """One array for each input of `model`."""
    rng = np.random.default_rng(seed)
    shapes = [[size.batch, *tensor.shape[1:]] for tensor in model.inputs]
    filled = [[size.timesteps if dim is None else dim for dim in shape] for shape in shapes]
    return [rng.standard_normal(shape).astype("float32") for shape in filled]


def call(model: Any, tensors: Sequence[Any]) -> list[Any]:
    """Inference on flat inputs, to flat outputs."""
    outputs = model(tensors[0] if len(tensors) == 1 else list(tensors), training=False)
    return list(keras.tree.flatten(outputs))


def _keras3(layer: Callable[[int], Any]) -> Callable[[int, int], Any]:
    def build(features: int, units: int) -> Any:
        x_BTF = keras.Input((None, features), name="x")
        return keras.Model(x_BTF, layer(units)(x_BTF), name="bench")

    return build


def _keras3_cell(cell: Callable[[int], Any]) -> Callable[[int, int], Any]:
    return _keras3(lambda units: keras.layers.RNN(cell(units), return_sequences=True, name="rnn"))


def _s_lstm(features: int, units: int) -> Any:
    x_BTF = tf_keras.Input((None, features), name="x")
    rnn = tf_keras.layers.RNN(SLSTMCell(units), return_sequences=True, name="rnn")
    return tf_keras.Model(x_BTF, rnn(x_BTF), name="bench")


def _multi_output_gru(features: int, units: int) -> Any:
    x_BTF = tf_keras.Input((None, features), name="x")
    h_BU = tf_keras.Input((units,), name="initial_state")
    z_BL = tf_keras.Input((CONSTANT,), name="constant")
    cell = CustomMultiTimeStepGRUCell(units, OTHER_OUTPUT)
    rnn = tf_keras.layers.RNN(cell, return_sequences=True, return_state=True, name="rnn")
    return tf_keras.Model([x_BTF, h_BU, z_BL], rnn(x_BTF, initial_state=h_BU, constants=z_BL), name="bench")


def _attention_decoder(features: int, units: int) -> Any:
    x_BTF = tf_keras.Input((None, features), name="x")
    return tf_keras.Model(x_BTF, AttentionDecoder(units, LABELS, name="decoded")(x_BTF), name="bench")


def _conv3d_gru(features: int, units: int) -> Any:
    edge, channels = grid(units)
    x_BTF = keras.Input((None, features), name="x")
    rnn = keras.layers.RNN(Conv3DGRUCell(filters=channels, grid=edge), name="rnn")
    return keras.Model(x_BTF, rnn(x_BTF), name="bench")


def _gates(count: int) -> Callable[[int, int, int], int]:
    return lambda T, F, U: count * (F * U + U * U)


def _multi_output_products(T: int, F: int, U: int) -> int:
    return 3 * (F * U + U * U) + (U + CONSTANT) * U + F * OTHER_OUTPUT


def _attention_products(T: int, F: int, U: int) -> int:
    energy_and_context = F * U + U * U + T * U + T * F
    return energy_and_context + (LABELS + U + F) * (3 * U + LABELS)


def _conv3d_products(T: int, F: int, U: int) -> int:
    edge, channels = grid(U)
    return 3 * (F * U + edge**3 * 27 * channels**2)


def _stacked_products(T: int, F: int, U: int) -> int:
    return _gates(4)(T, F, U) + _gates(3)(T, U, U)


def _selective_products(T: int, F: int, U: int) -> int:
    return F * (2 * U + 2 * SELECTIVE)


def _selective(units: int) -> Any:
    return SelectiveCell(units, SELECTIVE)


def _sequences(layer: Any, **fixed: bool) -> Callable[[int, int], Any]:
    return _keras3(lambda units: layer(units, return_sequences=True, name="rnn", **fixed))


def _masked(layer: Callable[[int], Any]) -> Callable[[int, int], Any]:
    def build(features: int, units: int) -> Any:
        x_BTF = keras.Input((None, features), name="x")
        return keras.Model(x_BTF, layer(units)(keras.layers.Masking()(x_BTF)), name="bench")

    return build


def _masked_lstm(units: int) -> Any:
    return keras.layers.LSTM(units, return_sequences=True, name="rnn")


def _masked_both_ways(units: int) -> Any:
    return keras.layers.Bidirectional(_masked_lstm(units), name="both")


def _padded(rng: np.random.Generator, batch: int, timesteps: int) -> np.ndarray:
    """From half of the steps to all of them."""
    lengths_B = rng.integers((timesteps + 1) // 2, timesteps + 1, batch)
    return np.arange(timesteps) < lengths_B[:, None]


def _holes(rng: np.random.Generator, batch: int, timesteps: int) -> np.ndarray:
    """Three steps of four, anywhere."""
    return rng.random((batch, timesteps)) < 0.75


def _stacked(units: int) -> Any:
    cells = [keras.layers.LSTMCell(units), keras.layers.GRUCell(units)]
    return keras.layers.RNN(keras.layers.StackedRNNCells(cells), return_sequences=True, name="rnn")


CELLS = (
    Cell("simple_rnn", "SimpleRNN", _sequences(keras.layers.SimpleRNN), _gates(1)),
    Cell("lstm", "LSTM", _sequences(keras.layers.LSTM), _gates(4)),
    Cell("gru", "GRU, reset after", _sequences(keras.layers.GRU, reset_after=True), _gates(3)),
    Cell("gru_reset_before", "GRU, reset before", _sequences(keras.layers.GRU, reset_after=False), _gates(3)),
    Cell("s_lstm", "S-LSTM", _s_lstm, _gates(2)),
    Cell("cgru", "CGRU", _keras3_cell(CGRUCell), _gates(3)),
    Cell("peephole_lstm", "peephole LSTM", _keras3_cell(PeepholeLSTMCell), _gates(4)),
    Cell("minimal_gated", "minimal gated", _keras3_cell(MinimalGatedCell), _gates(2)),
    Cell("layer_norm_lstm", "layer-norm LSTM", _keras3_cell(LayerNormLSTMCell), _gates(4)),
    Cell("multi_output_gru", "multi-output GRU", _multi_output_gru, _multi_output_products),
    Cell("attention_decoder", "AttentionDecoder", _attention_decoder, _attention_products),
    Cell("conv3d_gru", "3-D conv GRU", _conv3d_gru, _conv3d_products),
    Cell("padded_lstm", "LSTM, padded", _masked(_masked_lstm), _gates(4), _padded),
    Cell("padded_bilstm", "LSTM both ways, padded", _masked(_masked_both_ways), _gates(8), _padded),
    Cell("holes_bilstm", "LSTM both ways, holes", _masked(_masked_both_ways), _gates(8), _holes),
    Cell("stacked_cells", "LSTM and GRU cells, stacked", _keras3(_stacked), _stacked_products),
    Cell("min_gru", "minGRU", _keras3_cell(MinGRUCell), lambda T, F, U: 2 * F * U),
    Cell("sru", "SRU", _keras3_cell(SRUCell), lambda T, F, U: 4 * F * U),
    Cell("xlstm", "sLSTM of xLSTM", _keras3_cell(SLSTMBlockCell), _gates(4)),
    Cell("selective", "selective state space", _keras3_cell(_selective), _selective_products),
)
CELLS_BY_NAME = {cell.name: cell for cell in CELLS}


def what_is_run(sizes: Sequence[Size]) -> list[str]:
    """The sizes that the names of the cells and B, T, U leave open, as lines."""
    units = sorted({size.units for size in sizes})
    widths = ", ".join(f"F={features(count)} at U={count}" for count in units)
    grids = ", ".join("{0}x{0}x{0} with {1} channels at U={2}".format(*grid(count), count) for count in units)
    return [
        f"Width of the input: {widths}.",
        f"State of the 3-D conv GRU: {grids}; it gives its last state, the others give sequences.",
        f"AttentionDecoder: {LABELS} labels, attends over T. Multi-output GRU: constant of {CONSTANT}, second output"
        f" of {OTHER_OUTPUT}. Selective state space: {SELECTIVE} numbers for each unit.",
    ]
