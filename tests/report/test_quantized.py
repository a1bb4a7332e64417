"""What the page shows of a quantised artifact."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnexport.core.quantization import QuantizedPart
from rnnexport.quantization.choice import Quantized, Trial
from rnnexport.quantization.loss import Loss
from rnnexport.report.html import to_html
from rnnexport.report.quantized import quantized_view
from rnnexport.verification.report import Report
from tests.report.reports import PASSED

PART = QuantizedPart("gru/product", "MatMul", "int8 products", "", 400, 100)
LEFT = QuantizedPart("dense", "MatMul", "", "a weight is not finite", 40, 40)
TAKEN = Trial("int8", 1200, (Loss("y", 0.012, 0.1, 8.0, (0.002, 0.012), 5),), (PART, LEFT), 1e-3, 0.01, ("a note",))
PLAIN = Trial("float32", 4000, (Loss("y", 1e-7, 1e-6, 8.0),))
FOUND = Quantized(TAKEN, (PLAIN, TAKEN), "range", 0.02, "3 sequences", "these", (("gru/product", 0.011),))


def test_the_view_says_what_was_tried():
    view = quantized_view(FOUND.to_json())
    assert [(one.form, one.size, one.loss, one.taken) for one in view.tried] == [
        ("float32", "4 KB", "1e-07", False),
        ("int8", "1.2 KB", "0.012", True),
    ]
    assert "at most 0.02 was asked for" in view.told[0]
    assert any("1.000%" in sentence for sentence in view.told)
    assert view.operators == (
        ("gru/product", "int8 products", "0.011"),
        ("dense", "float32: a weight is not finite", ""),
    )
    assert [name for name, _ in view.curves] == ["y"]
    assert "int8 was taken" in view.pareto


def test_the_page_shows_it():
    known = replace(PASSED.provenance, quantization=FOUND.to_json())
    page = to_html(Report((replace(PASSED, provenance=known),)))
    assert "What quantising lost" in page
    assert "int8 (taken)" in page
    assert "What quantising lost" not in to_html(Report((PASSED,)))


@pytest.mark.parametrize(
    "record", [{}, {"form": "int8"}, {**FOUND.to_json(), "trials": 3}, {**FOUND.to_json(), "alone": [1]}]
)
def test_a_record_of_another_form_is_not_shown(record):
    assert quantized_view(record) is None
