"""One model through all targets, and what is said of it."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import rnnexport
from benchmarks.false_alarms.models import Drawn, draw
from rnnexport.core.errors import RnnExportError
from rnnexport.targets.registry import target
from rnnexport.verification.report import ArtifactReport

Answer = Literal["verified", "mismatch", "refused", "crashed"]
# What ends in no message.
FAULTS = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True)
class Verdict:
    """What became of one model at one target.

    Attributes:
        model: the seed.
        target: the format.
        answer: `verified` on its goldens and beside its source; `mismatch` where a comparison failed; `refused` with a
            reason; `crashed` with something that is no message.
        why: of the last three.
        figures: of each verification, how far artifact and source are from float64, and how many bounds were wider.
    """

    model: int
    target: str
    answer: Answer
    why: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Judged:
    """All verdicts on one model.

    Attributes:
        seed: of the model.
        told: what it is.
        verdicts: one a target.
        seconds: that it all took.
    """

    seed: int
    told: str
    verdicts: tuple[Verdict, ...]
    seconds: float


def judge(seed: int, targets: Sequence[str]) -> Judged:
    """Export the model of that seed to each target, verify each artifact on its goldens, and beside the model.

    Targets share an export if all take the model, and its runs as the source.
    """
    start = perf_counter()
    drawn = draw(seed)
    with tempfile.TemporaryDirectory() as folder:
        paths, failures = _exported(seed, drawn, targets, Path(folder))
        verdicts = {one.target: one for one in (*failures, *_verified(seed, drawn, paths))}
    return Judged(seed, drawn.told, tuple(verdicts[name] for name in targets), perf_counter() - start)


def _exported(
    seed: int, drawn: Drawn, targets: Sequence[str], folder: Path
) -> tuple[dict[str, Path], tuple[Verdict, ...]]:
    """The artifacts that there are, by target, and what became of the others."""
    steps = drawn.steps if any(target(name).unrolled for name in targets) else None
    try:
        done = rnnexport.export_all(drawn.model, targets, folder, tflite_timesteps=steps, verify=False, proof="inside")
        return {name: one.path for name, one in zip(targets, done, strict=True)}, ()
    except RnnExportError as error:
        if len(targets) == 1:
            return {}, (Verdict(seed, targets[0], "refused", str(error)),)
    except FAULTS:
        if len(targets) == 1:
            return {}, (Verdict(seed, targets[0], "crashed", traceback.format_exc(limit=-3)),)
    alone = [_exported(seed, drawn, [name], folder / name) for name in targets]
    return {name: path for paths, _ in alone for name, path in paths.items()}, tuple(
        one for _, some in alone for one in some
    )


def _verified(seed: int, drawn: Drawn, paths: Mapping[str, Path]) -> Iterator[Verdict]:
    if not paths:
        return
    try:
        goldens, beside = (rnnexport.verify(list(paths.values()), source=source) for source in (None, drawn.model))
    except RnnExportError as error:
        yield from (Verdict(seed, name, "refused", str(error)) for name in paths)
        return
    except FAULTS:
        yield from (Verdict(seed, name, "crashed", traceback.format_exc(limit=-3)) for name in paths)
        return
    for name, *both in zip(paths, goldens.artifacts, beside.artifacts, strict=True):
        reports = dict(zip(("goldens", "source"), both, strict=True))
        wrong = [f"{label}: {one.first_problem()}" for label, one in reports.items() if one.status != "passed"]
        yield Verdict(seed, name, "mismatch" if wrong else "verified", "; ".join(wrong), dict(_figures(reports)))


def _figures(reports: Mapping[str, ArtifactReport]) -> Iterator[tuple[str, float]]:
    for label, report in reports.items():
        calls = [one for feed in report.feeds for one in feed.outputs]
        yield f"{label}_values", float(sum(one.errors.count for one in calls))
        yield f"{label}_wider", float(sum(one.bounds.wider for one in calls))
        yield f"{label}_coarse", float(sum(one.bounds.coarse for one in calls))
        yield f"{label}_largest_bound", max((one.bounds.largest for one in calls), default=1.0)
        for side in ("artifact", "source"):
            errors = [getattr(one, f"{side}_error") for one in calls]
            yield f"{label}_{side}_off", max((one.max_abs for one in errors if one is not None), default=float("nan"))


def to_json(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Everything as plain values."""
    return [
        {
            "seed": one.seed,
            "model": one.told,
            "seconds": round(one.seconds, 1),
            "verdicts": [dict(vars(verdict)) for verdict in one.verdicts],
        }
        for one in judged
    ]


def from_json(held: Sequence[Mapping[str, Any]]) -> list[Judged]:
    """The inverse of `to_json`."""
    return [
        Judged(one["seed"], one["model"], tuple(Verdict(**each) for each in one["verdicts"]), one["seconds"])
        for one in held
    ]
