"""ONNX in the runtimes of JavaScript: what goes over the pipes, and how what goes wrong is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest

import rnnexport
from rnnexport.core.errors import CrashError, ProviderError, RaisedError
from rnnexport.isolation.limits import Limits
from rnnexport.isolation.runner import opened
from rnnexport.targets.onnx.other_runtimes import PACKAGES
from rnnexport.targets.registry import target

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="no Node.js on this host")

# A package of that name which gives its inputs back as outputs, or does as the first number says.
PACKAGE = """
class Tensor { constructor(type, data, dims) { Object.assign(this, { type, data, dims }); } }
const run = async (feeds) => {
  const number = feeds.x.data[0];
  if (number === 1) throw new Error("no such row");
  if (number === 2) process.exit(7);
  if (number === 3) for (;;);
  return Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [`${name}_out`, tensor]));
};
const create = async (file) => {
  if (file.endsWith("refused.onnx")) throw new Error("opset 99");
  if (file.endsWith("ends.onnx")) process.exit(9);
  const outputNames = ["x", "half", "flag", "count", "word"].map((name) => `${name}_out`);
  return { outputNames, run };
};
module.exports = { Tensor, InferenceSession: { create }, env: { versions: { node: "0.5" } } };
"""
MODEL = """<ir_version: 8, opset_import: ["": 17]>
m (float[N] x, float16[2] half, bool[2] flag, int64 count, string[2] word)
=> (float[N] x_out, float16[2] half_out, bool[2] flag_out, int64 count_out, string[2] word_out)
{
  x_out = Identity (x)
  half_out = Identity (half)
  flag_out = Identity (flag)
  count_out = Identity (count)
  word_out = Identity (word)
}"""


def feed(*numbers):
    return {
        "x": np.array(numbers, "float32"),
        "half": np.array([0.5, -3.0], "float16"),
        "flag": np.array([True, False]),
        "count": np.array(2**60 + 1),
        "word": np.array(["π", "b"], object),
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    package = tmp_path / "node_modules" / "onnxruntime-node"
    package.mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"name": "onnxruntime-node", "main": "index.js"}))
    (package / "index.js").write_text(PACKAGE)
    for name in ("m", "refused", "ends"):
        onnx.save(onnx.parser.parse_model(MODEL), tmp_path / f"{name}.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_dtype_goes_there_and_comes_back(folder):
    with target("onnx").runner(folder / "m.onnx", "onnxruntime-node") as runner:
        assert runner.settings["runtime"].startswith("onnxruntime-node 0.5, node ")
        for numbers in ([], [4.5], [-1.25, 8.0, 9.0]):
            given = feed(*numbers) if numbers else feed(0.25)
            found = runner.run(given)
            assert list(found) == [f"{name}_out" for name in given]
            for name, array in given.items():
                assert found[f"{name}_out"].dtype == array.dtype
                np.testing.assert_array_equal(found[f"{name}_out"], array)


def test_what_it_throws_is_told_and_it_goes_on(folder):
    with target("onnx").runner(folder / "m.onnx", "onnxruntime-node") as runner:
        with pytest.raises(RaisedError, match="no such row"):
            runner.run(feed(1))
        assert runner.run(feed(5))["x_out"] == 5


def test_a_process_that_ends_is_told(folder):
    with target("onnx").runner(folder / "m.onnx", "onnxruntime-node") as runner:
        with pytest.raises(CrashError, match=r"m.onnx in onnxruntime-node ended its process with code 7"):
            runner.run(feed(2))
        with pytest.raises(CrashError, match="ended its process"):
            runner.run(feed(5))
    with (
        pytest.raises(CrashError, match="ended its process with code 9"),
        opened(target("onnx"), folder / "ends.onnx", "onnxruntime-node", tf32=False, limits=Limits()),
    ):
        pass


def test_a_file_that_it_refuses_and_a_package_that_is_not_there_are_not_run(folder, monkeypatch):
    monkeypatch.delenv("NODE_PATH", raising=False)
    with (
        pytest.raises(ProviderError, match=r"onnxruntime-node does not take refused.onnx: .*opset 99.*--portable"),
        target("onnx").runner(folder / "refused.onnx", "onnxruntime-node"),
    ):
        pass
    with (
        pytest.raises(ProviderError, match=r"finds no package onnxruntime-web from .*; npm install onnxruntime-web"),
        target("onnx").runner(folder / "m.onnx", "onnxruntime-web"),
    ):
        pass


def test_a_host_without_node_is_told(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    with (
        pytest.raises(ProviderError, match=r"no program node on this host; expected Node.js and onnxruntime-web"),
        target("onnx").runner(folder / "m.onnx", "onnxruntime-web"),
    ):
        pass


def processes(folder: Path) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if f"{folder}/m.onnx" in line]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes as Linux has them")
def test_what_computes_for_ever_is_ended_with_who_asked(folder):
    with (
        pytest.raises(CrashError, match="takes longer than 1 s"),
        opened(target("onnx"), folder / "m.onnx", "onnxruntime-node", tf32=False, limits=Limits(timeout=1)) as runner,
    ):
        runner.run(feed(3))
    for _ in range(100):
        if not processes(folder):
            break
        time.sleep(0.1)
    assert not processes(folder)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_compute_a_masked_recurrence(package, tmp_path):
    """Where they are: `npm install --prefix DIR onnxruntime-node onnxruntime-web`, and NODE_PATH=DIR/node_modules."""
    places = filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep))
    if not any((Path(place) / package).is_dir() for place in places):
        pytest.skip(f"no {package} in NODE_PATH")
    import keras

    ids = keras.Input((None,), dtype="int32")
    masked = keras.layers.Embedding(9, 3, mask_zero=True)(ids)
    model = keras.Model(ids, keras.layers.Bidirectional(keras.layers.LSTM(4))(masked))
    rng = np.random.default_rng(5)
    model.set_weights([rng.uniform(-0.7, 0.7, weight.shape) for weight in model.get_weights()])
    exported = rnnexport.export(model, "onnx", tmp_path / "m.onnx")
    (report,) = rnnexport.verify(exported.path, providers=[package]).artifacts
    assert report.status == "passed", report.problems
