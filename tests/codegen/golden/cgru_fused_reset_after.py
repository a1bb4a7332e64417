"""cgru_fused_reset_after in NumPy, written by rnnexport.

    python cgru_fused_reset_after.py input.npz output.npz

In the shapes of comments: B batch, T timesteps, H 7 units of cgru, I 5 features of features, O 3 values of readout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

WEIGHTS = Path(__file__).with_suffix(".npz")


def load_weights(weights: Path | str | Mapping[str, np.ndarray], dtype: np.dtype) -> SimpleNamespace:
    """The weights of the archive, by layer and name: `kernel` of `lstm` is `.lstm.kernel`.

    Args:
        weights: the archive, or its arrays by `layer/name`.
        dtype: float64 for all numbers of a floating dtype; with float32 each stays what it is.
    """
    if not isinstance(weights, Mapping):
        with np.load(weights, allow_pickle=False) as archive:
            return load_weights({name: archive[name] for name in archive if "/" in name}, dtype)
    layers = SimpleNamespace()
    for path, array in weights.items():
        layer, _, name = path.partition("/")
        vars(layers).setdefault(layer, SimpleNamespace())
        wide = array.astype(dtype) if dtype == np.float64 and array.dtype.kind == "f" else array
        setattr(vars(layers)[layer], name, wide)
    return layers


def checked(model: Any, name: str, value: Any) -> np.ndarray:
    """`value` as the array that the model takes. ValueError where it has another shape."""
    array, (dtype, shape) = np.asarray(value), model.SIGNATURE[name]
    sizes = zip(array.shape, shape, strict=False)
    if array.ndim != len(shape) or any(isinstance(size, int) and found != size for found, size in sizes):
        raise ValueError(f"{name} has the shape {array.shape}, not {shape}")
    if "float" in dtype and (model.dtype == np.float64 or dtype == "bfloat16"):
        dtype = model.dtype
    return array.astype(dtype, copy=False)


def split(x: np.ndarray, parts: int, axis: int = 0) -> list[np.ndarray]:
    """Cut x along an axis into equal parts, the last one smaller where it does not divide."""
    size = -(-x.shape[axis] // parts)
    before = (slice(None),) * (axis % x.ndim)
    return [x[(*before, slice(part * size, (part + 1) * size))] for part in range(parts)]


def scan(
    cell: Callable[..., tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]],
    sequences: tuple[np.ndarray, ...],
    states: tuple[np.ndarray, ...],
    constants: tuple[np.ndarray, ...] = (),
    length: int | None = None,
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Call `outputs, states = cell(*elements, *states, *constants)` in every step; sequences are time first.

    Returns:
        The outputs of all steps, time first, and the states after the last. Without a step these are the first states.
    """
    T = len(sequences[0]) if length is None else length
    if T < 1:  # what zeros give tells the shapes of the outputs
        outputs, _ = cell(*[np.zeros(x.shape[1:], x.dtype) for x in sequences], *states, *constants)
        return tuple(np.empty((0, *y.shape), y.dtype) for y in outputs), states
    stacked: tuple[np.ndarray, ...] = ()
    for t in range(T):
        outputs, states = cell(*[x[t] for x in sequences], *states, *constants)
        if t == 0:
            stacked = tuple(np.empty((T, *y.shape), y.dtype) for y in outputs)
        for whole, y in zip(stacked, outputs, strict=True):
            whole[t] = y
    return stacked, states


def cgru_cell(x_z, x_r, x_h, h_next, recurrent_kernel, bias):
    """One timestep of cgru."""
    h_z, h_r, h_h = split(h_next @ recurrent_kernel + bias, 3, axis=1)  # (B, H)
    z = np.clip(x_z + (3 + h_z), 0, 6) * (1 / 6)  # (B, H)
    r = np.clip(x_r + (3 + h_r), 0, 6) * (1 / 6)  # (B, H)
    reset = r * h_h  # (B, H)
    n = np.tanh(x_h + reset)  # (B, H)
    h_next = (1 - z) * h_next + z * n  # (B, H)
    return (h_next,), (h_next,)


class CgruFusedResetAfter:
    """features (batch, time, 5) to readout (batch, time, 3).

    Args:
        weights: the archive, or its arrays by `layer/name`.
        dtype: np.float32, or np.float64 for all numbers of a floating dtype.
    """

    INPUTS = ("features",)
    OUTPUTS = ("readout",)
    STATES = ()
    SIGNATURE: ClassVar = {
        "features": ("float32", ("batch", "time", 5)),
        "readout": ("float32", ("batch", "time", 3)),
    }

    def __init__(self, weights=WEIGHTS, dtype=np.float32):
        self.dtype = np.dtype(dtype)
        self.weights = load_weights(weights, self.dtype)
        self.states = None

    def initial_state(self, batch=1):
        """What each of `batch` rows starts from, by the names of the states."""
        return {}

    def reset(self, rows=None):
        """Let the next call begin from the start: in all rows, or in those of these numbers."""
        self.states = None

    def __call__(self, features):
        """The output; the states are kept for the next call."""
        if self.states is None:
            self.states = self.initial_state(len(features))
        outputs, self.states = self.step(features, self.states)
        return outputs["readout"]

    @np.errstate(all="ignore")
    def step(self, features, states):
        """(outputs, states after): of one call, from the states before it; {} where there are none."""
        dtype = self.dtype
        w = self.weights
        features = checked(self, "features", features)
        B = features.shape[0]
        # cgru: RNN
        x_z, x_r, x_h = split(features.transpose(1, 0, 2) @ w.cgru.kernel + w.cgru.bias[0], 3, axis=2)  # (T, B, H)
        (cgru,), _ = scan(
            cgru_cell, (x_z, x_r, x_h), (np.zeros((B, 7), dtype),), (w.cgru.recurrent_kernel, w.cgru.bias[1])
        )
        outputs = {"readout": cgru.transpose(1, 0, 2) @ w.readout.kernel + w.readout.bias}
        return outputs, {}


MODEL = CgruFusedResetAfter


def main(model: Any) -> None:
    """Run the model on the arrays of an archive, named as its inputs, and as its states where it goes on from some."""
    parser = argparse.ArgumentParser(description=model.__doc__.partition("\n")[0])
    parser.add_argument("input", help=f"an .npz with {', '.join(model.INPUTS)}")
    parser.add_argument("output", nargs="?", help="where outputs and states go; they are printed without it")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    arguments = parser.parse_args()
    try:
        with np.load(arguments.input, allow_pickle=False) as archive:
            given = dict(archive)
        program = model(dtype=arguments.dtype)
        inputs = [given[name] for name in model.INPUTS]
        states = {name: given[name] for name in model.STATES if name in given}
        outputs, after = program.step(*inputs, {**program.initial_state(len(inputs[0])), **states})
    except KeyError as error:
        sys.exit(f"{arguments.input} has no array {error}")
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    if arguments.output:
        np.savez(arguments.output, **outputs, **after)
    else:
        for name, array in {**outputs, **after}.items():
            print(name, array.shape, array, sep="\n", end="\n\n")


if __name__ == "__main__":
    main(MODEL)
