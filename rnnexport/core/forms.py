"""What a user asks of a C program and of a TFLite model: a value each, as it is recorded and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rnnexport.core.errors import UsageError


@dataclass(frozen=True)
class CForm:
    """What the user may ask of a C program.

    Attributes:
        libm: whether exp, tanh and the logistic function are those of the C library.
        deterministic: whether products and sums are never contracted, so that every compiler gives the same bits.
        max_bytes: what its weights and constants may take; None for any size. Not a part of how it is written.
        weights_beside: whether its weights lie in a file of their own, which the caller maps.
        int8: whether products have their matrices in int8.
    """

    libm: bool = False
    deterministic: bool = False
    max_bytes: int | None = None
    weights_beside: bool = False
    int8: bool = False

    def __post_init__(self) -> None:
        if self.libm and self.deterministic:
            raise UsageError(
                "--deterministic with --math libm, whose digits are those of each C library",
                "the functions that the program has itself",
                "leave one of them out",
            )

    def require_room(self, count: int) -> None:
        """Refuse weights and constants of so many bytes where they are too many. UsageError."""
        if self.max_bytes is not None and count > self.max_bytes:
            raise UsageError(
                f"weights and constants of {count:,} bytes",
                f"at most the {self.max_bytes:,} of --max-bytes",
                "make the model smaller, or give more room",
            )

    def to_json(self) -> dict[str, bool]:
        """A value `from_json` reads back."""
        own = {"libm": self.libm, "deterministic": self.deterministic}
        more = {"weights_beside": self.weights_beside, "int8": self.int8}
        return own | {name: True for name, value in more.items() if value}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> CForm:
        """The inverse of `to_json`."""
        beside, int8 = (bool(value.get(name, False)) for name in ("weights_beside", "int8"))
        return CForm(bool(value["libm"]), bool(value["deterministic"]), weights_beside=beside, int8=int8)


FORMS = ("fused", "rolled", "unroll")
FORM_CHOICES = ("auto", *FORMS)
RUNTIMES = ("litert", "tflm")
# What is written out unasked, as `benchmarks.tflite` measures it: sequences of up to so many steps, if the weights of
# their recurrences take up to so many bytes over all steps. XNNPACK copies the weights of each operator for itself, so
# that a step written out reads a copy of its own. While these fit into a cache, a small layer is up to five times as
# fast as the loop; past that a large one is up to twelve times as slow.
MOST_UNROLLED, MOST_COPIED = 100, 1 << 20


@dataclass(frozen=True)
class TFLiteForm:
    """What the user may ask of a TFLite file.

    Attributes:
        form: one of `FORM_CHOICES`: `unroll` is a step after the other, which is fast and as long as the sequence;
            `rolled` is a loop, for any length; `fused` is one operator for each LSTM, which keeps its states from call
            to call unless they are reset, and a loop for others; `auto` is `unroll` for short sequences of small
            layers, else `rolled`.
        runtime: one of `RUNTIMES`, that the file is for: `tflm`, TensorFlow Lite Micro, has less operators and takes
            fixed sizes; the file is verified there.
        because: why it is this form.
    """

    form: str = "auto"
    runtime: str = "litert"
    because: str = "it was asked for"

    def __post_init__(self) -> None:
        if self.form not in FORM_CHOICES:
            raise UsageError(f"form {self.form!r}", f"one of {', '.join(FORM_CHOICES)}", "change --form")
        if self.runtime not in RUNTIMES:
            raise UsageError(f"runtime {self.runtime!r}", f"one of {', '.join(RUNTIMES)}", "change --for")

    @property
    def provider(self) -> str:
        """The execution provider that the file is verified on."""
        return "cpu" if self.runtime == "litert" else self.runtime

    def recorded(self) -> dict[str, str]:
        """As the provenance of a file says it."""
        return {"form": self.form} | ({} if self.runtime == "litert" else {"for": self.runtime})

    @property
    def unrolls(self) -> bool:
        """Whether a length has to be fixed; of `auto`, which would choose a loop for a long one, as well."""
        return self.form in ("auto", "unroll")

    def chosen(self, steps: int | None, weights: int = 0, no_loop: str = "") -> TFLiteForm:
        """The form of a model.

        Args:
            steps: of its longest sequence; None where that is open.
            weights: bytes of those of its recurrences.
            no_loop: why the file can have none; empty where it can.
        """
        if self.form != "auto":
            return self
        if no_loop:
            return replace(self, form="unroll", because=no_loop)
        few = f"up to {MOST_UNROLLED}"
        if steps is not None and steps > MOST_UNROLLED:
            return replace(self, form="rolled", because=f"it has {steps} steps, and {few} are written out")
        if steps is not None and steps * weights > MOST_COPIED:
            copied = f"its weights take {weights * steps / 1e6:.1f} MB over {steps} steps"
            return replace(
                self, form="rolled", because=f"{copied}, and up to {MOST_COPIED / 1e6:.0f} MB are written out"
            )
        return replace(self, form="unroll", because=f"sequences of {few} steps of small layers are written out")
