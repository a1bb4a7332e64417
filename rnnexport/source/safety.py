"""What a model file may hold. All of it is checked before any Keras sees the file, and nothing in the file runs.

1. The archive: no entry outside its folder, no links, no bombs, no entry that a loader would unpickle.
2. The HDF5 weights: no data that lies in another file.
3. The configuration: no code, no class or function that reaches past the layers of Keras, no layer that opens files.
4. Names of classes and functions: those of Keras, or those that the user gave. Keras itself would import any module
   that a file names.
"""

from __future__ import annotations

import difflib
import re
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from rnnexport.core.errors import ConversionError, ProviderError
from rnnexport.source.configs import serialised_objects
from rnnexport.source.functions import computes
from rnnexport.source.packages import ObjectName

Advise = Callable[[ObjectName], str]
_SHOWN = 8
CONFIG_LIMIT = 256 * 2**20
_BOMB_SIZE = 64 * 2**20
_BOMB_RATIO = 100
_MOST_ENTRIES = 10_000
_ENTRIES = ("metadata.json", "config.json", "model.weights.h5")
_FOLDERS = ("assets",)

# Classes that are code, or that load code or files when they are built.
_LOADERS = {
    "Lambda": "which is code inside a file",
    "__lambda__": "which is code inside a file",
    "TFSMLayer": "which loads a SavedModel from a path in the file",
    "TorchModuleWrapper": "which unpickles",
    "JaxLayer": "which is code inside a file",
    "FlaxLayer": "which is code inside a file",
    # What tf_keras makes of TensorFlow functions that a model calls: they name any symbol, or hold any operator.
    "ClassMethod": "which calls what it names",
    "InstanceMethod": "which calls what it names",
    "InstanceProperty": "which calls what it names",
    "TensorFlowOpLayer": "which holds an operator of its own",
    "DenseFeatures": "which may read vocabularies from files",
    "SequenceFeatures": "which may read vocabularies from files",
}
# Arguments of the cell wrappers of tf_keras that are code.
_FUNCTIONS = ("residual_fn", "dropout_fn")
_CALLS = ("TFOpLambda", "SlicingOpLambda")
_LOOKUPS = ("StringLookup", "IntegerLookup", "TextVectorization")
# The parts of Keras that a model is made of. Others read, write, fetch, or load models of their own.
_KERAS = ("keras", "tf_keras")
_INNER = ("src", "api", "_tf_keras", "keras", "engine", "v2", "v1", "legacy_tf_layers")
_FAMILIES = (
    *("layers", "activations", "initializers", "regularizers", "constraints", "ops", "dtype_policies", "quantizers"),
    *("losses", "metrics", "optimizers", "random", "models", "mixed_precision", "functional", "sequential", "training"),
)
_MODELS = ("Functional", "Model", "Sequential")
_NAME = re.compile(r"(?:[^<>]*>)?[A-Za-z_]\w*")
_MODULE = re.compile(r"\w+(?:\.\w+)*")
_RATIO = 100
_FLOOR = 2**20
_MOST_OBJECTS = 50_000


def check_archive(archive: zipfile.ZipFile, name: str) -> None:
    """Refuse a `.keras` archive that does more than hold a model.

    Raises:
        ConversionError: names the entry.
    """
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    stored = min(sum(entry.compress_size for entry in entries), archive.start_dir)  # as entries may overlap
    if len(entries) > _MOST_ENTRIES:
        raise _refused(name, f"{len(entries)} entries")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        mode = entry.external_attr >> 16
        if not path.parts:
            raise _refused(name, f"entry {entry.filename!r}, which has no name")
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise _refused(name, f"entry {entry.filename!r}, which lies outside the archive")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(name, f"entry {entry.filename!r}, which is a link or a device")
        if entry.filename not in _ENTRIES and path.parts[0] not in _FOLDERS:
            raise _refused(name, f"entry {entry.filename!r}, which no Keras writes into a model")
        limit = CONFIG_LIMIT if path.suffix == ".json" else _BOMB_SIZE
        bomb = entry.file_size > _BOMB_RATIO * max(1, entry.compress_size)
        if entry.file_size > limit and (bomb or path.suffix == ".json"):
            raise _refused(name, f"entry {entry.filename!r} of {entry.file_size} bytes from {entry.compress_size}")
        if path.suffix in (".npy", ".npz", ".pkl", ".pickle"):
            raise _refused(name, f"entry {entry.filename!r}, which may be a pickle")
    if total > max(CONFIG_LIMIT, _BOMB_RATIO * stored):
        raise _refused(name, f"entries of {total} bytes from {stored}")


def check_hdf5(stream: BinaryIO, name: str) -> None:
    """Refuse HDF5 data whose links or datasets lie in other files, or are far larger than what is stored of them.

    Raises:
        ConversionError: names the link or dataset; or it is no HDF5.
        ProviderError: h5py is not installed.
    """
    h5py = import_h5py()
    try:
        with h5py.File(stream, "r") as file:
            totals = Totals()
            for path, what in foreign(h5py, file, "", {}, totals):
                raise _refused(name, f"{path!r}, {what},")
            if totals.bomb:
                raise _refused(name, f"datasets of {totals.told} bytes from {totals.stored}")
    except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
        raise ConversionError(
            f"{name} holds damaged weights ({error})", "whole HDF5", "copy or save it again"
        ) from error


def import_h5py() -> Any:
    """h5py, which comes with the extra `convert`."""
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ProviderError("h5py is not installed", "it, to read HDF5", "pip install 'rnnexport[convert]'") from error
    return h5py


def check_config(config: Mapping[str, Any], name: str) -> None:
    """Refuse a configuration that holds code or reaches past the layers of Keras.

    Raises:
        ConversionError: names the layer and what it holds.
    """
    for _, node in serialised_objects(config):
        kind, inner = node["class_name"].rpartition(">")[2], node["config"]
        label = f"{kind} {inner.get('name', '')!r}" if isinstance(inner, dict) else f"{kind} {str(inner)[:40]!r}"
        if kind in _LOADERS:
            raise _refused(name, f"layer {label}, {_LOADERS[kind]}")
        if isinstance(inner, dict) and set(_FUNCTIONS) & set(inner):
            raise _refused(name, f"layer {label}, which holds a function")
        if kind in _LOOKUPS and isinstance(inner, dict) and isinstance(inner.get("vocabulary"), str):
            raise _refused(name, f"layer {label}, which reads the file {inner['vocabulary']!r}")
        function = str(inner.get("function")) if isinstance(inner, dict) else "(none)"
        if kind in _CALLS and not computes(function):
            raise _refused(name, f"layer {label}, which calls the TensorFlow function {function!r}")
        _check_reference(node, label, name)


def _check_reference(node: Mapping[str, Any], label: str, name: str) -> None:
    """Refuse a class or function that no part of a model has: Keras looks up whatever `module.name` says."""
    names = [node["class_name"], *([node["config"]] if node["class_name"] == "function" else [])]
    module = node.get("module")
    odd = [one for one in names if isinstance(one, str) and not _NAME.fullmatch(one)]
    if isinstance(module, str) and not _MODULE.fullmatch(module):
        odd.append(module)
    if odd:
        raise _refused(name, f"a reference to {odd[0]!r}, which is no name,")
    if not isinstance(module, str) or module.partition(".")[0] not in _KERAS:
        return
    inner = [part for part in module.split(".")[1:] if part not in _INNER]
    plain = names[-1].rpartition(">")[2] if isinstance(names[-1], str) else ""
    if inner and (inner[0] not in _FAMILIES or (inner[0] == "models" and plain not in _MODELS)):
        raise _refused(name, f"a reference to {module}, {label}")


def _give(wanted: ObjectName) -> str:
    return f"give the file or module that defines {wanted.name} with --custom-objects FILE.py"


def check_names(config: Mapping[str, Any], given: Mapping[str, object], name: str, advise: Advise = _give) -> None:
    """Refuse a configuration that names code which is neither Keras' nor the user's.

    Args:
        config: the configuration.
        given: the user's classes and functions.
        name: of the file.
        advise: what to do for one that is missing.

    Raises:
        ConversionError: names the class or function, and the nearest that was given.
    """
    for _, node in serialised_objects(config):
        module = node.get("module")
        if not isinstance(module, str) or module.partition(".")[0] in _KERAS:
            continue
        function = node["class_name"] == "function" and isinstance(node["config"], str)
        wanted = node["config"] if function else node["class_name"]
        if wanted not in given:
            of = "" if module == "builtins" else module
            registered = node.get("registered_name")
            text = registered if isinstance(registered, str) and registered.endswith(f">{wanted}") else wanted
            raise unknown_object("function" if function else "class", ObjectName(str(text), of), given, name, advise)


def unknown_object(
    kind: str, wanted: ObjectName, given: Mapping[str, object], name: str, advise: Advise
) -> ConversionError:
    """The refusal of a file that needs code which was not given."""
    there = sorted({text.rpartition(">")[2] for text in given})
    near = difflib.get_close_matches(wanted.name, there, n=1)
    shown = ", ".join(there[:_SHOWN]) + (f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else "")
    told = (f"; given are {shown}" if shown else "; no code was given") + (
        f", the nearest is {near[0]}" if near else ""
    )
    return ConversionError(
        f"unknown custom {kind} {wanted.name!r} in {name}{told}", "its code on the command line", advise(wanted)
    )


def _refused(name: str, what: str) -> ConversionError:
    return ConversionError(
        f"{what} in {name}",
        "weights, and layers whose code is Keras' or given with --custom-objects",
        "make it a Layer subclass and save the model again, or let it in with --allow-unsafe if you trust the file",
    )


@dataclass
class Totals:
    """Over all datasets, each as often as a loader could come to it.

    Attributes:
        told: bytes of what reading them gives.
        stored: bytes that the file has of them.
        objects: groups and datasets.
    """

    told: int = 0
    stored: int = 0
    objects: int = 0

    @property
    def bomb(self) -> bool:
        """Whether far more is told than stored."""
        return self.told > _RATIO * max(_FLOOR, self.stored)


def foreign(h5py: Any, group: Any, prefix: str, told: dict[int, int], totals: Totals) -> Iterator[tuple[str, str]]:
    """What in a group lies elsewhere, is a bomb, or is too much to look at.

    A group that is linked twice is looked at once, and counts twice.

    Args:
        h5py: the module.
        group: the group.
        prefix: its path.
        told: bytes that each group seen so far tells, by its address.
        totals: what was seen so far, added to.
    """
    for name in group:
        path, link = f"{prefix}/{name}", group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield path, "a link, whose data lies in another file"
            continue
        if isinstance(link, h5py.SoftLink):
            yield path, "a link by a path, which no Keras writes"
            continue
        child = group[name]
        totals.objects += 1
        if totals.objects > _MOST_OBJECTS:
            yield path, f"behind {_MOST_OBJECTS} others"
            return
        if isinstance(child, h5py.Group):
            yield from _inside(h5py, child, path, told, totals)
        elif isinstance(child, h5py.Dataset):
            yield from _dataset(child, path, h5py.h5o.get_info(child.id).addr in told, totals)
            told[h5py.h5o.get_info(child.id).addr] = child.nbytes


def _inside(h5py: Any, group: Any, path: str, told: dict[int, int], totals: Totals) -> Iterator[tuple[str, str]]:
    address = h5py.h5o.get_info(group.id).addr
    if address in told:
        totals.told += told[address]
        return
    before, told[address] = totals.told, 0  # of a group inside itself
    yield from foreign(h5py, group, path, told, totals)
    told[address] = totals.told - before


def _dataset(dataset: Any, path: str, again: bool, totals: Totals) -> Iterator[tuple[str, str]]:
    if dataset.external or dataset.is_virtual:
        yield path, "a dataset, whose data lies in another file"
        return
    stored = dataset.id.get_storage_size()
    totals.told += dataset.nbytes
    totals.stored += 0 if again else stored
    if dataset.nbytes > _RATIO * max(_FLOOR, stored):
        yield path, f"a dataset of {dataset.nbytes} bytes from {stored}"
