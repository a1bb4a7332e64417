"""Models built again by Keras in float64, with the weights of the float32 ones: a truth that owes rnnexport nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from rnnexport.core.signature import Boundary, Signature
from rnnexport.source.describe import describe
from rnnexport.source.eager import reference
from rnnexport.source.load import load_source
from rnnexport.source.model import SourceModel


@contextmanager
def floats_of(package: str, dtype: str) -> Iterator[None]:
    """New layers of a Keras keep their weights and compute in `dtype`, until the end of the block.

    Args:
        package: `keras` or `tf_keras`.
        dtype: such as `float64`.
    """
    keras = importlib.import_module(package)
    if package == "keras":
        policy, use = keras.config.dtype_policy(), keras.config.set_dtype_policy
    else:
        policy, use = keras.mixed_precision.global_policy(), keras.mixed_precision.set_global_policy
    before = keras.backend.floatx()
    keras.backend.set_floatx(dtype)
    use(dtype)
    try:
        yield
    finally:
        keras.backend.set_floatx(before)
        use(policy)


@contextmanager
def exact_slopes() -> Iterator[None]:
    """TensorFlow keeps the slope of leaky_relu in float32, whatever it computes in: with 0.3 conv3d_gru is 1e-8 off."""

    def leaky_relu(features: tf.Tensor, alpha: float = 0.2) -> tf.Tensor:
        return tf.where(features > 0, features, alpha * features)

    with (
        mock.patch.object(tf.nn, "leaky_relu", leaky_relu),
        mock.patch.object(tf.compat.v2.nn, "leaky_relu", leaky_relu),
    ):
        yield


@dataclass(frozen=True, eq=False)
class Twins:
    """A model in float32, and the same in float64 with the same weights.

    Attributes:
        narrow: the model as it is.
        wide: the one in float64.
        signature: of the first.
    """

    narrow: SourceModel
    wide: SourceModel
    signature: Signature

    def truth(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """What eager Keras computes in float64 for a feed of the float32 model, by the name of the output."""
        wide = {name: array.astype("float64") if array.dtype == "float32" else array for name, array in feed.items()}
        with floats_of(self.narrow.api.name, "float64"), exact_slopes():
            return reference(self.wide, self.signature, wide)


def twins(build: Callable[[], Any]) -> Twins:
    """A model built twice: as it is, and while its Keras computes in float64.

    Args:
        build: makes it, of layers that leave the dtype to Keras. AssertionError where one has a weight in float32.
    """
    model = build()
    narrow = load_source(model)
    with floats_of(narrow.api.name, "float64"):
        double = build()
        double.set_weights(model.get_weights())
        wide = load_source(double)
    assert {str(weight.numpy().dtype) for weight in model.weights} & {"float32", "float64"} == {"float32"}
    assert {str(weight.numpy().dtype) for weight in double.weights} & {"float32", "float64"} == {"float64"}
    return Twins(narrow, wide, describe(narrow, Boundary()))
