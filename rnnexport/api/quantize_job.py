"""A quantised artifact: the float32 one made and verified first, then its forms made, measured, and one taken.

float32, verified -> sequences from initial states -> ranges -> each form made and measured -> the first that holds
-> sealed with the bound that it was shown to keep, and verified by it
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from rnnexport.api.expectations import Beside, with_data
from rnnexport.api.export_job import Form, exported, read_back, recorded, where_of
from rnnexport.api.jobs import Exported, ExportJob, Options
from rnnexport.api.quantize_bench import Bench, bench_of, file_size, times
from rnnexport.artifact.atomic_write import writing
from rnnexport.artifact.beside import proof_file
from rnnexport.artifact.provenance import Proof, Provenance
from rnnexport.core.coverage import Coverage
from rnnexport.core.errors import ConversionError, CrashError, MismatchError, ProviderError, UsageError
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.progress import Detail, Progress
from rnnexport.core.quantization import QuantizeRequest
from rnnexport.quantization.choice import Quantized, Trial, chosen, require_quantised
from rnnexport.quantization.loss import Loss, metric_of
from rnnexport.verification.run_artifact import Expectation, verify_artifact
from rnnexport.verification.tolerance import Override, Tolerance, Tolerances

# How many times the largest error that was measured a value may be off later: other hosts round products otherwise.
_ROOM = 2.0
_MICRO = "tflm"  # the provider
_FEW = 12  # operators that are quantised one at a time, to see which loses most
_USUAL = Tolerance()


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
        bench = bench_of(form, job, options, request, folder, progress)
        trials, files, lowerings = _tried(bench, forms, plain, progress)
        taken = chosen(_quantised(trials, job, request), request.max_loss, request.metric, job.destination.name)
        taken, more = _in_micro(bench, taken, files[taken.form])
        calibrated, measured = bench.sequences.told
        calibrated = calibrated if bench.quantizer.calibrates(taken.form) else ""
        alone = _alone(bench, taken, progress)
        told = Quantized(taken, (*trials, *more), request.metric, request.max_loss, calibrated, measured, alone)
        with writing(job.destination):
            for file in files[taken.form].parent.iterdir():
                file.replace(path.parent / file.name)
    return _sealed(bench, path, told, lowerings[taken.form], progress)


def _tried(
    bench: Bench, forms: Sequence[str], plain: Path, progress: Progress
) -> tuple[list[Trial], dict[str, Path], dict[str, tuple[LoweringDecision, ...]]]:
    """Every form, float32 first; its file, and what became of the recurrences in it."""
    trials = [Trial("float32", file_size(bench, plain), bench.losses(plain))]
    files, lowerings = {"float32": plain}, {}
    for name in forms:
        progress(f"quantising {bench.job.destination.name} as {name}")
        try:
            files[name], parts, lowerings[name] = bench.made(name)
        except ConversionError as error:
            if len(forms) == 1:
                raise
            progress(Detail(f"no {name}: {error.found}"))
            continue  # a form that the format has not for this model is no reason to refuse the others
        found = bench.quantizer.saturation(name, bench.feeds(bench.sequences.others or bench.sequences.calibrated))
        trial = Trial(name, file_size(bench, files[name]), bench.losses(files[name]), parts)
        if found is not None:
            name_of, share = found.worst()
            notes = (f"{share:.2%} of {name_of} lie outside of its range",) if share else ()
            trial = replace(trial, saturated=found.share, notes=notes)
        trials.append(trial)
    seconds = times(bench, [files[trial.form] for trial in trials])
    return [replace(trial, seconds=each) for trial, each in zip(trials, seconds, strict=True)], files, lowerings


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


def _in_micro(bench: Bench, taken: Trial, path: Path) -> tuple[Trial, list[Trial]]:
    """(the trial, one more): what the form loses in TensorFlow Lite Micro, or a note why that does not run it.

    It is another runtime with kernels of its own, and takes fixed sizes alone.
    """
    if _MICRO not in bench.job.kind.providers or where_of(bench.job).provider == _MICRO or bench.signature.dynamic_dims:
        return taken, []
    try:
        losses = bench.losses(path, _MICRO)
    except (ProviderError, CrashError, MismatchError) as error:
        return replace(taken, notes=(*taken.notes, f"not run in TensorFlow Lite Micro: {error.found}")), []
    return taken, [Trial(f"{taken.form} in TFLM", taken.size, losses, taken.parts)]


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
    notes = (f"quantised as {told.chosen.form}: {told.measured}",)
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
    """The ends of each real input and state over all sequences: a fresh comparison is made inside of them.

    Of a state also what it ends with: sequences of one call begin at one value alone.
    """
    feeds = bench.feeds(bench.sequences.measured)
    after = {state.input.name: state.output.name for state in bench.signature.states}
    found: list[list[object]] = []
    for spec in bench.signature.all_inputs:
        if np.dtype(spec.dtype).kind != "f" or spec.mask is not None:
            continue
        seen = [feed[spec.name] for feed in feeds]
        seen += [golden.expected[after[spec.name]] for golden in bench.sequences.measured if spec.name in after]
        low, high = min(float(array.min()) for array in seen), max(float(array.max()) for array in seen)
        if low < high:
            found.append([spec.name, low, high])
    return found
