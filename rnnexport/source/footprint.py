"""What some formats can't hold: weights of 2 GiB, and recurrences written out over very many steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import tensorflow as tf

from rnnexport.core.errors import ConversionError, UsageError
from rnnexport.core.signature import Boundary
from rnnexport.source.api import SEQUENCE_RANK
from rnnexport.source.model import SourceModel
from rnnexport.source.saved_model_file import SERVING
from rnnexport.source.unrolling import require_few_steps

# A flatbuffer, and a program that a C compiler links by default, hold less than 2 GiB; the rest is for the graph.
LARGEST = 2**31 - 2**24
_MOST_RUN = 50_000  # timesteps of each of a dozen feeds, at some milliseconds a step


def require_convertible_size(source: SourceModel, limited: Sequence[str]) -> None:
    """Refuse a model whose weights a format does not hold, before it is run, traced or converted.

    Args:
        source: the model.
        limited: the names of the formats among those that are wanted that hold less than 2 GiB.

    Raises:
        ConversionError: names the size.
    """
    found = _bytes(source) if limited else 0
    if found > LARGEST:
        raise ConversionError(
            f"{source.name} has weights of {found / 1e9:.2f} GB",
            f"{LARGEST / 1e9:.2f} GB at most, which {' and '.join(limited)} can hold",
            "export it to onnx, saved-model or numpy, which hold more, or in parts",
        )


def require_few_steps_of(source: SourceModel, boundary: Boundary) -> None:
    """Refuse to unroll a recurrent layer that reads very many steps of an input, before the model is run.

    One that reads more than `MOST_STEPS` of what others made of an input is refused when it is traced or written out.

    Raises:
        ConversionError: names the layer and the number.
    """
    for layer, steps in _read_by_recurrences(source, boundary):
        require_few_steps(f"layer {layer}", steps)


def require_runnable(source: SourceModel, boundary: Boundary) -> None:
    """Refuse a model that eager Keras, which says what is right, would take days to run.

    Raises:
        ConversionError: names the layer that reads so many steps of an input, and the number.
    """
    for layer, steps in _read_by_recurrences(source, boundary):
        if steps > _MOST_RUN:
            raise ConversionError(
                f"layer {layer} reads {steps} timesteps, which eager Keras takes days to run",
                f"at most {_MOST_RUN}",
                "build the model with an open length, or give --no-verify",
            )


def _read_by_recurrences(source: SourceModel, boundary: Boundary) -> Iterator[tuple[str, int]]:
    """The layers with a recurrence that read an input of a fixed length, and that length."""
    api, model = source.api, source.model
    for tensor, readers in zip(api.inputs(model), api.readers(model), strict=True):
        steps = next((boundary.timesteps if size is None else size for size in tensor.shape[1:2]), None)
        for layer in readers:
            wrapped = (layer, *(getattr(layer, name, None) for name in ("layer", "forward_layer")))
            if any(each is not None and api.recurrent(each) for each in wrapped) and isinstance(steps, int):
                yield layer.name, steps


def longest_of(source: SourceModel, boundary: Boundary) -> int | None:
    """The steps of the longest sequence among the inputs; None where the length of one is open."""
    shapes = [tensor.shape for tensor in source.api.inputs(source.model) if len(tensor.shape) >= SEQUENCE_RANK]
    steps = [boundary.timesteps if shape[1] is None else shape[1] for shape in shapes]
    return max((size for size in steps if isinstance(size, int)), default=None)


def recurrent_bytes(source: SourceModel) -> int:
    """What the weights of the recurrent layers take as float32, which every step reads."""
    layers = [layer for layer in source.api.layers(source.model) if source.api.recurrent(layer)]
    return 4 * sum(math.prod(map(int, weight.shape)) for layer in layers for weight in layer.weights)


def require_fixed_sizes(source: SourceModel, boundary: Boundary) -> None:
    """Refuse an input with an open batch or length, for a runtime that has fixed sizes alone.

    Raises:
        UsageError: names the input.
    """
    for tensor in source.api.inputs(source.model):
        given = (boundary.batch, boundary.timesteps)[: len(tensor.shape) - 1]
        sizes = [wanted if size is None else size for size, wanted in zip(tensor.shape, given, strict=False)]
        if not all(isinstance(size, int) for size in sizes):
            raise UsageError(
                f"input {tensor.name} of {source.name} with an open size",
                "fixed sizes, for TensorFlow Lite Micro",
                "give --batch 1 and --timesteps N",
            )


def _bytes(source: SourceModel) -> int:
    model = source.model
    variables = model.signatures[SERVING].variables if source.api.name == "saved-model" else model.variables
    return sum(map(_size, _unique(variables)))


def _unique(variables: Iterable[Any]) -> list[Any]:
    return list({id(variable): variable for variable in variables}.values())


def _size(variable: Any) -> int:
    return math.prod(int(size) for size in variable.shape) * int(tf.as_dtype(variable.dtype).size)
