"""What is used of Keras 3 that has no public name: seen with 3.15. `tests/compat/test_keras.py` uses it all."""

from __future__ import annotations

# `source.unrolling` puts loops of their own into the module that Keras looks its loops up in; the
# public functions call those.
from keras.src import backend

# What Keras calls a layer that has no name, by which weights of one without layers' names are found.
from keras.src.utils.naming import to_snake_case

__all__ = ["backend", "to_snake_case"]
