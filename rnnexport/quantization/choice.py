"""Which form of an artifact is taken: the first that holds, from the smallest on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rnnexport.core.errors import ConversionError, MismatchError
from rnnexport.core.quantization import QuantizedPart
from rnnexport.core.run_record import bytes_in_words
from rnnexport.quantization.loss import Loss

# Files whose sizes differ by less are of one size.
_SAME_SIZE = 1.05
# Bytes of a float32 matrix from which products of integers take less time than it takes to round what they multiply,
# and those from which that is so where an operator for all steps makes way for a loop of single ones.
_PAYS, _PAYS_IN_A_LOOP = 1 << 18, 1 << 22
_NO_INTEGERS = ("GRU", "RNN")
_NAMED = 4


@dataclass(frozen=True)
class Trial:
    """One form, made and measured.

    Attributes:
        form: its name; `float32` for what it is compared with.
        size: the bytes of its files, without goldens.
        losses: of each output.
        parts: what became of each weight.
        seconds: of a call, where that was measured.
        saturated: the share of activations outside of their ranges.
        notes: what else there is to tell, a sentence each.
    """

    form: str
    size: int
    losses: tuple[Loss, ...]
    parts: tuple[QuantizedPart, ...] = ()
    seconds: float | None = None
    saturated: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def worst(self) -> Loss:
        """The output that loses most."""
        return max(self.losses, key=lambda loss: loss.value)

    @property
    def left(self) -> tuple[QuantizedPart, ...]:
        """The weights that stayed float32."""
        return tuple(part for part in self.parts if not part.how)

    def to_json(self) -> dict[str, Any]:
        """As plain values, without times: a file says the same wherever it is made."""
        saturated = {} if self.saturated is None else {"saturated": round(self.saturated, 9)}
        return {
            "form": self.form,
            "bytes": self.size,
            "losses": [loss.to_json() for loss in self.losses],
            "parts": [part.to_json() for part in self.parts],
            "notes": list(self.notes),
        } | saturated


def in_order(trials: Sequence[Trial]) -> list[Trial]:
    """From the smallest to the largest; of about one size as given, or what is computed in float32 first.

    The second is where every matrix is small. Times decide nothing, so that the same model gives the same file.
    """
    found: list[Trial] = []
    parts = [part for trial in trials for part in trial.parts]
    least = _PAYS_IN_A_LOOP if any(part.operator in _NO_INTEGERS for part in parts) else _PAYS
    pays = max((part.before for part in parts), default=0) >= least
    rest = sorted(trials, key=lambda trial: not pays and trial.form != "weights")
    while rest:
        smallest = min(trial.size for trial in rest)
        alike = [trial for trial in rest if trial.size <= _SAME_SIZE * smallest]
        found += alike
        rest = [trial for trial in rest if trial not in alike]
    return found


def chosen(trials: Sequence[Trial], max_loss: float | None, metric: str, name: str) -> Trial:
    """The first form that holds.

    Raises:
        MismatchError: none does; says what each lost.
    """
    for trial in in_order(trials):
        if max_loss is None or trial.worst.value <= max_loss:
            return trial
    lost = "; ".join(
        f"{trial.form} ({bytes_in_words(trial.size)}) loses {trial.worst.value:.2g} at {trial.worst.output}"
        for trial in in_order(trials)
    )
    raise MismatchError(
        f"no quantised form of {name} holds: {lost}",
        f"a loss of at most {max_loss:g} ({metric})",
        "nothing was written; give more room by --max-loss, or leave --quantize out",
    )


def require_quantised(trial: Trial, name: str, *, allow_partial: bool) -> None:
    """Refuse what is no quantised artifact, or one in part.

    Raises:
        ConversionError: names the operators whose weights stayed float32, and why.
    """
    if not any(part.how for part in trial.parts):
        why = _told(trial.left) or "it has no weights that a product or a recurrence takes"
        raise ConversionError(
            f"nothing of {name} can be quantised as {trial.form}: {why}",
            "a model with float32 weights",
            "leave --quantize out",
        )
    if trial.left and not allow_partial:
        raise ConversionError(
            f"{len(trial.left)} of {len(trial.parts)} weights of {name} stay float32 as {trial.form}: "
            f"{_told(trial.left)}",
            "all of them quantised",
            "give --allow-partial to take it so",
        )


def _told(parts: Sequence[QuantizedPart]) -> str:
    more = f"; {len(parts) - _NAMED} more" if len(parts) > _NAMED else ""
    return "; ".join(map(str, parts[:_NAMED])) + more


@dataclass(frozen=True)
class Quantized:
    """A quantised artifact, and what was tried for it.

    Attributes:
        chosen: the form it has.
        trials: every form that was made, float32 first.
        metric, max_loss: what decided.
        calibrated_on, measured_on: which inputs; the first is empty where the form depends on none.
        alone: the loss where one operator alone is quantised, by its name, largest first; of few operators.
    """

    chosen: Trial
    trials: tuple[Trial, ...]
    metric: str
    max_loss: float | None
    calibrated_on: str
    measured_on: str
    alone: tuple[tuple[str, float], ...] = ()

    @property
    def measured(self) -> str:
        """What it was calibrated and measured on, in words."""
        return f"calibrated on {self.calibrated_on}, measured on {self.measured_on}".removeprefix("calibrated on , ")

    def to_json(self) -> dict[str, Any]:
        """As plain values, without times."""
        brief = [
            {"form": trial.form, "bytes": trial.size, "loss": trial.worst.value, "output": trial.worst.output}
            for trial in self.trials
        ]
        return {
            "form": self.chosen.form,
            "metric": self.metric,
            "max_loss": self.max_loss,
            "calibrated_on": self.calibrated_on,
            "measured_on": self.measured_on,
            "chosen": self.chosen.to_json(),
            "trials": brief,
            "alone": [[name, loss] for name, loss in self.alone],
        }
