"""Running artifacts on one's own data, and comparing any two of them; by Python and by the commands."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import rnnexport
from rnnexport.api.compare import compare
from rnnexport.api.run import run
from rnnexport.core.errors import UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.targets.registry import target
from samples.catalog import SAMPLES_BY_NAME
from tests.perturb import perturb

GROUP = pytest.mark.xdist_group("stateful_gru")
STATEFUL = SAMPLES_BY_NAME["stateful_gru"]
B, T = 3, 4


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(7).normal(size=(B, T, 4)).astype("float32")


@pytest.fixture(scope="module")
def wanted(x):
    """What eager Keras gives row by row and step by step, its states reset before each row."""
    model = STATEFUL.build()
    rows = []
    for row in x:
        for layer in model.layers:
            if getattr(layer, "stateful", False):
                layer.reset_states()
        rows.append([np.asarray(model(step[None, None]))[0] for step in row])
    return np.asarray(rows)  # rows, timesteps, and the shape of one output


@GROUP
@pytest.mark.parametrize("to", ["onnx", "tflite", "saved-model", "numpy"])
def test_every_target_runs_rows_and_sequences_of_any_number(to, exported, x, wanted):
    """The artifact takes one row and one timestep a call."""
    path = exported("stateful_gru")[to].path
    outputs = run(path, {"input_node": x.astype("float64")}, limits=None).outputs
    found = outputs["output_node"].reshape(B, -1, wanted.shape[-1])
    np.testing.assert_allclose(found[:, -1], wanted[:, -1].reshape(B, -1), rtol=1e-5, atol=2e-6)
    assert outputs["next_state_gru_layer_0_00"].shape == (B, 64)
    # To go on from the states after two timesteps is to have gone on.
    half = run(path, {"input_node": x[:, :2]}, limits=None).outputs
    states = {name.removeprefix("next_"): half[name] for name in half if name.startswith("next_state")}
    again = run(path, {"input_node": x[:, 2:], **states}, limits=None).outputs
    np.testing.assert_allclose(again["next_state_gru_layer_2_00"], outputs["next_state_gru_layer_2_00"], atol=2e-6)


@GROUP
def test_a_source_is_run_beside(exported, saved, x, tmp_path):
    path, loading = exported("stateful_gru")["onnx"].path, LoadOptions([str(STATEFUL.path)])
    good = run(path, {"input_node": x}, source=saved("stateful_gru"), loading=loading)
    assert good.passed
    assert [one.name for one in good.compared] == ["output_node"]
    bad = run(perturb(path, tmp_path, 5.0), {"input_node": x}, source=saved("stateful_gru"), loading=loading)
    assert not bad.passed


@GROUP
def test_what_does_not_fit_is_refused(exported, x, tmp_path):
    path = exported("stateful_gru")["onnx"].path
    np.savez(tmp_path / "good.npz", input_node=x, output_node=np.zeros(3))
    assert run(path, tmp_path / "good.npz", limits=None).outputs  # an output beside the inputs is left alone
    np.save(tmp_path / "x.npy", x)
    assert run(path, tmp_path / "x.npy", limits=None).outputs
    (tmp_path / "text.npz").write_text("no arrays")
    cases = [
        ({"x": x}, "no array input_node"),
        ({"input_node": x, "more": x}, "the array more"),
        ({"input_node": x[:, :, :3]}, "input_node has 3 at axis 2"),
        ({"input_node": x.astype("complex64")}, "dtype complex64"),
        (tmp_path / "text.npz", "text.npz can't be read"),
        (tmp_path / "goood.npz", "did you mean .*good.npz"),
    ]
    for inputs, match in cases:
        with pytest.raises(UsageError, match=match):
            run(path, inputs, limits=None)


@pytest.mark.xdist_group("lstm")
def test_the_runtime_calls_what_has_no_states(exported):
    rng = np.random.default_rng(3)
    with rnnexport.runtime.open(exported("lstm")["onnx"].path) as opened:
        (spec,) = opened.signature.inputs
        one, other = (rng.normal(size=(rows, 5, spec.shape[-1])).astype("float32") for rows in (2, 3))
        first = opened.step(one)
        assert opened.step(other).shape[0] == 3  # another batch, and nothing is carried
        np.testing.assert_array_equal(opened.step(one), first)


@pytest.fixture
def foreign(exported, tmp_path):
    """The file as another tool would have made it: no metadata, other names of tensors and dimensions."""
    model = onnx.load(exported("lstm")["onnx"].path)
    del model.metadata_props[:]
    for value, name in ((model.graph.input[0], "in_0"), (model.graph.output[0], "tags")):
        for node in model.graph.node:
            node.input[:] = [name if one == value.name else one for one in node.input]
            node.output[:] = [name if one == value.name else one for one in node.output]
        value.name = name
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if dim.dim_param:
                dim.dim_param = f"unk__{axis}"
    onnx.save(model, tmp_path / "theirs.onnx")
    return tmp_path / "theirs.onnx"


@pytest.mark.xdist_group("lstm")
def test_any_two_can_be_compared(exported, saved, foreign, tmp_path):
    ours = exported("lstm")
    output = ours["onnx"].signature.outputs[0].name
    for one, other in ((ours["onnx"].path, ours["numpy"].path), (ours["onnx"].path, foreign), (foreign, saved("lstm"))):
        report = compare(one, other, limits=None)
        assert report.passed, report.artifacts[0].first_problem()
        assert len(report.artifacts[0].feeds) > 5
    # TFLite has a length of its own; each is then called at it.
    assert compare(foreign, ours["tflite"].path, names={"tags": output}, limits=None).passed
    assert not compare(ours["onnx"].path, foreign, dims=True, limits=None).passed
    bad = perturb(ours["onnx"].path, tmp_path, 1e-1)
    report = compare(ours["onnx"].path, bad, limits=None)
    assert report.exit_code == 1
    assert "values off" in report.artifacts[0].first_problem()
    with pytest.raises(UsageError, match=r"names= of nothing"):
        compare(ours["onnx"].path, foreign, names={"nothing": "tags"}, limits=None)
    with pytest.raises(UsageError, match=r"give names="):
        compare(ours["onnx"].path, foreign, names={output: "no_such"}, limits=None)


@pytest.mark.xdist_group("lstm")
def test_the_commands(exported, foreign, rnnexport_command, tmp_path):
    ours = exported("lstm")["onnx"]
    spec, output = ours.signature.inputs[0], ours.signature.outputs[0].name
    x = np.random.default_rng(5).normal(size=(2, 7, spec.shape[-1])).astype("float32")
    np.savez(tmp_path / "in.npz", **{spec.name: x})
    done = rnnexport_command("run", ours.path, "in.npz", "-o", "out.npz", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    with target("onnx").runner(ours.path, "cpu") as runner:
        np.testing.assert_array_equal(np.load(tmp_path / "out.npz")[output], runner.run({spec.name: x})[output])
    done = rnnexport_command("compare", ours.path, foreign, "--map", f"{output}=tags", "--json", "c.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "verified" in done.stdout
    for arguments, told in (
        (["run", ours.path, "in.npz", "-o", "in.npz"], "which is an input"),
        (["run", ours.path, "in.npz", "-o", "out.txt"], "ends in .npz"),
        (["run", ours.path, "inn.npz"], "did you mean in.npz?"),
        (["compare", ours.path, foreign, "--map", "tags"], "NAME_IN_A=NAME_IN_B"),
    ):
        done = rnnexport_command(*arguments, cwd=tmp_path)
        assert done.returncode == 2
        assert told in done.stderr


@pytest.mark.xdist_group("lstm")
def test_a_file_that_somebody_fixed_is_verified_at_its_sizes(exported, saved, tmp_path):
    model = onnx.load(exported("lstm")["onnx"].path)
    del model.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param == "time":
                dim.dim_value = 6
    onnx.save(model, tmp_path / "fixed.onnx")
    report = rnnexport.verify(tmp_path / "fixed.onnx", source=saved("lstm"), timesteps=6, limits=None)
    assert report.passed, report.artifacts[0].first_problem()
    with pytest.raises(UsageError, match="batch= or timesteps= without source="):
        rnnexport.verify(tmp_path / "fixed.onnx", timesteps=6)
