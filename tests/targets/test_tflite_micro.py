"""TFLite files in TensorFlow Lite Micro, and in LiteRT without its delegate."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

import rnnexport
from rnnexport.core.errors import ProviderError, UsageError
from rnnexport.core.forms import TFLiteForm
from rnnexport.core.quantization import QuantizeRequest
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.trace import Graphs, trace
from rnnexport.targets.registry import target
from rnnexport.targets.tflite.arena import least_arena
from rnnexport.targets.tflite.export import converted
from tests.streams import with_random_weights

GROUP = pytest.mark.xdist_group("tflite_micro")
STEPS, FEATURES = 9, 3
EXAMPLE = Path(__file__).parents[2] / "examples" / "tflm"


@pytest.fixture(scope="module")
def source():
    x = keras.Input((None, FEATURES), name="x")
    model = keras.Model(x, keras.layers.LSTM(5, return_sequences=True, name="y")(x), name="small")
    rng = np.random.default_rng(6)
    model.set_weights([rng.uniform(-0.7, 0.7, array.shape) for array in model.get_weights()])
    return rnnexport.load(model)


@pytest.fixture(scope="module")
def files(source, tmp_path_factory):
    """What writes a file, unverified, at a boundary, in a form."""
    folder = tmp_path_factory.mktemp("micro")

    def write(boundary, form):
        path = folder / f"{form.form}_{form.runtime}_{boundary.timesteps}.tflite"
        signature = describe(source, boundary)
        path.write_bytes(converted(Graphs(trace(source, signature, unroll=False)), form)[0])
        return path

    return write


def ran(path, provider, source):
    """(what a provider gives, what Keras gives)."""
    x = np.random.default_rng(7).standard_normal((1, STEPS, FEATURES)).astype(np.float32)
    with target("tflite").runner(path, provider) as runner:
        runner.run({"x": x[:, ::-1]})
        (found,) = runner.run({"x": x}).values()
        return found, np.asarray(source.model(x)), runner.settings


@GROUP
@pytest.mark.parametrize("form", ["unroll", "rolled", "fused"])
def test_every_form_that_is_made_for_it_runs_there(form, files, source):
    pytest.importorskip("tflite_micro")
    path = files(Boundary(1, STEPS), TFLiteForm(form, "tflm"))
    found, wanted, settings = ran(path, "tflm", source)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert 1_000 < int(settings["arena"].removesuffix(" bytes").replace(",", "")) < 100_000


@pytest.fixture(scope="module")
def board(source, tmp_path_factory):
    """(path, exported) of an artifact for it."""
    pytest.importorskip("tflite_micro")
    path = tmp_path_factory.mktemp("board") / "board.tflite"
    form = TFLiteForm("fused", "tflm")
    return path, rnnexport.export(source, "tflite", path, batch=1, timesteps=STEPS, tflite=form)


@GROUP
def test_an_artifact_for_it_is_verified_there(board):
    path, exported = board
    assert (exported.report.status, exported.report.provider) == ("passed", "tflm")
    assert rnnexport.inspect(path).facts["options"] == "batch 1, for tflm, form fused, timesteps 9"
    (report,) = rnnexport.verify(path, providers=["tflm"]).artifacts
    assert report.status == "passed"
    assert report.settings == {"arena": f"{least_arena(path, 1 << 20):,} bytes"}


@GROUP
def test_where_no_arena_can_be_tried_it_says_so(tmp_path):
    with pytest.raises(ProviderError, match="can't be tried in arenas"):
        least_arena(tmp_path / "missing.tflite", 1 << 20)


@GROUP
def test_a_stream_begins_with_the_states_of_the_file_there(source, tmp_path):
    pytest.importorskip("tflite_micro")
    path, form = tmp_path / "step.tflite", TFLiteForm("unroll", "tflm")
    exported = rnnexport.export(source, "tflite", path, batch=1, stream=1, tflite=form)
    assert (exported.report.status, exported.report.provider) == ("passed", "tflm")
    with target("tflite").runner(path, "tflm") as runner:
        states = runner.at("initial_state").run({})
        with pytest.raises(KeyError):
            runner.at("another")
    assert {array.shape for array in states.values()} == {(1, 5)}
    assert not any(array.any() for array in states.values())


def compiled(folder, *options):
    """What a C++ compiler makes of `main.cc` in a folder, run."""
    if (compiler := shutil.which("g++")) is None:
        pytest.skip("there is no C++ compiler")
    program = folder / "program"
    arguments = [compiler, "-std=c++17", "-O1", str(folder / "main.cc"), *options, "-o", str(program)]
    subprocess.run(arguments, check=True, capture_output=True, text=True)
    return subprocess.run([program], check=False, capture_output=True, text=True)


@GROUP
def test_a_header_for_a_board_has_the_file_its_operators_and_its_goldens(board, tmp_path):
    path, exported = board
    (tmp_path / "board.h").write_text(runpy.run_path(str(EXAMPLE / "header.py"))["header"](path))
    checks = """#include "board.h"
#include <cstdio>
struct Resolver { void AddUnidirectionalSequenceLSTM() { puts("lstm"); } void AddReshape() { puts("reshape"); } };
int main() {
  Resolver resolver;
  board::AddOperators(resolver);
  printf("%d %d %.6g\\n", int(sizeof board::model), board::kOperators, board::goldens[0].outputs[0][1]);
}
"""
    (tmp_path / "main.cc").write_text(checks)
    *operators, told = compiled(tmp_path).stdout.splitlines()
    size, count, number = told.split()
    assert sorted(operators) == ["lstm", "reshape"]
    assert (int(count), int(size) < path.stat().st_size) == (2, True)
    golden = target("tflite").read_proof(path).goldens[0]
    np.testing.assert_allclose(float(number), golden.expected["y"].ravel()[1], rtol=1e-4)
    assert exported.report.status == "passed"


@pytest.fixture(scope="module")
def library():
    """Options that compile a program with the library: `TFLM_ROOT` is a tree in which `make microlite` was run."""
    if not (root := os.environ.get("TFLM_ROOT")):
        pytest.skip("TFLM_ROOT is not set")
    downloads = Path(root) / "tensorflow/lite/micro/tools/make/downloads"
    folders = [root, downloads / "flatbuffers/include", downloads / "gemmlowp", downloads / "ruy"]
    (archive,) = Path(root).glob("gen/*/lib/libtensorflow-microlite.a")
    return ["-DTF_LITE_STATIC_MEMORY", *(f"-I{folder}" for folder in folders), str(archive)]


def of_a_gru(folder, quantize=None):
    x = keras.Input((STEPS, FEATURES), batch_size=1, name="x")
    y = keras.layers.GRU(6, return_sequences=True, name="gru")(x)
    model = with_random_weights(keras.Model(x, keras.layers.Dense(4, name="y")(y), name="gru"), 7)
    form = TFLiteForm("unroll", "tflm")
    return rnnexport.export(model, "tflite", folder / "gru.tflite", tflite=form, quantize=quantize).path


# What makes an artifact for a board, by its kind.
BOARDS = {
    "fused": lambda request, folder: request.getfixturevalue("board")[0],
    "unroll": lambda request, folder: of_a_gru(folder),
    "int8": lambda request, folder: of_a_gru(folder, QuantizeRequest("int8", allow_partial=True)),
}


@GROUP
@pytest.mark.parametrize("kind", BOARDS)
def test_the_program_for_a_board_gives_what_the_model_gives_and_notices_another_golden(
    kind, library, request, tmp_path
):
    pytest.importorskip("tflite_micro")
    text = runpy.run_path(str(EXAMPLE / "header.py"))["header"](BOARDS[kind](request, tmp_path))
    (tmp_path / "board.h").write_text(text)
    shutil.copy(EXAMPLE / "main.cc", tmp_path)
    done = compiled(tmp_path, *library)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r"[1-9]\d* goldens, 0 values wrong", done.stdout)
    for number in ("9.5f", "NAN"):
        (tmp_path / "board.h").write_text(re.sub(r"( out_0_0\[\] = \{)[^,]*", rf"\g<1>{number}", text))
        done = compiled(tmp_path, *library)
        assert (done.returncode, " 1 values wrong" in done.stdout) == (1, True)


def test_the_documentation_has_that_program():
    text = (EXAMPLE.parents[1] / "docs" / "tflite.md").read_text()
    assert f"```cpp\n{(EXAMPLE / 'main.cc').read_text()}```" in text


@GROUP
def test_an_operator_that_it_lacks_and_open_sizes_are_named(files):
    pytest.importorskip("tflite_micro")
    for boundary, words in (
        (Boundary(1, STEPS), "it has no FILL"),
        (Boundary(1), "has open sizes, in serving_default_x"),
    ):
        path = files(boundary, TFLiteForm("rolled"))
        with pytest.raises(ProviderError, match=words), target("tflite").runner(path, "tflm"):
            pass


@GROUP
def test_what_is_not_installed_is_told(files, monkeypatch):
    path = files(Boundary(1, STEPS), TFLiteForm("rolled"))
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    with pytest.raises(ProviderError, match="tflite-micro is not installed"), target("tflite").runner(path, "tflm"):
        pass


@GROUP
def test_a_fused_state_goes_on_as_that_of_a_stateful_layer(files, source):
    """Where nothing resets it, in LiteRT, two calls are a sequence of twice the length."""
    path = files(Boundary(1, STEPS), TFLiteForm("fused"))
    x = np.random.default_rng(8).standard_normal((1, 2 * STEPS, FEATURES)).astype(np.float32)
    run = Interpreter(model_path=str(path)).get_signature_runner("serving_default")
    found = [np.array(run(x=half)["y"]) for half in np.split(x, 2, axis=1)]
    np.testing.assert_allclose(np.concatenate(found, axis=1), np.asarray(source.model(x)), rtol=1e-5, atol=1e-6)


@GROUP
def test_litert_runs_without_its_delegate(files, source):
    found, wanted, _ = ran(files(Boundary(1, STEPS), TFLiteForm("rolled")), "no-xnnpack", source)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_another_runtime_is_refused():
    with pytest.raises(UsageError, match="runtime 'onnx'"):
        TFLiteForm("rolled", "onnx")


@GROUP
@pytest.mark.parametrize("sizes", [{"batch": 1}, {"timesteps": STEPS}])
def test_a_size_that_is_open_is_refused_at_once(sizes, source, tmp_path):
    with pytest.raises(UsageError, match="input x of small with an open size"):
        rnnexport.export(source, "tflite", tmp_path / "m.tflite", tflite=TFLiteForm("rolled", "tflm"), **sizes)
    assert list(tmp_path.iterdir()) == []
