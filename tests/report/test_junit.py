from __future__ import annotations

from dataclasses import replace
from typing import get_args
from xml.etree import ElementTree as ET

import pytest

from rnnexport.report.junit import to_junit
from rnnexport.verification.report import Problem, ProblemKind, Report
from tests.report import reports
from tests.report.reports import ABSENT, BAD, BOUNDARY, EMPTY, GOOD, PASSED, PLACED, WRONG


def read(report):
    return ET.fromstring(to_junit(report).encode())


def cases(report, outcome):
    return [(c.get("classname"), c.get("name")) for c in read(report).iter("testcase") if c.find(outcome) is not None]


def test_a_case_a_feed_and_output():
    suite = read(GOOD)[0]
    assert suite.get("name") == "build/encoder.onnx (cpu)"
    told = [(case.get("classname"), case.get("name")) for case in suite.iter("testcase")]
    wanted = [
        (f"build/encoder.onnx.cpu.{label}", name) for label in reports.SIZES for name in ("sequence", "logits", "label")
    ]
    whole = [("build/encoder.onnx.cpu", kind) for kind in ("boundary", "precision")]
    assert told == whole + wanted
    assert len(set(told)) == len(told)


def test_nothing_fails_where_all_passed():
    root = read(GOOD)
    assert [root.get(key) for key in ("tests", "failures", "errors", "skipped")] == ["27", "0", "0", "0"]
    assert not list(root.iter("failure")) + list(root.iter("skipped"))


def test_counts_are_those_of_the_cases():
    root = read(BAD)
    for suite in [*root, root]:
        assert int(suite.get("tests")) == len(list(suite.iter("testcase")))
        assert int(suite.get("failures")) == len(list(suite.iter("failure")))
        assert int(suite.get("skipped")) == len(list(suite.iter("skipped")))
    assert int(root.get("failures")) > 10


def test_what_fails():
    failures = cases(Report((WRONG,)), "failure")
    labels = ("batch 3, length 5", "batch 4, length 40", "padding")
    assert failures == [
        ("build/decoder.onnx.cpu", "precision"),
        *[(f"build/decoder.onnx.cpu.{label}", name) for label in labels for name in ("sequence", "logits")],
    ]
    failure = next(read(Report((WRONG,)))[0].iter("failure"))
    assert failure.get("message") == failure.text == WRONG.problems[0].text


def test_problems_of_the_whole_have_cases_of_their_own():
    assert cases(Report((BOUNDARY,)), "failure") == [("build/boundary.onnx.cpu", "boundary")]
    placed = replace(PLACED, status="mismatch", problems=(Problem("placement", "no node ran on openvino: cpu 4"),))
    assert cases(Report((placed,)), "failure") == [("build/encoder.onnx.openvino", "placement")]


@pytest.mark.parametrize("kind", get_args(ProblemKind))
def test_the_kind_of_a_problem_and_not_its_words_is_the_name_of_its_case(kind):
    problem = Problem(kind, "input features: dtype float64, not float32; no node of it ran on cpu")
    other = replace(PASSED, status="mismatch", problems=(problem,))
    assert cases(Report((other,)), "failure") == [("build/encoder.onnx.cpu", kind)]


def test_a_mismatch_without_a_reason_fails_all_the_same():
    assert cases(Report((replace(PASSED, status="mismatch"),)), "failure") == [("build/encoder.onnx.cpu", "verdict")]


def test_what_was_not_run_is_skipped_and_never_passed():
    suite = read(ABSENT)[1]
    assert (suite.get("tests"), suite.get("skipped")) == ("1", "1")
    assert suite.find("testcase/skipped").get("message").startswith("no execution provider cuda")


def test_what_ran_elsewhere_is_skipped_feed_by_feed():
    suite = read(Report((reports.STRAYED,)))[0]
    assert (suite.get("tests"), suite.get("skipped"), suite.get("failures")) == ("13", "13", "0")
    assert suite.find("testcase[@name='placement']/skipped").get("message") == reports.STRAYED.problems[0].text
    assert "max abs" in suite.find("testcase[@name='logits']/system-out").text


def test_nothing_at_all_fails():
    assert len(list(read(EMPTY).iter("failure"))) == 1


def test_figures_go_to_the_output():
    suite = read(GOOD)[0]
    text = suite.find("testcase[@name='sequence']/system-out").text
    errors = PASSED.feeds[0].outputs[0]
    assert f"max abs {errors.errors.max_abs:.1e}" in text
    assert f"source against float64: 90 values, 0 out of tolerance, max abs {errors.source_error.max_abs:.1e}" in text
    properties = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert properties["source sha256"] == reports.PROVENANCE.source["sha256"]
    assert properties["tolerances"] == "rtol 1e-05, atol 2e-06"


@pytest.mark.parametrize("text", [reports.HOSTILE, "\ufffe\uffff\x85\x7f", "\n\r\t]]>", "\U0001f600 \udfff", ""])
def test_names_that_xml_can_not_say(text):
    feeds = tuple(
        replace(feed, label=text, outputs=tuple(replace(one, name=text) for one in feed.outputs))
        for feed in WRONG.feeds
    )
    one = replace(
        WRONG, artifact=text, provider=text, feeds=feeds, problems=(Problem("run", text or "x"),), settings={text: text}
    )
    root = read(Report((one,)))
    assert len(list(root.iter("testcase"))) == 15
    told = {case.get("name") for case in root.iter("testcase")} - {"boundary", "precision", "run"}
    assert len(told) == 1
    kept = told.pop()
    rest = iter(text)
    assert all(character in rest for character in kept)  # in order, with some left out
    assert ("script" in kept) == ("script" in text)


def test_the_same_report_gives_the_same_text():
    assert to_junit(BAD) == to_junit(BAD)
