"""The protobuf messages of ONNX without the package around them.

`import onnx` brings checkers, parsers and version converters, a third of what verifying a small model takes. The module
of the messages needs none of them. It is loaded under its own name, so that a later `import onnx` finds it and uses
the same classes.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from typing import Any

_NAME = "onnx.onnx_ml_pb2"


def messages() -> Any:
    """The module with `ModelProto` and its parts."""
    if _NAME in sys.modules:
        return sys.modules[_NAME]
    package = find_spec("onnx")
    spec = PathFinder.find_spec(_NAME, package.submodule_search_locations) if package else None
    if spec is None or spec.loader is None:  # laid out in another way than it is today
        return import_module("onnx")
    module = module_from_spec(spec)
    sys.modules[_NAME] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[_NAME]
        raise
    return module
