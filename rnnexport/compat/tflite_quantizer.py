"""What the TFLite converter quantises with, which has no public name: seen with TensorFlow 2.21.

The public way there is a converter with `optimizations` and a `representative_dataset`. It does what is here to the
file that it made, and takes no file. A file with a loop is none for it: the calibrator ends the process on WHILE.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.python.optimize import calibrator

Rows = Callable[[], Iterable[tuple[str, dict[str, Any]]]]


def calibrated_int8(model: bytes, rows: Rows) -> bytes:
    """A file with int8 weights and activations, its inputs and outputs float32. Raises whatever TensorFlow raises.

    Args:
        model: in float32.
        rows: gives (signature, inputs by name), all of one shape.
    """
    prepared = calibrator.add_intermediate_tensors(model)
    found: bytes = mlir_quantize(calibrator.Calibrator(prepared).calibrate(rows))
    return found
