"""Operators at their edges: no format gives something else than TensorFlow without a word that says why."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.edges.artifacts import COLUMNS
from benchmarks.edges.cases import cases
from benchmarks.edges.table import faults, measured
from benchmarks.edges.values import inputs
from benchmarks.edges.verdicts import judge
from benchmarks.edges.words import ALL, REFUSED, WORDS

PAGE = (Path(__file__).parent.parent.parent / "docs" / "runtimes.md").read_text()
LONG = pytest.mark.long
BY_COLUMN = [pytest.param(column, marks=[] if column.title in ("onnx 13", "numpy") else [LONG]) for column in COLUMNS]


@pytest.mark.parametrize("column", BY_COLUMN, ids=lambda column: column.title)
def test_no_operator_is_wrong_without_a_word(column):
    cells = list(measured([column], cases(), inputs()))
    assert faults(cells) == []
    assert {cell.case.name for cell in cells if cell.refused} <= set(REFUSED[column.target])


def test_words_are_about_operators_that_there_are():
    names = {case.name for case in cases()}
    assert {name for refused in REFUSED.values() for name in refused} <= names
    for word in WORDS:
        assert set(word.operators) <= names
        assert set(word.kinds) <= set(ALL)


def test_the_page_has_a_row_for_each_operator_and_every_word():
    """Its cells are what `make edges` printed."""
    table = PAGE.partition("<!-- edges -->\n")[2].partition("<!-- end of edges -->")[0]
    assert re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE) == [case.name for case in cases()]
    assert "WRONG" not in table
    assert re.findall(r"^\d+\. (.*)$", table, re.MULTILINE) == [word.text for word in WORDS]


ONE, NEXT = np.float32(1), np.nextafter(np.float32(1), np.float32(2))


@pytest.mark.parametrize(
    ("found", "wanted", "exact", "kind"),
    [
        (ONE, ONE, 1.0, "equal"),
        (np.nan, np.nan, np.nan, "equal"),
        (-np.inf, -np.inf, -np.inf, "equal"),
        (NEXT, ONE, 1.0, "close"),
        (ONE, 1.1, 1.0, "close"),  # TensorFlow is off, this is not
        (1.04, 1.1, 1.0, "close"),  # nearer to the exact result than TensorFlow
        (1.2, 1.1, 1.0, "wrong"),
        (0.0, 1e-40, 1e-40, "close"),  # subnormal
        (0.0, 1e-30, 1e-30, "wrong"),
        (np.nan, ONE, 1.0, "wrong"),
        (ONE, np.nan, np.nan, "wrong"),
        (np.inf, ONE, 1.0, "wrong"),
        (ONE, np.inf, np.inf, "wrong"),
        (np.inf, -np.inf, -np.inf, "wrong"),
        (3.4e38, np.inf, np.inf, "wrong"),
    ],
)
def test_a_verdict_on_a_float(found, wanted, exact, kind):
    given = [np.array([value], dtype) for value, dtype in ((found, "float32"), (wanted, "float32"), (exact, "float64"))]
    assert judge(*given, ulps=16).kind == kind


def test_a_verdict_on_what_cancels():
    found, wanted = (np.array([value], np.float32) for value in (1e-7, 3e-7))
    assert judge(found, wanted, wanted.astype(float), ulps=16).kind == "wrong"
    assert judge(found, wanted, wanted.astype(float), ulps=16, scale=np.array([1.0])).kind == "close"


def test_a_verdict_on_integers_shapes_and_dtypes():
    three, four = np.array([3], np.int32), np.array([4], np.int32)
    assert judge(three, three, three, ulps=16).kind == "equal"
    assert judge(three, four, four, ulps=16).why == "3, not 4, at [0]; 1 of these"
    assert judge(three, three.astype(np.int64), three, ulps=16).kind == "wrong"
    assert judge(three, three[None], three, ulps=16).kind == "wrong"
