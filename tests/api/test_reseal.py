"""Artifacts that other tools changed on purpose: verified beside their source, and alone once they are sealed again."""

from __future__ import annotations

import shutil

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, version_converter

import rnnexport
from rnnexport.api.inspect import inspect_file
from rnnexport.api.reseal import copy_with
from rnnexport.core.errors import UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.targets.registry import target
from rnnexport.verification.tolerance import Override
from samples.catalog import SAMPLES_BY_NAME
from tests.perturb import copied, perturb

SAMPLE = "cgru_fused_reset_after"
pytestmark = pytest.mark.xdist_group(SAMPLE)
LOADING = LoadOptions([str(SAMPLES_BY_NAME[SAMPLE].path)])


@pytest.fixture(scope="module")
def source(saved):
    """Loaded once for all."""
    return rnnexport.load(saved(SAMPLE), LOADING)


def optimised(path, made):
    """By ONNX Runtime, with operators of its own."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(made)
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def converted(path, made):
    """To a newer opset."""
    onnx.save(version_converter.convert_version(onnx.load(path), 19), made)


def simplified(path, made):
    """Constants folded, and names that nobody reads removed."""
    import onnx_ir as ir
    from onnxscript import optimizer

    model = ir.from_proto(onnx.load(path))
    optimizer.optimize(model)
    ir.save(model, made)


def halved(path, made):
    """Weights rounded to float16, inputs and outputs as they were; a Cast gives each back."""
    model = onnx.load(path)
    graph = model.graph
    for tensor in list(graph.initializer):
        if tensor.data_type == TensorProto.FLOAT:
            half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float16"), f"{tensor.name}/half")
            graph.initializer.remove(tensor)
            graph.initializer.append(half)
            graph.node.insert(0, helper.make_node("Cast", [half.name], [tensor.name], to=TensorProto.FLOAT))
    onnx.save(model, made)


def quantised(path, made):
    """Products in int8, their inputs quantised as they come."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(path, made, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])


def moved(path, made):
    """Weights into a file of their own."""
    onnx.save(onnx.load(path), made, save_as_external_data=True, location="weights.bin", size_threshold=100)


def bare(path, made):
    """Without what rnnexport wrote into it, as many tools leave it."""
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, made)


BOUNDS = {"halved": Override(rtol=0.02, atol=0.02), "quantised": Override(rtol=0.3, atol=0.3)}
TOOLS = (optimised, converted, simplified, halved, quantised, moved, bare)
TOLD = {"optimised": "com.microsoft", "converted": "ai.onnx 19", "halved": "float16", "quantised": "int8"}


@pytest.fixture(scope="module")
def changed(exported, tmp_path_factory):
    """What each tool makes of the artifact, by its name; each in a folder of its own."""
    made = {}
    for tool in TOOLS:
        made[tool.__name__] = tmp_path_factory.mktemp(tool.__name__) / "changed.onnx"
        tool(exported(SAMPLE)["onnx"].path, made[tool.__name__])
    return made


@pytest.mark.long
def test_changed_artifacts_verify_beside_their_source_on_the_bounds_that_are_given(changed, source):
    for path in changed.values():
        with pytest.raises(UsageError, match=r"altered|carries no provenance"):
            rnnexport.verify(path)
    reports = rnnexport.verify(list(changed.values()), source=source).artifacts
    found = {name: report.status for name, report in zip(changed, reports, strict=True)}
    assert found == {name: "mismatch" if name in BOUNDS else "passed" for name in changed}
    given = rnnexport.verify([changed[name] for name in BOUNDS], source=source, tolerance=BOUNDS["quantised"])
    assert given.passed


@pytest.mark.parametrize(
    "name", ["optimised", "quantised", *(pytest.param(one, marks=pytest.mark.long) for one in ("halved", "bare"))]
)
def test_a_changed_artifact_verifies_alone_once_it_is_sealed(name, changed, source, tmp_path):
    made = tmp_path / "sealed.onnx"
    bounds = BOUNDS.get(name, Override())
    done = rnnexport.reseal(changed[name], source, output=made, tolerance=bounds, note="what was done")
    (report,) = rnnexport.verify(made).artifacts
    assert done.report.status == report.status == "passed"
    assert report.tolerances.override == bounds
    assert report.provenance.changed["note"] == "what was done"
    assert float(report.provenance.changed["largest error"]) < 0.3
    facts = inspect_file(made).facts
    assert facts["seal"] == "whole"
    assert TOLD.get(name, "") in str(facts)
    if name == "optimised":
        assert rnnexport.verify(perturb(made, tmp_path, 1e-3)).exit_code == 1


def test_weights_outside_are_under_the_seal_and_go_with_the_file(exported, source, tmp_path):
    made, weights = tmp_path / "changed.onnx", tmp_path / "weights.bin"
    moved(exported(SAMPLE)["onnx"].path, made)
    before = target("onnx").read_proof(exported(SAMPLE)["onnx"].path)
    (tmp_path / "out").mkdir()
    there = tmp_path / "out" / "model.onnx"
    rnnexport.reseal(made, source, output=there, note="weights moved")
    told = target("onnx").read_proof(there).provenance.changed
    assert (told["seal before"], told["external data"], told["note"]) == (before.seal, "weights.bin", "weights moved")
    assert sorted(path.name for path in there.parent.iterdir()) == ["model.onnx", "weights.bin"]
    assert rnnexport.verify(there).passed
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 64
    (there.parent / "weights.bin").write_bytes(bytes(data))
    with pytest.raises(UsageError, match=r"model\.onnx was altered"):
        rnnexport.verify(there)
    with (
        pytest.raises(UsageError, match=r"weights\.bin, where the weights of changed\.onnx would go"),
        copy_with(before, target("onnx"), made, there),
    ):
        pass
    (there.parent / "weights.bin").unlink()
    with pytest.raises(UsageError, match=r"from 'weights\.bin', which is not beside it; .* copy weights\.bin"):
        rnnexport.verify(there)
    shutil.move(weights, tmp_path / "out" / "elsewhere.bin")
    (tmp_path / "out" / "in").mkdir()
    shutil.move(there, tmp_path / "out" / "in" / "model.onnx")
    (tmp_path / "out" / "in" / "weights.bin").symlink_to("../elsewhere.bin")
    with pytest.raises(UsageError, match="which is not beside it"):
        rnnexport.verify(tmp_path / "out" / "in" / "model.onnx")


@pytest.mark.parametrize("to", [pytest.param("tflite", marks=pytest.mark.long), "saved-model"])
def test_other_formats_are_sealed_again_too(to, exported, source, tmp_path):
    copy = copied(exported(SAMPLE)[to].path, tmp_path)
    if to == "tflite":
        copy.write_bytes(copy.read_bytes() + bytes(8))
    else:
        (copy / "variables" / "note").write_text("mine")
    with pytest.raises(UsageError, match="altered"):
        rnnexport.verify(copy)
    for note in ("first", "second") if to == "tflite" else ("second",):
        rnnexport.reseal(copy, source, note=note)
        (report,) = rnnexport.verify(copy).artifacts
        assert report.status == "passed"
        assert report.provenance.changed["note"] == note
    assert report.provenance.changed.get("notes before", "") == ("first" if to == "tflite" else "")


def test_an_altered_program_is_not_sealed_again(exported, source, tmp_path):
    copy = copied(exported(SAMPLE)["numpy"].path, tmp_path)
    copy.write_text(copy.read_text() + "# mine\n")
    with pytest.raises(UsageError, match="was altered after it was exported, and is a program"):
        rnnexport.reseal(copy, source)


def test_what_is_outside_the_bounds_is_not_sealed(exported, saved, rnnexport_command, tmp_path):
    made = tmp_path / "changed.onnx"
    quantised(exported(SAMPLE)["onnx"].path, made)
    before = made.read_bytes()
    objects = SAMPLES_BY_NAME[SAMPLE].path
    done = rnnexport_command("reseal", made, "--source", saved(SAMPLE), "--custom-objects", objects, "--note", "int8")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "changed.onnx differs from its source" in done.stderr
    assert "give the bounds that the change is to be judged by" in done.stderr
    assert made.read_bytes() == before
