"""What is asked of the lowering of recurrences, and what became of each: values that every layer shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rnnexport.core.errors import UsageError

# The forms a recurrence can have in an ONNX file, the most general one last.
FORMS = ("native", "scan", "chunked", "unroll", "loop")
FORM_CHOICES = ("auto", *FORMS)
# Those that it can have in any file, as reports list them.
ALL_FORMS = ("native", "scan", "chunked", "fused", "rolled", "unroll", "loop")
PROVIDER_CHOICES = ("cpu", "cuda")


class CannotRun(Exception):  # noqa: N818, a finding about a candidate rather than an error
    """The runtime refuses to load a model or to run it; the message is one line."""


@dataclass(frozen=True)
class LoweringRequest:
    """What the user wants of every recurrence of a model.

    Attributes:
        form: one of `FORM_CHOICES`; `auto` lets the cost model choose among the forms that are proven.
        provider: the execution provider to be fast on, one of `PROVIDER_CHOICES`.
        because: why this form is asked for, where it is not the user who does.
        portable: whether only forms may be used that runtimes besides ONNX Runtime compute, too.
        batch: the batch to be fast at where it is dynamic; None for a single sequence and for many alike.
        tune: (batch, timesteps) at which the proven forms are measured on this host instead; None to trust the model.
        without: native operators that are not taken where there is another form: a file that computes with integers
            has none of them.
    """

    form: str = "auto"
    provider: str = "cpu"
    tune: tuple[int, int] | None = None
    because: str = "it was asked for"
    portable: bool = False
    without: tuple[str, ...] = ()
    batch: int | None = None

    def __post_init__(self) -> None:
        if self.form not in FORM_CHOICES:
            raise UsageError(f"lowering {self.form!r}", f"one of {', '.join(FORM_CHOICES)}", "change --lowering")
        if self.provider not in PROVIDER_CHOICES:
            raise UsageError(f"provider {self.provider!r}", f"one of {', '.join(PROVIDER_CHOICES)}", "change --for")
        if self.batch is not None and (not isinstance(self.batch, int) or self.batch < 1):
            raise UsageError(f"batch {self.batch!r}", "a number above 0", "change --for-batch")
        if self.tune is not None and not _two_sizes(self.tune):
            raise UsageError(f"tune {self.tune!r}", "batch and timesteps, two numbers above 0", "change --tune")


def _two_sizes(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(n, int) and n > 0 for n in value)


@dataclass(frozen=True)
class LoweringDecision:
    """What became of one recurrence.

    Attributes:
        name: where it is in the model, such as `encoder/lstm`.
        what: what it is, in words: its equation, directions, states and sizes.
        chosen: the form it has in the file, one of `ALL_FORMS`.
        why: why this one.
        proven: the forms that were shown to be equal, in that order.
        refused: for each other form, the reason why it was not.
        fault: what disagreed although it had been derived; empty unless rnnexport itself is wrong.
    """

    name: str
    what: str
    chosen: str
    why: str
    proven: tuple[str, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "name": self.name,
            "what": self.what,
            "chosen": self.chosen,
            "why": self.why,
            "proven": list(self.proven),
            "refused": dict(self.refused),
            "fault": self.fault,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LoweringDecision:
        """The inverse of `to_json`."""
        return cls(
            name=str(value["name"]),
            what=str(value["what"]),
            chosen=str(value["chosen"]),
            why=str(value["why"]),
            proven=tuple(map(str, value["proven"])),
            refused={str(form): str(why) for form, why in value["refused"].items()},
            fault=str(value["fault"]),
        )
