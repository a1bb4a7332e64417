"""NumPy artifacts that are damaged, altered, hostile or no artifacts: one line, and nothing of them runs."""

from __future__ import annotations

import io
import py_compile
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import rnnexport
from rnnexport.api.inspect import inspect_file
from rnnexport.artifact import archive
from rnnexport.core.errors import UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.targets.numpy import program
from rnnexport.targets.registry import companions_of
from tests.targets.numpy_programs import NUMPY, TEXT, artifact, npz, weights

# As the first line of a program: tells that it ran.
TRACE = "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n"


def refused(path, match, loading=LoadOptions()):  # noqa: B008 - it is frozen
    """Refused by `verify`, in one line, and not executed."""
    with pytest.raises(UsageError, match=match) as told:
        rnnexport.verify(path, loading=loading)
    assert "\n" not in str(told.value)
    assert not path.with_suffix(".ran").exists()


def rewritten(path, entries):
    """The program with other entries in its archive, under the seal that it had."""
    npz(path).write_bytes(archive.to_bytes(entries))
    return path


def test_a_program_that_was_altered_is_refused_before_it_runs(tmp_path):
    path = artifact(tmp_path)
    path.write_text(TRACE + path.read_text())
    refused(path, "carried.py was altered after it was exported")
    with pytest.raises(UsageError, match="was altered"):
        rnnexport.runtime.open(path)
    assert not path.with_suffix(".ran").exists()
    assert inspect_file(path).facts["seal"].startswith("broken")


def test_every_byte_of_both_files_is_told_or_is_no_content(tmp_path):
    """A bit of the zip's own (a date, say) may change without a change of any array."""
    path = artifact(tmp_path)
    whole = {file: file.read_bytes() for file in (path, npz(path))}
    content = archive.read(npz(path))
    rng = np.random.default_rng(3)
    told = 0
    for turn in range(200):
        file = (path, npz(path))[turn % 2]
        data = bytearray(whole[file])
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
        file.write_bytes(bytes(data))
        try:
            found = NUMPY.read_proof(path)
        except UsageError as error:
            assert "\n" not in str(error)  # noqa: PT017
            told += 1
        else:
            assert found is None or found.altered or (file != path and archive.read(file) == content)
            told += found is None or found.altered
        file.write_bytes(whole[file])
    assert told > 195


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda entries: entries | {"gru/kernel.npy": archive.to_entry(weights()["gru/kernel"] + 1)}, "was altered"),
        (lambda entries: entries | {"gru/more.npy": archive.to_entry(np.ones(3))}, "was altered"),
        (lambda entries: {k: v for k, v in entries.items() if k != "gru/bias.npy"}, "was altered"),
        (lambda entries: {k: v for k, v in entries.items() if "provenance" not in k}, "carries no goldens"),
        (lambda entries: {k: v for k, v in entries.items() if k != "rnnexport_goldens.npy"}, "was altered"),
        (
            lambda entries: entries | {"rnnexport_provenance.npy": archive.to_entry(np.ones(3))},
            r"carried.npz is damaged .*float64\[3\] where there are 24 bytes",
        ),
        (lambda entries: entries | {"rnnexport_provenance.npy": b"\x93NUMPY\x01\x00"}, "carried.npz is damaged"),
        (lambda entries: entries | {"readme.txt": b"x"}, "holds 'readme.txt', which is no array"),
    ],
)
def test_other_arrays_than_those_that_were_exported_are_told(change, match, tmp_path):
    path = artifact(tmp_path)
    refused(rewritten(path, change(archive.read(npz(path)))), match)


def test_a_proof_that_claims_to_be_huge_takes_no_memory(tmp_path):
    path = artifact(tmp_path)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 60,)})
    refused(rewritten(path, archive.read(npz(path)) | {"rnnexport_provenance.npy": header.getvalue()}), "is damaged")


def test_an_archive_of_another_kind_is_told(tmp_path):
    path = artifact(tmp_path)
    with np.load(npz(path)) as found:
        arrays = dict(found)
    np.savez_compressed(npz(path), **arrays)
    refused(path, r"carried\.npz holds compressed arrays")
    with zipfile.ZipFile(npz(path), "w") as twice:
        twice.writestr("kernel.npy", archive.to_entry(np.ones(1)))
        with pytest.warns(UserWarning, match="Duplicate name"):
            twice.writestr("kernel.npy", archive.to_entry(np.zeros(1)))
    refused(path, "holds two arrays of one name")
    npz(path).write_bytes(b"no zip")
    refused(path, r"carried\.npz is damaged \(BadZipFile")


def test_entries_that_say_more_than_there_is_are_told(tmp_path):
    """As in a zip bomb of stored entries, which overlap."""
    data = bytearray(archive.to_bytes({"a.npy": bytes(500), "b.npy": bytes(500)}))
    directory = data.rindex(b"PK\x01\x02")  # of b: its two sizes
    data[directory + 20 : directory + 28] = 2 * (1 << 30).to_bytes(4, "little")
    (tmp_path / "bomb.npz").write_bytes(bytes(data))
    with pytest.raises(UsageError, match=r"bomb\.npz holds arrays that overlap"):
        archive.read(tmp_path / "bomb.npz")


def test_a_pickle_in_the_archive_is_never_loaded(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "carried.ran",))

    held = io.BytesIO()
    np.lib.format.write_array(held, np.array([Hostile()]), allow_pickle=True)
    path = artifact(tmp_path)
    entries = archive.read(npz(path))
    refused(rewritten(path, entries | {"rnnexport_provenance.npy": held.getvalue()}), "carried.npz is damaged")
    refused(rewritten(path, entries | {"rnnexport_goldens.npy": held.getvalue()}), "carried.npz is damaged")
    refused(rewritten(path, entries | {"kernel.npy": held.getvalue()}), "was altered")


def test_compiled_code_beside_it_is_not_taken_for_the_program(tmp_path):
    """Python itself would take it: it is told not to look whether it is that of the text."""
    path = artifact(tmp_path)
    (tmp_path / "hostile.py").write_text(f"{TRACE}raise SystemExit(3)")
    tag = sys.implementation.cache_tag
    compiled = tmp_path / "__pycache__" / f"carried.{tag}.pyc"
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(tmp_path / "hostile.py"), str(compiled), invalidation_mode=mode)
    done = subprocess.run([sys.executable, "-c", "import carried"], cwd=tmp_path, check=False)
    assert done.returncode == 3
    (tmp_path / "carried.ran").unlink(missing_ok=True)
    assert rnnexport.verify(path).passed
    assert not list(tmp_path.glob("*.ran"))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("MODEL = Carried", "MODELS = Carried", r"no MODEL in carried\.py"),
        ('"""The reset', "The reset", r"carried\.py is no Python \(SyntaxError"),
        ("import sys\n", "import sys\nsys.exit(0)\n", r"carried\.py can't be loaded: SystemExit"),
        ("import sys\n", "import sys, nothing_of_this_name\n", r"carried\.py can't be loaded: ModuleNotFoundError"),
        ("self.dtype = np.dtype(dtype)", "raise OSError('none')", r"carried\.py can't be loaded: OSError: none"),
        ("    SIGNATURE:", "    OTHER:", r"no SIGNATURE in the model of carried\.py"),
        ("    def step(", "    def stop(", r"no step in the model of carried\.py"),
        ('        "next_state_gru_00": ("float32", ("batch", 4)),\n', "", "does not tell its inputs and outputs"),
        ('("my-input",)', '("my-output",)', "does not tell its inputs and outputs"),
    ],
)
def test_a_program_that_can_not_be_loaded_is_told_in_one_line(old, new, match, tmp_path):
    """Under a seal of its own, and let in by the user."""
    assert old in TEXT
    refused(artifact(tmp_path, text=TEXT.replace(old, new, 1)), match, LoadOptions(allow_unsafe=True))


@pytest.mark.parametrize("text", [b"\xff\xfe", b"x = '\0'", b"(" * 100_000, b"#" * (program.LIMIT + 1)], ids=range(4))
def test_what_is_no_program_is_told(text, tmp_path):
    path = artifact(tmp_path)
    path.write_bytes(text)
    with pytest.raises(UsageError, match=r"is no Python|has more than") as told:
        NUMPY.operators(path)
    assert "\n" not in str(told.value)


def test_a_program_without_its_archive_is_told(tmp_path):
    path = artifact(tmp_path)
    npz(path).unlink()
    for look in (rnnexport.verify, inspect_file, rnnexport.runtime.open):
        with pytest.raises(UsageError, match=r"no file .*carried\.npz; .* carried\.py and carried\.npz"):
            look(path)
    assert companions_of(path) == (npz(path),)
    assert not companions_of(tmp_path / "m.onnx")
