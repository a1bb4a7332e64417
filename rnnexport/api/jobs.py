"""What an export is asked for and what it gives, as values: quick to import, for what is refused before the work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from rnnexport.artifact.beside import ProofPlace
from rnnexport.core.errors import UsageError
from rnnexport.core.forms import TFLiteForm
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.quantization import QuantizeRequest
from rnnexport.core.run_record import seconds_in_words, size_of
from rnnexport.core.signature import Extent, Signature
from rnnexport.core.user_data import UserData
from rnnexport.quantization.choice import Quantized
from rnnexport.targets.base import ExportOptions, Target
from rnnexport.verification.report import ArtifactReport
from rnnexport.verification.tolerance import Override


@dataclass(frozen=True, repr=False)
class Exported:
    """One artifact in place.

    Attributes:
        path: where it is.
        report: the verification it passed; None where that was switched off.
        lowering: what became of each recurrence, where the format has several forms for one.
        companions: its other files, beside it.
        signature: what goes in and comes out.
        seconds: how long it took, loading and all.
        quantization: what was tried, and what each form lost, of a quantised one.
    """

    path: Path
    report: ArtifactReport | None
    lowering: tuple[LoweringDecision, ...] = ()
    companions: tuple[Path, ...] = ()
    signature: Signature | None = None
    seconds: float = 0.0
    quantization: Quantized | None = None

    def __repr__(self) -> str:
        verdict = "not verified" if self.report is None else "verified"
        return f"<{type(self).__name__} {self.path}: {verdict}, {seconds_in_words(self.seconds)}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: where it is, what goes in and what comes out."""
        rows = [("artifact", str(self.path)), ("verdict", "not verified" if self.report is None else "verified")]
        if self.signature is not None:
            rows += [("input", str(spec)) for spec in self.signature.inputs]
            rows += [("output", str(spec)) for spec in self.signature.outputs]
            rows += [("state", f"{state.input} -> {state.output.name}") for state in self.signature.states]
        cells = "".join(f"<tr><th>{escape(label)}</th><td>{escape(text)}</td></tr>" for label, text in rows)
        return f"<table>{cells}</table>"

    @property
    def size(self) -> int:
        """The bytes of all its files."""
        return size_of((self.path, *self.companions))


@dataclass(frozen=True)
class Options:
    """What all jobs of one call have in common."""

    form: ExportOptions
    override: Override
    verify: bool
    data: UserData | None = None
    proof: ProofPlace = "inside"
    quantize: QuantizeRequest | None = None

    @property
    def has_goldens(self) -> bool:
        """Whether anything is compared, now or later: what only that needs is not computed otherwise."""
        return self.verify or self.proof != "none"

    def with_loops(self, because: str) -> Options:
        """The same, every recurrence kept a Loop."""
        return replace(
            self, form=replace(self.form, lowering=replace(self.form.lowering, form="loop", because=because))
        )


_TFLITE = TFLiteForm()


@dataclass(frozen=True)
class ExportJob:
    """One artifact that is wanted."""

    kind: Target
    destination: Path
    extent: Extent
    form: TFLiteForm = _TFLITE

    @property
    def unrolls(self) -> bool:
        """Whether its recurrences are written out, and so want a fixed length."""
        return self.kind.unrolled and self.form.unrolls


def check_destination_of(job: ExportJob, model: Path | None) -> None:
    """Refuse at once a place at which an artifact would be refused after minutes of work.

    Args:
        job: the artifact.
        model: the file that it is made from, if it is a file.

    Raises:
        UsageError: the name ends otherwise, or hides a module; it is the model itself, or lies inside one; or what
            stands there is not ours to replace.
    """
    kind, destination = job.kind, job.destination
    if not kind.layout and destination.suffix != kind.suffix:
        raise UsageError(f"output {destination.name}", f"a name that ends in {kind.suffix}", "change -o")
    if model is not None and destination.resolve() == model.resolve():
        raise UsageError(f"output {destination}, which is the model itself", "another file", "change -o")
    for folder in destination.resolve().parents:
        if (folder / "saved_model.pb").is_file():
            raise UsageError(
                f"output {destination}, which lies inside the model {folder}", "another folder", "change -o"
            )
    if destination.stem in kind.reserved:
        raise UsageError(
            f"output {destination.name}, which would hide the module {destination.stem} from itself",
            "a name that no module of Python or NumPy has",
            "change -o",
        )
    kind.check_destination(destination)
