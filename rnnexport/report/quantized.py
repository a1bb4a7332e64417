"""What a quantised artifact says of itself, for the page: the forms tried, its loss by step, its operators."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnexport.core.run_record import bytes_in_words
from rnnexport.report.charts import Curve, Point, drift_chart, pareto_chart


@dataclass(frozen=True)
class Tried:
    """One form.

    Attributes:
        form, size, loss, output: in words; the output is the one that loses most.
        taken: whether the artifact has it.
    """

    form: str
    size: str
    loss: str
    output: str
    taken: bool


@dataclass(frozen=True)
class QuantizedView:
    """All of it.

    Attributes:
        told: sentences.
        tried: the forms, float32 first.
        pareto: their sizes and losses, drawn.
        curves: the loss of each output by step, drawn.
        operators: (name, what it became, the loss where it alone is quantised).
    """

    told: tuple[str, ...]
    tried: tuple[Tried, ...]
    pareto: str
    curves: tuple[tuple[str, str], ...]
    operators: tuple[tuple[str, str, str], ...]


def quantized_view(record: Mapping[str, Any]) -> QuantizedView | None:
    """What the provenance of an artifact says, drawn; None of one that is not quantised, or says it otherwise."""
    try:
        return _view(record) if record else None
    except (LookupError, TypeError, ValueError):  # a file may hold anything
        return None


def _view(record: Mapping[str, Any]) -> QuantizedView:
    metric, limit = str(record["metric"]), record["max_loss"]
    limit = None if limit is None else float(limit)
    chosen, trials = record["chosen"], record["trials"]
    tried = tuple(
        Tried(
            str(one["form"]),
            bytes_in_words(int(one["bytes"])),
            f"{_number(one['loss']):.2g}",
            str(one["output"]),
            one["form"] == record["form"],
        )
        for one in trials
    )
    points = [Point(str(one["form"]), float(one["bytes"]), _number(one["loss"])) for one in trials]
    return QuantizedView(
        told=_told(record, metric, limit),
        tried=tried,
        pareto=pareto_chart(points, str(record["form"]), metric, limit),
        curves=tuple(_curves(chosen["losses"], limit if metric == "range" else None)),
        operators=_operators(chosen["parts"], record["alone"]),
    )


def _told(record: Mapping[str, Any], metric: str, limit: float | None) -> tuple[str, ...]:
    bound = "no bound was asked for" if limit is None else f"at most {limit:g} was asked for"
    saturated = record["chosen"].get("saturated")
    share = [] if saturated is None else [f"{float(saturated):.3%} of what is multiplied lies outside of its range"]
    return (
        f"Loss by {metric}; {bound}.",
        *([f"Ranges from {record['calibrated_on']}."] if record["calibrated_on"] else []),
        f"Measured on {record['measured_on']}.",
        *(f"{sentence}." for sentence in [*share, *map(str, record["chosen"]["notes"])]),
    )


def _curves(losses: Sequence[Mapping[str, Any]], limit: float | None) -> list[tuple[str, str]]:
    found = []
    for loss in losses:
        values = tuple(_number(point) for point in loss["curve"])
        if len(values) > 1:
            curve = Curve("largest error, of the range", "found", values, int(loss["steps_per_point"]))
            found.append((str(loss["output"]), drift_chart(str(loss["output"]), [curve], limit)))
    return found


def _operators(parts: Sequence[Mapping[str, Any]], alone: Sequence[Sequence[Any]]) -> tuple[tuple[str, str, str], ...]:
    losses = {str(name): f"{_number(loss):.2g}" for name, loss in alone}
    rows = {str(part["name"]): ": ".join(filter(None, (part["how"] or "float32", part["why"]))) for part in parts}
    return tuple((name, what, losses.get(name, "")) for name, what in rows.items())


def _number(value: Any) -> float:
    """A number of a file; JSON has none that is not finite."""
    return math.inf if value is None else float(value)
