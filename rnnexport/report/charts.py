"""Charts as inline SVG, by pure functions: the same figures give the same text. Colours are classes of the page.

Every chart is told apart by dashes as well as by colour, and says in `<title>` and `<desc>` what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from rnnexport.report.words import percent

WIDTH, HEIGHT = 400, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 14, 36
_POINTS = 240  # more timesteps than this are drawn as the largest error of neighbours
_DOTS = 24
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Curve:
    """The largest error of each `span` timesteps. `kind` is its class on the page: `found`, `source` or `artifact`."""

    label: str
    kind: str
    values: tuple[float, ...]
    span: int = 1

    def points(self) -> list[tuple[int, float]]:
        """Timesteps with their errors, not more than can be drawn."""
        return [(at * self.span, value) for at, value in thinned(self.values)]


@dataclass(frozen=True)
class Scale:
    """Decades from bottom to top. Where `zero`, the bottom stands for 0: it lies below the smallest number."""

    low: int
    high: int
    zero: bool = False

    def y(self, value: float) -> float:
        """The height of an error; what is not finite is on top."""
        if not math.isfinite(value):
            return float(_TOP)
        decade = self.low if value <= 0 else max(self.low, math.log10(value))
        share = (decade - self.low) / (self.high - self.low)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _BOTTOM - _TOP)


def scale_of(values: Sequence[float]) -> Scale:
    """Whole decades around all values that are above 0, with one below them where a value is 0. At least three."""
    logs = [math.log10(value) for value in values if math.isfinite(value) and value > 0]
    zero = any(value == 0 for value in values)
    if not logs:
        return Scale(-8, -5, zero)
    low, high = math.floor(min(logs)) - zero, math.ceil(max(logs))
    return Scale(low, max(high, low + 3), zero)


def drift_chart(name: str, curves: Sequence[Curve], allowed: float | None) -> str:
    """Error over timesteps, on a log scale.

    Args:
        name: of the output.
        curves: of one or more timesteps.
        allowed: an error to draw as a line across; None for no line.
    """
    scale = scale_of([value for curve in curves for value in curve.values] + ([allowed] if allowed else []))
    steps = max((len(curve.values) * curve.span for curve in curves), default=1)
    parts = [*_decades(scale), *_steps(steps)]
    if allowed:
        y = scale.y(allowed)
        parts.append(f'<line class="allowed" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    # The first curve is solid: dashes and dots on top of it leave all to be seen where they meet.
    for curve in curves:
        parts += _line(curve, steps, scale)
    told = [f"{curve.label}: largest {_worst(curve.values)}" for curve in curves]
    told += [f"allowed: {allowed:.1e}"] if allowed else []
    return _svg(f"Error of {name} over {steps} timesteps", "; ".join(told), parts)


def histogram_chart(name: str, counts: Sequence[int], edges: Sequence[float], allowed: float | None) -> str:
    """The share of values by the size of their error: exactly 0, then a bar a decade.

    Args:
        name: of the output.
        counts: exactly 0, below the first edge, between two edges, from the last on; two more than `edges`.
        edges: powers of ten, one decade apart.
        allowed: as in `drift_chart`.
    """
    total = sum(counts)
    first, last = _span(counts)
    shown = list(range(first, last + 1))
    gap, left, right = 26.0, 12, WIDTH - 16
    width = (right - left - gap) / (len(shown) + 1)
    places = {0: left, **{k: left + gap + width * (i + 1) for i, k in enumerate(shown)}}
    parts = [f'<line class="axis" x1="{left}" x2="{right}" y1="{_base()}" y2="{_base()}"/>']
    parts += [_text(places[0] + width / 2, _base() + 15, "0")]
    parts += _edge_labels(edges, places, shown, width)
    parts += _mark(edges, places, shown, width, allowed)
    for k, x in places.items():
        parts += _bar(x, width, counts[k], total)
    parts.append(_text((left + right) / 2, HEIGHT - 4, "absolute error", "caption"))
    told = [f"{_range(edges, k)}: {_share(counts[k], total)}" for k in range(len(counts)) if counts[k]]
    return _svg(f"Errors of {name} by size, share of {total:,} values", "; ".join(told), parts)


def power(exponent: int) -> str:
    """`10⁻⁶`."""
    return f"10{str(exponent).translate(_SUPERSCRIPT)}"


def _svg(title: str, description: str, parts: Sequence[str]) -> str:
    # The label serves readers that pass over <title>.
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}. {escape(description)}">'
        f"<title>{escape(title)}</title><desc>{escape(description)}</desc>{''.join(parts)}</svg>"
    )


def _text(x: float, y: float, text: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _base() -> int:
    return HEIGHT - _BOTTOM


def _decades(scale: Scale) -> Iterator[str]:
    """Grid lines with their labels, not more than seven."""
    stride = math.ceil((scale.high - scale.low) / 7)
    for exponent in range(scale.low, scale.high + 1):
        if exponent == scale.low or (exponent - scale.low) % stride == 0:
            y = scale.y(10.0**exponent)
            kind = "axis" if exponent == scale.low else "grid"
            yield f'<line class="{kind}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            yield _text(_LEFT - 6, y + 4, "0" if scale.zero and exponent == scale.low else power(exponent), "tick end")


def _x(step: float, steps: int) -> float:
    return _LEFT + 8 + (WIDTH - _RIGHT - _LEFT - 16) * (step / (steps - 1) if steps > 1 else 0.5)


def _steps(steps: int) -> Iterator[str]:
    """Labels of about five timesteps, and what they are."""
    stride = next(k for k in _strides() if (steps - 1) / k <= 6)
    for step in range(0, steps, stride):
        yield _text(_x(step, steps), _base() + 15, str(step))
    yield _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 4, "timestep", "caption")


def _strides() -> Iterator[int]:
    """1, 2, 5, 10, 20, 50, ..."""
    ten = 1
    while True:
        yield from (ten, 2 * ten, 5 * ten)
        ten *= 10


def _line(curve: Curve, steps: int, scale: Scale) -> Iterator[str]:
    """The curve, broken where it is not finite; there is a cross on top instead. Few points are dotted too."""
    points = curve.points()
    path, pen_up = [], True
    for step, value in points:
        if math.isfinite(value):
            path.append(f"{'M' if pen_up else 'L'}{_x(step, steps):.1f} {scale.y(value):.1f}")
        pen_up = not math.isfinite(value)
    if path:
        yield f'<path class="curve {curve.kind}" d="{"".join(path)}"/>'
    for step, value in points:
        x, y = _x(step, steps), scale.y(value)
        if not math.isfinite(value):
            yield f'<path class="cross" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"/>'
        elif len(points) <= _DOTS:
            yield f'<circle class="dot {curve.kind}" cx="{x:.1f}" cy="{y:.1f}" r="2.2"/>'


def thinned(values: Sequence[float]) -> list[tuple[int, float]]:
    """Timesteps with their errors, not more than can be drawn: of neighbours the largest one; NaN where one is."""
    size = math.ceil(len(values) / _POINTS) or 1
    kept = []
    for start in range(0, len(values), size):
        part = list(enumerate(values[start : start + size], start))
        kept.append(max(part, key=lambda pair: math.inf if math.isnan(pair[1]) else pair[1]))
    return kept


def _span(counts: Sequence[int]) -> tuple[int, int]:
    """The first and the last bar besides that of 0: all that hold something and one more, and four at least."""
    filled = [k for k in range(1, len(counts)) if counts[k]] or [len(counts) // 2]
    first, last = max(1, filled[0] - 1), min(len(counts) - 1, filled[-1] + 1)
    while last - first < 4:
        first, last = max(1, first - 1), min(len(counts) - 1, last + 1)
    return first, last


def _bar(x: float, width: float, count: int, total: int) -> Iterator[str]:
    if not count:
        return
    height = max(1.5, (_base() - _TOP - 16) * count / total)
    yield (
        f'<rect class="bar" x="{x + 1.5:.1f}" y="{_base() - height:.1f}" width="{width - 3:.1f}" '
        f'height="{height:.1f}" rx="1.5"/>'
    )
    yield _text(x + width / 2, _base() - height - 5, _share(count, total), "value")


def _edge_labels(edges: Sequence[float], places: dict[int, float], shown: Sequence[int], width: float) -> Iterator[str]:
    """The power of ten between each bar and the next, or every second or third where there is little room."""
    stride = 1 if width >= 37 else 2 if width >= 19 else 3
    borders = [k for k in range(shown[0], shown[-1] + 2) if 2 <= k <= len(edges) + 1]
    for k in borders[::stride]:
        yield _text(places[shown[0]] + (k - shown[0]) * width, _base() + 15, power(round(math.log10(edges[k - 2]))))


def _mark(
    edges: Sequence[float], places: dict[int, float], shown: Sequence[int], width: float, allowed: float | None
) -> Iterator[str]:
    """A line at the allowed error, where it lies within what is shown."""
    if not allowed:
        return
    place = math.log10(allowed) - math.log10(edges[0]) + 2
    if shown[0] <= place < shown[-1] + 1 and place >= 2:
        x = places[shown[0]] + (place - shown[0]) * width
        yield f'<line class="allowed" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{_base()}"/>'


def _range(edges: Sequence[float], k: int) -> str:
    """Which errors bar `k` counts, in words."""
    if k == 0:
        return "exactly 0"
    if k == 1:
        return f"below {edges[0]:.0e}"
    return f"{edges[k - 2]:.0e} to {edges[k - 1]:.0e}" if k <= len(edges) else f"{edges[-1]:.0e} and above"


def _share(count: int, total: int) -> str:
    return percent(count / total if total else 0.0)


def _worst(values: Sequence[float]) -> str:
    if any(not math.isfinite(value) for value in values):
        return "not a number"
    return f"{max(values, default=0.0):.1e}"


@dataclass(frozen=True)
class Point:
    """A form of an artifact: its bytes, and what it loses."""

    label: str
    size: float
    loss: float


def pareto_chart(points: Sequence[Point], taken: str, metric: str, allowed: float | None) -> str:
    """Loss over size, on a log scale.

    Args:
        points: each form.
        taken: the one that the artifact has.
        metric: what the loss is measured by.
        allowed: as in `drift_chart`.
    """
    scale = scale_of([point.loss for point in points] + ([allowed] if allowed else []))
    largest = max((point.size for point in points), default=1.0) or 1.0
    parts = list(_decades(scale))
    if allowed:
        y = scale.y(allowed)
        parts.append(f'<line class="allowed" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
    width = WIDTH - _LEFT - _RIGHT - 70  # room for the last name
    for point in points:
        x, y = _LEFT + 8 + width * point.size / largest, scale.y(point.loss)
        kind = "found" if point.label == taken else "source"
        parts.append(f'<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{4 if point.label == taken else 3}"/>')
        parts.append(_text(x + 7, y + 4, point.label))
    parts.append(_text((_LEFT + WIDTH) / 2, HEIGHT - 4, "bytes", "caption"))
    told = [f"{point.label}: {point.size:,.0f} bytes, loss {point.loss:.2g}" for point in points]
    return _svg(f"Loss ({metric}) of each form by its size; {taken} was taken", "; ".join(told), parts)
