"""lstm in NumPy, written by rnnexport.

    python lstm.py input.npz output.npz

In the shapes of comments: B batch, T timesteps.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
import zlib
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


def checked(model: Any, name: str, value: Any, sizes: dict[str, int]) -> np.ndarray:
    """`value` as the array that the model takes. ValueError where shape or numbers are others, or do not fit `sizes`.

    Args:
        sizes: the open sizes that are known so far; those of `value` are added.
    """
    array, (dtype, shape) = np.asarray(value), model.SIGNATURE[name]
    dims = list(zip(shape, array.shape, strict=False))
    if array.ndim != len(shape) or any(isinstance(size, int) and size != found for size, found in dims):
        raise ValueError(f"{name} has the shape {array.shape}, not {shape}")
    for size, found in dims:
        if isinstance(size, str) and sizes.setdefault(size, found) != found:
            raise ValueError(f"{name} has the shape {array.shape}, not {shape} with {size} {sizes[size]}")
    if "float" in dtype and (model.dtype == np.float64 or dtype == "bfloat16"):
        dtype = model.dtype
    cast = array.astype(dtype, copy=False) if np.can_cast(array.dtype, dtype, "same_kind") else None
    if cast is None or (array.dtype.kind in "iu" and not np.array_equal(cast, array) and cast.dtype.kind in "iu"):
        raise ValueError(f"{name} holds {array.dtype} that is no {dtype}")
    return cast


def split(x: np.ndarray, parts: int, axis: int = 0) -> list[np.ndarray]:
    """Cut x along an axis into equal parts, the last one smaller where it does not divide."""
    size = -(-x.shape[axis] // parts)
    before = (slice(None),) * (axis % x.ndim)
    return [x[(*before, slice(part * size, (part + 1) * size))] for part in range(parts)]


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), to the last digits at both ends; from the bound on it rounds to 1."""
    y = np.empty_like(x)
    np.minimum(x, 11 if y.itemsize == 2 else 40, out=y)
    np.exp(y, out=y)
    y /= y + 1
    return y


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


def lstm_cell(z, h, c, recurrent_kernel, bias):
    """One timestep of partial_sum."""
    z = z + h @ recurrent_kernel + bias  # (B, 4)
    z_i, z_f, z_c, z_o = split(z, 4, axis=1)  # (B, 1)
    o = sigmoid(z_o)  # (B, 1)
    f = sigmoid(z_f)  # (B, 1)
    i = sigmoid(z_i)  # (B, 1)
    c = f * c + i * z_c  # (B, 1)
    h = o * c  # (B, 1)
    return (h,), (h, c)


class Lstm:
    """x (batch, time, 1) to partial_sum (batch, time, 1).

    Args:
        weights: the archive, or its arrays by `layer/name`.
        dtype: np.float32, or np.float64 for all numbers of a floating dtype.
    """

    INPUTS = ("x",)
    OUTPUTS = ("partial_sum",)
    STATES = ()
    SIGNATURE: ClassVar = {
        "x": ("float32", ("batch", "time", 1)),
        "partial_sum": ("float32", ("batch", "time", 1)),
    }

    def __init__(self, weights=WEIGHTS, dtype=np.float32):
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"the dtype is {self.dtype}, not float32 or float64")
        self.weights = load_weights(weights, self.dtype)
        self.states = None

    def initial_state(self, batch=1):
        """What each of `batch` rows starts from, by the names of the states."""
        return {}

    def reset(self, rows=None):
        """Let the next call begin from the start: in all rows, or in those of these numbers."""
        self.states = None

    def __call__(self, x):
        """The output."""
        outputs, _ = self.step(x, {})
        return outputs["partial_sum"]

    @np.errstate(all="ignore")
    def step(self, x, states):
        """(outputs, states after): of one call, from the states before it; {} where there are none."""
        dtype = self.dtype
        w = self.weights
        x = checked(self, "x", x, {})
        B = x.shape[0]
        # partial_sum: RNN
        z = x.transpose(1, 0, 2) @ w.partial_sum.kernel  # (T, B, 4)
        partial_sum = np.zeros((B, 1), dtype)  # (B, 1)
        (partial_sum,), _ = scan(
            lstm_cell, (z,), (partial_sum, partial_sum), (w.partial_sum.recurrent_kernel, w.partial_sum.bias)
        )
        outputs = {"partial_sum": partial_sum.transpose(1, 0, 2)}
        return outputs, {}


MODEL = Lstm


def main(model: Any) -> None:
    """Run the model on the arrays of an archive, named as its inputs, and as its states where it goes on from some."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    names = ", ".join(model.INPUTS).replace("%", "%%")
    parser.add_argument("input", help=f"an .npz with {names}")
    parser.add_argument("output", nargs="?", help="where outputs and states go; they are printed without it")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    arguments = parser.parse_args()
    path, own = arguments.input, Path(__file__).with_suffix(".npz")
    if arguments.output and Path(arguments.output).resolve() == own.resolve():
        sys.exit(f"{arguments.output} has the weights of this program")
    try:
        with np.load(path, allow_pickle=False) as archive:
            given = dict(archive)
        path = own
        program = model(dtype=arguments.dtype)
    except (EOFError, OSError, RuntimeError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        sys.exit(f"can't read {path} as an .npz: {error}")
    sizes: dict[str, int] = {}
    try:
        inputs = [checked(program, name, given[name], sizes) for name in model.INPUTS]
        start = program.initial_state(sizes["batch"]) if "batch" in sizes else program.initial_state()
        outputs, after = program.step(*inputs, {name: given.get(name, start[name]) for name in model.STATES})
    except KeyError as error:
        sys.exit(f"{arguments.input} has no array {error}")
    except ValueError as error:
        sys.exit(str(error))
    found = {**outputs, **after}
    if not arguments.output:
        for name, array in found.items():
            print(name, array.shape, array, sep="\n", end="\n\n")
        return
    try:
        with zipfile.ZipFile(arguments.output, "w") as archive:  # np.savez takes some names for its own arguments
            for name, array in found.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, np.asarray(array), allow_pickle=False)
    except OSError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(MODEL)
