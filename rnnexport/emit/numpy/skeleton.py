"""What every program has besides its model: weights from the archive, checked inputs, and a command line.

Copied into the program as it stands here.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np


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
