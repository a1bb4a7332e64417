"""Text in arrays: NumPy's own dtype of strings, `str`, which every file format of NumPy keeps."""

from __future__ import annotations

import numpy as np

TEXT = "str"  # the name of the dtype in signatures


def as_text(array: np.ndarray) -> np.ndarray:
    """The array, bytes in it decoded: TensorFlow and ONNX Runtime give text as objects."""
    if array.dtype.kind not in "OS":
        return array
    words = [word.decode("utf-8", "backslashreplace") if isinstance(word, bytes) else str(word) for word in array.flat]
    return np.array(words, str).reshape(array.shape)
