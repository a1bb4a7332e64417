"""What converts, as `make support` measures it: nothing that Keras has is left out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.support import functions, layers
from benchmarks.support.__main__ import code_state, groups, main
from benchmarks.support.measure import Found, Measured, measure
from benchmarks.support.models import FAMILIES, Subject, build, public
from benchmarks.support.page import markdown, placed, short
from benchmarks.support.table import from_json, shares, to_json
from benchmarks.support.together import MOST, measured_together

pytestmark = pytest.mark.xdist_group("support")


@pytest.mark.parametrize("family", FAMILIES)
def test_every_public_name_has_a_use_or_a_reason(family):
    module = functions if family == "keras.ops" else layers
    known = set(module.CALLS if family == "keras.ops" else module.USES) | set(module.NOT_APPLICABLE)
    assert {name for name, other in public(family).items() if not other} <= known


def test_no_use_is_of_something_that_there_is_not():
    there = set(public("keras.layers")) | set(public("tf_keras.layers"))
    assert set(layers.USES) | set(layers.NOT_APPLICABLE) <= there
    assert set(functions.CALLS) | set(functions.NOT_APPLICABLE) <= set(public("keras.ops"))


def test_weights_are_distinct_and_biases_are_not_zero():
    model = build(Subject("keras.layers", "Conv1D")).model
    for weight in model.get_weights():
        assert len(set(weight.ravel().tolist())) == weight.size
        assert (weight != 0).all()


def test_a_subject_is_measured():
    found = measure(Subject("keras.ops", "cumsum"), ["saved-model", "onnx"])
    assert {target: what.word for target, what in found.found.items()} == {"saved-model": "exact", "onnx": "exact"}
    text = measure(Subject("tf_keras.layers", "TextVectorization"), ["tflite"]).found["tflite"]
    assert text.word == "refused"
    assert "text" in text.why
    assert measure(Subject("keras.layers", "Layer"), ["onnx"]).found == {"onnx": Found("n/a", "a base class")}


def test_a_length_that_cures_is_told():
    found = measure(Subject("keras.layers", "AdaptiveAveragePooling1D"), ["saved-model", "tflite"]).found
    assert found["saved-model"].word == "fixed"
    assert "statically known" in found["saved-model"].why
    assert found["tflite"].word == "exact"


@pytest.mark.long
@pytest.mark.parametrize(
    ("family", "name", "target"),
    [
        ("tf_keras.layers", "CenterCrop", "onnx"),  # a picture is resized in one branch
        ("keras.layers", "MelSpectrogram", "onnx"),
        ("tf_keras.layers", "RandomCrop", "onnx"),  # which it may be called at random in training alone
        ("keras.ops", "diagonal", "onnx"),
        ("keras.ops", "percentile", "tflite"),
    ],
)
def test_what_was_refused_once_is_exact(family, name, target):
    assert measure(Subject(family, name), [target]).found == {target: Found("exact")}


MEASURED = [
    Measured(Subject("keras.layers", "GRU"), "", {"onnx": Found("exact"), "tflite": Found("exact")}, 1.0),
    Measured(
        Subject("keras.layers", "Hashing"),
        "",
        {
            "onnx": Found(
                "refused", "no ONNX form of Hash in model_1/hashing_1 (opset 17); expected others; write them"
            ),
            "tflite": Found("fixed", "a length"),
        },
        1.0,
    ),
    Measured(Subject("keras.layers", "Layer"), "", {"onnx": Found("n/a", "base"), "tflite": Found("n/a", "base")}, 0.0),
]


def test_the_page_has_everything_that_was_measured():
    lines = list(markdown(from_json(to_json(MEASURED))))
    assert "| `keras.layers` | 1 of 2 | 1 of 2 |" in lines
    assert "Exact in every format: `GRU`." in lines
    assert "| `Hashing` | refused [1] | fixed [2] |" in lines
    assert "Not measured: `Layer` [3]." in lines
    assert lines[-3:] == ["1. no ONNX form of Hash", "2. a length", "3. base"]


def test_what_is_no_part_of_a_model_is_not_counted():
    counts = {target: dict(words) for _, target, words in shares(MEASURED)}
    assert counts == {"onnx": {"exact": 1, "refused": 1}, "tflite": {"exact": 1, "fixed": 1}}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_page_has_every_public_name(family):
    """`make support` writes it."""
    page = (Path(__file__).parents[2] / "docs" / "support.md").read_text()
    own = page.partition(f"## `{family}`\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", own)) == set(public(family))


def test_tables_go_between_the_marks_of_a_page():
    page = "# T\n<!-- support -->\nold\n<!-- end of support -->\nrest\n"
    assert placed(page, "new\n") == "# T\n<!-- support -->\nnew\n<!-- end of support -->\nrest\n"
    assert placed("", "new\n") == "new\n"


def test_what_was_exact_before_is_measured_together():
    names = [f"name{at}" for at in range(MOST + 1)]
    exact = {target: Found("exact") for target in ("onnx", "tflite")}
    found = [Measured(Subject("keras.ops", name), "", exact, 1.0) for name in names]
    page = "\n".join(
        markdown([*found, Measured(Subject("keras.ops", "qr"), "", dict.fromkeys(exact, Found("refused", "why")), 1.0)])
    )
    subjects = [Subject("keras.ops", name) for name in ("qr", *names)]
    assert list(groups(subjects, page)) == [tuple(subjects[1:-1]), (subjects[-1],), (subjects[0],)]


@pytest.mark.parametrize(("why", "least"), [("why", 5), ("no form in model_1/model_of_svd_1/function", 3)])
def test_one_that_is_refused_is_found_among_many(why, least):
    """The models are real, the exports are not: C is said to have no form of svd."""
    names = ["subtract", "tanh", "svd", "exp", "where"]
    counts = []

    def export(built, targets, cures):
        layers = [part for layer in built.model.layers for part in getattr(layer, "layers", [layer])]
        functions = {part.function for part in layers if hasattr(part, "function")}
        counts.append((len(functions), tuple(targets), cures))
        return {
            name: Found("refused", why) if name == "c" and "svd" in functions else Found("exact") for name in targets
        }

    found = measured_together([Subject("keras.ops", name) for name in names], ["onnx", "c"], export)
    assert [one.subject.name for one in found] == names
    assert {one.subject.name for one in found if one.found["c"].word == "refused"} == {"svd"}
    assert {one.found["onnx"].word for one in found} == {"exact"}
    assert counts[0] == (5, ("onnx", "c"), False)
    assert {count[1:] for count in counts if count[0] == 1} == {(("c",), True)}
    assert len(counts) == least  # exports: where the reason names it, of all, of it alone, and of the others


def test_a_reason_is_told_without_the_model_it_was_met_in():
    found = (
        "no built-in TFLite form of Svd in model_1/function_1; Svd in model_1/function_1; expected built-in operators"
    )
    assert short(found) == "no built-in TFLite form of Svd; Svd"


def test_a_run_that_was_stopped_goes_on_with_the_same_code_alone(tmp_path, capsys):
    path = tmp_path / "report.json"
    asked = ["--family", "keras.layers", "--only", "Layer", "--only", "Wrapper", "--json", str(path), "--resume"]
    with pytest.raises(SystemExit, match="no results of this code"):
        main(asked)
    known = [Measured(Subject("keras.layers", "Layer"), "", {"onnx": Found("exact")}, 1.0)]
    path.write_text(json.dumps({"code": code_state(), "found": to_json(known)}))
    assert main([*asked, "--targets", "onnx", "--jobs", "1"]) == 0
    assert "2 of 2: keras.layers.Wrapper onnx n/a" in capsys.readouterr().err
    assert [one.subject.name for one in from_json(json.loads(path.read_text())["found"])] == ["Layer", "Wrapper"]
