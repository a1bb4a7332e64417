"""The protobuf messages of a Triton model configuration, from NVIDIA's own client package.

`import tritonclient.grpc` brings gRPC and all of the client. The module of the messages needs none of that.
"""

from __future__ import annotations

from typing import Any

from rnnexport.compat.standalone import module_alone
from rnnexport.core.errors import ProviderError


def messages() -> Any:
    """The module with `ModelConfig` and its parts.

    Raises:
        ProviderError: tritonclient is not installed.
    """
    module = module_alone("tritonclient.grpc.model_config_pb2")
    if module is None:
        raise ProviderError(
            "tritonclient is not installed", "it, for Triton's own protobuf", "pip install 'rnnexport[triton]'"
        )
    return module
