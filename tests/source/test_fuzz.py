"""Mutated model files. Each ends in a load or in one clear error: no other exception, no hang, no file left."""

from __future__ import annotations

import io
import json
import signal
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rnnexport.core.errors import RnnExportError
from rnnexport.core.load_options import LoadOptions
from rnnexport.source.load import load_source
from tests import origins

pytestmark = pytest.mark.xdist_group("fuzz")
SECONDS = 30
# (seed, count) of what `make test-long` tries besides.
LONG = ((2026, 500), (0, 2000), (1, 2000), (2, 2000), (3, 2000))
# What a configuration holds nowhere, or elsewhere.
ODD = (0, -1, 1, 3, 65537, 10**9, 2**63, 0.5, True, None, "", "x", "tanh", "LSTM", "../x", [], [1], {}, [None], "\x00")
FORMS = (".keras 3", ".keras 2", ".h5 3", ".h5 2", ".h5 1", ".json", ".weights.h5", "saved-model")


def written(form, layer, folder):
    """The files of one model, by name, and which of them is loaded."""
    folder.mkdir()
    writers = {
        ".keras 3": origins.written_by_keras3(".keras"),
        ".keras 2": origins.written_by_tf_keras(".keras"),
        ".h5 3": origins.written_by_keras3(".h5"),
        ".h5 2": origins.keras2("2.2.4"),
        ".h5 1": origins.keras1,
        ".json": origins.written_by_tf_keras(".json"),
        ".weights.h5": origins.written_by_keras3(".json"),
        "saved-model": origins.written_by_keras3("saved-model"),
    }
    return writers[form](layer, folder).path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    layers = ("LSTM", "GRU, reset before, hard_sigmoid", "Bidirectional", "TimeDistributed")
    return {
        form: [written(form, layer, root / f"{at}{n}") for n, layer in enumerate(layers)]
        for at, form in enumerate(FORMS)
    }


def places(node, path=()):
    """Every place in a configuration, as the keys that lead to it."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def at(node, path):
    for key in path:
        node = node[key]
    return node


def bent(rng, text, other):
    """A configuration with values replaced, exchanged or removed, or with a part of another."""
    config, donor = json.loads(text), json.loads(other)
    for _ in range(rng.integers(1, 4)):
        every = list(places(config))
        *parent, key = every[rng.integers(len(every))]
        holder, kind = at(config, parent), rng.integers(4)
        if kind == 0:
            holder[key] = ODD[rng.integers(len(ODD))]
        elif kind == 1:
            del holder[key]
        elif kind == 2:
            *elsewhere, last = every[rng.integers(len(every))]
            holder[key] = json.loads(json.dumps(at(config, elsewhere)[last]))
        else:
            choices = list(places(donor))
            holder[key] = at(donor, choices[rng.integers(len(choices))])
        if not list(places(config)):
            break
    return json.dumps(config)


def flipped(rng, data):
    """Bits flipped, and often cut short."""
    data = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(data[: rng.integers(1, len(data))] if rng.random() < 0.3 else data)


def mutated(rng, form, source, other, folder):
    """A mutated copy of `source` in `folder`."""
    import shutil

    if source.is_dir():
        path = Path(shutil.copytree(source, folder / source.name))
        victim = sorted(file for file in path.rglob("*") if file.is_file())
        file = victim[rng.integers(len(victim))]
        file.write_bytes(flipped(rng, file.read_bytes()))
        return path
    for file in source.parent.iterdir():
        shutil.copy(file, folder)
    path = folder / source.name
    if rng.random() < 0.4:
        files = sorted(folder.iterdir())
        file = files[rng.integers(len(files))]
        file.write_bytes(flipped(rng, file.read_bytes()))
    elif path.suffix == ".json":
        path.write_text(bent(rng, path.read_text(), other.read_text()))
    elif path.suffix == ".keras":
        path.write_bytes(rezipped(rng, path, other))
    else:
        import h5py

        with h5py.File(path, "r+") as new, h5py.File(other) as donor:
            new.attrs["model_config"] = bent(rng, new.attrs["model_config"], donor.attrs["model_config"])
    return path


def rezipped(rng, path, other):
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other) as donor, zipfile.ZipFile(buffer, "w") as new:
        swap = rng.random() < 0.1  # the weights of another model
        for name in old.namelist():
            data = (donor if swap and name == "model.weights.h5" else old).read(name)
            if name == "config.json" and not swap:
                data = bent(rng, data.decode(), donor.read(name).decode()).encode()
            new.writestr(name, data)
    return buffer.getvalue()


class Hang(BaseException):
    """Not an Exception, so that nothing but the test takes it."""


def alarm(number, frame):
    raise Hang


def left_behind(*folders):
    return {path for folder in folders for path in folder.iterdir() if "pytest" not in path.name}


@pytest.mark.parametrize(
    ("seed", "count"), [(2026, 25), *(pytest.param(*case, marks=pytest.mark.long) for case in LONG)]
)
def test_a_mutated_file_ends_in_a_load_or_one_clear_error(seed, count, models, tmp_path, monkeypatch):
    rng = np.random.default_rng(seed)
    (tmp_path / "cwd").mkdir()
    (tmp_path / "tmp").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    signal.signal(signal.SIGALRM, alarm)
    outcomes = {"loaded": 0, "refused": 0}
    for number in range(count):
        form = FORMS[number % len(FORMS)]
        source, other = (models[form][at] for at in rng.permutation(len(models[form]))[:2])
        folder = tmp_path / f"mutated{number}"
        folder.mkdir()
        path = mutated(rng, form, source, other, folder)
        before = set(folder.rglob("*"))
        signal.alarm(SECONDS)
        try:
            load_source(path, LoadOptions())
            outcomes["loaded"] += 1
        except RnnExportError as error:
            assert "\n" not in str(error)  # noqa: PT017
            assert error.found  # noqa: PT017
            assert error.todo  # noqa: PT017
            outcomes["refused"] += 1
        except BaseException as error:
            raise AssertionError(f"file {number}, {form}: {type(error).__name__}: {error}") from error
        finally:
            signal.alarm(0)
        assert set(folder.rglob("*")) == before
        assert left_behind(tmp_path / "cwd", tmp_path / "tmp") == set()
    assert outcomes["loaded"] > 0.04 * count
    assert outcomes["refused"] > 0.4 * count
    assert sum(outcomes.values()) == count
