"""How the recurrences of a TFLite file are to be written."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rnnexport.core.errors import UsageError

FORMS = ("fused", "rolled", "unroll")
FORM_CHOICES = ("auto", *FORMS)
RUNTIMES = ("litert", "tflm")
# Steps up to which a sequence is written out unasked: a short one of a small layer is up to three times as fast so, and
# from there on a loop is as fast (`benchmarks.tflite`). A step takes the converter 25 to 60 ms, and 2 KB of the file.
MOST_UNROLLED = 100


@dataclass(frozen=True)
class TFLiteForm:
    """What the user may ask of a TFLite file.

    Attributes:
        form: one of `FORM_CHOICES`: `unroll` is a step after the other, which is fast and as long as the sequence;
            `rolled` is a loop, for any length; `fused` is one operator for each LSTM, which keeps its states from call
            to call unless they are reset, and a loop for others; `auto` is `unroll` up to `MOST_UNROLLED` steps.
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

    def chosen(self, steps: int | None) -> TFLiteForm:
        """The form of a model whose longest sequence has so many steps; None where that is open."""
        if self.form != "auto":
            return self
        if steps is None or steps <= MOST_UNROLLED:
            return replace(self, form="unroll", because=f"sequences of up to {MOST_UNROLLED} steps are written out")
        return replace(self, form="rolled", because=f"it has {steps} steps, and up to {MOST_UNROLLED} are written out")
