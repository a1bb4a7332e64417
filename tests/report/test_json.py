from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator

from rnnexport.report.json_view import SCHEMA, to_json
from rnnexport.verification.report import Report
from rnnexport.verification.statistics import EDGES
from rnnexport.verification.tolerance import Bounds
from tests.report import reports
from tests.report.reports import ABSENT, BAD, EMPTY, GOOD, LONG

SCHEMA_FILE = json.loads(files("rnnexport.report").joinpath("schema_2.json").read_text())


def read(report):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(to_json(report), parse_constant=refuse)


def objects(schema):
    """Every schema of an object with named properties, at any depth."""
    if isinstance(schema, dict):
        if "properties" in schema and isinstance(schema["properties"], dict):
            yield schema
        for value in schema.values():
            yield from objects(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from objects(value)


@pytest.mark.parametrize(
    "report",
    [GOOD, BAD, ABSENT, EMPTY, LONG, reports.hostile()],
    ids=["good", "bad", "absent", "empty", "long", "hostile"],
)
def test_reports_are_what_the_schema_says(report):
    Draft202012Validator.check_schema(SCHEMA_FILE)
    Draft202012Validator(SCHEMA_FILE).validate(read(report))


def test_the_schema_allows_nothing_that_it_does_not_name():
    found = list(objects(SCHEMA_FILE))
    assert len(found) >= 12
    assert all(schema["additionalProperties"] is False for schema in found)
    told = [value for schema in found for value in schema["properties"].values()]
    assert sum("description" in value for value in told) > 0.85 * len(told)
    more = read(GOOD)
    more["artifacts"][0]["feeds"][0]["outputs"][0]["errors"]["extra"] = 1
    assert not Draft202012Validator(SCHEMA_FILE).is_valid(more)


def test_the_schema_asks_for_everything():
    for schema in objects(SCHEMA_FILE):
        optional = set(schema["properties"]) - set(schema["required"])
        assert optional <= {"high", "mask"}, optional


def test_the_verdict():
    assert SCHEMA == SCHEMA_FILE["properties"]["schema"]["const"] == 2
    verdicts = [(read(one)["passed"], read(one)["exit_code"]) for one in (GOOD, BAD, ABSENT, EMPTY)]
    assert verdicts == [(True, 0), (False, 1), (False, 4), (False, 1)]


def test_bounds_that_are_wider_are_counted_and_an_infinite_one_is_null():
    feed, *others = GOOD.artifacts[0].feeds
    one, *rest = feed.outputs
    outputs = (replace(one, bounds=Bounds(7, 2, math.inf)), replace(rest[0], bounds=Bounds(1, 0, 3.0)), *rest[1:])
    item = replace(GOOD.artifacts[0], feeds=(replace(feed, outputs=outputs), *others))
    report = read(Report((item,)))
    Draft202012Validator(SCHEMA_FILE).validate(report)
    (found,) = report["artifacts"]
    assert found["feeds"][0]["outputs"][1]["bounds"] == {"wider": 1, "coarse": 0, "largest": 3.0}
    assert found["bounds"] == {"wider": 8, "coarse": 2, "largest": None}


def test_every_figure_of_an_output_is_there():
    report = read(GOOD)
    wanted = GOOD.artifacts[0].feeds[2].outputs[0]
    found = report["artifacts"][0]["feeds"][2]["outputs"][0]
    assert report["histogram_edges"] == list(EDGES)
    assert (found["output"], found["passed"], found["tolerance"]["atol"]) == ("sequence", True, wanted.tolerance.atol)
    for key, errors in (
        ("errors", wanted.errors),
        ("artifact_against_truth", wanted.artifact_error),
        ("source_against_truth", wanted.source_error),
    ):
        told = found[key]
        assert told["values"] == errors.count == 960
        assert told["histogram"] == list(errors.histogram)
        assert told["by_timestep"] == list(errors.by_timestep)
        assert len(told["by_timestep"]) == 40
        figures = [told[name] for name in ("max_abs", "max_rel", "max_ulp", "rmse", "cosine")]
        assert figures == [errors.max_abs, errors.max_rel, errors.max_ulp, errors.rmse, errors.cosine]
    assert found["errors"] != found["artifact_against_truth"] != found["source_against_truth"]


def test_a_long_sequence_has_its_curves_thinned():
    *short, feed = read(LONG)["artifacts"][0]["feeds"]
    assert [one["steps"] for one in short] == [0] * 4
    assert (feed["steps"], feed["label"]) == (450, "450 steps from the initial state")
    sequence = feed["outputs"][0]
    for key in ("errors", "artifact_against_truth", "source_against_truth"):
        told = sequence[key]
        assert (told["timesteps_a_point"], len(told["by_timestep"])) == (3, 150)
        assert max(told["by_timestep"]) == told["max_abs"]
    assert sequence["errors"]["by_timestep"][200 // 3] == sequence["errors"]["max_abs"] > 9e-7
    assert sequence["source_against_truth"]["max_abs"] < 4e-7
    assert {one["timesteps_a_point"] for call in short for one in [call["outputs"][0]["errors"]]} == {1}


def test_outputs_are_merged_over_feeds():
    merged = read(GOOD)["artifacts"][0]["outputs"]
    assert [(one["output"], one["errors"]["values"]) for one in merged] == [
        ("sequence", 1194),
        ("logits", 55),
        ("label", 11),
    ]


def test_what_is_not_finite_is_null():
    nan = read(BAD)["artifacts"][[item.artifact for item in BAD.artifacts].index("build/nan.onnx")]
    assert nan["max_abs_error"] is None
    assert nan["feeds"][0]["outputs"][0]["errors"]["by_timestep"][-1] is None
    assert nan["feeds"][0]["outputs"][0]["errors"]["max_ulp"] is None
    assert nan["rmse_of_artifact"] is None
    assert math.isfinite(nan["rmse_of_source"])


def test_what_is_wrong_and_where():
    wrong = read(BAD)["artifacts"][3]
    assert wrong["status"] == "mismatch"
    assert wrong["problem"].startswith("sequence: 6 of 90 values off")
    assert [problem.split(":")[0] for problem in wrong["problems"]] == [
        "sequence",
        "logits",
        reports.WRONG.problems[0].text,
    ]
    assert wrong["located"]["rows"][1][0] == "encoder/lstm h"
    assert wrong["feeds"][0]["outputs"][0]["first_bad_index"] == [0, 3, 2]
    assert wrong["feeds"][0]["outputs"][0]["first_bad_timestep"] == 3


def test_the_circumstances():
    passed, tflite, placed, *_ = read(BAD)["artifacts"]
    assert tflite["no_truth"] == "the cell is custom code, which has no float64 form"
    assert tflite["tolerances"]["override"] == {"rtol": None, "atol": None, "rtols": {}, "atols": {"logits": 1e-4}}
    assert (passed["tolerances"]["usual"], tflite["tolerances"]["usual"]) == (True, False)
    assert placed["settings"] == {"precision": "f32", "tf32": "off"}
    assert placed["placement"]["counts"] == {"cpu": 2, "openvino": 2}
    assert placed["placement"]["recurrent_share"] == 0.5
    assert placed["placement"]["nodes"][1]["runs"] == 57
    assert passed["placement"] is None
    assert passed["lowering"] == [reports.LOWERED.to_json()]
    assert passed["provenance"]["source"]["name"] == "model.keras"
    assert passed["provenance"]["inputs"][0] == {
        "name": "ids",
        "dtype": "int32",
        "shape": ["batch", "time"],
        "high": 50,
    }


def test_the_same_report_gives_the_same_text():
    assert to_json(BAD) == to_json(BAD)
    assert to_json(BAD).endswith("}\n")
