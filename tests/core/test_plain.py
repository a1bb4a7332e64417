from __future__ import annotations

import json
import math

import pytest

from rnnexport.report.json_view import to_json
from rnnexport.verification.merging import plain, read
from rnnexport.verification.report import ArtifactReport, Report
from rnnexport.verification.statistics import ExactSum
from tests.report import reports
from tests.report.reports import ABSENT, BAD, GOOD, LONG


@pytest.mark.parametrize("report", [GOOD, BAD, ABSENT, LONG, reports.hostile()], ids=["good", "bad", "-", "long", "h"])
def test_a_report_comes_back_whole(report):
    text = json.dumps([plain(item) for item in report.artifacts], allow_nan=False)
    found = Report(tuple(read(ArtifactReport, item) for item in json.loads(text)))
    assert to_json(found) == to_json(report)
    assert json.dumps([plain(item) for item in found.artifacts]) == text


def test_numbers_come_back_bit_by_bit():
    for value in (0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf):
        assert read(float, json.loads(json.dumps(plain(value)))).hex() == value.hex()
    assert math.isnan(read(float, plain(math.nan)))
    total = ExactSum.of(1e300) + ExactSum.of(5e-324)
    assert read(ExactSum, json.loads(json.dumps(plain(total)))) == total


@pytest.mark.parametrize(
    "change",
    [
        {"status": "perhaps"},
        {"feeds": {}},
        {"target": 3},
        {"more": 1},
        {"located": []},
        {"settings": {"tf32": 1}},
        {"problems": [{"kind": "run"}]},
    ],
)
def test_what_is_no_report_is_refused(change):
    value = plain(GOOD.artifacts[0]) | change
    with pytest.raises((ValueError, LookupError, TypeError)):
        read(ArtifactReport, value)
