"""What is used of tf_keras that has no public name: seen with 2.21. `tests/compat/test_keras.py` uses it all."""

from __future__ import annotations

# `source.unrolling` and `source.time_distributed` put loops of their own into the module that it looks its loops up in.
from tf_keras.src import backend

# The class that all its convolutions have in common.
from tf_keras.src.layers.convolutional.base_conv import Conv

# Whether a file may bring code: of the public functions one alone takes it as an argument.
from tf_keras.src.saving.serialization_lib import SafeModeScope

__all__ = ["Conv", "SafeModeScope", "backend"]
