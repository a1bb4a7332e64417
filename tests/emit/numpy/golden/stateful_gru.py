"""stateful_gru in NumPy, written by rnnexport.

    python stateful_gru.py input.npz output.npz

In the shapes of comments: H 64 units of gru_layer_0, I 4 features of input_node, O 2 values of output_node.
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


def gru_cell(x_z, x_r, x_n, h, recurrent_kernel_zr, recurrent_kernel_n):
    """One timestep of gru_layer_0, gru_layer_1 and gru_layer_2."""
    matrix_inner = h @ recurrent_kernel_zr  # (1, 2H)
    recurrent_z = matrix_inner[:, :64]  # (1, H)
    z = np.clip(0.2 * (x_z + recurrent_z) + 0.5, 0, 1)  # (1, H)
    recurrent_r = matrix_inner[:, 64:]  # (1, H)
    r = np.clip(0.2 * (x_r + recurrent_r) + 0.5, 0, 1)  # (1, H)
    recurrent_n = (r * h) @ recurrent_kernel_n  # (1, H)
    n = np.tanh(x_n + recurrent_n)  # (1, H)
    h = z * h + (1 - z) * n  # (1, H)
    return (h,), (h,)


class StatefulGru:
    """input_node (1, 1, 4) to output_node (1, 1, 2).

    A call goes on from where the last one ended; `step` is given the states, and keeps none.

    Args:
        weights: the archive, or its arrays by `layer/name`.
        dtype: np.float32, or np.float64 for all numbers of a floating dtype.
    """

    INPUTS = ("input_node",)
    OUTPUTS = ("output_node",)
    STATES = ("state_gru_layer_0_00", "state_gru_layer_1_00", "state_gru_layer_2_00")
    SIGNATURE: ClassVar = {
        "input_node": ("float32", (1, 1, 4)),
        "state_gru_layer_0_00": ("float32", (1, 64)),
        "state_gru_layer_1_00": ("float32", (1, 64)),
        "state_gru_layer_2_00": ("float32", (1, 64)),
        "output_node": ("float32", (1, 1, 2)),
        "next_state_gru_layer_0_00": ("float32", (1, 64)),
        "next_state_gru_layer_1_00": ("float32", (1, 64)),
        "next_state_gru_layer_2_00": ("float32", (1, 64)),
    }

    def __init__(self, weights=WEIGHTS, dtype=np.float32):
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise ValueError(f"the dtype is {self.dtype}, not float32 or float64")
        self.weights = load_weights(weights, self.dtype)
        self.states = None

    def initial_state(self, batch=1):
        """What each of `batch` rows starts from, by the names of the states."""
        if batch != 1:
            raise ValueError(f"the batch is 1, not {batch}")
        return {
            "state_gru_layer_0_00": np.zeros((1, 64), self.dtype),
            "state_gru_layer_1_00": np.zeros((1, 64), self.dtype),
            "state_gru_layer_2_00": np.zeros((1, 64), self.dtype),
        }

    def reset(self, rows=None):
        """Let the next call begin from the start: in all rows, or in those of these numbers."""
        if rows is None or self.states is None:
            self.states = None
            return
        start = self.initial_state()
        self.states = {name: array.copy() for name, array in self.states.items()}
        for name, array in self.states.items():
            array[rows] = start[name][rows]

    def __call__(self, input_node):
        """The output; the states are kept for the next call."""
        if self.states is None:
            self.states = self.initial_state()
        outputs, after = self.step(input_node, self.states)
        self.states = {name: np.array(array) for name, array in after.items()}
        return outputs["output_node"]

    @np.errstate(all="ignore")
    def step(self, input_node, states):
        """(outputs, states after): of one call, from the states before it; {} where there are none."""
        w = self.weights
        input_node = checked(self, "input_node", input_node, {})
        gru_layer_0_h = checked(self, "state_gru_layer_0_00", states["state_gru_layer_0_00"], {})
        gru_layer_1_h = checked(self, "state_gru_layer_1_00", states["state_gru_layer_1_00"], {})
        gru_layer_2_h = checked(self, "state_gru_layer_2_00", states["state_gru_layer_2_00"], {})
        # gru_layer_0: GRU
        matrix_x = input_node @ w.gru_layer_0.kernel + w.gru_layer_0.bias  # (1, 1, 3H)
        x_z, x_r, x_n = split(matrix_x, 3, axis=-1)  # (1, 1, H)
        (gru_layer_0,), (gru_layer_0_h,) = scan(
            gru_cell,
            (x_z, x_r, x_n),
            (gru_layer_0_h,),
            (w.gru_layer_0.recurrent_kernel[:, :128], w.gru_layer_0.recurrent_kernel[:, 128:]),
        )
        # gru_layer_1: GRU
        matrix_x = gru_layer_0 @ w.gru_layer_1.kernel + w.gru_layer_1.bias  # (1, 1, 3H)
        x_z, x_r, x_n = split(matrix_x, 3, axis=-1)  # (1, 1, H)
        (gru_layer_1,), (gru_layer_1_h,) = scan(
            gru_cell,
            (x_z, x_r, x_n),
            (gru_layer_1_h,),
            (w.gru_layer_1.recurrent_kernel[:, :128], w.gru_layer_1.recurrent_kernel[:, 128:]),
        )
        # gru_layer_2: GRU
        matrix_x = gru_layer_1 @ w.gru_layer_2.kernel + w.gru_layer_2.bias  # (1, 1, 3H)
        x_z, x_r, x_n = split(matrix_x, 3, axis=-1)  # (1, 1, H)
        (gru_layer_2,), (gru_layer_2_h,) = scan(
            gru_cell,
            (x_z, x_r, x_n),
            (gru_layer_2_h,),
            (w.gru_layer_2.recurrent_kernel[:, :128], w.gru_layer_2.recurrent_kernel[:, 128:]),
        )
        outputs = {"output_node": softmax(gru_layer_2 @ w.output_node.kernel + w.output_node.bias)}
        return outputs, {
            "state_gru_layer_0_00": gru_layer_0_h,
            "state_gru_layer_1_00": gru_layer_1_h,
            "state_gru_layer_2_00": gru_layer_2_h,
        }


MODEL = StatefulGru


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
