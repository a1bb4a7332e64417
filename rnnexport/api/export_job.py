"""Filling orders for artifacts: what several targets can share is computed once, and each artifact is verified.

describe the source -> run it in Keras -> trace -> convert -> verify beside the destination -> put in place
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rnnexport.api.diagnose import TRAIL_GOLDEN, among_the_layers, trail_of, with_departure
from rnnexport.api.expectations import Beside, with_data
from rnnexport.api.provenance_record import provenance_of
from rnnexport.artifact.atomic_write import writing
from rnnexport.artifact.provenance import Proof, require_unaltered
from rnnexport.core.errors import ConversionError, CrashError, MismatchError, ProviderError, UsageError
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.progress import Progress
from rnnexport.core.signature import Extent
from rnnexport.isolation.limits import Limits
from rnnexport.reference.prepare import Reference, require_fixed, subjects
from rnnexport.targets.base import ExportOptions, Target
from rnnexport.verification.report import ArtifactReport
from rnnexport.verification.run_artifact import Expectation, verify_artifact
from rnnexport.verification.tolerance import Override, Tolerance, Tolerances
from rnnexport.verification.where import Where

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel
    from rnnexport.source.trace import TracedModel


@dataclass(frozen=True)
class Exported:
    """One artifact in place.

    Attributes:
        path: where it is.
        report: the verification it passed; None where that was switched off.
        lowering: what became of each recurrence, where the format has several forms for one.
        companions: its other files, beside it.
    """

    path: Path
    report: ArtifactReport | None
    lowering: tuple[LoweringDecision, ...] = ()
    companions: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Options:
    """What all orders of one call have in common."""

    form: ExportOptions
    override: Override
    verify: bool
    data: Path | None = None

    def with_loops(self, because: str) -> Options:
        """The same, every recurrence kept a Loop."""
        return replace(
            self, form=replace(self.form, lowering=replace(self.form.lowering, form="loop", because=because))
        )


@dataclass(frozen=True)
class ExportJob:
    """One artifact that is wanted."""

    kind: Target
    destination: Path
    extent: Extent


@dataclass(frozen=True, eq=False)
class Form:
    """A subject, and its graph, unrolled or not."""

    subject: Reference
    traced: TracedModel


def described(source: SourceModel, orders: Sequence[ExportJob], progress: Progress) -> dict[Extent, Reference]:
    """What the orders convert, by its extent: for `fill` to be called with some of them at a time."""
    return subjects(source, [(_extent(order), order.kind) for order in orders], TRAIL_GOLDEN, progress)


def fill(
    source: SourceModel,
    orders: Sequence[ExportJob],
    options: Options,
    progress: Progress,
    known: Mapping[Extent, Reference] | None = None,
) -> tuple[Exported, ...]:
    """Fill the orders. Nothing is put in place before every artifact is built and verified.

    Orders of one boundary share its description; those that also unroll alike share a trace.

    Args:
        source: the model.
        orders: what is wanted of it.
        options: what they have in common.
        progress: is told what goes on.
        known: what `described` gave for these orders and others.
    """
    from rnnexport.source.footprint import require_convertible_size

    for order in orders:
        _check_order(source, order)
    require_convertible_size(source)
    orders = [replace(order, extent=_extent(order)) for order in orders]
    known = known or described(source, orders, progress)
    for order in orders:
        signature = known[order.extent].known.signature
        options.override.require_known([spec.name for spec in signature.all_outputs], source.name)
        if order.kind.unrolled:
            require_fixed(source.name, signature)
        known[order.extent].require_converted(order.kind)
    if options.data is not None:
        known = {extent: _with_data(subject, options.data, progress) for extent, subject in known.items()}
    progress(f"tracing {source.name}")
    forms = {
        (extent, unroll): Form(known[extent], known[extent].traced(unroll=unroll))
        for extent, unroll in dict.fromkeys((order.extent, _unrolls(order)) for order in orders)
    }
    with ExitStack() as stack:
        paths = [stack.enter_context(order.kind.staged(order.destination)) for order in orders]
        done = []
        for order, path in zip(orders, paths, strict=True):
            form = forms[order.extent, _unrolls(order)]
            try:
                done.append(_filled(form, order, path, options, progress))
            except MismatchError as error:
                # Sums in another order move a chaotic model further than its tolerance: the Loop keeps their order.
                if options.form.lowering.form != "auto" or order.kind.opsets is None:
                    raise
                progress(f"{error.found}; keeping every recurrence a Loop")
                because = f"the faster form left the tolerance: {error.found}"
                done.append(_filled(form, order, path, options.with_loops(because), progress))
    return tuple(done)


def _extent(order: ExportJob) -> Extent:
    """What is converted: a format that is unrolled has no open sizes."""
    return order.extent.with_fixed_sizes() if order.kind.unrolled else order.extent


def _with_data(subject: Reference, path: Path, progress: Progress) -> Reference:
    """The subject with some of the user's data among its goldens. UsageError where the data do not fit."""
    from rnnexport.reference.user_data import kept
    from rnnexport.verification.user_data import open_data

    progress(f"running {subject.source.name} on {path.name}")
    rows = open_data(path, subject.known.signature, needs_outputs=False)
    goldens = kept(subject.source, subject.known, rows, path.name)
    return replace(subject, known=replace(subject.known, goldens=(*subject.known.goldens, *goldens)))


def _unrolls(order: ExportJob) -> bool:
    """Whether recurrences become straight-line code: always in some formats, and for one step in those with signatures.

    ONNX has better forms for one step, too.
    """
    return order.kind.unrolled or (order.kind.entries and order.extent.stream == 1)


def _filled(form: Form, order: ExportJob, path: Path, options: Options, progress: Progress) -> Exported:
    """Build the artifact at `path`, put the proof in, and verify it there."""
    from rnnexport.source.trace import Graphs

    progress(f"converting {form.traced.name} to {order.kind.name}")
    subject = form.subject
    sequence = subject.traced_sequence(order.kind)
    asked = order.extent.to_json() | (options.form.recorded() if order.kind.opsets else {})
    asked |= {} if options.data is None else {"data": options.data.name}
    recorded = provenance_of(subject.source, subject.known, order.kind, asked, options.override, subject.sequence)
    proof = Proof(recorded, subject.goldens(sequence))
    graphs = Graphs(form.traced, sequence, is_stream=subject.sequence is not None)
    feeds = [golden.feed for golden in subject.known.goldens if not golden.carries]
    with writing(order.destination):
        lowering = order.kind.export(graphs, feeds, path, options.form)
        trail = trail_of(order.kind, path, subject.layers, feeds[TRAIL_GOLDEN], subject.known.tolerance, _where(order))
        proof = replace(proof, provenance=replace(proof.provenance, lowering=lowering), trail=lambda: trail)
        order.kind.write_proof(path, proof)
    report = _verified(form, proof, order, path, options, progress) if options.verify else None
    return Exported(order.destination, report, lowering, order.kind.files(order.destination)[1:])


def _check_order(source: SourceModel, order: ExportJob) -> None:
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
    if destination.stem in kind.reserved:
        raise UsageError(
            f"output {destination.name}, which would hide the module {destination.stem} from itself",
            "a name that no module of Python or NumPy has",
            "change -o",
        )
    kind.check_destination(destination)


def _verified(
    form: Form, proof: Proof, order: ExportJob, path: Path, options: Options, progress: Progress
) -> ArtifactReport:
    """The report of the artifact at `path`; raises where it did not pass."""
    progress(f"verifying {order.destination.name}")
    known = proof.provenance
    tolerances = Tolerances(Tolerance(**known.tolerance), options.override)
    claim = Expectation(
        known.signature,
        proof.goldens,
        tolerances,
        no_truth=known.no_truth,
        coverage=known.coverage,
        no_witness=known.no_witness,
        own=proof,
        sequence=known.sequence,
    )
    if options.data is not None:
        subject = form.subject
        claim = with_data(claim, options.data, Beside(subject.source, subject.known, subject.sequence))
    try:
        require_unaltered(order.destination.name, _read_back(order, path))
        order.kind.check_code(path)
        report = verify_artifact(order.kind, path, claim, _where(order))
    except (UsageError, CrashError) as error:
        # The runtime refuses a file that was made this moment, or ends: the model can't be converted.
        raise ConversionError(error.found, error.expected, "export it to another target") from error
    feed = proof.goldens[TRAIL_GOLDEN].feed
    look = partial(among_the_layers, form.subject.layers, feed, tolerances.default, order.kind, path, _where(order))
    report = with_departure(report, look)
    _require_passed(report, order.destination)
    return replace(report, artifact=str(order.destination))


def _where(order: ExportJob) -> Where:
    """Where a new artifact is run: in a process of its own, unless its runtime is the converter, which is here."""
    return Where(limits=None if "tensorflow" in order.kind.runtimes else Limits())


def _read_back(order: ExportJob, path: Path) -> Proof:
    proof = order.kind.read_proof(path)
    assert proof is not None, "it was written a moment ago"
    return proof


def _require_passed(report: ArtifactReport, destination: Path) -> None:
    if report.status == "mismatch":
        raise MismatchError(
            f"{destination.name} differs from its source: {_why(report)}",
            f"agreement within {report.tolerances}",
            "nothing was written; --no-verify keeps the file for study",
        )
    if report.status == "not run":
        raise ProviderError(
            f"{destination.name} could not be verified: {report.first_problem()}",
            "a runtime to verify it with",
            "install it, or use --no-verify",
        )


def _why(report: ArtifactReport) -> str:
    located = report.located
    return report.first_problem() + ("" if located is None else f". {located.sentence}")


def file_name(kind: Target, source: SourceModel) -> str:
    """The name that an artifact of `source` has by default."""
    return source.name + kind.suffix
