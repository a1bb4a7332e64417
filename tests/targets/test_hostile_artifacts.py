"""Artifacts that were changed, cut or put together: one clear line, exit code 2, and nothing of them is executed."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import rnnexport
from rnnexport.artifact.checksum import sealed
from rnnexport.core.errors import UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.isolation.process import Worker
from rnnexport.targets.onnx import runner as onnx_runner
from rnnexport.targets.registry import TARGET_NAMES, target
from rnnexport.targets.tflite.tree import tree_of
from tests.perturb import copied, seal_folder

GROUP = pytest.mark.xdist_group("lstm")
pytestmark = GROUP


@pytest.fixture
def not_executed(monkeypatch, exported):
    """Fails the test where a runtime is asked for an artifact, once the artifacts of the tests are made."""
    for name in ("lstm", "simple_rnn"):
        exported(name)

    def refused(*arguments, **options):
        raise AssertionError("the artifact was executed")

    for name in TARGET_NAMES:
        monkeypatch.setattr(type(target(name)), "runner", refused)
    monkeypatch.setattr(onnx_runner, "open_runner", refused)
    monkeypatch.setattr(Worker, "ask", refused)


def model_of(path):
    return onnx.load_model_from_string(path.read_bytes())


def written(model, path):
    """The model under a seal of its own, so that the seal is not what refuses it."""
    path.write_bytes(sealed(model.SerializeToString(deterministic=True)))
    return path


def refused(path, match):
    with pytest.raises(UsageError, match=match) as told:
        rnnexport.verify(path)
    assert told.value.exit_code == 2
    assert "\n" not in str(told.value)


def _largest_constant(data):
    """Where the largest buffer of a TFLite file lies that is none of its metadata."""
    tree = tree_of(data)
    metadata = {entry.buffer for entry in tree.metadata}
    buffers = [one.data for at, one in enumerate(tree.buffers) if one.data is not None and at not in metadata]
    return data.find(max((np.asarray(one, np.uint8).tobytes() for one in buffers), key=len)) + 8


@pytest.mark.parametrize("to", TARGET_NAMES)
def test_one_bit_of_the_weights_is_told(to, exported, tmp_path, not_executed):
    copy = copied(exported("lstm")[to].path, tmp_path)
    file = {"saved-model": copy / "saved_model.pb", "numpy": copy.with_suffix(".npz")}.get(to, copy)
    data = bytearray(file.read_bytes())
    first = data.find(b"\x93NUMPY") + 128  # behind the header of the first array
    at = {
        "onnx": 800,
        "tflite": _largest_constant(bytes(data)) if to == "tflite" else 0,
        "saved-model": 5000,
        "numpy": first,
        "c": data.find(b"static const float") + 100,
    }[to]
    data[at] ^= 1
    file.write_bytes(bytes(data))
    refused(copy, "was altered after it was exported|is damaged|can't be read")


@pytest.mark.parametrize("to", ["onnx", "tflite"])
def test_a_cut_file_is_told(to, exported, tmp_path, not_executed):
    copy = copied(exported("lstm")[to].path, tmp_path)
    copy.write_bytes(copy.read_bytes()[:-200])
    refused(copy, "altered|damaged|can't be read|no goldens|not its own")


def test_something_put_beside_a_saved_model_is_told(exported, tmp_path, not_executed):
    copy = copied(exported("lstm")["saved-model"].path, tmp_path)
    (copy / "assets").mkdir(exist_ok=True)
    (copy / "assets" / "vocabulary.txt").write_text("a")
    refused(copy, "was altered after it was exported")


@pytest.mark.parametrize("to", TARGET_NAMES)
def test_an_altered_artifact_is_compared_with_its_source_as_it_is(to, exported, saved, tmp_path):
    copy = copied(exported("lstm")[to].path, tmp_path)
    if to == "onnx":
        model = model_of(copy)
        onnx.helper.set_model_props(model, {prop.key: prop.value for prop in model.metadata_props} | {"author": "me"})
        copy.write_bytes(model.SerializeToString())
    elif to == "tflite":
        copy.write_bytes(copy.read_bytes() + b"\0" * 8)
    elif target(to).is_code:
        copy.write_text(copy.read_text() + "\n")
    else:
        (copy / "variables" / "note").write_text("mine")
    if target(to).is_code:
        with pytest.raises(UsageError, match="was altered after it was exported, and is a program"):
            rnnexport.verify(copy, source=saved("lstm"))
    else:
        refused(copy, "or give source=MODEL to compare it as it is")
    loading = LoadOptions(allow_unsafe=target(to).is_code)
    (report,) = rnnexport.verify(copy, source=saved("lstm"), loading=loading).artifacts
    assert report.status == "passed"


def test_the_goldens_of_another_file_are_told(exported, tmp_path, not_executed):
    one, other = (model_of(exported(name)["onnx"].path) for name in ("lstm", "simple_rnn"))
    own = {prop.key: prop.value for prop in one.metadata_props}
    theirs = {prop.key: prop.value for prop in other.metadata_props}
    onnx.helper.set_model_props(one, own | {"rnnexport.artifact.goldens": theirs["rnnexport.artifact.goldens"]})
    refused(written(one, tmp_path / "m.onnx"), r"the goldens in m\.onnx are not its own")


def test_a_newer_schema_is_told(exported, tmp_path, not_executed):
    model = model_of(exported("lstm")["onnx"].path)
    properties = {prop.key: prop.value for prop in model.metadata_props}
    value = json.loads(properties["rnnexport.provenance"]) | {"format": 7}
    onnx.helper.set_model_props(model, properties | {"rnnexport.provenance": json.dumps(value, sort_keys=True)})
    refused(written(model, tmp_path / "m.onnx"), r"provenance of format 7 in m\.onnx; expected format 6")


def test_operators_of_an_unknown_domain_are_told_in_bodies_too(exported, tmp_path, not_executed):
    model = model_of(exported("lstm")["onnx"].path)
    model.graph.node[0].domain = "com.evil"
    refused(written(model, tmp_path / "m.onnx"), r"holds the operator \w+ of the domain 'com\.evil'")
    model.graph.node[0].domain = ""
    body = onnx.helper.make_graph([onnx.helper.make_node("Run", [], ["r"], domain="x")], "body", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["c"], [], then_branch=body, else_branch=body))
    refused(written(model, tmp_path / "m.onnx"), "holds the operator Run of the domain 'x'")


@pytest.mark.parametrize("place", ["../weights", "/etc/passwd", "a/../../b", "..\\weights", "C:\\weights"])
def test_weights_outside_the_folder_are_told(place, exported, saved, tmp_path, not_executed):
    model = model_of(exported("lstm")["onnx"].path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    path = written(model, tmp_path / "m.onnx")
    refused(path, r"m\.onnx reads the weights of .* outside its folder")
    with pytest.raises(UsageError, match="outside its folder"):
        rnnexport.verify(path, source=saved("lstm"))


def test_an_artifact_without_goldens_needs_a_source(exported, saved, tmp_path):
    model = model_of(exported("lstm")["onnx"].path)
    del model.metadata_props[:]
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    refused(path, r"m\.onnx carries no provenance; expected an artifact of rnnexport; export it, or give source=")
    assert rnnexport.verify(path, source=saved("lstm")).passed


def test_a_folder_is_sealed_again_by_the_helper_of_the_tests(exported, tmp_path):
    copy = copied(exported("lstm")["saved-model"].path, tmp_path)
    (copy / "variables" / "note").write_text("mine")
    seal_folder(copy)
    proof = target("saved-model").read_proof(copy)
    assert proof is not None
    assert not proof.altered


def test_what_an_altered_file_allows_itself_counts_for_nothing(exported, saved, tmp_path):
    model = model_of(exported("lstm")["onnx"].path)
    properties = {prop.key: prop.value for prop in model.metadata_props}
    value = json.loads(properties["rnnexport.provenance"]) | {"override": {"atol": 100.0}}
    onnx.helper.set_model_props(model, properties | {"rnnexport.provenance": json.dumps(value, sort_keys=True)})
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * 1.5, tensor.name))
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert rnnexport.verify(path, source=saved("lstm")).exit_code == 1
    value |= {"override": {"rtol": "x"}}
    onnx.helper.set_model_props(model, properties | {"rnnexport.provenance": json.dumps(value, sort_keys=True)})
    refused(written(model, path), "damaged provenance")


def test_an_artifact_carries_the_whole_plan_of_feeds(exported):
    proof = target("onnx").read_proof(exported("lstm")["onnx"].path)
    assert proof is not None
    assert [golden.recipe.index for golden in proof.goldens] == [0, 1, 2, 3, 4, 5, 6, 11, 12, 13, 14, 15]
    assert all(golden.truth for golden in proof.goldens)
