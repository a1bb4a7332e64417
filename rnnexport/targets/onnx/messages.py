"""The protobuf messages of ONNX without the package around them.

`import onnx` brings checkers, parsers and version converters, a third of what verifying a small model takes. The module
of the messages needs none of them.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from rnnexport.compat.standalone import module_alone


def messages() -> Any:
    """The module with `ModelProto` and its parts."""
    # The package itself, where it is laid out in another way than it is today.
    return module_alone("onnx.onnx_ml_pb2") or import_module("onnx")
