"""Running export jobs: what several targets can share is computed once, and each artifact is verified.

describe the source -> run it in Keras -> trace -> convert -> verify beside the destination -> put in place

What a new artifact records of where it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnexport.api.diagnose import LAYER_MAP_GOLDEN, by_layers, recorded_layer_map, with_departure
from rnnexport.api.expectations import Beside, with_data
from rnnexport.api.jobs import Exported, ExportJob, Options, check_destination_of
from rnnexport.artifact.atomic_write import writing
from rnnexport.artifact.beside import proof_file
from rnnexport.artifact.goldens import Arrays
from rnnexport.artifact.provenance import Proof, Provenance, require_unaltered
from rnnexport.core.errors import ConversionError, CrashError, MismatchError, ProviderError, UsageError
from rnnexport.core.progress import Detail, Progress
from rnnexport.core.signature import Extent, Signature
from rnnexport.core.user_data import UserData
from rnnexport.core.versions import installed
from rnnexport.isolation.limits import Limits
from rnnexport.targets.base import Target
from rnnexport.verification.report import ArtifactReport
from rnnexport.verification.run_artifact import Expectation, verify_artifact
from rnnexport.verification.tolerance import Override, Tolerance, Tolerances
from rnnexport.verification.where import Where

if TYPE_CHECKING:
    from rnnexport.reference.describe import Described
    from rnnexport.reference.prepare import Reference
    from rnnexport.source.model import SourceModel
    from rnnexport.source.trace import Graphs, TracedModel


@dataclass(frozen=True, eq=False)
class Form:
    """A reference, and its graph, unrolled or not."""

    reference: Reference
    traced: TracedModel


def described(
    source: SourceModel, jobs: Sequence[ExportJob], progress: Progress, *, truth: bool = True
) -> dict[Extent, Reference]:
    """What the jobs convert, by its extent: for `run_jobs` to be called with some of them at a time.

    Args:
        source: the model.
        jobs: what is wanted of it.
        progress: is told what goes on.
        truth: False where nothing is compared, now or later: what only that needs is not computed.
    """
    from rnnexport.reference.prepare import references

    return references(source, [(_extent(job), job.kind) for job in jobs], LAYER_MAP_GOLDEN if truth else None, progress)


def run_jobs(
    source: SourceModel,
    jobs: Sequence[ExportJob],
    options: Options,
    progress: Progress,
    known: Mapping[Extent, Reference] | None = None,
) -> tuple[Exported, ...]:
    """Run the jobs. Nothing is put in place before every artifact is built and verified.

    Orders of one boundary share its description; those that also unroll alike share a trace.

    Args:
        source: the model.
        jobs: what is wanted of it.
        options: what they have in common.
        progress: is told what goes on.
        known: what `described` gave for these jobs and others.
    """
    from rnnexport.reference.prepare import require_fixed
    from rnnexport.source.footprint import longest_of, recurrent_bytes, require_convertible_size

    for job in jobs:
        check_destination_of(job, None if source.file is None else source.file.path)
    require_convertible_size(source, [job.kind.name for job in jobs if job.kind.limited])
    weights = recurrent_bytes(source)
    no_loop = "" if options.quantize is None else options.quantize.no_loop
    jobs = [replace(job, form=job.form.chosen(longest_of(source, job.extent.called), weights, no_loop)) for job in jobs]
    jobs = [replace(job, extent=_extent(job)) for job in jobs]
    for job in jobs:
        _require_sizes(source, job, options)
    known = known or described(source, jobs, progress, truth=options.has_goldens)
    for job in jobs:
        signature = known[job.extent].known.signature
        options.override.require_known([spec.name for spec in signature.all_outputs], source.name)
        if job.unrolls:
            require_fixed(source.name, signature)
        known[job.extent].require_converted(job.kind)
    if options.data is not None:
        known = {extent: _with_data(reference, options.data, progress) for extent, reference in known.items()}
    progress(f"tracing {source.name}")
    forms = {
        (extent, unroll): Form(known[extent], known[extent].traced(unroll=unroll))
        for extent, unroll in dict.fromkeys((job.extent, _unrolls(job, known[job.extent])) for job in jobs)
    }
    with ExitStack() as stack:
        paths = [stack.enter_context(job.kind.staged(job.destination)) for job in jobs]
        return tuple(
            _made(forms[job.extent, _unrolls(job, known[job.extent])], job, path, options, progress)
            for job, path in zip(jobs, paths, strict=True)
        )


def _made(form: Form, job: ExportJob, path: Path, options: Options, progress: Progress) -> Exported:
    """The artifact at `path`, quantised where that is asked."""
    if options.quantize is not None:
        from rnnexport.api.quantize_job import quantised

        return quantised(form, job, path, options, progress)
    return exported(form, job, path, options, progress)


def _require_sizes(source: SourceModel, job: ExportJob, options: Options) -> None:
    """Refuse sizes that a format, its runtime, or the run of the source does not take, before the model is run."""
    from rnnexport.source.footprint import require_few_steps_of, require_fixed_sizes, require_runnable

    if job.unrolls:
        require_few_steps_of(source, job.extent.called)
    if job.kind.unrolled and job.form.runtime == "tflm":
        require_fixed_sizes(source, job.extent.called)
    if options.has_goldens:
        require_runnable(source, job.extent.called)


def _extent(job: ExportJob) -> Extent:
    """What is converted: a format that is unrolled has no open sizes."""
    return job.extent.with_fixed_sizes() if job.unrolls else job.extent


def _with_data(reference: Reference, data: UserData, progress: Progress) -> Reference:
    """The reference with some of the user's data among its goldens. UsageError where the data do not fit."""
    from rnnexport.reference.user_data import kept
    from rnnexport.user_data.rows import open_data

    progress(f"running {reference.source.name} on {data.name}")
    rows = open_data(data, reference.known.signature, needs_outputs=False)
    goldens = kept(reference.source, reference.known, rows, data.name)
    return replace(reference, known=replace(reference.known, goldens=(*reference.known.goldens, *goldens)))


def _unrolls(job: ExportJob, reference: Reference) -> bool:
    """Whether recurrences are traced as straight-line code: for one step, in formats with signatures.

    ONNX has better forms for one step, too. TFLite writes steps out itself, in less time, unless the model can't be
    traced with loops.
    """
    return (job.kind.entries and job.extent.stream == 1) or (job.unrolls and reference.known.traced is None)


def graphs_of(form: Form, job: ExportJob) -> tuple[Graphs, list[Arrays]]:
    """What an artifact is made of, and the feeds that forms of recurrences are compared on."""
    from rnnexport.source.trace import Graphs

    reference = form.reference
    sequence = reference.traced_sequence(job.kind, unroll=job.unrolls)
    converted, is_stream = reference.converted(form.traced), reference.sequence is not None
    graphs = Graphs(form.traced, sequence, is_stream, converted, reference.known.traced)
    return graphs, [golden.feed for golden in reference.known.goldens if not golden.carries]


def recorded(form: Form, job: ExportJob, options: Options) -> Provenance:
    """What an artifact records of where it comes from, but for its recurrences."""
    reference = form.reference
    asked = job.extent.to_json() | (options.form.recorded() if job.kind.opsets else {})
    asked |= job.form.recorded() if job.kind.unrolled else {}
    asked |= {} if options.data is None else {"data": options.data.name}
    return provenance_of(reference.source, reference.known, job.kind, asked, options.override, reference.sequence)


def exported(form: Form, job: ExportJob, path: Path, options: Options, progress: Progress) -> Exported:
    """Build the artifact at `path`, put the proof in, and verify it there."""
    try:
        return _exported(form, job, path, options, progress)
    except MismatchError as error:
        # Sums in another order move a chaotic model further than its tolerance: the Loop keeps their order.
        if options.form.lowering.form != "auto" or job.kind.opsets is None:
            raise
        progress(Detail(f"{error.found}; keeping every recurrence a Loop"))
        because = f"the faster form left the tolerance: {error.found}"
        return _exported(form, job, path, options.with_loops(because), progress)


def _exported(form: Form, job: ExportJob, path: Path, options: Options, progress: Progress) -> Exported:
    progress(f"converting {form.traced.name} to {job.kind.name}")
    reference = form.reference
    graphs, feeds = graphs_of(form, job)
    goldens = reference.goldens(graphs.sequence) if options.has_goldens else ()
    proof = Proof(recorded(form, job, options), goldens, place=options.proof)
    with writing(job.destination):
        lowering = job.kind.export(graphs, feeds, path, replace(options.form, tflite=job.form))
        layer_map = recorded_layer_map(
            job.kind, path, reference.layers, feeds[LAYER_MAP_GOLDEN], reference.known.tolerance, where_of(job)
        )
        proof = replace(proof, provenance=replace(proof.provenance, lowering=lowering), layer_map=lambda: layer_map)
        job.kind.write_proof(path, proof)
    report = _verified(form, proof, job, path, options, progress) if options.verify else None
    beside = tuple(job.destination.with_name(file.name) for file in job.kind.every_file(path)[1:])
    beside += (proof_file(job.destination),) if options.proof == "beside" else ()
    return Exported(job.destination, report, lowering, beside, proof.provenance.signature)


def _verified(
    form: Form, proof: Proof, job: ExportJob, path: Path, options: Options, progress: Progress
) -> ArtifactReport:
    """The report of the artifact at `path`; raises where it did not pass."""
    progress(f"verifying {job.destination.name}")
    known = proof.provenance
    tolerances = Tolerances(Tolerance(**known.tolerance), options.override)
    expectation = Expectation(
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
        reference = form.reference
        expectation = with_data(
            expectation, options.data, Beside(reference.source, reference.known, reference.sequence)
        )
    try:
        require_unaltered(job.destination.name, read_back(job, path))
        job.kind.check_code(path)
        report = verify_artifact(job.kind, path, expectation, where_of(job))
    except (UsageError, CrashError) as error:
        # The runtime refuses a file that was made this moment, or ends: the model can't be converted.
        raise ConversionError(error.found, error.expected, "export it to another target") from error
    feed = proof.goldens[LAYER_MAP_GOLDEN].feed
    look = partial(by_layers, form.reference.layers, feed, tolerances.default, job.kind, path, where_of(job))
    report = with_departure(report, look)
    _require_passed(report, job.destination)
    return replace(report, artifact=str(job.destination))


def where_of(job: ExportJob) -> Where:
    """Where a new artifact is run: in a process of its own, unless its runtime is the converter, which is here."""
    provider = job.form.provider if job.kind.unrolled else "cpu"
    return Where(provider, limits=None if "tensorflow" in job.kind.runtimes else Limits())


def read_back(job: ExportJob, path: Path) -> Proof:
    """The proof in an artifact that was written a moment ago."""
    proof = job.kind.read_proof(path)
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


def provenance_of(
    source: SourceModel,
    known: Described,
    kind: Target,
    options: Mapping[str, Any],
    override: Override,
    sequence: Signature | None,
) -> Provenance:
    """The provenance of an artifact of that format.

    Args:
        source: the model that was called, or its stream.
        known: its boundary, and how closely it can be met.
        kind: the format.
        options: of the export, as plain values.
        override: what the user asked of the tolerance instead.
        sequence: of a stream, the boundary of the model on whole sequences.
    """
    from rnnexport.source.api import layers_by_dtype

    file = source.file
    return Provenance(
        target=kind.name,
        source={
            "name": source.name,
            "sha256": file.sha256 if file else "",
            "writer": str(file.origin) if file else f"{source.api.name} {source.api.version}, a live model",
            **source.parameters.recorded(),
        },
        keras_api=source.api.name,
        options=options,
        versions=installed("rnnexport", "numpy", "tensorflow", source.api.package) | dict(kind.versions()),
        signature=known.signature,
        tolerance={"rtol": known.tolerance.rtol, "atol": known.tolerance.atol},
        semantics=source.semantics,
        computed_in=layers_by_dtype(source.api.layers(source.model)),
        no_truth=known.no_truth,
        coverage=known.coverage,
        no_witness=known.no_witness,
        override=override.to_json(),
        sequence=sequence,
    )
