"""Filling orders for artifacts: what several targets can share is computed once, and each artifact is verified.

describe the source -> run it in Keras -> trace -> convert -> verify beside the destination -> put in place
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rnnexport.errors import ConversionError, MismatchError, ProviderError, UsageError
from rnnexport.lowered import Lowered
from rnnexport.proof import Proof, Provenance
from rnnexport.publish import check_destination, staged, writing
from rnnexport.signature import BATCH, TIME, Boundary, Signature
from rnnexport.targets.base import ExportOptions, Target
from rnnexport.truth import describe_with_truth
from rnnexport.verification.compare import Tolerance
from rnnexport.verification.judge import verify_artifact
from rnnexport.verification.report import ArtifactReport
from rnnexport.versions import installed

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel
    from rnnexport.source.trace import TracedModel

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Exported:
    """One artifact in place.

    Attributes:
        path: where it is.
        report: the verification it passed; None where that was switched off.
        lowering: what became of each recurrence, where the format has several forms for one.
    """

    path: Path
    report: ArtifactReport | None
    lowering: tuple[Lowered, ...] = ()


@dataclass(frozen=True)
class Options:
    """What all orders of one call have in common."""

    form: ExportOptions
    tolerance: Tolerance | None
    verify: bool

    def with_loops(self, because: str) -> Options:
        """The same, every recurrence kept a Loop."""
        return replace(
            self, form=replace(self.form, lowering=replace(self.form.lowering, form="loop", because=because))
        )


@dataclass(frozen=True)
class Order:
    """One artifact that is wanted."""

    kind: Target
    destination: Path
    boundary: Boundary


def fill(source: SourceModel, orders: Sequence[Order], options: Options, progress: Progress) -> tuple[Exported, ...]:
    """Fill the orders. Nothing is put in place before every artifact is built and verified.

    Orders of one boundary share its description; those that also unroll alike share a trace.
    """
    from rnnexport.source.trace import trace

    for order in orders:
        _check_order(source, order)
    progress(f"running {source.name} in Keras")
    boundaries = dict.fromkeys(order.boundary for order in orders)
    described = {boundary: describe_with_truth(source, boundary) for boundary in boundaries}
    for order in orders:
        if order.kind.unrolled:
            _require_fixed(source.name, described[order.boundary].signature)
    progress(f"tracing {source.name}")
    forms = dict.fromkeys((order.boundary, order.kind.unrolled) for order in orders)
    traced = {
        (boundary, unroll): trace(source, described[boundary].signature, unroll=unroll) for boundary, unroll in forms
    }
    with ExitStack() as stack:
        paths = [stack.enter_context(staged(order.destination, order.kind.layout)) for order in orders]
        done = []
        for order, path in zip(orders, paths, strict=True):
            known = described[order.boundary]
            tolerance = options.tolerance or known.tolerance
            proof = Proof(_provenance(source, order, known.signature, options.form, tolerance), known.goldens)
            form = traced[order.boundary, order.kind.unrolled]
            try:
                done.append(_filled(form, proof, order, path, options, progress))
            except MismatchError as error:
                # Sums in another order move a chaotic model further than its tolerance: the Loop keeps their order.
                if options.form.lowering.form != "auto" or order.kind.opsets is None:
                    raise
                progress(f"{error.found}; keeping every recurrence a Loop")
                because = f"the faster form left the tolerance: {error.found}"
                done.append(_filled(form, proof, order, path, options.with_loops(because), progress))
    return tuple(done)


def _filled(
    traced: TracedModel, proof: Proof, order: Order, path: Path, options: Options, progress: Progress
) -> Exported:
    """Build the artifact at `path` and verify it there."""
    lowering = _build(traced, proof, order, path, options, progress)
    tolerance = Tolerance(**proof.provenance.tolerance)
    report = _verified(proof, order, path, tolerance, progress) if options.verify else None
    return Exported(order.destination, report and replace(report, lowering=lowering), lowering)


def _check_order(source: SourceModel, order: Order) -> None:
    """Refuse at once what would be refused after minutes of work."""
    kind, destination = order.kind, order.destination
    if not kind.layout and destination.suffix != kind.suffix:
        raise UsageError(f"output {destination.name}", f"a name that ends in {kind.suffix}", "change -o")
    if source.file is not None and destination.resolve() == source.file.path.resolve():
        raise UsageError(f"output {destination}, which is the model itself", "another file", "change -o")
    for folder in destination.resolve().parents:
        if (folder / "saved_model.pb").is_file():
            raise UsageError(
                f"output {destination}, which lies inside the model {folder}", "another folder", "change -o"
            )
    check_destination(destination, kind.layout)


def _build(
    traced: TracedModel, proof: Proof, order: Order, path: Path, options: Options, progress: Progress
) -> tuple[Lowered, ...]:
    progress(f"converting {traced.name} to {order.kind.name}")
    with writing(order.destination):
        return order.kind.export(traced, proof, path, options.form)


def _verified(proof: Proof, order: Order, path: Path, tolerance: Tolerance, progress: Progress) -> ArtifactReport:
    """The report of the artifact at `path`; raises where it did not pass."""
    progress(f"verifying {order.destination.name}")
    signature = proof.provenance.signature
    try:
        report = verify_artifact(order.kind, path, signature, proof.goldens, tolerance=tolerance)
    except UsageError as error:
        # The runtime refuses a file that was made this moment: the model can't be converted.
        raise ConversionError(error.found, error.expected, "export it to another target") from error
    _require_passed(report, order.destination)
    return replace(report, artifact=str(order.destination), computed_in=proof.provenance.computed_in)


def _require_passed(report: ArtifactReport, destination: Path) -> None:
    if report.status == "mismatch":
        raise MismatchError(
            f"{destination.name} differs from its source: {report.first_problem()}",
            f"agreement within rtol {report.tolerance.rtol:g}, atol {report.tolerance.atol:g}",
            "nothing was written; --no-verify keeps the file for study",
        )
    if report.status == "not run":
        raise ProviderError(
            f"{destination.name} could not be verified: {report.first_problem()}",
            "a runtime to verify it with",
            "install it, or use --no-verify",
        )


def _require_fixed(name: str, signature: Signature) -> None:
    open_dims = [dim for dim in signature.dynamic_dims if dim != BATCH]
    if open_dims:
        raise UsageError(
            f"{name} has a dynamic {', '.join(open_dims)}",
            "fixed sizes for TFLite, which is unrolled",
            "give --timesteps N" if TIME in open_dims else "fix them in the model's Input layers",
        )


def _provenance(
    source: SourceModel, order: Order, signature: Signature, form: ExportOptions, tolerance: Tolerance
) -> Provenance:
    from rnnexport.source.api import layers_by_dtype

    file = source.file
    asked = {"batch": order.boundary.batch, "timesteps": order.boundary.timesteps}
    return Provenance(
        target=order.kind.name,
        source={
            "name": source.name,
            "sha256": file.sha256 if file else "",
            "writer": str(file.origin) if file else f"{source.api.name} {source.api.version}, a live model",
        },
        keras_api=source.api.name,
        options=asked | (form.recorded() if order.kind.opsets else {}),
        versions=installed("rnnexport", "numpy", "tensorflow", source.api.package) | dict(order.kind.versions()),
        signature=signature,
        tolerance={"rtol": tolerance.rtol, "atol": tolerance.atol},
        semantics=source.semantics,
        computed_in=layers_by_dtype(source.api.layers(source.model)),
    )


def file_name(kind: Target, source: SourceModel) -> str:
    """The name that an artifact of `source` has by default."""
    return source.name + kind.suffix
