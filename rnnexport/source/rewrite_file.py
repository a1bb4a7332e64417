"""A model file in the form that its loader takes: the right suffix, the words and the version that the loader knows.

The user's file is never written: what has to differ is a copy in a temporary folder.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnnexport.source.configs import Config
from rnnexport.source.files import SourceFile
from rnnexport.source.origin import Origin
from rnnexport.source.safety import import_h5py
from rnnexport.source.stored import StoredWeights

_HDF5_SUFFIXES = (".h5", ".hdf5")
# tf_keras converts weights of exactly this version; Keras 1 wrote its full one.
_KERAS_1 = "1"


@contextmanager
def whole_file(file: SourceFile, config: Config) -> Iterator[Path]:
    """`file` holding `config`: itself where it does already, else a copy."""
    suffixes = _HDF5_SUFFIXES if file.container == ".h5" else (file.container,)
    if config == file.config and file.path.suffix in suffixes:
        yield file.path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"model{file.container}"
        if file.container == ".h5":
            shutil.copyfile(file.path, copy)
            _rewrite_hdf5(copy, file.origin, config)
        else:
            _rewrite_zip(file.path, copy, config)
        yield copy


@contextmanager
def weights_file(path: Path, stored: StoredWeights) -> Iterator[Path]:
    """The weights at `path` under a name by which their loader knows their layout."""
    suffix = ".keras" if zipfile.is_zipfile(path) else ".weights.h5" if stored.layout == "paths" else ".h5"
    fits = path.name.endswith(suffix) and path.name.endswith(".weights.h5") == (suffix == ".weights.h5")
    if fits and stored.origin.major != 1:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"model{suffix}"
        shutil.copyfile(path, copy)
        if stored.origin.major == 1:
            _rewrite_hdf5(copy, stored.origin, None)
        yield copy


def _rewrite_hdf5(path: Path, origin: Origin, config: Config | None) -> None:
    with import_h5py().File(path, "r+") as file:
        if config is not None:
            file.attrs["model_config"] = json.dumps(config)
        if origin.major == 1:
            weights = file.get("model_weights", file)
            weights.attrs["keras_version"] = _KERAS_1


def _rewrite_zip(path: Path, copy: Path, config: Config) -> None:
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(copy, "w") as new:
        for entry in old.infolist():
            with old.open(entry) as source, new.open(entry.filename, "w", force_zip64=True) as target:
                if entry.filename == "config.json":
                    target.write(json.dumps(config).encode())
                else:
                    shutil.copyfileobj(source, target)
