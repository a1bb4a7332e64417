"""How many bytes the weights of a model take: more than a graph of TensorFlow holds can't be converted at all."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import tensorflow as tf

from rnnexport.core.errors import ConversionError
from rnnexport.source.model import SourceModel
from rnnexport.source.saved_model_file import SERVING

# A message of protocol buffers holds less than 2 GiB, and a graph with its weights is one; the rest is for the graph.
LARGEST = 2**31 - 2**24


def require_convertible_size(source: SourceModel) -> None:
    """Refuse a model whose weights no graph holds, before it is run, traced or converted.

    Raises:
        ConversionError: names the size.
    """
    found = _bytes(source)
    if found > LARGEST:
        raise ConversionError(
            f"{source.name} has weights of {found / 1e9:.2f} GB",
            f"{LARGEST / 1e9:.2f} GB at most, which a graph of TensorFlow holds, and every format is made from one",
            "export it in parts, a model each",
        )


def _bytes(source: SourceModel) -> int:
    model = source.model
    variables = model.signatures[SERVING].variables if source.api.name == "saved-model" else model.variables
    return sum(map(_size, _unique(variables)))


def _unique(variables: Iterable[Any]) -> list[Any]:
    return list({id(variable): variable for variable in variables}.values())


def _size(variable: Any) -> int:
    return math.prod(int(size) for size in variable.shape) * int(tf.as_dtype(variable.dtype).size)
