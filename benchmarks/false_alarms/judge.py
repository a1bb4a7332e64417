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
from rnnexport.errors import RnnExportError
from rnnexport.targets.registry import target
from rnnexport.verification.report import ArtifactReport

Answer = Literal["verified", "mismatch", "refused", "crashed"]


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
    """Export the model of that seed to each target, verify each artifact on its goldens, and beside the model."""
    start = perf_counter()
    drawn = draw(seed)
    with tempfile.TemporaryDirectory() as folder:
        verdicts = tuple(_verdict(seed, drawn, name, Path(folder)) for name in targets)
    return Judged(seed, drawn.told, verdicts, perf_counter() - start)


def _verdict(seed: int, drawn: Drawn, name: str, folder: Path) -> Verdict:
    kind = target(name)
    path = folder / f"m_{name.replace('-', '_')}{kind.suffix}"
    try:
        rnnexport.export(drawn.model, name, path, timesteps=drawn.steps if kind.unrolled else None, verify=False)
        reports = {
            "goldens": rnnexport.verify(path).artifacts[0],
            "source": rnnexport.verify(path, source=drawn.model).artifacts[0],
        }
    except RnnExportError as error:
        return Verdict(seed, name, "refused", str(error))
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return Verdict(seed, name, "crashed", traceback.format_exc(limit=-3))
    figures = dict(_figures(reports))
    wrong = [f"{label}: {one.first_problem()}" for label, one in reports.items() if one.status != "passed"]
    return Verdict(seed, name, "mismatch" if wrong else "verified", "; ".join(wrong), figures)


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
