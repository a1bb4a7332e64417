"""A callback of `model.fit` that exports and verifies the best epoch. Neither Keras is imported: it fits both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np

from rnnexport.api.export import export
from rnnexport.api.jobs import Exported
from rnnexport.api.keywords import ExportKeywords, require_known
from rnnexport.core.errors import UsageError

_LARGER_IS_BETTER = ("acc", "auc", "precision", "recall", "f1", "r2")
# What either Keras calls, and what this callback has nothing to do at.
_ENDS = ("begin", "end", "batch_begin", "batch_end")
_PHASES = [f"on_{phase}_{end}" for phase in ("train", "test", "predict") for end in _ENDS]
_HOOKS = (*_PHASES, "on_epoch_begin", "on_batch_begin", "on_batch_end")


class ExportBest:
    """Keeps the weights of the best epoch, and exports and verifies them when training ends.

        best = rnnexport.ExportBest("model.onnx", monitor="val_loss")
        model.fit(x, y, validation_data=(a, b), epochs=20, callbacks=[best])
        best.exported  # what rnnexport.export gave

    The model keeps the weights of its last epoch.

    Args:
        output: where the artifact goes; its suffix says the target.
        monitor: what the epochs are judged by, a name of the logs.
        mode: whether the least or the largest is best; `auto` goes by the name.
        keywords: see `ExportKeywords`.

    Attributes:
        exported: the artifact; None before training ends.
        epoch: the best one, from 0; None before the first.
    """

    def __init__(
        self,
        output: str | Path,
        monitor: str = "val_loss",
        mode: Literal["auto", "min", "max"] = "auto",
        **keywords: Unpack[ExportKeywords],
    ) -> None:
        require_known("export", keywords, ExportKeywords, "output", "monitor", "mode")
        if mode not in ("auto", "min", "max"):
            raise UsageError(f"mode={mode!r}", "auto, min or max", "change it")
        largest = mode == "max" or (mode == "auto" and any(word in monitor for word in _LARGER_IS_BETTER))
        self._sign = -1.0 if largest else 1.0
        self._output, self._monitor, self._keywords = output, monitor, keywords
        self._least = math.inf
        self._weights: list[np.ndarray] = []
        self._model: Any = None
        self.exported: Exported | None = None
        self.epoch: int | None = None

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Part of what a Keras asks of a callback."""

    def set_model(self, model: Any) -> None:
        """Part of what a Keras asks of a callback."""
        self._model = model

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Keep the weights if it is the best so far. UsageError where it has no such figure."""
        if self._monitor not in (logs or {}):
            known = ", ".join(logs or {}) or "none"
            raise UsageError(f"no {self._monitor} in the logs of an epoch", f"one of {known}", "change monitor")
        value = self._sign * float((logs or {})[self._monitor])
        if value < self._least:
            self._least, self.epoch = value, epoch
            self._weights = [weight.copy() for weight in self._trained().get_weights()]

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Export the best epoch. Raises as `rnnexport.export`; UsageError where no epoch gave a number."""
        del logs
        if self.epoch is None:
            raise UsageError(f"no epoch with a number as {self._monitor}", "at least one", "look at the loss")
        model = self._trained()
        last = model.get_weights()
        try:
            model.set_weights(self._weights)
            self.exported = export(model, self._output, **self._keywords)
        finally:
            model.set_weights(last)

    def _trained(self) -> Any:
        assert self._model is not None, "set_model was called before the first epoch"
        return self._model

    def _implements_train_batch_hooks(self) -> bool:
        return False

    _implements_test_batch_hooks = _implements_predict_batch_hooks = _implements_train_batch_hooks


def _nothing(self: ExportBest, *arguments: Any, **named: Any) -> None:
    del self, arguments, named


_nothing._is_default = True  # type: ignore[attr-defined]  # as Keras marks hooks that need not be called
for _name in _HOOKS:
    if _name not in vars(ExportBest):
        setattr(ExportBest, _name, _nothing)
