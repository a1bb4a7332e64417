from __future__ import annotations

import ctypes
import errno
import resource
import signal
from pathlib import Path

import pytest

from rnnexport.artifact.atomic_write import staged, write_text, writing
from rnnexport.core.errors import ConversionError, UsageError

LAYOUT = ("saved_model.pb", "variables")


def test_a_file_is_put_in_place_whole(tmp_path):
    with staged(tmp_path / "m.onnx") as path:
        path.write_text("new")
        assert path.name == "m.onnx"
        assert not (tmp_path / "m.onnx").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_text() == "new"


def test_an_existing_file_is_replaced_only_at_the_end(tmp_path):
    (tmp_path / "m.onnx").write_text("old")
    with staged(tmp_path / "m.onnx") as path:
        path.write_text("new")
        assert (tmp_path / "m.onnx").read_text() == "old"
    assert (tmp_path / "m.onnx").read_text() == "new"


@pytest.mark.parametrize("error", [ConversionError("a", "b", "c"), KeyboardInterrupt(), ValueError("x")])
def test_an_error_leaves_what_was_there_and_nothing_else(tmp_path, error):
    (tmp_path / "m.onnx").write_text("old")
    with pytest.raises(type(error)), staged(tmp_path / "m.onnx") as path:  # noqa: PT012
        path.write_text("half")
        raise error
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_text() == "old"


def saved_model(folder, content):
    folder.mkdir()
    (folder / "saved_model.pb").write_text(content)


def test_a_folder_artifact_replaces_an_earlier_one(tmp_path):
    saved_model(tmp_path / "m", "old")
    (tmp_path / "m" / "variables").mkdir()
    with staged(tmp_path / "m", LAYOUT) as path:
        saved_model(path, "new")
    assert (tmp_path / "m" / "saved_model.pb").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["m"]
    assert [p.name for p in (tmp_path / "m").iterdir()] == ["saved_model.pb"]


def test_a_folder_replaces_an_empty_one_and_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "fresh"):
        with staged(tmp_path / name, LAYOUT) as path:
            saved_model(path, "new")
        assert (tmp_path / name / "saved_model.pb").read_text() == "new"


def test_somebodys_own_folder_is_never_replaced(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="holds other things"), staged(tmp_path / "home", LAYOUT):
        pytest.fail("must refuse before any work")
    assert (tmp_path / "home" / "thesis.tex").read_text() == "x"


def test_a_file_where_a_folder_goes_and_the_other_way_round(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="is a file"), staged(tmp_path / "file", LAYOUT):
        pass
    with pytest.raises(UsageError, match="is a folder"), staged(tmp_path / "folder"):
        pass


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no folder .*nowhere"), staged(tmp_path / "nowhere" / "m.onnx"):
        pass


def test_a_disk_that_fills_up_leaves_nothing(tmp_path):
    """The kernel refuses to write past a size limit just as it does past the end of a disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
        with pytest.raises(UsageError, match=r"can't write .*m.onnx: File too large"):
            write_text(tmp_path / "m.onnx", "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert list(tmp_path.iterdir()) == []


def test_no_space_left_is_told_in_one_line(tmp_path):
    with pytest.raises(UsageError) as caught, writing(tmp_path / "m.onnx"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "No space left on device" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_with_something_more_than_an_artifact_is_never_replaced(tmp_path):
    saved_model(tmp_path / "m", "old")
    (tmp_path / "m" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match=r"holds other things \(thesis\.tex\)"), staged(tmp_path / "m", LAYOUT):
        pass


def test_a_folder_that_appears_while_a_file_is_built_is_kept(tmp_path):
    with pytest.raises(UsageError, match="is a folder"), staged(tmp_path / "m.onnx") as path:  # noqa: PT012
        path.write_text("new")
        (tmp_path / "m.onnx").mkdir()
        (tmp_path / "m.onnx" / "mine").write_text("x")
    assert (tmp_path / "m.onnx" / "mine").read_text() == "x"


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real.onnx").write_text("old")
    (tmp_path / "link.onnx").symlink_to("real.onnx")
    with staged(tmp_path / "link.onnx") as path:
        path.write_text("new")
    assert (tmp_path / "link.onnx").is_symlink()
    assert (tmp_path / "real.onnx").read_text() == "new"


def test_what_is_no_regular_file_is_written_to_as_text_and_never_replaced(tmp_path):
    write_text(Path("/dev/null"), "report")
    assert Path("/dev/null").is_char_device()
    with pytest.raises(UsageError, match="no regular file"), staged(Path("/dev/null")):
        pass


PAIR = (".npz",)


def pair(folder, content):
    """Files of the name that is built, and of its companion."""
    for name in ("m.py", "m.npz"):
        (folder / name).write_text(f"{content} {name}")


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def ours(path):
    """An earlier artifact is known by its companion."""
    beside = path.with_suffix(".npz")
    return beside.exists() and "artifact" in beside.read_text()


def staged_pair(path):
    return staged(path, companions=PAIR, owned=ours)


def test_files_that_belong_together_are_put_in_place_together(tmp_path):
    for content in ("artifact 1", "artifact 2"):
        before = contents(tmp_path)
        with staged_pair(tmp_path / "m.py") as path:
            pair(path.parent, content)
            assert contents_of_files(tmp_path) == before
        assert contents(tmp_path) == {"m.py": f"{content} m.py", "m.npz": f"{content} m.npz"}


def contents_of_files(folder):
    return {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("there", [["m.py"], ["m.npz"], ["m.py", "m.npz"]])
def test_a_program_or_an_archive_of_somebodys_own_is_never_replaced(there, tmp_path):
    for name in there:
        (tmp_path / name).write_text("mine")
    with (
        pytest.raises(UsageError, match=rf"{there[0]}, which rnnexport did not write; .* m\.py and m\.npz"),
        staged_pair(tmp_path / "m.py"),
    ):
        pytest.fail("must refuse before any work")
    assert contents(tmp_path) == dict.fromkeys(there, "mine")


def test_one_that_appears_while_they_are_built_is_kept(tmp_path):
    refusal = pytest.raises(UsageError, match=r"m\.npz, which rnnexport did not write")
    with refusal, staged_pair(tmp_path / "m.py") as path:
        pair(path.parent, "artifact")
        (tmp_path / "m.npz").write_text("mine")
    assert contents(tmp_path) == {"m.npz": "mine"}


def test_what_an_interrupted_job_left_is_replaced(tmp_path):
    """The companion comes first, by which an artifact is known."""
    (tmp_path / "m.npz").write_text("artifact")
    with staged_pair(tmp_path / "m.py") as path:
        pair(path.parent, "artifact 2")
    assert contents(tmp_path) == {"m.py": "artifact 2 m.py", "m.npz": "artifact 2 m.npz"}


@pytest.mark.parametrize("earlier", [True, False])
@pytest.mark.parametrize("exchanged", [True, False])
def test_where_the_last_file_can_not_be_put_in_place_the_first_goes_back(earlier, exchanged, tmp_path, monkeypatch):
    if earlier:
        pair(tmp_path, "artifact 1")
    if not exchanged:  # as where the system has no renameat2
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    before = contents(tmp_path)
    seen = []

    def full(self, target):
        seen.append(contents_of_files(tmp_path)["m.npz"])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UsageError, match="No space left"), staged_pair(tmp_path / "m.py") as path:
        pair(path.parent, "artifact 2")
    assert seen == ["artifact 2 m.npz"]  # it was in place already
    assert contents(tmp_path) == before


def test_where_the_first_file_can_not_be_put_in_place_nothing_changes(tmp_path):
    pair(tmp_path, "artifact 1")
    with pytest.raises(UsageError, match=r"can't write .*m\.py"), staged_pair(tmp_path / "m.py") as path:
        path.write_text("artifact 2")  # and no companion
    assert contents(tmp_path) == {"m.py": "artifact 1 m.py", "m.npz": "artifact 1 m.npz"}


def test_an_odd_thing_in_the_place_of_a_companion_is_told(tmp_path):
    (tmp_path / "m.npz").mkdir()
    with pytest.raises(UsageError, match=r"m\.npz is no regular file"), staged_pair(tmp_path / "m.py"):
        pass


def test_links_are_followed_where_they_lead_to_files_of_one_name(tmp_path):
    (tmp_path / "real").mkdir()
    pair(tmp_path / "real", "artifact 1")
    (tmp_path / "m.py").symlink_to("real/m.py")
    with pytest.raises(UsageError, match=r"m\.py and m\.npz, links that lead to"), staged_pair(tmp_path / "m.py"):
        pass
    (tmp_path / "m.npz").symlink_to("real/m.npz")
    with staged_pair(tmp_path / "m.py") as path:
        pair(path.parent, "artifact 2")
    assert contents(tmp_path / "real") == {"m.py": "artifact 2 m.py", "m.npz": "artifact 2 m.npz"}
    assert (tmp_path / "m.py").is_symlink()
