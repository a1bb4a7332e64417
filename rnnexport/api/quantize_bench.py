"""Where the quantised forms of one job are made, measured on sequences from initial states, and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.api.export_job import Form, graphs_of, where_of
from rnnexport.api.jobs import ExportJob, Options
from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.progress import Progress
from rnnexport.core.quantization import QuantizedPart, QuantizeRequest
from rnnexport.core.run_record import size_of
from rnnexport.core.signature import Signature, time_axis
from rnnexport.isolation.runner import opened
from rnnexport.quantization.loss import Found, Loss, Measure, metric_of
from rnnexport.targets.base import Quantizer, Runner
from rnnexport.verification.entry_point import Entry, carry
from rnnexport.verification.tolerance import Tolerances

if TYPE_CHECKING:
    from rnnexport.reference.calibration_calls import CalibrationSequences

_ROUNDS = 9  # of a time


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
    sequences: CalibrationSequences
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

    def losses(self, path: Path, provider: str = "") -> tuple[Loss, ...]:
        """What the artifact at `path` loses, its own states carried, where the job runs it or on another provider."""
        metric = metric_of(self.request.metric)
        measures = {spec.name: Measure(spec.name) for spec in self.signature.all_outputs}
        where = where_of(self.job)
        with opened(self.job.kind, path, provider or where.provider, where.tf32, where.limits) as runner:
            for golden, found in _run(runner, self.signature, self.sequences.measured):
                for name, measure in measures.items():
                    measure.add(_found(name, golden, found, self.signature))
        return tuple(measure.loss(metric) for measure in measures.values())


def bench_of(
    form: Form, job: ExportJob, options: Options, request: QuantizeRequest, folder: Path, progress: Progress
) -> Bench:
    """Where the forms of that job are made. Raises as `sequences`."""
    from rnnexport.reference.calibration_calls import sequences

    reference = form.reference
    progress(f"running {reference.source.name} on {'generated sequences' if request.sequences is None else 'data'}")
    found = sequences(reference.source, reference.known, request.sequences, stream=reference.sequence is not None)
    graphs, feeds = graphs_of(form, job)
    quantizer = job.kind.quantizer(graphs, feeds, replace(options.form, tflite=job.form))
    return Bench(form, job, options, request, found, quantizer, folder)


def file_size(bench: Bench, path: Path) -> int:
    """The bytes of an artifact without what rides in it."""
    used = bench.quantizer.size(path)
    if used is not None:
        return used
    whole = size_of(bench.job.kind.every_file(path))
    proof = bench.job.kind.read_proof(path)
    if proof is None:
        return whole
    provenance, goldens = proof.blobs()
    text = bench.job.kind.name == "onnx"  # which has no place for bytes
    return whole - len(provenance) - (len(goldens) * 4 // 3 if text else len(goldens))


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


def times(bench: Bench, files: Sequence[Path]) -> list[float]:
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
