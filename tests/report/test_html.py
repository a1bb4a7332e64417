from __future__ import annotations

import builtins
import math
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from importlib.resources import files
from itertools import pairwise

import pytest

from rnnexport.core.errors import UsageError
from rnnexport.report.html import allowed_of, to_html
from rnnexport.verification.report import Report
from tests.report import reports
from tests.report.reports import ABSENT, BAD, EMPTY, GOOD, LONG, MANY, PASSED, PLACED, TFLITE, WRONG

VOID = {"meta", "br", "link", "img", "input"}
CSS = files("rnnexport.report").joinpath("page.css").read_text()


class Page(HTMLParser):
    """The elements of a page; refuses one that is not closed where it should be."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.ids, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "svg"} & set(self.open):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


REPORTS = {
    "good": GOOD,
    "bad": BAD,
    "absent": ABSENT,
    "empty": EMPTY,
    "many": MANY,
    "long": LONG,
    "hostile": reports.hostile(),
}


@pytest.fixture(scope="module", params=REPORTS)
def page(request):
    return to_html(REPORTS[request.param])


@pytest.fixture(scope="module")
def parsed(page):
    return Page(page)


def test_a_page_loads_nothing_and_runs_nothing(page, parsed):
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in parsed.tags}
    assert not re.search(r"https?:|url\(|@import|@font-face|javascript:", page)
    for _, attributes in parsed.tags:
        assert not any(name.startswith("on") for name in attributes)
        assert not {"src", "srcset", "style", "action"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")
    policy = [one["content"] for one in parsed.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_ids_are_unique_and_links_lead_somewhere(parsed):
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {one["href"][1:] for one in parsed.all("a")} <= set(parsed.ids)
    assert {one["aria-labelledby"] for one in parsed.all("section")} <= set(parsed.ids)


def test_headings_go_down_one_at_a_time(parsed):
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_what_a_reader_of_the_page_needs(parsed):
    assert all("scope" in one for one in parsed.all("th"))
    assert all(one.get("aria-hidden") == "true" or one.get("aria-label") for one in parsed.all("svg"))
    assert parsed.all("html") == [{"lang": "en"}]
    assert all(one.get("aria-label") for one in parsed.all("div") if one.get("class") == "scroll")


@pytest.mark.parametrize(
    ("report", "word", "sentence"),
    [
        (GOOD, "Verified", "Both artifacts compute what their source computes."),
        (Report((PASSED,)), "Verified", "The artifact computes what its source computes."),
        (BAD, "Mismatch", "4 of 8 artifact-provider pairs do not compute what their source computes; 1 was not run."),
        (ABSENT, "Not verified", "1 of 2 artifact-provider pairs was not run: that is no pass."),
        (Report((PASSED, TFLITE, WRONG)), "Mismatch", "1 of 3 artifacts does not compute what its source computes."),
        (EMPTY, "Nothing verified", "There was no artifact to verify: that is no pass."),
    ],
)
def test_the_verdict_comes_first(report, word, sentence):
    page = to_html(report)
    assert f"<title>{word}: " in page
    body = Page(page[page.index("<body>") : page.index("</body>") + 7]).text
    assert body.startswith(f"rnnexport verification report {word} {sentence}")


def test_figures_are_those_of_the_report():
    text = Page(to_html(GOOD)).text
    outputs = PASSED.outputs()
    for one in outputs[:2]:
        for figure in (one.errors.max_abs, one.errors.max_rel, one.errors.rmse):
            assert f"{figure:.1e}" in text
        assert f"{one.source_error.rmse:.1e} / {one.artifact_error.rmse:.1e}" in text
        assert f"{one.source_error.max_abs:.1e} / {one.artifact_error.max_abs:.1e}" in text
    assert "1,194" in text
    assert "label: 11 values, all exactly equal." in text.replace(" :", ":")
    assert text.count("exact ") >= 1  # the tolerance of an output of whole numbers


def test_where_a_report_comes_from():
    text = Page(to_html(Report((PASSED, PLACED, TFLITE)))).text
    for told in (
        reports.PROVENANCE.source["sha256"],
        "model.keras",
        "opset 21",
        "tf2onnx 1.17.0",
        "reset_after is false, as the file says.",
        "ids: int32[batch, time]",
        "next_state_gru_00: float32[1, 4]",
        reports.LOWERED.why,
        "the length is dynamic",
        "precision f32, tf32 off",
        "50% of the recurrent nodes on openvino",
        "decoder/while/body/MatMul",
        "logits: rtol 2e-05, atol 0.0001 (not the defaults)",
        "No float64 truth: the cell is custom code, which has no float64 form.",
    ):
        assert told in text, told


def test_what_ran_elsewhere_is_not_run():
    text = Page(to_html(Report((reports.STRAYED,)))).text
    assert text.index("Not verified") < text.index("What was not run") < text.index("Summary")
    assert "Why it was not run 50% of the recurrent nodes ran on openvino, not 100%" in text


def test_what_is_wrong_is_near_the_top_and_in_full_below():
    text = Page(to_html(BAD)).text
    assert text.index("What is wrong") < text.index(reports.LOCATED.sentence) < text.index("Summary")
    assert text.count(reports.LOCATED.sentence) == 2
    assert "logits: 15 of 15 values off, first at [0, 0]" in text
    assert "encoder/lstm/while" in text


def test_every_output_is_drawn_with_its_tolerance():
    page = to_html(Report((WRONG,)))
    titles = re.findall(r"<title>(.*?)</title>", page)[1:]
    assert titles == [
        "Error of sequence over 40 timesteps",
        "Errors of sequence by size, share of 1,194 values",
        "Errors of logits by size, share of 55 values",
    ]
    allowed = allowed_of("sequence", WRONG)
    sequences = [feed.outputs[0] for feed in WRONG.feeds]
    sizes = [(one.errors.wanted_squares / one.errors.count) ** 0.5 for one in sequences]
    assert allowed == pytest.approx(
        min(one.tolerance.atol + one.tolerance.rtol * s for one, s in zip(sequences, sizes, strict=True))
    )
    assert f"allowed: {allowed:.1e}" in page
    assert allowed_of("label", WRONG) is None  # compared exactly
    assert page.count('class="curve artifact"') == 2  # in the legend and in the chart
    assert 'class="curve artifact"' not in to_html(Report((TFLITE,)))


def test_the_drift_over_a_long_sequence_is_drawn_by_itself():
    page = to_html(LONG)
    before, _, after = page.partition("<h3>Drift over 450 steps from the initial state</h3>")
    assert "largest error along the sequence" not in before
    charts = re.findall(r'aria-label="Error of (\w+) over (\d+) timesteps\. ([^"]*)"', after)
    assert [(name, steps) for name, steps, _ in charts] == [
        ("sequence", "450"),
        ("logits", "450"),
        ("next_state_gru_00", "450"),
    ]
    outputs = {one.name: one for one in LONG.artifacts[0].feeds[-1].outputs}
    for name, _, told in charts:
        one = outputs[name]
        assert f"artifact against source: largest {one.errors.max_abs:.1e}" in told
        assert f"source against float64: largest {one.source_error.max_abs:.1e}" in told
        size = math.sqrt(one.errors.wanted_squares / one.errors.count)
        assert f"allowed: {2e-6 + 1e-5 * size:.1e}" in told
    # The error that stands out is in that chart, and in no other.
    assert "Error of sequence over 40 timesteps" in before
    largest = re.search(r"Error of sequence over 40 timesteps\. artifact against source: largest (\S+);", before)
    assert float(largest[1]) < 9e-7 < outputs["sequence"].errors.max_abs


def test_names_are_text_and_nothing_else():
    page = to_html(reports.hostile())
    parsed = Page(page)
    assert "<script" not in page
    assert "<b>" not in page.replace("<b>9", "").replace("<b>nan", "").replace("<b>2", "").replace("<b>1", "")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", page)
    assert "a<b>&\"'" in parsed.text
    assert "alert(1)" in unescape(page)
    page.encode()


def test_of_many_artifacts_those_that_passed_are_folded():
    page = to_html(MANY)
    assert len(re.findall(r"<details open>", page)) == 1
    assert len(re.findall(r'<section class="artifact', page)) == 50
    assert len(page) < 2_000_000
    assert "<details open>" in to_html(GOOD)


def test_the_same_report_gives_the_same_text():
    assert to_html(BAD) == to_html(BAD)


def test_without_jinja2_it_is_told_what_to_do(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("jinja2"):
            raise ImportError("No module named 'jinja2'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match="jinja2 is not installed; expected it, to write a page; pip install jinja2"):
        to_html(GOOD)


def test_jinja2_is_loaded_when_a_page_is_written():
    code = "import sys, rnnexport.report.html; sys.exit('jinja2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_artifact_without_provenance_and_curves():
    bare = replace(PASSED, provenance=None, feeds=PASSED.feeds[1:2])
    text = Page(to_html(Report((bare,)))).text
    assert "Provenance" not in text
    assert "Recurrences" not in text
    assert "Verified" in text


def schemes():
    """The colours by name, in light and in dark."""
    light, dark, *_ = re.findall(r":root \{(.*?)\}", CSS, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in (light, dark)]


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", schemes(), ids=["light", "dark"])
def test_text_and_lines_stand_out_from_what_they_are_on(colours):
    """The bounds of WCAG 2 AA: 4.5 for text, 3 for lines and areas."""
    for text in ("ink", "soft", "good", "bad", "open", "link"):
        for back in ("paper", "card"):
            assert contrast(colours[text], colours[back]) >= 4.5, (text, back)
    for kind in ("good", "bad", "open"):
        assert contrast(colours[kind], colours[f"{kind}-back"]) >= 4.5
        assert contrast(colours["ink"], colours[f"{kind}-back"]) >= 4.5
        assert contrast(colours["soft"], colours[f"{kind}-back"]) >= 4.5
        assert contrast(colours["link"], colours[f"{kind}-back"]) >= 4.5
    for line in ("found", "source", "artifact", "bar", "bad"):
        assert contrast(colours[line], colours["card"]) >= 3
