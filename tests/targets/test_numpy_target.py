"""NumPy artifacts as files: what is in them, that NumPy alone runs them, and what is a mismatch."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import rnnexport
from rnnexport.artifact import archive
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.signature import Signature, StateSpec, TensorSpec, argument_name
from rnnexport.targets.numpy import program
from rnnexport.targets.numpy.runner import NumpyRunner
from rnnexport.verification.run_artifact import whole_feed
from rnnexport.verification.tolerance import Tolerance, allowed, leeway
from rnnexport.verification.verdict import boundary_problems
from tests.perturb import copied, perturb
from tests.targets.numpy_programs import NUMPY, TEXT, artifact, equations, npz, weights

ROOT = Path(__file__).parents[2]
TRUSTED = LoadOptions(allow_unsafe=True)  # these programs are not as rnnexport writes them


def test_an_artifact_verifies_and_is_two_files(tmp_path):
    path = artifact(tmp_path)
    report = rnnexport.verify(path)
    assert report.passed
    assert report.artifacts[0].max_abs < 5e-7
    assert all(feed.outputs for feed in report.artifacts[0].feeds)
    # Nothing was compiled into a folder beside it either.
    assert sorted(file.name for file in tmp_path.iterdir()) == ["carried.npz", "carried.py"]


def test_equal_models_give_equal_bytes(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = artifact(tmp_path / "one"), artifact(tmp_path / "other", "another_name")
    assert one.read_bytes() == other.read_bytes()
    assert npz(one).read_bytes() == npz(other).read_bytes()
    with zipfile.ZipFile(npz(one)) as found:
        assert {info.date_time for info in found.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_archive_is_one_that_numpy_reads(tmp_path):
    with np.load(npz(artifact(tmp_path)), allow_pickle=False) as found:
        assert found.files == [*weights(), "rnnexport_provenance", "rnnexport_goldens"]
        for name, array in weights().items():
            np.testing.assert_array_equal(found[name], array)


def test_arrays_of_every_kind_survive(tmp_path):
    arrays = {
        "scalar": np.float32(0.2),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "empty": np.zeros((0, 3), np.int64),
        "flags": np.array([True, False]),
    }
    program.write(tmp_path / "m.py", "", arrays)
    with np.load(tmp_path / "m.npz", allow_pickle=False) as found:
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array, strict=True)
    with pytest.raises(ValueError, match="Object arrays"):
        archive.to_entry(np.array([{}]))


@pytest.mark.parametrize("name", ["moved", "my-model v2", "2018", "model.v2"])
def test_a_copy_under_any_name_verifies_and_runs(name, tmp_path, alone):
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    copy = copied(artifact(tmp_path / "here"), tmp_path / "there", name)
    assert rnnexport.verify(copy).passed
    x = given(copy.parent)
    alone(copy.name, "x.npz", "y.npz", cwd=copy.parent)
    np.testing.assert_allclose(np.load(copy.parent / "y.npz")["readout"], wanted(x), atol=1e-6)


def given(folder):
    """An input of its own in `folder/x.npz`."""
    x = np.random.default_rng(9).standard_normal((2, 5, 3)).astype("float32")
    np.savez(folder / "x.npz", **{"my-input": x})
    return x


def wanted(x):
    return equations(x, np.full((len(x), 4), 0.25))[0]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Run Python where there is its own library and NumPy, and nothing else."""
    site = tmp_path_factory.mktemp("numpy_alone")
    there = distribution("numpy")
    for top in {file.parts[0] for file in there.files if ".." not in file.parts}:
        (site / top).symlink_to(there.locate_file(top))

    def run(*arguments, cwd, check=True):
        command = [sys.executable, "-S", "-s", *map(str, arguments)]
        environment = {"PYTHONPATH": str(site), "PATH": os.environ["PATH"]}
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert not check or (done.returncode, done.stderr) == (0, "")
        return done

    return run


@pytest.mark.parametrize("module", ["onnx", "click", "rnnexport", "tensorflow", "pytest"])
def test_numpy_is_alone(module, alone, tmp_path):
    done = alone("-c", f"import numpy, {module}", cwd=tmp_path, check=False)
    assert f"No module named '{module}'" in done.stderr


def test_numpy_alone_imports_it_and_carries_its_states(alone, tmp_path):
    artifact(tmp_path)
    x = given(tmp_path)
    code = """
import numpy as np
from carried import MODEL
x = np.load("x.npz")["my-input"]
model, wide = MODEL(), MODEL(dtype=np.float64)
chunks = [model(x[:, :2]), model(x[:, 2:])]
model.reset([1])
after = model(x)
np.savez("y.npz", chunks=np.concatenate(chunks, 1), after=after, wide=wide(x.astype(float)))
"""
    alone("-c", code, cwd=tmp_path)
    with np.load(tmp_path / "y.npz") as found:
        np.testing.assert_allclose(found["chunks"], wanted(x), atol=1e-6)
        assert found["chunks"].dtype == np.float32
        np.testing.assert_allclose(found["wide"], wanted(x), atol=1e-14)
        np.testing.assert_allclose(found["after"][1], wanted(x)[1], atol=1e-6)
        on = equations(np.concatenate([x, x], 1), np.full((2, 4), 0.25))[0][0, 5:]
        np.testing.assert_allclose(found["after"][0], on, atol=1e-6)


# A stateful model, and one of several inputs and outputs whose names are those of Keras 2.
SAMPLES = [
    pytest.param(name, marks=pytest.mark.xdist_group(name))
    for name in ("stateful_gru", "multi_output_gru", "my_layers")
]


STEPS = """
import sys
from importlib import import_module
import numpy as np
module = import_module(sys.argv[1])
model = module.MODEL()
for at in range(int(sys.argv[2])):
    given = dict(np.load(f"{at}.npz"))
    outputs, states = model.step(*[given[name] for name in model.INPUTS], {name: given[name] for name in model.STATES})
    assert list(outputs) == list(model.OUTPUTS) and list(states) == list(model.STATES)
    np.savez(f"found_{at}.npz", **outputs, **states)
"""


@pytest.mark.parametrize("name", SAMPLES)
def test_numpy_alone_gives_what_keras_gave(name, exported, alone, tmp_path):
    """As an import, and as a script."""
    copy = copied(exported(name)["numpy"].path, tmp_path)
    proof = NUMPY.read_proof(copy)
    signature, tolerance = proof.provenance.signature, Tolerance(**proof.provenance.tolerance)
    goldens = [golden for golden in proof.goldens if not golden.kept and not golden.carries and not golden.entry]
    assert len(goldens) > 4
    for at, golden in enumerate(goldens):
        np.savez(tmp_path / f"{at}.npz", **whole_feed(golden, signature))
    alone("-c", STEPS, copy.stem, len(goldens), cwd=tmp_path)
    alone(copy.name, "0.npz", "found_script.npz", cwd=tmp_path)
    # A state comes out under the name that it goes in by.
    after = {state.output.name: state.input.name for state in signature.states}
    for at, golden in [*enumerate(goldens), ("script", goldens[0])]:
        with np.load(tmp_path / f"found_{at}.npz") as found:
            assert len(found.files) == len(golden.expected)
            for output, array in golden.expected.items():
                bound = allowed(tolerance, array, leeway(golden.spread[output]))
                assert np.all(np.abs(found[after.get(output, output)] - array) <= bound), (golden.label, output)


def test_the_runtime_carries_its_states(tmp_path):
    x = given(tmp_path)
    with rnnexport.runtime.open(artifact(tmp_path)) as stream:
        np.testing.assert_allclose(
            np.concatenate([stream.step(x[:, :2]), stream.step(x[:, 2:])], 1), wanted(x), atol=1e-6
        )
        saved = stream.snapshot()
        on = stream.step(x)
        stream.restore(saved)
        np.testing.assert_array_equal(stream.step(x), on)
        stream.reset()
        np.testing.assert_allclose(stream.step(x), wanted(x), atol=1e-6)


def test_two_programs_of_one_name_do_not_meet(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one = artifact(tmp_path / "one")
    artifact(tmp_path / "other")
    other = perturb(tmp_path / "other" / "carried.py", tmp_path, 0.5)
    x = {"my-input": np.ones((1, 2, 3), "float32"), "state_gru_00": np.zeros((1, 4), "float32")}
    with NUMPY.runner(one, "cpu") as first, NUMPY.runner(other, "cpu") as second:
        ours, theirs = first.run(x)["readout"], second.run(x)["readout"]
        np.testing.assert_allclose(ours, equations(*x.values())[0], atol=1e-6)
        assert np.abs(ours - theirs).max() > 1e-4
    assert "carried" not in sys.modules


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("n_BH = np.tanh(", "n_BH = np.tanh(1e-3 + ", "values off"),
        ("return z_BH * h_BH + (1 - z_BH) * n_BH", "return (1 - z_BH) * h_BH + z_BH * n_BH", "values off"),
        ("    z_BH = sigmoid(", "    z_BH = np.sigmoid(", "the runtime raised AttributeError"),
        ('{"state_gru_00": h_BH}', "{}", "next_state_gru_00"),
        ('{"state_gru_00": h_BH}', '{"state_gru_00": h_BH, "more": h_BH}', "the runtime raised KeyError: 'more'"),
        ('{"readout": np', '{"other": h_BH, "readout": np', "other"),
        ('"my-input": ("float32", ("batch", "time", 3))', '"my-input": ("float64", ("batch", "time", 3))', "float64"),
        ('"readout": ("float32", ("batch", "time", 2))', '"readout": ("float32", ("batch", 2))', "rank 2, not 3"),
        ('("readout",)\n', '("readout", "readout")\n', "outputs are"),
        ("np.swapaxes(readout_TBO, 0, 1)}", "np.swapaxes(readout_TBO, 0, 1).astype(float)}", "float64"),
        ("self.states = None\n\n", "self.states, self.calls = None, 0\n\n", ""),
    ],
)
def test_a_program_that_computes_something_else_is_a_mismatch(old, new, problem, tmp_path):
    assert old in TEXT
    (report,) = rnnexport.verify(artifact(tmp_path, text=TEXT.replace(old, new, 1)), loading=TRUSTED).artifacts
    assert report.status == ("mismatch" if problem else "passed")
    assert problem in report.first_problem()


def test_a_program_that_keeps_something_between_calls_is_a_mismatch(tmp_path):
    old = '        h_BH = states["state_gru_00"]\n'
    new = '        h_BH = states["state_gru_00"] + getattr(self, "last", 0)\n        self.last = 1e-3\n'
    assert old in TEXT
    keeping = TEXT.replace(old, new)
    assert rnnexport.verify(artifact(tmp_path, text=keeping), loading=TRUSTED).exit_code == 1


def test_one_weight_off_is_a_mismatch(tmp_path):
    (report,) = rnnexport.verify(perturb(artifact(tmp_path), tmp_path, 1e-3)).artifacts
    assert report.status == "mismatch"


def test_what_comes_out_is_the_callers_own(tmp_path):
    """In a program outputs and states may be views of one buffer, which the next call fills again."""
    text = TEXT
    for old, new in (
        ("h_TBH = np.empty((len(x_TBG), *h_BH.shape), self.dtype)", "h_TBH = self.buffer"),
        ("self.states = None\n\n", "self.states, self.buffer = None, np.empty((3, 2, 4), dtype)\n\n"),
        ("np.swapaxes(readout_TBO, 0, 1)}", "h_TBH.swapaxes(0, 1)}"),
        ('"state_gru_00": h_BH}', '"state_gru_00": h_TBH[-1]}'),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    x = {"my-input": np.ones((2, 3, 3), "float32"), "state_gru_00": np.zeros((2, 4), "float32")}
    with NUMPY.runner(artifact(tmp_path, text=text), "cpu") as runner:
        found = runner.run(x)
        before = {name: array.copy() for name, array in found.items()}
        runner.run({**x, "my-input": -x["my-input"]})
        for name, array in before.items():
            np.testing.assert_array_equal(found[name], array)


def test_another_order_of_inputs_outputs_or_states_is_a_fault():
    """They are called by position, too."""
    names = ("a", "b", "next_a", "next_b", "state_a", "state_b", "y", "z")
    told = dict.fromkeys(names, ("float32", ("batch", 2)))
    spec = {name: TensorSpec(name, *told[name]) for name in names}
    states = [StateSpec("", spec[f"state_{one}"], spec[f"next_{one}"], np.zeros((1, 2), "float32")) for one in "ab"]
    signature = Signature((spec["a"], spec["b"]), (spec["y"], spec["z"]), tuple(states))
    right = {"INPUTS": ("a", "b"), "OUTPUTS": ("y", "z"), "STATES": ("state_a", "state_b"), "SIGNATURE": told}
    for name in (None, "INPUTS", "OUTPUTS", "STATES"):
        model = SimpleNamespace(**{key: value[::-1] if key == name else value for key, value in right.items()})
        assert bool(boundary_problems(NumpyRunner(model), signature, argument_name)) == (name is not None)


def command(*arguments):
    """The command line in a process where neither TensorFlow nor a runtime can be imported."""
    none = ["tensorflow", "keras", "tf_keras", "tf2onnx", "onnx", "onnx_ir", "onnxruntime", "ai_edge_litert"]
    code = f"import sys; sys.modules.update(dict.fromkeys({none})); from rnnexport.cli import main; main(sys.argv[1:])"
    process = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(process, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("name", "told"), [("verify", "verified"), ("inspect", "gru_cell")])
def test_no_tensorflow_and_no_runtime_is_imported(name, told, tmp_path):
    done = command(name, artifact(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert told in done.stdout


def test_a_report_does_not_go_over_the_archive(tmp_path):
    path = artifact(tmp_path)
    before = npz(path).read_bytes()
    done = command("verify", path, "--json", npz(path))
    assert (done.returncode, npz(path).read_bytes()) == (2, before)
    assert "which is an input" in done.stderr


def test_another_provider_is_not_run(tmp_path):
    report = rnnexport.verify(artifact(tmp_path), providers=("cuda", "cpu"))
    assert [item.status for item in report.artifacts] == ["not run", "passed"]
    assert "numpy does not run on cuda" in report.artifacts[0].first_problem()
