"""How a model is to be loaded: what the user says about a file that the file can't say itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rnnexport.core.errors import UsageError

KerasApiChoice = Literal["auto", "keras", "tf_keras"]
WeightsBy = Literal["auto", "name", "order"]
KERAS_API_CHOICES: tuple[KerasApiChoice, ...] = ("auto", "keras", "tf_keras")
WEIGHTS_BY: tuple[WeightsBy, ...] = ("auto", "name", "order")

# (shape with None for what is dynamic, batch axis included; dtype)
InputShape = tuple[tuple[int | None, ...], str]


@dataclass(frozen=True)
class LoadOptions:
    """What to load a model with.

    Attributes:
        custom_objects: `.py` files and modules that define the model's own classes and functions (`cells.py:Attention`
            for one of them, even where Keras has one of that name), or a dict of them by name.
        keras_api: whose semantics the numbers have: `keras` (Keras 3), `tf_keras` (Keras 1 and 2), or `auto` for those
            of the Keras that wrote the file.
        builder: for weights without an architecture: `module:function`, `file.py:function` or a callable; without
            arguments, it returns the model that the weights are loaded into.
        architecture: for weights without an architecture: the JSON file that `model.to_json()` gave.
        weights_by: how layers of the weights and of the model are paired, `name` or `order`; `auto` takes the one that
            fits, and refuses where both fit and differ.
        allow_unsafe: let a file in that runs code of its own, imports modules it names, or reads other files.
        inputs: for a subclassed model: the shape and dtype of each input by its name, such as
            `{"x": ((None, None, 8), "float32")}`; None for what it was built with.
    """

    custom_objects: Sequence[str] | Mapping[str, object] = ()
    keras_api: KerasApiChoice = "auto"
    builder: str | Callable[[], Any] | None = None
    architecture: Path | str | None = None
    weights_by: WeightsBy = "auto"
    allow_unsafe: bool = False
    inputs: Mapping[str, InputShape] | None = None

    def __post_init__(self) -> None:
        """Raises UsageError where a value is none of those named above."""
        if self.keras_api not in KERAS_API_CHOICES:
            raise UsageError(f"keras_api={self.keras_api!r}", f"one of {', '.join(KERAS_API_CHOICES)}", "change it")
        if self.weights_by not in WEIGHTS_BY:
            raise UsageError(f"weights_by={self.weights_by!r}", f"one of {', '.join(WEIGHTS_BY)}", "change it")
        if isinstance(self.custom_objects, str) or not isinstance(self.custom_objects, Mapping | Sequence):
            raise UsageError(
                f"custom_objects={self.custom_objects!r}", "a list of files and modules, or a dict", "put it in a list"
            )
