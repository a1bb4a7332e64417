"""ONNX Runtime, its execution providers by their short names, and where nodes really ran."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from rnnexport.errors import ProviderError

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}
_SHORT = {provider: name for name, provider in PROVIDERS.items()}


def onnxruntime_module(expected: str, todo: str) -> Any:
    """The module `onnxruntime`, which not every host has.

    Args:
        expected: what it is needed for, for the message of the error.
        todo: what to do where it is missing.

    Raises:
        ProviderError: it is not installed.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ProviderError("onnxruntime is not installed", expected, todo) from error
    return onnxruntime


def node_placement(profile: Path) -> Counter[str]:
    """How many node runs each provider did, by its short name, from the profile that ONNX Runtime wrote."""
    events = json.loads(profile.read_text())
    return Counter(
        _SHORT.get(event["args"]["provider"], event["args"]["provider"])
        for event in events
        if event.get("cat") == "Node" and event.get("args", {}).get("provider")
    )
