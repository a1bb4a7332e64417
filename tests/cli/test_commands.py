"""The commands as a user types them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

import rnnexport
from rnnexport.cli import _COMMANDS
from rnnexport.targets.registry import target
from samples.catalog import SAMPLES_BY_NAME
from tests.perturb import perturb

GROUP = pytest.mark.xdist_group("lstm")  # whose artifacts most of these tests use
ROOT = Path(__file__).parents[2]
CELLS = ROOT / "samples"
# As on a host that has none of them: importing one raises.
WITHOUT_TENSORFLOW = "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'tf_keras', 'tf2onnx'])); "


@GROUP
@pytest.mark.parametrize("command", _COMMANDS)
def test_every_command_has_a_help_with_an_example(command, rnnexport_command):
    done = rnnexport_command(command, "--help")
    assert done.returncode == 0
    assert "Example" in done.stdout
    assert f"rnnexport {command} " in done.stdout


@GROUP
def test_help_names_commands_and_exit_codes(rnnexport_command):
    done = rnnexport_command("--help")
    assert done.returncode == 0
    for word in (*_COMMANDS, "Exit codes", "1  mismatch", "4  a runtime"):
        assert word in done.stdout


@GROUP
def test_onnx_then_verify_a_copy(saved, rnnexport_process, tmp_path):
    """The script that pip installs, from end to end; what libraries print as they are imported is not told."""
    done = rnnexport_process(
        "onnx", saved("s_lstm"), "--opset", 15, "--custom-objects", CELLS / "s_lstm.py", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "verified" in done.stdout
    assert "wrote s_lstm.onnx" in done.stdout
    assert [(o.domain, o.version) for o in onnx.load(tmp_path / "s_lstm.onnx").opset_import if not o.domain] == [
        ("", 15)
    ]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "s_lstm.onnx").rename(tmp_path / "elsewhere" / "copy.onnx")
    done = rnnexport_process("verify", "copy.onnx", "--json", "report.json", cwd=tmp_path / "elsewhere")
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((tmp_path / "elsewhere" / "report.json").read_text())
    assert (report["schema"], report["passed"], report["exit_code"]) == (2, True, 0)
    (artifact,) = report["artifacts"]
    assert (artifact["target"], artifact["provider"], artifact["status"]) == ("onnx", "cpu", "passed")
    assert len(artifact["feeds"]) == 13  # 7 planned, 5 beside them, and the first again


@GROUP
def test_custom_objects_may_be_a_module(saved, rnnexport_command, tmp_path):
    done = rnnexport_command("onnx", saved("s_lstm"), "--custom-objects", "samples.s_lstm", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@GROUP
def test_export_to_several_targets(saved, rnnexport_command, tmp_path):
    done = rnnexport_command(
        *("export", saved("simple_rnn"), "--to", "onnx", "--to", "saved-model", "--to", "tflite", "--to", "numpy"),
        *("--tflite-timesteps", 4, "--form", "rolled", "-o", tmp_path / "new" / "artifacts"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = sorted(path.name for path in (tmp_path / "new" / "artifacts").iterdir())
    assert found == [
        "simple_rnn.npz",
        "simple_rnn.onnx",
        "simple_rnn.py",
        "simple_rnn.tflite",
        "simple_rnn_saved_model",
    ]
    assert done.stdout.count("verified") == 4
    told = rnnexport.inspect(tmp_path / "new" / "artifacts" / "simple_rnn.tflite").facts["options"]
    assert told == "form rolled, timesteps 4"


@GROUP
def test_a_program_goes_into_a_folder_or_to_a_file_and_takes_the_place_of_an_earlier_one(
    saved, rnnexport_command, tmp_path
):
    model, programs = saved("simple_rnn"), tmp_path / "new" / "programs"
    for output, place in ((programs, programs / "simple_rnn.py"), (tmp_path / "my-model.py",) * 2, (programs,) * 2):
        done = rnnexport_command("numpy", model, "-o", output, cwd=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "verified" in done.stdout
        if place.suffix:
            assert f"wrote {place}, {place.with_suffix('.npz')}" in done.stdout.replace("\n", "")
    assert sorted(path.name for path in programs.iterdir()) == ["simple_rnn.npz", "simple_rnn.py"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my-model.npz", "my-model.py", "new"]
    # A model and its code may well lie beside each other under one name.
    (tmp_path / "simple_rnn.py").write_text("mine = 1\n")
    done = rnnexport_command("numpy", model, cwd=tmp_path)
    assert done.returncode == 2
    assert "simple_rnn.py, which rnnexport did not write" in done.stderr
    assert (tmp_path / "simple_rnn.py").read_text() == "mine = 1\n"


@GROUP
def test_no_verify_says_so(saved, rnnexport_command, tmp_path):
    done = rnnexport_command(
        "onnx", saved("my_layer"), "--no-verify", "--custom-objects", CELLS / "my_layer.py", cwd=tmp_path
    )
    assert done.returncode == 0
    assert "wrote my_layer.onnx (not verified)" in done.stdout
    assert "verified " not in done.stdout.replace("(not verified)", "")


@GROUP
def test_verify_says_mismatch_and_what_is_off(exported, rnnexport_command, tmp_path):
    good = exported("lstm")["onnx"].path
    bad = perturb(good, tmp_path, 1e-3)
    done = rnnexport_command("verify", good, bad, "--json", tmp_path / "report.json")
    assert done.returncode == 1
    assert "mismatch" in done.stdout
    assert re.search(r"values off, from timestep \d+ on, first at \[0, ", " ".join(done.stdout.split()))
    statuses = [item["status"] for item in json.loads((tmp_path / "report.json").read_text())["artifacts"]]
    assert statuses == ["passed", "mismatch"]


@GROUP
def test_a_loose_tolerance_passes_what_a_tight_one_does_not(exported, rnnexport_command, tmp_path):
    bad = perturb(exported("lstm")["onnx"].path, tmp_path, 1e-3)
    assert rnnexport_command("verify", bad, "--atol", 10).returncode == 0
    assert rnnexport_command("verify", exported("lstm")["onnx"].path, "--atol", 0, "--rtol", 0).returncode == 1


@GROUP
def test_verify_against_another_source_is_a_mismatch(exported, saved, rnnexport_command):
    arguments = ("verify", exported("lstm")["onnx"].path, "--source")
    assert rnnexport_command(*arguments, saved("lstm")).returncode == 0
    done = rnnexport_command(*arguments, saved("simple_rnn"))
    assert done.returncode == 1
    assert "values off" in done.stdout


@GROUP
def test_a_provider_that_is_not_there_is_not_a_pass(exported, rnnexport_command):
    artifacts = [exported("lstm")[to].path for to in ("onnx", "tflite")]
    done = rnnexport_command("verify", *artifacts, "--provider", "cpu", "--provider", "cuda")
    assert done.returncode == 4
    assert len(re.findall(r"^ lstm\.\w+ .* cpu +verified", done.stdout, re.MULTILINE)) == 2
    assert "no execution provider cuda on this host" in done.stdout
    assert "tflite does not run on cuda" in done.stdout


@GROUP
def test_a_runtime_that_is_missing_does_not_hide_the_verdict_on_others(exported, tmp_path):
    bad = perturb(exported("lstm")["onnx"].path, tmp_path, 1e-3)
    arguments = ["verify", str(exported("lstm")["tflite"].path), str(bad)]
    code = f"import sys; sys.modules['ai_edge_litert'] = None; from rnnexport.cli import main; main({arguments!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "not run" in done.stdout
    assert "mismatch" in done.stdout


@GROUP
def test_a_reader_that_goes_away_changes_no_verdict(exported, tmp_path):
    bad = perturb(exported("lstm")["onnx"].path, tmp_path, 1e-3)
    command = f"{sys.executable} -m rnnexport verify {bad} --json {tmp_path}/r.json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads((tmp_path / "r.json").read_text())["exit_code"] == 1


@GROUP
def test_a_full_stdout_is_told(exported):
    command = f"{sys.executable} -m rnnexport verify {exported('lstm')['onnx'].path} >/dev/full"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "can't write /dev/stdout: No space left on device" in done.stderr


@GROUP
def test_a_tolerance_of_the_export_is_told(saved, rnnexport_command, tmp_path):
    assert rnnexport_command("onnx", saved("lstm"), "--atol", 0.5, cwd=tmp_path).returncode == 0
    done = rnnexport_command("verify", "lstm.onnx", cwd=tmp_path)
    assert done.returncode == 0
    assert "judged with rtol 1e-05, atol 0.5, which are not the defaults" in done.stdout


@GROUP
@pytest.mark.parametrize(
    "backend", ["jax", *(pytest.param(name, marks=pytest.mark.long) for name in ("torch", "no-such"))]
)
def test_the_backend_of_the_shell_does_not_matter(backend, saved, rnnexport_process, tmp_path, monkeypatch):
    model = saved("lstm")
    monkeypatch.setenv("KERAS_BACKEND", backend)
    done = rnnexport_process("onnx", model, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@GROUP
@pytest.mark.parametrize(
    ("statement", "code", "told"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM)", 143, "terminated"),
        ("os.kill(os.getpid(), signal.SIGINT)", 130, "interrupted"),
        # what swallows it only puts it off to the next step
        (
            "\n        try: os.kill(os.getpid(), signal.SIGINT)\n        except KeyboardInterrupt: pass",
            130,
            "interrupted",
        ),
    ],
    ids=["SIGTERM", "Ctrl-C", "swallowed"],
)
def test_a_stopped_export_leaves_nothing(statement, code, told, saved, rnnexport_command, tmp_path):
    """A signal while the user's code runs, at a moment that the code itself picks."""
    cells = (CELLS / "s_lstm.py").read_text()
    signal_itself = "import os, signal\n" + cells.replace(
        "        h, c = states\n", f"        {statement}\n        h, c = states\n"
    )
    (tmp_path / "cells.py").write_text(signal_itself)
    done = rnnexport_command("onnx", saved("s_lstm"), "--custom-objects", "cells.py", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (code, f"rnnexport: error: {told}; no artifact was written\n")
    assert [path.name for path in tmp_path.iterdir()] == ["cells.py"]


@GROUP
def test_the_command_alone_shows_its_help(rnnexport_command):
    done = rnnexport_command()
    assert done.returncode == 2
    assert "Exit codes" in done.stderr


@pytest.mark.xdist_group("stateful_gru")
def test_inspect_an_artifact(exported, rnnexport_command):
    path = exported("stateful_gru")["onnx"].path
    done = rnnexport_command("inspect", path)
    assert (done.returncode, done.stderr) == (0, "")
    goldens = target("onnx").read_proof(path).goldens
    assert len(goldens) >= 10 + 3 + 3  # planned, beside them, chunks; and those that branches ask for
    for fragment in (
        "stateful_gru",
        "opset 17",
        "parameters   62,914, 252 KB",
        f"{len(goldens)} feeds",
        "whole",
        "state_gru_layer_0_00 -> next_state_gru_layer_0_00",
        "recurrences",
    ):
        assert fragment in done.stdout


@GROUP
@pytest.mark.parametrize("to", ["tflite", "saved-model", "numpy"])
def test_inspect_other_artifacts(to, exported, rnnexport_command):
    done = rnnexport_command("inspect", exported("lstm")[to].path)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"tflite": "FULLY_CONNECTED", "saved-model": "MatMul", "numpy": "lstm_cell"}[to] in done.stdout


@GROUP
def test_inspect_a_model(rnnexport_command, tmp_path):
    model = SAMPLES_BY_NAME["stateful_gru"].build()
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)  # twice as many numbers as there are parameters
    model.save(tmp_path / "m.keras")
    done = rnnexport_command(
        "inspect", "m.keras", "--custom-objects", CELLS / "stateful_gru.py", "--json", "m.json", cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, "")
    for fragment in ("Keras 3", "GRU", "gru_layer_0", "(1, 1, 4)", "parameters   62,914, 252 KB"):
        assert fragment in done.stdout
    assert "adam" not in done.stdout.lower()
    told = json.loads((tmp_path / "m.json").read_text())
    assert told["parameters"] == {"count": 62914, "bytes": 4 * 62914}
    layers = {one["name"]: one for one in told["layers"]}
    assert layers["gru_layer_1"]["outputs"] == [[1, 1, 64]]
    assert layers["gru_layer_1"]["parameters"] == {"count": 24768, "bytes": 4 * 24768}
    assert layers["output_node"]["parameters"]["count"] == 64 * 2 + 2


@GROUP
def test_inspect_shows_what_a_file_says_even_where_it_can_not_be_loaded(saved, rnnexport_command):
    done = rnnexport_command("inspect", saved("s_lstm"))
    assert done.returncode == 3
    assert "SLSTMCell" in done.stdout
    assert "loaded by" in done.stdout
    assert "tf_keras" in done.stdout


@GROUP
@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["verify", "m.onnx"],
        ["verify", "m.tflite"],
        ["verify", "lstm.py"],
        ["verify", "lstm.c"],
        ["inspect", "m.onnx"],
        ["inspect", "m.keras"],
    ],
)
def test_no_tensorflow_is_imported(arguments, exported, saved, tmp_path):
    shutil.copy(exported("lstm")["onnx"].path, tmp_path / "m.onnx")
    shutil.copy(exported("lstm")["tflite"].path, tmp_path / "m.tflite")
    for to in ("numpy", "c"):
        for file in exported("lstm")[to].path.parent.glob("lstm.*"):
            if file.is_file():
                shutil.copy(file, tmp_path)
    shutil.copy(saved("lstm"), tmp_path / "m.keras")
    code = WITHOUT_TENSORFLOW + f"from rnnexport.cli import main; main({arguments!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    if arguments[1:] == ["m.keras"]:  # what the file says of itself is printed; loading it is what fails
        assert (done.returncode, "written by" in done.stdout) == (4, True)
        assert "tensorflow is not installed" in done.stderr
        return
    assert (done.returncode, done.stderr) == (0, "")


@GROUP
def test_importing_the_package_imports_no_tensorflow_and_no_runtime():
    code = "import rnnexport, sys; print(sorted({'tensorflow', 'keras', 'onnxruntime', 'onnx'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@GROUP
def test_verifying_a_saved_model_without_tensorflow_is_not_run(exported):
    path = str(exported("lstm")["saved-model"].path)
    code = WITHOUT_TENSORFLOW + f"from rnnexport.cli import main; main(['verify', {path!r}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "tensorflow is not installed" in done.stdout


@pytest.fixture(scope="module")
def old_files(tmp_path_factory):
    """One model of Keras 2.2 as `.h5`, as weights beside JSON, as weights alone, and as a program."""
    import tf_keras

    from tests import origins

    folder = tmp_path_factory.mktemp("old")
    origins.keras2("2.2.4")("GRU, reset before, hard_sigmoid", folder)
    model = origins.live(tf_keras, "GRU, reset before, hard_sigmoid")
    (folder / "pair.json").write_text(model.to_json())
    model.save_weights(folder / "pair.h5")
    model.save_weights(folder / "alone.h5")
    model.save(folder / "program", save_format="tf")
    (folder / "build.py").write_text(
        "import tf_keras as k\n\ndef make():\n    return k.Sequential([k.Input((None, 5), name='x'), k.layers.GRU(4, "
        "reset_after=False, recurrent_activation='hard_sigmoid', return_sequences=True)])\n"
    )
    return folder


@pytest.mark.parametrize(
    ("file", "told"),
    [
        (
            "model.h5",
            [
                "Keras 2.2.4 on tensorflow",
                "tf_keras, because Keras 2.2.4 on tensorflow wrote it",
                "before the recurrent",
                "0.2x",
            ],
        ),
        ("pair.json", ["architecture of a Keras model", "with", "pair.h5", "tf_keras 2.21.0"]),
        ("pair.h5", ["weights of a Keras model", "pair.json", "tf_keras 2.21.0"]),
        (
            "alone.h5",
            ["weights of a Keras model", "nothing yet: give --architecture model.json", "(5, 12) (4, 12) (12,)"],
        ),
        ("program", ["SavedModel", "TensorFlow 2.21.0, Keras 2, as a program", "signature serving_default"]),
    ],
)
def test_inspect_tells_what_an_old_file_is_without_tensorflow(file, told, old_files):
    code = (
        WITHOUT_TENSORFLOW + f"from rnnexport.cli import main; sys.exit(main(['inspect', {str(old_files / file)!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    for text in told:
        assert text in done.stdout
    assert done.returncode == (0 if file == "alone.h5" else 4)  # its inputs and outputs need the model loaded


@GROUP
@pytest.mark.parametrize(
    "arguments",
    [
        ["model.h5"],
        pytest.param(["model.h5", "--keras-api", "tf_keras"], marks=pytest.mark.long),
        pytest.param(["pair.json"], marks=pytest.mark.long),
        pytest.param(["alone.h5", "--architecture", "pair.json"], marks=pytest.mark.long),
        pytest.param(["alone.h5", "--builder", "build.py:make", "--weights-by", "order"], marks=pytest.mark.long),
        ["program"],
    ],
    ids=lambda arguments: arguments[-1],
)
def test_old_files_are_exported_with_their_numbers(arguments, old_files, rnnexport_command, tmp_path):
    import numpy as np
    import onnxruntime
    import tf_keras

    from tests import origins

    done = rnnexport_command("onnx", *arguments, "-o", tmp_path / "m.onnx", cwd=old_files)
    assert (done.returncode, done.stderr) == (0, "")
    x = origins.feed("GRU")
    found = onnxruntime.InferenceSession(str(tmp_path / "m.onnx")).run(None, {"x": x})[0]
    wanted = origins.live(tf_keras, "GRU, reset before, hard_sigmoid")(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-6)
    told = rnnexport_command("inspect", tmp_path / "m.onnx").stdout
    assert "semantics 1" in told
    assert ("clip(0.2x + 0.5, 0, 1)" in told) == (arguments[0] in ("model.h5", "pair.json") or "pair.json" in arguments)


@GROUP
def test_another_keras_has_other_numbers_and_the_artifact_says_so(old_files, rnnexport_command, tmp_path):
    done = rnnexport_command("onnx", "model.h5", "--keras-api", "keras", "-o", tmp_path / "m.onnx", cwd=old_files)
    assert (done.returncode, done.stderr) == (0, "")
    told = rnnexport_command("inspect", tmp_path / "m.onnx").stdout
    assert "the numbers are not those of Keras 2.2.4" in told


@GROUP
def test_the_report_says_what_computes_in_which_dtype(rnnexport_command, tmp_path):
    import keras

    x = keras.Input((None, 3))
    y = keras.layers.Dense(2, dtype="float32", name="readout")(
        keras.layers.GRU(4, dtype="mixed_float16", name="gru")(x)
    )
    keras.Model(x, y).save(tmp_path / "m.keras")
    done = rnnexport_command("onnx", "m.keras", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "computes in float16: gru" in done.stdout
    done = rnnexport_command("verify", "m.onnx", "--json", "r.json", cwd=tmp_path)
    assert "computes in float16: gru" in done.stdout
    (artifact,) = json.loads((tmp_path / "r.json").read_text())["artifacts"]
    assert "gru" in artifact["computed_in"]["float16"]
    assert "readout" in artifact["computed_in"]["float32"]
    done = rnnexport_command("verify", "m.onnx", "--json", "-", "-q", cwd=tmp_path)
    assert json.loads(done.stdout)["artifacts"][0]["computed_in"] == artifact["computed_in"]
