"""The protobuf messages of a Triton model configuration, from NVIDIA's own client package.

`import tritonclient.grpc` brings gRPC and all of the client. The module of the messages needs none of that. It is
loaded under its own name, so that a later import of the client finds it and uses the same classes.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import Any

from rnnexport.errors import ProviderError

_NAME = "tritonclient.grpc.model_config_pb2"


def messages() -> Any:
    """The module with `ModelConfig` and its parts.

    Raises:
        ProviderError: tritonclient is not installed.
    """
    if _NAME in sys.modules:
        return sys.modules[_NAME]
    package = find_spec("tritonclient")
    places = [str(Path(place) / "grpc") for place in (package and package.submodule_search_locations) or ()]
    spec = PathFinder.find_spec(_NAME, places)
    if spec is None or spec.loader is None:
        raise ProviderError(
            "tritonclient is not installed", "it, for Triton's own protobuf", "pip install 'rnnexport[triton]'"
        )
    module = module_from_spec(spec)
    sys.modules[_NAME] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[_NAME]
        raise
    return module
