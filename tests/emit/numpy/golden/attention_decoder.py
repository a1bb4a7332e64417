"""attention_decoder in NumPy, written by rnnexport.

    python attention_decoder.py input.npz output.npz

In the shapes of comments: B batch, T timesteps, H 4 units of decoded, J 7 units of decoded, I 5 features of encoded.
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


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), to the last digits at both ends; from the bound on it rounds to 1."""
    y = np.empty_like(x)
    np.minimum(x, 11 if y.itemsize == 2 else 40, out=y)
    np.exp(y, out=y)
    y /= y + 1
    return y


def softmax(x: np.ndarray, axis: int = -1) -> np.ndarray:
    """exp(x), divided by its sum along the axis."""
    y = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    np.exp(y, out=y)
    y /= y.sum(axis=axis, keepdims=True)
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


def attention_cell(
    y_next,
    s_next,
    W_o,
    U_o,
    W_a,
    total,
    V_a,
    encoded,
    C_o,
    b_o,
    W_z,
    U_z,
    C_z,
    b_z,
    W_p,
    W_r,
    U_r,
    C_r,
    b_r,
    U_p,
    C_p,
    b_p,
):
    """One timestep of decoded."""
    energy = np.tanh((s_next @ W_a)[:, None] + total) @ V_a  # (B, T)
    attention = softmax(energy)  # (B, T)
    context = (attention[..., None] * encoded).sum(axis=1)  # (B, I)
    y_next_2 = softmax(y_next @ W_o + s_next @ U_o + context @ C_o + b_o)  # (B, H)
    z = sigmoid(y_next @ W_z + s_next @ U_z + context @ C_z + b_z)  # (B, J)
    r = sigmoid(y_next @ W_r + s_next @ U_r + context @ C_r + b_r)  # (B, J)
    total = y_next @ W_p + (r * s_next) @ U_p + context @ C_p + b_p  # (B, J)
    p = np.tanh(total)  # (B, J)
    s_next = (1 - z) * s_next + z * p  # (B, J)
    return (y_next_2,), (y_next_2, s_next)


class AttentionDecoder:
    """encoded (batch, time, 5) to decoded (batch, time, 4).

    Args:
        weights: the archive, or its arrays by `layer/name`.
        dtype: np.float32, or np.float64 for all numbers of a floating dtype.
    """

    INPUTS = ("encoded",)
    OUTPUTS = ("decoded",)
    STATES = ()
    SIGNATURE: ClassVar = {
        "encoded": ("float32", ("batch", "time", 5)),
        "decoded": ("float32", ("batch", "time", 4)),
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

    def __call__(self, encoded):
        """The output."""
        outputs, _ = self.step(encoded, {})
        return outputs["decoded"]

    @np.errstate(all="ignore")
    def step(self, encoded, states):
        """(outputs, states after): of one call, from the states before it; {} where there are none."""
        dtype = self.dtype
        w = self.weights
        encoded = checked(self, "encoded", encoded, {})
        B = encoded.shape[0]
        T = encoded.shape[1]
        # decoded: AttentionDecoder
        y_first = np.zeros((B, 4), dtype)  # (B, H)
        s_first = np.tanh(encoded[:, 0] @ w.decoded.W_s)  # (B, J)
        (decoded,), _ = scan(
            attention_cell,
            (),
            (y_first, s_first),
            (
                w.decoded.W_o,
                w.decoded.U_o,
                w.decoded.W_a,
                encoded @ w.decoded.U_a + w.decoded.b_a,
                w.decoded.V_a,
                encoded,
                w.decoded.C_o,
                w.decoded.b_o,
                w.decoded.W_z,
                w.decoded.U_z,
                w.decoded.C_z,
                w.decoded.b_z,
                w.decoded.W_p,
                w.decoded.W_r,
                w.decoded.U_r,
                w.decoded.C_r,
                w.decoded.b_r,
                w.decoded.U_p,
                w.decoded.C_p,
                w.decoded.b_p,
            ),
            length=T,
        )
        outputs = {"decoded": decoded.transpose(1, 0, 2)}
        return outputs, {}


MODEL = AttentionDecoder


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
