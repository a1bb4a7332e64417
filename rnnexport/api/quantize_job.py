"""A quantised artifact: the float32 one made and verified first, then its forms made, measured, and one taken.

float32, verified -> sequences from initial states -> ranges -> each form made and measured -> the first that holds
-> sealed with the bound that it was shown to keep, and verified by it
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.api.expectations import Beside, with_data
from rnnexport.api.export_job import Form, exported, graphs_of, read_back, recorded, where_of
from rnnexport.api.jobs import Exported, ExportJob, Options
from rnnexport.artifact.atomic_write import writing
from rnnexport.artifact.beside import proof_file
from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.artifact.provenance import Proof, Provenance
from rnnexport.core.coverage import Coverage
from rnnexport.core.errors import ConversionError, CrashError, MismatchError, UsageError
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.progress import Progress
from rnnexport.core.quantization import QuantizedPart, QuantizeRequest
from rnnexport.core.run_record import size_of
from rnnexport.core.signature import Signature, time_axis
from rnnexport.isolation.runner import opened
from rnnexport.quantization.choice import Quantized, Trial, chosen, require_quantised
from rnnexport.quantization.loss import Found, Loss, Measure, metric_of
from rnnexport.targets.base import Quantizer, Runner
from rnnexport.verification.entry_point import Entry, carry
from rnnexport.verification.run_artifact import Expectation, verify_artifact
from rnnexport.verification.tolerance import Override, Tolerance, Tolerances

if TYPE_CHECKING:
    from rnnexport.reference.calibration_calls import Sequences

# How many times the largest error that was measured a value may be off later: other hosts round products otherwise.
_ROOM = 2.0
_ROUNDS = 9  # of a time
_FEW = 12  # operators that are quantised one at a time, to see which loses most
_USUAL = Tolerance()


@dataclass(frozen=True, eq=False)
class Bench:
    """Where forms of one job are made and measured.

    Attributes:
        form, job, options: see `export_job`.
        request: what is asked.
        sequences: what they are measured on.
        quantizer: makes them.
        folder: for their files.
    """

    form: Form
    job: ExportJob
    options: Options
    request: QuantizeRequest
    sequences: Sequences
    quantizer: Quantizer
    folder: Path

    @property
    def signature(self) -> Signature:
        """Of a call."""
        return self.form.reference.known.signature

    def feeds(self, goldens: Sequence[Golden]) -> list[Arrays]:
        """Their feeds, states included."""
        from rnnexport.reference.calibration_calls import feeds_of

        return list(feeds_of(goldens, self.signature))

    def made(
        self, name: str, only: frozenset[str] | None = None
    ) -> tuple[Path, tuple[QuantizedPart, ...], tuple[LoweringDecision, ...]]:
        """A file of that form, in a folder of its own."""
        path = self.folder / (name if only is None else "alone") / self.job.destination.name
        path.parent.mkdir(exist_ok=True)
        parts, lowering = self.quantizer.write(path, name, self.feeds(self.sequences.calibrated), only)
        return path, parts, lowering

    def losses(self, path: Path) -> tuple[Loss, ...]:
        """What the artifact at `path` loses, its own states carried."""
        metric = metric_of(self.request.metric)
        measures = {spec.name: Measure(spec.name) for spec in self.signature.all_outputs}
        where = where_of(self.job)
        with opened(self.job.kind, path, where.provider, where.tf32, where.limits) as runner:
            for golden, found in _run(runner, self.signature, self.sequences.measured):
                for name, measure in measures.items():
                    measure.add(_found(name, golden, found, self.signature))
        return tuple(measure.loss(metric) for measure in measures.values())


def quantised(form: Form, job: ExportJob, path: Path, options: Options, progress: Progress) -> Exported:
    """Build the quantised artifact at `path`, put the proof in, and verify it there.

    Raises:
        MismatchError: no form holds; says what each lost.
        ConversionError: nothing can be quantised, or a part only, which was not allowed; or as an export.
        UsageError: the format has no such form, or the data do not fit.
    """
    request = options.quantize
    assert request is not None  # the caller looked
    forms = request.forms(job.kind.name)
    metric_of(request.metric)
    with TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "float32").mkdir()
        plain = folder / "float32" / job.destination.name
        exported(form, job, plain, replace(options, data=None), progress)
        bench = _bench(form, job, options, request, folder, progress)
        trials, files, lowerings = _tried(bench, forms, plain, progress)
        taken = chosen(_quantised(trials, job, request), request.max_loss, request.metric, job.destination.name)
        told = Quantized(
            taken,
            tuple(trials),
            request.metric,
            request.max_loss,
            *bench.sequences.told,
            _alone(bench, taken, progress),
        )
        with writing(job.destination):
            for file in files[taken.form].parent.iterdir():
                file.replace(path.parent / file.name)
    return _sealed(bench, path, told, lowerings[taken.form], progress)


def _bench(
    form: Form, job: ExportJob, options: Options, request: QuantizeRequest, folder: Path, progress: Progress
) -> Bench:
    from rnnexport.reference.calibration_calls import sequences

    reference = form.reference
    progress(f"running {reference.source.name} on {'generated sequences' if request.calibrate is None else 'data'}")
    found = sequences(reference.source, reference.known, request.calibrate, stream=reference.sequence is not None)
    graphs, feeds = graphs_of(form, job)
    quantizer = job.kind.quantizer(graphs, feeds, replace(options.form, tflite=job.form))
    return Bench(form, job, options, request, found, quantizer, folder)


def _tried(
    bench: Bench, forms: Sequence[str], plain: Path, progress: Progress
) -> tuple[list[Trial], dict[str, Path], dict[str, tuple[LoweringDecision, ...]]]:
    """Every form, float32 first; its file, and what became of the recurrences in it."""
    trials = [Trial("float32", _size(bench, plain), bench.losses(plain))]
    files, lowerings = {"float32": plain}, {}
    for name in forms:
        progress(f"quantising {bench.job.destination.name} as {name}")
        files[name], parts, lowerings[name] = bench.made(name)
        found = bench.quantizer.saturation(name, bench.feeds(bench.sequences.others or bench.sequences.calibrated))
        trial = Trial(name, _size(bench, files[name]), bench.losses(files[name]), parts)
        if found is not None:
            name_of, share = found.worst()
            notes = (f"{share:.2%} of {name_of} lie outside of its range",) if share else ()
            trial = replace(trial, saturated=found.share, notes=notes)
        trials.append(trial)
    times = _times(bench, [files[trial.form] for trial in trials])
    return [replace(trial, seconds=each) for trial, each in zip(trials, times, strict=True)], files, lowerings


def _size(bench: Bench, path: Path) -> int:
    """The bytes of an artifact without what rides in it."""
    whole = size_of(bench.job.kind.every_file(path))
    proof = bench.job.kind.read_proof(path)
    if proof is None:
        return whole
    provenance, goldens = proof.blobs()
    return whole - len(provenance) - len(goldens) * 4 // 3  # of which ONNX makes text


def _quantised(trials: Sequence[Trial], job: ExportJob, request: QuantizeRequest) -> list[Trial]:
    """The trials but float32: those that were quantised as was asked. Raises what the first raises where none was."""
    found: list[Trial] = []
    errors: list[ConversionError] = []
    for trial in trials[1:]:
        try:
            require_quantised(trial, job.destination.name, allow_partial=request.allow_partial)
            found.append(trial)
        except ConversionError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    return found


def _alone(bench: Bench, taken: Trial, progress: Progress) -> tuple[tuple[str, float], ...]:
    """What is lost where one operator alone is quantised, largest first."""
    names = list(dict.fromkeys(part.name for part in taken.parts if part.how))
    if not 1 < len(names) <= _FEW or not bench.quantizer.separates(taken.form):
        return ()
    progress(f"finding what loses most in {bench.job.destination.name}")
    found = []
    for name in names:
        path, _, _ = bench.made(taken.form, frozenset((name,)))
        found.append((name, max(loss.value for loss in bench.losses(path))))
    return tuple(sorted(found, key=lambda pair: -pair[1]))


def _sealed(
    bench: Bench, path: Path, told: Quantized, lowering: tuple[LoweringDecision, ...], progress: Progress
) -> Exported:
    """Put the provenance and the goldens in, and verify the artifact by the bound that it records."""
    job, options = bench.job, bench.options
    known = _provenance(bench, told, lowering)
    proof = Proof(known, bench.sequences.carried if options.has_goldens else (), place=options.proof)
    with writing(job.destination):
        job.kind.write_proof(path, proof)
    report = None
    if options.verify:
        progress(f"verifying {job.destination.name}")
        claim = Expectation(
            known.signature,
            proof.goldens,
            Tolerances(Tolerance(**known.tolerance), Override.from_json(known.override)),
            no_truth=known.no_truth,
            coverage=known.coverage,
            no_witness=known.no_witness,
            own=read_back(job, path),
            sequence=known.sequence,
        )
        if options.data is not None:
            reference = bench.form.reference
            claim = with_data(claim, options.data, Beside(reference.source, reference.known, reference.sequence))
        try:
            report = verify_artifact(job.kind, path, claim, where_of(job))
        except (UsageError, CrashError) as error:
            raise ConversionError(error.found, error.expected, "take another form") from error
        if report.status != "passed":
            raise MismatchError(
                f"{job.destination.name} as {told.chosen.form} loses more than was measured: {report.first_problem()}",
                f"agreement within {report.tolerances}",
                "nothing was written; take another form, or give --calibrate more of your data",
            )
        report = replace(report, artifact=str(job.destination))
    beside = tuple(job.destination.with_name(file.name) for file in job.kind.every_file(path)[1:])
    beside += (proof_file(job.destination),) if options.proof == "beside" else ()
    return Exported(job.destination, report, lowering, beside, known.signature, quantization=told)


def _provenance(bench: Bench, told: Quantized, lowering: tuple[LoweringDecision, ...]) -> Provenance:
    """As of the float32 artifact, with the loss, the bound that follows from it, and the values that it holds for."""
    known = recorded(bench.form, bench.job, bench.options)
    notes = (f"quantised as {told.chosen.form}: calibrated on {told.calibrated_on}, measured on {told.measured_on}",)
    options = {**known.options, "quantize": told.chosen.form, "ranges": _ranges(bench)}
    atols = {loss.output: _bound(loss, bench.request) for loss in told.chosen.losses}
    return replace(
        known,
        options=options,
        lowering=lowering,
        coverage=Coverage(notes),
        override=Override(rtol=0.0, atols=atols).to_json(),
        quantization=told.to_json(),
    )


def _bound(loss: Loss, request: QuantizeRequest) -> float:
    """What a value of an output may be off, now and later."""
    least = _USUAL.atol + _USUAL.rtol * loss.span
    if request.metric == "range" and request.max_loss is not None:
        return max(request.max_loss * loss.span, least)
    return max(_ROOM * loss.largest, least)


def _ranges(bench: Bench) -> list[list[object]]:
    """The ends of each real input and state over all sequences: a fresh comparison is made inside of them."""
    feeds = bench.feeds(bench.sequences.measured)
    found: list[list[object]] = []
    for spec in bench.signature.all_inputs:
        if np.dtype(spec.dtype).kind != "f" or spec.mask is not None:
            continue
        low = min(float(feed[spec.name].min()) for feed in feeds)
        high = max(float(feed[spec.name].max()) for feed in feeds)
        if low < high:
            found.append([spec.name, low, high])
    return found


def _run(runner: Runner, signature: Signature, goldens: Sequence[Golden]) -> Iterator[tuple[Golden, Arrays]]:
    """Each call of an artifact, one that goes on from another with the states that came out there."""
    entry = Entry(runner, signature, Tolerances())
    before: Arrays = {}
    for golden in goldens:
        carried = carry(before, signature) if golden.carries else {}
        before = entry.run({**golden.feed, **carried})
        yield golden, before


def _found(name: str, golden: Golden, outputs: Arrays, signature: Signature) -> Found:
    """One output of a call beside the truth, time first."""
    from rnnexport.reference.calibration_calls import length_of

    wanted = golden.truth.get(name, golden.expected[name])
    found = outputs.get(name, np.zeros(0))
    spec = next(one for one in signature.all_outputs if one.name == name)
    axis, length = time_axis(spec, signature), length_of(golden, signature)
    if found.shape != wanted.shape:
        return Found(wanted, found)
    if axis is None:
        return Found(wanted[np.newaxis], found[np.newaxis], np.array([golden.before + length - 1]))
    steps = golden.before + np.arange(wanted.shape[axis])
    return Found(np.moveaxis(wanted, axis, 0), np.moveaxis(found, axis, 0), steps)


def _times(bench: Bench, files: Sequence[Path]) -> list[float]:
    """Seconds that a call of each artifact takes: the median. They take turns, so that all slow down alike."""
    goldens = [golden for golden in bench.sequences.measured if not golden.carries]
    feed = max(goldens, key=lambda golden: sum(array.size for array in golden.feed.values())).feed
    where = where_of(bench.job)
    with ExitStack() as stack:
        runners = [
            stack.enter_context(opened(bench.job.kind, file, where.provider, where.tf32, None)) for file in files
        ]
        for runner in runners:
            runner.run(feed)
        rounds = [[_seconds(runner.run, feed) for runner in runners] for _ in range(_ROUNDS)]
    return [median(each) for each in zip(*rounds, strict=True)]


def _seconds(call: Callable[[Arrays], object], feed: Arrays) -> float:
    start = time.perf_counter()
    call(feed)
    return time.perf_counter() - start
