"""What every program has besides its model: weights from the archive, checked inputs, and a command line.

Copied into the program as it stands here.
"""

from __future__ import annotations

import argparse
import sys
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


def checked(model: Any, name: str, value: Any) -> np.ndarray:
    """`value` as the array that the model takes. ValueError where it has another shape."""
    array, (dtype, shape) = np.asarray(value), model.SIGNATURE[name]
    sizes = zip(array.shape, shape, strict=False)
    if array.ndim != len(shape) or any(isinstance(size, int) and found != size for found, size in sizes):
        raise ValueError(f"{name} has the shape {array.shape}, not {shape}")
    if "float" in dtype and (model.dtype == np.float64 or dtype == "bfloat16"):
        dtype = model.dtype
    return array.astype(dtype, copy=False)


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
