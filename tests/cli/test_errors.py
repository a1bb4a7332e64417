"""Bad input: one clear line on stderr, a documented exit code, no traceback, nothing left behind."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest

from rnnexport.core.errors import ConversionError

GROUP = pytest.mark.xdist_group("lstm")
CELLS = Path(__file__).parents[2] / "samples"
FULL_DISK = """
import resource
from rnnexport.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
main()
"""


@pytest.fixture(scope="session")
def folder(saved, exported, tmp_path_factory):
    """A folder with good and bad files; commands run in it, and must leave it as it is."""
    folder = tmp_path_factory.mktemp("bad_input")
    for name in ("lstm", "s_lstm", "stateful_gru"):
        (folder / f"{name}.keras").write_bytes(saved(name).read_bytes())
    whole = saved("lstm").read_bytes()
    (folder / "cut.keras").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    (folder / "flipped.keras").write_bytes(bytes(flipped))
    (folder / "text.keras").write_text("not a model")
    (folder / "empty.keras").write_bytes(b"")
    (folder / "code.keras").write_bytes(with_lambda(saved("lstm")))
    (folder / "raises.py").write_text("x = 1\nraise RuntimeError('no such luck')\n")
    (folder / "syntax.py").write_text("def f(:\n")
    (folder / "twice.py").write_text("class SLSTMCell: pass\n")
    (folder / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    artifact = exported("lstm")["onnx"].path.read_bytes()
    (folder / "good.onnx").write_bytes(artifact)
    (folder / "cut.onnx").write_bytes(artifact[: len(artifact) // 2])
    (folder / "text.onnx").write_text("not a model")
    tflite = exported("lstm")["tflite"].path.read_bytes()
    (folder / "cut.tflite").write_bytes(tflite[: len(tflite) // 2])
    (folder / "text.tflite").write_text("not a model")
    (folder / "good.py").write_text("mine = 1\n")
    (folder / "mine.npz").write_bytes(b"mine")
    (folder / "folder.onnx").mkdir()
    os.mkfifo(folder / "pipe.onnx")
    (folder / "a_folder").mkdir()
    (folder / "a_folder" / "mine.txt").write_text("mine")
    return folder


def with_lambda(model: Path) -> bytes:
    """The file with its RNN layer called a Lambda."""
    copy = model.with_name("code.keras")
    with zipfile.ZipFile(model) as old, zipfile.ZipFile(copy, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data.replace(b'"class_name": "RNN"', b'"class_name": "Lambda"'))
    return copy.read_bytes()


CASES = [
    (f"onnx {'n' * 300}.keras", 2, ["can't look at", "too long"]),
    (f"inspect {'n' * 300}.keras", 2, ["can't look at", "too long"]),
    (f"verify {'n' * 300}.onnx", 2, ["can't look at", "too long"]),
    ("onnx nowhere.keras", 2, ["no file nowhere.keras"]),
    ("onnx a_folder", 3, ["a_folder is a folder", "model.save"]),
    ("onnx text.keras", 3, ["text.keras is not a Keras file"]),
    ("onnx empty.keras", 3, ["empty.keras is not a Keras file"]),
    ("onnx cut.keras", 3, ["cut.keras is damaged or cut short"]),
    ("onnx flipped.keras", 3, ["flipped.keras"]),
    ("onnx code.keras", 3, ["layer Lambda", "--custom-objects"]),
    ("onnx s_lstm.keras", 3, ["SLSTMCell", "--custom-objects"]),
    ("onnx stateful_gru.keras", 3, ["keras2_hard_sigmoid", "--custom-objects"]),
    ("onnx s_lstm.keras --custom-objects raises.py", 3, ["RuntimeError", "raises.py:2", "no such luck"]),
    ("onnx s_lstm.keras --custom-objects syntax.py", 3, ["SyntaxError", "syntax.py:1"]),
    ("onnx s_lstm.keras --custom-objects nowhere.py", 2, ["no file nowhere.py"]),
    ("onnx s_lstm.keras --custom-objects no_such_module", 2, ["no module no_such_module"]),
    ("onnx s_lstm.keras --custom-objects leaves.py", 3, ["SystemExit", "leaves.py:2"]),
    (f"onnx s_lstm.keras --custom-objects {CELLS}/s_lstm.py --custom-objects twice.py", 2, ["SLSTMCell defined by"]),
    ("tflite lstm.keras --cast float16", 2, ["--cast", "float32"]),
    ("onnx lstm.keras --opset 12", 2, ["--opset 12", "13 to 26", "TensorRT from 7.2", "--portable", "Barracuda"]),
    ("onnx lstm.keras --opset 99", 2, ["--opset 99", "13 to 26", "ONNX Runtime 1.31"]),
    ("onnx lstm.keras --lowering fast", 2, ["--lowering", "'fast'", "native"]),
    ("onnx lstm.keras --for tpu", 2, ["--for", "'tpu'", "cuda"]),
    ("onnx lstm.keras --tune 32", 2, ["--tune", "'32'", "32x100"]),
    ("export lstm.keras --to onnx --tune 0x7", 2, ["--tune", "'0x7'", "32x100"]),
    ("inspect lstm.keras --tune 2x7", 2, ["without --lowering", "give --lowering"]),
    ("inspect good.onnx --lowering", 2, ["--lowering of good.onnx", "a model"]),
    ("inspect good.onnx --program", 2, ["--program of good.onnx", "a model"]),
    ("onnx lstm.keras --stream 0", 2, ["--stream 0", "above 0"]),
    ("onnx lstm.keras --stream=1.5", 2, ["--stream", "'1.5'", "a number or 'dynamic'"]),
    (
        "onnx --stream lstm.keras",
        2,
        ["--stream", "'lstm.keras'", "a number or 'dynamic'; without a number it goes behind MODEL"],
    ),
    ("verify good.onnx --steps 5", 2, ["--steps without --source"]),
    ("onnx lstm.keras --batch 0", 2, ["--batch 0"]),
    ("onnx lstm.keras --timesteps many", 2, ["--timesteps", "'many'"]),
    ("onnx lstm.keras --rtol -1", 2, ["--rtol -1"]),
    (
        f"onnx stateful_gru.keras --timesteps 7 --custom-objects {CELLS}/stateful_gru.py",
        2,
        ["--timesteps 7", "1, 1, 4"],
    ),
    ("onnx lstm.keras -o missing/folder/m.onnx", 2, ["no folder", "missing/folder"]),
    ("onnx lstm.keras -o folder.onnx", 2, ["folder.onnx is a folder"]),
    ("onnx lstm.keras -o pipe.onnx", 2, ["pipe.onnx is no regular file"]),
    ("onnx lstm.keras -o lstm.keras", 2, ["ends in .onnx"]),
    ("saved-model lstm.keras -o lstm.keras", 2, ["lstm.keras is a file"]),
    ("onnx lstm.keras -o noext", 2, ["noext", "ends in .onnx"]),
    (f"onnx lstm.keras -o {'n' * 300}.onnx", 2, ["File name too long"]),
    (f"verify good.onnx --json {'n' * 300}.json", 2, ["File name too long"]),
    ("verify good.onnx --json good.onnx", 2, ["which is an input"]),
    ("verify good.onnx --provider gpu", 2, ["gpu", "cuda"]),
    ("saved-model lstm.keras -o a_folder", 2, ["holds other things"]),
    ("saved-model lstm.keras -o good.onnx", 2, ["good.onnx is a file"]),
    ("onnx lstm.keras -o /proc/m.onnx", 2, ["/proc"]),
    ("numpy lstm.keras -o good.py", 2, ["good.py, which rnnexport did not write", "good.py and good.npz"]),
    ("numpy lstm.keras -o mine.py", 2, ["mine.npz, which rnnexport did not write"]),
    ("numpy lstm.keras -o random.py", 2, ["random.py, which would hide the module random"]),
    ("numpy lstm.keras -o numpy.py", 2, ["numpy.py, which would hide the module numpy"]),
    ("numpy lstm.keras -o m.npz", 2, ["m.npz", "ends in .py"]),
    ("numpy lstm.keras -o lstm.keras", 2, ["lstm.keras, which rnnexport did not write"]),
    ("numpy lstm.keras -o missing/m.py", 2, ["no folder", "missing"]),
    ("verify good.py", 2, ["no file good.npz", "good.py and good.npz"]),
    ("inspect good.py", 2, ["no file good.npz", "good.py and good.npz"]),
    ("tflite lstm.keras", 2, ["dynamic time", "--timesteps N"]),
    ("export lstm.keras --to onnx --to tflite -o fresh", 2, ["dynamic time", "--timesteps N"]),
    ("export lstm.keras --to jpeg", 2, ["jpeg"]),
    ("export lstm.keras", 2, ["--to"]),
    ("verify nowhere.onnx", 2, ["no file nowhere.onnx"]),
    ("verify lstm.keras", 2, ["lstm.keras is no artifact"]),
    ("verify text.onnx", 2, ["text.onnx can't be read as ONNX"]),
    ("verify cut.onnx", 2, ["cut.onnx can't be read as ONNX"]),
    ("verify text.tflite", 2, ["text.tflite is no TFLite file"]),
    ("verify cut.tflite", 2, ["cut.tflite"]),
    ("verify good.onnx --json missing/report.json", 2, ["no folder"]),
    ("verify", 2, ["ARTIFACTS"]),
    ("inspect nowhere.keras", 2, ["no file nowhere.keras"]),
    ("inspect text.keras", 3, ["text.keras is not a Keras file"]),
    ("no-such-command", 2, ["no-such-command"]),
]


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@GROUP
@pytest.mark.parametrize(("arguments", "code", "fragments"), CASES, ids=[case[0].split("/")[0] for case in CASES])
def test_bad_input(arguments, code, fragments, folder, rnnexport_command):
    before = listing(folder)
    done = rnnexport_command(*arguments.split(), cwd=folder)
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("rnnexport: error: ")
    for fragment in fragments:
        assert fragment in line
    assert "Traceback" not in done.stdout + done.stderr
    assert listing(folder) == before
    assert not (folder / "fresh").exists()


@GROUP
@pytest.mark.parametrize(
    "to", ["onnx", *(pytest.param(to, marks=pytest.mark.long) for to in ("saved-model", "tflite", "numpy"))]
)
def test_a_disk_that_fills_up_leaves_the_old_file(to, folder, python_process, tmp_path):
    """Every write past 4 KiB fails, as it does on a full disk."""
    output = tmp_path / {"saved-model": "out", "numpy": "old.py"}.get(to, f"old.{to}")
    if to in ("onnx", "tflite"):
        output.write_text("old")
    before = listing(tmp_path)
    arguments = (to, folder / "lstm.keras", "--timesteps", 5, "-o", output)
    done = python_process("-c", FULL_DISK, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert f"can't write {output}" in line
    assert listing(tmp_path) == before


@GROUP
def test_debug_shows_the_traceback(folder, rnnexport_command):
    done = rnnexport_command("onnx", "cut.keras", "--debug", cwd=folder)
    assert done.returncode == 3
    assert "Traceback" in done.stderr
    assert "BadZipFile" in done.stderr


def test_an_error_is_handed_on_by_another_process_as_it_is():
    error = pickle.loads(pickle.dumps(ConversionError("found", "expected", "todo")))
    assert (type(error), error.todo, str(error)) == (ConversionError, "todo", "found; expected expected; todo")
