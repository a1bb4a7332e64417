"""Names that are often misspelled, with what was probably meant."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rnnexport.core.errors import closest
from rnnexport.targets.registry import OTHER_NAMES, TARGET_NAMES

_MODELS = (".keras", ".h5", ".hdf5", ".json")
_ARTIFACTS = (".onnx", ".tflite", ".py")


class TargetChoice(click.Choice[str]):
    """The name of a target."""

    def __init__(self) -> None:
        super().__init__(TARGET_NAMES)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """As of any choice, with a suggestion where the name is none."""
        if value in self.choices:
            return value
        meant = closest(str(value), TARGET_NAMES, OTHER_NAMES)
        said = f"found {value!r}, expected one of {', '.join(TARGET_NAMES)}"
        return self.fail(f"{said}; did you mean {meant}?" if meant else said, param, ctx)


def unknown_command(word: str, commands: list[str]) -> str:
    """What to say of a word that is no command: a file without its command, or the command that was meant."""
    path = Path(word)
    if path.suffix in _MODELS or (path.is_dir() and (path / "saved_model.pb").is_file()):
        return f"{word} without a command; did you mean rnnexport onnx {word}, or rnnexport inspect {word}?"
    if path.suffix in _ARTIFACTS:
        return f"{word} without a command; did you mean rnnexport verify {word}, or rnnexport inspect {word}?"
    meant = closest(word, commands, OTHER_NAMES | {"check": "verify", "test": "verify", "show": "inspect"})
    known = f"no command {word}; known are {', '.join(commands)}"
    return f"no command {word}; did you mean {meant}?" if meant else known
