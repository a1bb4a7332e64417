"""Execution providers of ONNX Runtime by their short names, and where nodes really ran."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
}


_SHORT = {provider: name for name, provider in PROVIDERS.items()}


def node_placement(profile: Path) -> Counter[str]:
    """How many node runs each provider did, by its short name, from the profile that ONNX Runtime wrote."""
    events = json.loads(profile.read_text())
    return Counter(
        _SHORT.get(event["args"]["provider"], event["args"]["provider"])
        for event in events
        if event.get("cat") == "Node" and event.get("args", {}).get("provider")
    )
