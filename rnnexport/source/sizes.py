"""Sizes in a configuration that the weights beside it do not have. Building them could take all of the memory.

A layer of Keras has a weight that is at least as long as its units, filters or vocabulary; an input is no larger than a
host's memory, and a row of it no larger than what twenty calls of some tens of rows take.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from rnnexport.core.errors import ConversionError
from rnnexport.source.configs import Config, label, serialised_objects
from rnnexport.source.stored import StoredWeights

_SIZES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "Dense"), ("units",)),
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), ("filters", "kernel_size")),
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), ("filters", "kernel_size")),
    "Embedding": ("input_dim", "output_dim"),
}
_SHAPES = ("batch_shape", "batch_input_shape", "build_input_shape")
_LARGEST_INPUT, _LARGEST_ROW = 2**31, 2**24


def check_sizes(config: Config, stored: StoredWeights, name: str) -> None:
    """Refuse a configuration of layers that are larger than their weights.

    Raises:
        ConversionError: names the layer and the size.
    """
    largest = max((size for layer in stored.layers for shape in layer.shapes for size in shape), default=0)
    for _, node in serialised_objects(config):
        inner = node["config"]
        if not isinstance(inner, dict):
            continue
        for key in _SIZES.get(node["class_name"], ()):
            for size in _numbers(inner.get(key)):
                if size > largest:
                    raise _refused(
                        f"{key}={size} of {label(node)} in {name}", f"{largest}, the longest side of a weight"
                    )
        for key in _SHAPES:
            shape = inner.get(key)
            for part, dims, most in (("", shape, _LARGEST_INPUT), (" a row", _row(shape), _LARGEST_ROW)):
                if (size := math.prod(abs(n) for n in _numbers(dims))) > most:
                    raise _refused(f"{key} of {size} values{part} of {label(node)} in {name}", f"{most} values{part}")


def _row(shape: Any) -> Any:
    """A shape without its batch."""
    return shape[1:] if isinstance(shape, list) else None


def _numbers(value: Any) -> Iterator[int]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, int):
            yield item


def _refused(found: str, most: str) -> ConversionError:
    return ConversionError(found, f"at most {most}", "copy or save the file again")
