"""How many bytes the weights of a model take: some formats hold less than 2 GiB."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import tensorflow as tf

from rnnexport.core.errors import ConversionError
from rnnexport.source.model import SourceModel
from rnnexport.source.saved_model_file import SERVING

# A flatbuffer, and a program that a C compiler links by default, hold less than 2 GiB; the rest is for the graph.
LARGEST = 2**31 - 2**24


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


def _bytes(source: SourceModel) -> int:
    model = source.model
    variables = model.signatures[SERVING].variables if source.api.name == "saved-model" else model.variables
    return sum(map(_size, _unique(variables)))


def _unique(variables: Iterable[Any]) -> list[Any]:
    return list({id(variable): variable for variable in variables}.values())


def _size(variable: Any) -> int:
    return math.prod(int(size) for size in variable.shape) * int(tf.as_dtype(variable.dtype).size)
