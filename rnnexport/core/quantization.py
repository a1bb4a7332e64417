"""What is asked of a quantised artifact, and what became of each of its weights: values that every layer shares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnexport.core.errors import UsageError
from rnnexport.core.user_data import UserData, user_data

# The forms of each format, in the order in which they are tried among those of one size:
# dynamic  int8 weights, products of integers; what they are multiplied with is rounded by its range in each call
# int8     the same, by ranges that calibration found
# weights  int8 weights, computed in float32
# float16  weights in half precision, computed in float32
FORMS: Mapping[str, tuple[str, ...]] = {
    "onnx": ("dynamic", "int8", "weights", "float16"),
    "tflite": ("dynamic", "int8", "weights", "float16"),
    "c": ("int8",),
}
FORM_CHOICES = ("auto", "dynamic", "int8", "weights", "float16", "int16x8")
# Forms that a format has by its name, and why they are not made.
REFUSED: Mapping[str, Mapping[str, str]] = {
    "tflite": {
        "int16x8": "int8 or weights: TensorFlow's quantiser gives activations of 16 bits a zero point of -1, and "
        "LiteRT's FULLY_CONNECTED takes none but 0; the older quantiser mixes 8 and 16 bits in MUL"
    }
}
METRICS = ("range", "rmse", "cosine", "top1")


@dataclass(frozen=True)
class QuantizeRequest:
    """What the user wants of a quantised artifact.

    Attributes:
        form: one of `FORM_CHOICES`; `auto` tries all of the format, smallest first, and takes the first that holds.
        calibrate: the inputs that ranges are taken from, and the loss is measured on, as `data` of `export`; None for
            generated ones.
        max_loss: what an output may lose, in units of `metric`; None for whatever it loses.
        metric: one of `METRICS`, or `FILE.py:function`, called with (wanted, found) of one output over all calls.
        allow_partial: whether weights may stay float32, and recurrences computed in it.
    """

    form: str = "auto"
    calibrate: str | Path | UserData | None = None
    max_loss: float | None = None
    metric: str = "range"
    allow_partial: bool = False

    def __post_init__(self) -> None:
        if self.form not in FORM_CHOICES:
            raise UsageError(f"quantize {self.form!r}", f"one of {', '.join(FORM_CHOICES)}", "change --quantize")
        if self.max_loss is not None and not 0 < self.max_loss < math.inf:
            raise UsageError(f"--max-loss {self.max_loss:g}", "a number above 0", "change it")
        if self.form == "auto" and self.max_loss is None:
            raise UsageError(
                "--quantize auto without --max-loss", "the loss that decides between the forms", "give --max-loss"
            )
        if self.metric not in METRICS and ".py:" not in self.metric:
            raise UsageError(
                f"--metric {self.metric}", f"one of {', '.join(METRICS)}, or FILE.py:function", "change --metric"
            )

    @property
    def sequences(self) -> UserData | None:
        """What `calibrate` says, as one value."""
        return user_data(self.calibrate)

    @property
    def no_loop(self) -> str:
        """Why a TFLite file of this form has none; empty where it may, or where other forms are tried too."""
        return "the quantiser of --quantize int8 takes no loop" if self.form == "int8" else ""

    def forms(self, target: str) -> tuple[str, ...]:
        """Those that are tried. UsageError where the format has none, or not this one."""
        known = FORMS.get(target, ())
        if not known:
            raise UsageError(
                f"--quantize for {target}, which has no quantised form", f"one of {', '.join(FORMS)}", "leave it out"
            )
        if self.form == "auto":
            return known
        if why := REFUSED.get(target, {}).get(self.form):
            raise UsageError(f"--quantize {self.form} for {target}", why, "change it")
        if self.form not in known:
            raise UsageError(f"--quantize {self.form} for {target}", f"one of {', '.join(known)}", "change it")
        return (self.form,)


@dataclass(frozen=True)
class QuantizedPart:
    """What became of one weight.

    Attributes:
        name: of the operator, such as `gru/lowered/matmul_2`.
        operator: what it is, such as `MatMul`.
        how: what it is computed in; empty where it stayed float32.
        why: the reason, where it is not as was asked.
        before, after: the bytes of the weight.
    """

    name: str
    operator: str
    how: str
    why: str
    before: int
    after: int

    def __str__(self) -> str:
        return f"{self.name} ({self.operator}): {self.how or 'float32'}{f', {self.why}' if self.why else ''}"

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "name": self.name,
            "operator": self.operator,
            "how": self.how,
            "why": self.why,
            "before": self.before,
            "after": self.after,
        }
