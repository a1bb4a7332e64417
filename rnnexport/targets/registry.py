"""The table of targets, imported one at a time: asking for ONNX loads nothing of TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import cast

from rnnexport.errors import UsageError
from rnnexport.targets.base import Target

_TARGETS = {
    "onnx": "rnnexport.targets.onnx",
    "tflite": "rnnexport.targets.tflite",
    "saved-model": "rnnexport.targets.saved_model",
}

TARGET_NAMES = tuple(_TARGETS)
# Every execution provider that some target can run on.
ALL_PROVIDERS = ("cpu", "cuda")


def target(name: str) -> Target:
    """The target of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in _TARGETS:
        raise UsageError(f"target {name!r}", f"one of {', '.join(_TARGETS)}", "change --to")
    return cast(Target, import_module(_TARGETS[name]).TARGET)


def target_of(path: Path) -> Target:
    """The target whose artifact `path` is.

    Raises:
        UsageError: there is nothing at `path`, or nothing any target knows.
    """
    if not path.exists():
        raise UsageError(f"no file {path}", "an artifact", "check the path")
    for candidate in _all():
        if candidate.recognises(path):
            return candidate
    raise UsageError(
        f"{path.name} is no artifact by its name", "model.onnx, model.tflite or a SavedModel folder", "check the path"
    )


def model_name(artifact: str | Path, target_name: str) -> str:
    """The name of the model that an artifact was named after."""
    return Path(artifact).name.removesuffix(target(target_name).suffix)


def _all() -> Iterator[Target]:
    return (target(name) for name in TARGET_NAMES)
