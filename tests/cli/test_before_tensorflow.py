"""What is refused before TensorFlow is imported, and what is said of it: typos, wrong kinds of files, wrong places."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import onnx
import pytest

ROOT = Path(__file__).parents[2]
# All cases in one process, in which importing TensorFlow raises.
LOOP = """
import contextlib, io, json, os, sys
sys.modules.update(dict.fromkeys(["tensorflow", "keras", "tf_keras", "tf2onnx"]))
from rnnexport.cli import main
told = []
for case in json.loads(sys.argv[1]):
    with open("stderr", "w+") as err:
        real = os.dup(2)
        os.dup2(err.fileno(), 2)
        try:
            main(case.split())
        except SystemExit as error:
            code = error.code
        finally:
            os.dup2(real, 2)
        err.seek(0)
        told.append([code, err.read()])
print(json.dumps(told))
"""
CASES = {
    "onnx nowhere.keras": (2, ["no file nowhere.keras", "check the path"]),
    "onnx lsmt.keras": (2, ["no file lsmt.keras", "did you mean lstm.keras?"]),
    "inspect lstm.kers": (2, ["did you mean lstm.keras?"]),
    "verify modl.onnx": (2, ["did you mean model.onnx?"]),
    "onnx model.onnx": (3, ["model.onnx is not a Keras file but an ONNX model", "rnnexport verify model.onnx"]),
    "onnx model.tflite": (3, ["not a Keras file but a TFLite model", "rnnexport verify model.tflite"]),
    "onnx model.pt": (3, ["model.pt is not a Keras file but a PyTorch file"]),
    "onnx pickled.h5": (3, ["not a Keras file but a Python pickle"]),
    "tflite cells.py": (3, ["cells.py is not a Keras file but Python code"]),
    "onnx arrays.npz": (3, ["arrays.npz is not a Keras file but an archive of NumPy arrays"]),
    "onnx other.zip": (3, ["other.zip is not a Keras file but a zip archive"]),
    "onnx text.keras": (3, ["text.keras is not a Keras file but a text file"]),
    "onnx empty.keras": (3, ["empty.keras is not a Keras file but an empty file"]),
    "onnx pointer.keras": (3, ["not a Keras file but a Git LFS pointer (git lfs pull fetches the file)"]),
    "verify lstm.keras": (2, ["lstm.keras is no artifact", "a Keras model", "rnnexport onnx lstm.keras"]),
    "verify model.pt": (2, ["model.pt is no artifact", "a PyTorch file"]),
    "verify named.bin": (2, ["an ONNX model", "give it a name that ends in .onnx"]),
    "onnx lstm.keras -o model.tflite": (2, ["model.tflite", "ends in .onnx"]),
    "onnx lstm.keras -o no/model.onnx": (2, ["no folder"]),
    "numpy lstm.keras -o random.py": (2, ["hide the module random"]),
    "onnx lstm.keras --custom-objects cell.py": (2, ["no file cell.py", "did you mean cells.py?"]),
    "onnx lstm.keras --custom-objects cell": (2, ["no module cell", "did you mean cells.py?"]),
    "onnx lstm.keras --custom-objects cell.py:Cell": (2, ["no file cell.py", "did you mean cells.py?"]),
    "onnx lstm.keras --data nowhere.npz": (2, ["no file nowhere.npz"]),
    "onnx lstm.keras --quantize auto": (2, ["--quantize auto without --max-loss", "give --max-loss"]),
    "onnx lstm.keras --max-loss 0": (2, ["--max-loss 0", "a number above 0"]),
    "onnx lstm.keras --metric rmse": (2, ["--metric without --quantize or --max-loss"]),
    "onnx lstm.keras --quantize int8 --metric mse": (2, ["--metric mse", "range, rmse, cosine, top1"]),
    "onnx lstm.keras --quantize int8 --metric gone.py:f": (2, ["no file gone.py"]),
    "onnx lstm.keras --quantize int8 --calibrate nowhere.npz": (2, ["no file nowhere.npz"]),
    "export lstm.keras --to onnx --to numpy --max-loss 0.1": (
        2,
        ["numpy, which has no quantised form", "onnx, tflite, c"],
    ),
    "tflite lstm.keras --quantize int16x8": (2, ["zero point of -1", "FULLY_CONNECTED takes none but 0"]),
    "onnx lstm.keras --quantize int16x8": (2, ["'int16x8' is not one of"]),
    "export lstm.keras --to onnx --to c --quantize dynamic": (2, ["--quantize dynamic for c", "one of int8"]),
    "onnx lstm.keras --custom-objects folder.py": (2, ["folder.py is a folder"]),
    "run lstm.keras folder.py": (2, ["folder.py is a folder; expected an .npz of inputs"]),
    "run lstm.keras nowhere.npz": (2, ["no file nowhere.npz"]),
    "run lstm.keras arrays.npz --source nowhere.keras": (2, ["no file nowhere.keras"]),
    "export lstm.keras --to onnx -o lstm.keras": (2, ["lstm.keras is a file; expected a folder"]),
    "export-all folder.py": (2, ["folder.py is a folder; expected a manifest"]),
    "merge folder.py": (2, ["folder.py is a folder; expected a part"]),
    "onnx lstm.keras --opset 9": (2, ["--opset 9", "13 to 26"]),
    "tflite lstm.keras": (2, ["lstm has a dynamic time", "give --timesteps N"]),
    "tflite functional.keras": (2, ["functional has a dynamic time", "give --timesteps N"]),
    "export lstm.keras --to onnx --to tflite -o fresh": (2, ["lstm has a dynamic time"]),
    "export lstm.keras --to saved_model": (2, ["'saved_model'", "did you mean saved-model?"]),
    "export lstm.keras --to tf": (2, ["'tf'", "did you mean saved-model?"]),
    "export lstm.keras --to onxx": (2, ["'onxx'", "did you mean onnx?"]),
    "export lstm.keras --to jpeg": (2, ["'jpeg'", "onnx, tflite, saved-model, numpy"]),
    "onxx lstm.keras": (2, ["no command onxx; did you mean onnx?"]),
    "saved_model lstm.keras": (2, ["did you mean saved-model?"]),
    "frobnicate": (2, ["no command frobnicate; known are onnx, "]),
    "lstm.keras": (2, ["lstm.keras without a command", "rnnexport onnx lstm.keras"]),
    "model.onnx": (2, ["model.onnx without a command", "rnnexport verify model.onnx"]),
    # What passes so far: TensorFlow is what is missing then.
    "tflite lstm.keras --timesteps 5": (4, ["tensorflow is not installed"]),
    "tflite lstm.keras --stream": (4, ["tensorflow is not installed"]),
    "tflite inner.keras": (4, ["tensorflow is not installed"]),
    "onnx lstm.keras --custom-objects cells --custom-objects cells.py:Cell": (4, ["tensorflow is not installed"]),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The exit code and the line of each case, and the folder that they were run in."""
    folder = tmp_path_factory.mktemp("typos")
    sequential = keras.Sequential([keras.Input((None, 5), name="x"), keras.layers.LSTM(3)])
    sequential.save(folder / "lstm.keras")
    x = keras.Input((None, 5), name="x")
    keras.Model(x, keras.layers.GRU(3)(x)).save(folder / "functional.keras")
    # Its own input is fixed, and that of a model inside it is not.
    fixed = keras.Input((7, 5), name="fixed")
    keras.Model(fixed, sequential(fixed)).save(folder / "inner.keras")
    identity = onnx.helper.make_node("Identity", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph([identity], "g", ends[:1], ends[1:])), folder / "model.onnx"
    )
    shutil.copy(folder / "model.onnx", folder / "named.bin")
    (folder / "model.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(20))
    for name, entry in (("model.pt", "archive/data.pkl"), ("arrays.npz", "x.npy"), ("other.zip", "x.txt")):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr(entry, b"0")
    (folder / "pickled.h5").write_bytes(b"\x80\x04\x95" + bytes(9))
    (folder / "pointer.keras").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (folder / "folder.py").mkdir()
    (folder / "cells.py").write_text("class Cell: pass\n")
    (folder / "text.keras").write_text("not a model\n")
    (folder / "empty.keras").write_bytes(b"")
    before = sorted(path.name for path in folder.iterdir())
    done = subprocess.run(
        [sys.executable, "-c", LOOP, json.dumps(list(CASES))],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder / "stderr").unlink()
    assert sorted(path.name for path in folder.iterdir()) == before
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_in_one_line_without_tensorflow(case, told):
    code, fragments = CASES[case]
    assert told[case][0] == code, told[case][1]
    (line,) = told[case][1].splitlines()
    assert line.startswith("rnnexport: error: ")
    for fragment in fragments:
        assert fragment in line


def completed(words: str, shell: str = "bash", **more: str) -> subprocess.CompletedProcess[str]:
    """What a shell gets for the last of these words."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "_RNNEXPORT_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    command = [sys.executable, "-m", "rnnexport"]
    return subprocess.run(command, env=environment | more, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("rnnexport ver", "plain,verify"),
        ("rnnexport verify --jun", "plain,--junit"),
        ("rnnexport export --to o", "onnx"),
    ],
)
def test_completion_is_silent_and_complete(words, wanted):
    done = completed(words)
    assert (done.returncode, done.stderr) == (0, "")
    assert wanted in done.stdout


@pytest.mark.parametrize(("shell", "checked"), [("bash", "bash -n"), ("zsh", "zsh -n"), ("fish", "fish --no-execute")])
def test_the_script_of_a_shell_is_printed_and_is_one_of_that_shell(shell, checked, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "rnnexport", "completion", shell], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_RNNEXPORT_COMPLETE={shell}_complete" in done.stdout
    (tmp_path / "script").write_text(done.stdout)
    if shutil.which(shell):
        subprocess.run([*checked.split(), str(tmp_path / "script")], check=True)


def test_bash_itself_completes(tmp_path):
    command = tmp_path / "rnnexport"
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m rnnexport "$@"\n')
    command.chmod(0o755)
    script = 'eval "$(rnnexport completion bash)"; COMP_WORDS=(rnnexport ins); COMP_CWORD=1; '
    script += '_rnnexport_completion rnnexport; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", script],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("inspect\n", "")


def test_the_help_of_a_command_comes_in_groups():
    done = subprocess.run(
        [sys.executable, "-m", "rnnexport", "export", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    titles = ["Input", "Shape", "Form", "Verification", "Output"]
    assert re.findall(rf"^({'|'.join(titles)}):$", done.stdout, re.MULTILINE) == titles
    assert done.stdout.count("--help") == 1
