from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from rnnexport.report.charts import HEIGHT, WIDTH, Curve, drift_chart, histogram_chart, power, scale_of, thinned
from rnnexport.verification.statistics import EDGES

NAN = math.nan
GROWING = Curve("artifact against source", "found", (1e-8, 1e-7, 1e-6, 1e-5))


def read(svg):
    return ET.fromstring(svg)


def points(svg, kind):
    """The corners of a curve, as numbers."""
    path = read(svg).find(f"path[@class='curve {kind}']").get("d")
    return [tuple(map(float, pair.split())) for pair in re.findall(r"[ML]([-\d. ]+)", path)]


def counts(**at):
    """A histogram with these counts at `zero`, or at `e7` for errors from 1e-7 up to 1e-6."""
    found = [0] * (len(EDGES) + 2)
    for name, count in at.items():
        found[0 if name == "zero" else 2 + 12 - int(name[1:])] = count
    return found


def test_a_decade_is_a_step_of_one_height():
    corners = points(drift_chart("y", [GROWING], None), "found")
    steps = [b[1] - a[1] for a, b in pairwise(corners)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.2)
    assert steps[0] < -30  # larger errors are higher, which is a smaller y
    assert [x for x, _ in corners] == sorted(x for x, _ in corners)


def test_the_allowed_error_is_a_line_across():
    chart = drift_chart("y", [GROWING], 1e-6)
    line = read(chart).find("line[@class='allowed']")
    assert line.get("y1") == line.get("y2")
    assert float(line.get("y1")) == pytest.approx(points(chart, "found")[2][1], abs=0.1)
    assert read(drift_chart("y", [GROWING], None)).find("line[@class='allowed']") is None


def test_a_point_of_several_timesteps_lies_at_the_first_of_them():
    single = Curve("source", "source", (1e-8,) * 31)
    chart = drift_chart("y", [Curve("a", "found", (1e-8, 1e-7, 1e-6), span=10), single], None)
    places = [x for x, _ in points(chart, "found")]
    assert places == pytest.approx([points(chart, "source")[step][0] for step in (0, 10, 20)], abs=0.1)
    assert "over 31 timesteps" in read(chart).find("{*}title").text
    assert Curve("a", "found", (1e-8, 1e-7), span=5).points() == [(0, 1e-8), (5, 1e-7)]


def test_zero_lies_on_the_bottom_and_is_called_so():
    chart = drift_chart("y", [Curve("a", "found", (0.0, 1e-7, 3e-7))], None)
    assert points(chart, "found")[0][1] > points(chart, "found")[1][1]
    labels = [text.text for text in read(chart).findall("text[@class='tick end']")]
    assert labels[0] == "0"
    assert "0" not in [text.text for text in read(drift_chart("y", [GROWING], None)).findall("text[@class='tick end']")]


def test_what_is_not_finite_breaks_the_curve_and_is_crossed():
    chart = drift_chart("y", [Curve("a", "found", (1e-7, NAN, 1e-7, math.inf))], None)
    path = read(chart).find("path[@class='curve found']").get("d")
    assert (path.count("M"), path.count("L")) == (2, 0)
    assert len(read(chart).findall("path[@class='cross']")) == 2
    assert "nan" not in chart.replace("not a number", "")
    assert "largest not a number" in read(chart).get("aria-label")


@pytest.mark.parametrize("values", [(), (0.0,), (0.0, 0.0), (NAN,), (1e-300, 1e300), (5e-324,), (1.0,) * 5000])
def test_any_curve_can_be_drawn_inside_the_chart(values):
    chart = drift_chart("y", [Curve("a", "found", values)], 1e-6)
    for element in read(chart).iter():
        for name in ("x1", "x2", "cx", "x"):
            assert 0 <= float(element.get(name, "0")) <= WIDTH
        for name in ("y1", "y2", "cy", "y"):
            assert 0 <= float(element.get(name, "0")) <= HEIGHT
    assert len(chart) < 20000


def test_of_many_timesteps_the_largest_errors_are_kept():
    values = [1e-9] * 10_000
    values[4321] = 1.0
    kept = thinned(values)
    assert len(kept) <= 240
    assert (4321, 1.0) in kept
    values[17] = NAN
    assert any(math.isnan(value) for _, value in thinned(values))
    assert thinned([1.0, 2.0]) == [(0, 1.0), (1, 2.0)]


def test_bars_are_as_high_as_their_share():
    chart = histogram_chart("y", counts(zero=10, e8=30, e7=60), EDGES, None)
    heights = [float(bar.get("height")) for bar in read(chart).findall("rect")]
    assert [height / heights[0] for height in heights] == pytest.approx([1, 3, 6], rel=0.02)
    assert [text.text for text in read(chart).findall("text[@class='value']")] == ["10%", "30%", "60%"]
    label = read(chart).get("aria-label")
    assert "exactly 0: 10%; 1e-08 to 1e-07: 30%; 1e-07 to 1e-06: 60%" in label


def test_a_few_are_never_none_and_never_all():
    chart = histogram_chart("y", counts(e8=1, e7=99_999), EDGES, None)
    assert [text.text for text in read(chart).findall("text[@class='value']")] == ["<1%", ">99%"]
    assert min(float(bar.get("height")) for bar in read(chart).findall("rect")) >= 1.5


def test_a_bar_lies_between_its_powers_of_ten_and_the_line_where_it_belongs():
    chart = read(histogram_chart("y", counts(e7=1), EDGES, 10**-6.5))
    bar, line = chart.find("rect"), chart.find("line[@class='allowed']")
    places = {text.text: float(text.get("x")) for text in chart.findall("text[@class='tick']")}
    left, right = float(bar.get("x")), float(bar.get("x")) + float(bar.get("width"))
    assert places[power(-7)] < left < right < places[power(-6)]
    assert float(line.get("x1")) == pytest.approx((left + right) / 2, abs=0.2)


@pytest.mark.parametrize(
    "filled",
    [
        counts(),
        counts(zero=5),
        [1] * 17,
        [0] * 16 + [3],
        [0, 4] + [0] * 15,
    ],
)
def test_any_histogram_can_be_drawn_inside_the_chart(filled):
    chart = read(histogram_chart("y", filled, EDGES, 1e-6))
    bars = chart.findall("rect")
    assert len(bars) == sum(count > 0 for count in filled)
    for bar in bars:
        assert float(bar.get("x")) >= 0
        assert float(bar.get("width")) > 5
        assert float(bar.get("x")) + float(bar.get("width")) <= WIDTH
    for text in chart.findall("text"):
        assert 0 <= float(text.get("x")) <= WIDTH - 10


def test_names_are_escaped():
    name = "</svg><script>\"'&"
    for chart in (drift_chart(name, [Curve(name, "found", (1.0,))], 1.0), histogram_chart(name, [1] * 17, EDGES, 1.0)):
        assert name in read(chart).find("title").text
        assert "<script" not in chart


def test_every_chart_says_what_it_shows():
    for chart in (drift_chart("y", [GROWING], 1e-6), histogram_chart("y", counts(e7=1), EDGES, 1e-6)):
        root = read(chart)
        assert root.get("role") == "img"
        assert root.get("aria-label").startswith(root.find("title").text)
        assert root.find("desc").text


def test_scales_are_whole_decades():
    assert (scale_of([2e-8, 3e-3]).low, scale_of([2e-8, 3e-3]).high) == (-8, -2)
    assert (scale_of([0.0, 2e-8]).low, scale_of([0.0, 2e-8]).zero) == (-9, True)
    assert scale_of([]).high > scale_of([]).low
