"""A function of `keras.ops` as a layer."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from benchmarks.support.functions import CALLS
from benchmarks.support.samples import Samples


@keras.saving.register_keras_serializable("support")
class Function(keras.layers.Layer):
    """A function of `keras.ops` as a layer, on (B, T, 4) of another layer and of the input.

    Args:
        function: its name.
    """

    def __init__(self, function: str, **options: Any) -> None:
        super().__init__(**options)
        self.function = function

    def call(self, a: Any, b: Any) -> Any:
        """What the function gives; of complex numbers the two parts."""
        found = keras.tree.flatten(CALLS[self.function](Samples(a, b)))
        parts = [[ops.real(one), ops.imag(one)] if _is_complex(one) else [one] for one in found]
        flat = [one for part in parts for one in part]
        return flat[0] if len(flat) == 1 else flat

    def get_config(self) -> dict[str, Any]:
        """With the name of the function."""
        return {**super().get_config(), "function": self.function}


def _is_complex(tensor: Any) -> bool:
    return "complex" in keras.backend.standardize_dtype(tensor.dtype)
