"""The built-in cells as layers of PyTorch, with the weights of a Keras model.

Keras multiplies x by the kernel, PyTorch by its transpose, and the gates come in another order:

    LSTM    Keras i f c o    PyTorch i f g o, where g is c
    GRU     Keras z r h      PyTorch r z n, where n = tanh(W x + b + r * (R h + c)) is h: reset after, nothing else
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

# For each cell: the layer, and its gates as places in Keras' order.
_LAYERS: dict[str, tuple[type[torch.nn.RNNBase], tuple[int, ...]]] = {
    "simple_rnn": (torch.nn.RNN, (0,)),
    "lstm": (torch.nn.LSTM, (0, 1, 2, 3)),
    "gru": (torch.nn.GRU, (1, 0, 2)),
}
CELLS = tuple(_LAYERS)


def layer(cell: str, weights: Sequence[np.ndarray]) -> torch.nn.RNNBase:
    """The layer of that cell, with the kernel, recurrent kernel and bias of the Keras layer."""
    kind, gates = _LAYERS[cell]
    kernel, recurrent, bias = (_in_order(weight, gates) for weight in weights)
    # A GRU that resets after the product has a bias for the input and one for the state; the others have the first.
    bias_x, bias_h = bias if bias.ndim == 2 else (bias, np.zeros_like(bias))
    made = kind(kernel.shape[0], recurrent.shape[0], batch_first=True)
    values = {"weight_ih_l0": kernel.T, "weight_hh_l0": recurrent.T, "bias_ih_l0": bias_x, "bias_hh_l0": bias_h}
    made.load_state_dict({name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in values.items()})
    return made.eval()


def _in_order(weight: np.ndarray, gates: Sequence[int]) -> np.ndarray:
    """The gates of the last axis, taken in another order."""
    pieces = np.split(weight, len(gates), axis=-1)
    return np.concatenate([pieces[gate] for gate in gates], axis=-1)


def one_thread() -> None:
    """Hold PyTorch to one thread."""
    torch.set_num_threads(1)


def run(made: torch.nn.RNNBase, x: torch.Tensor) -> list[Any]:
    """The sequence of outputs."""
    with torch.inference_mode():
        return [made(x)[0]]


def tensor(array: np.ndarray) -> torch.Tensor:
    """An array as a tensor."""
    return torch.from_numpy(array)
