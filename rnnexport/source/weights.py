"""Weights that come without their architecture, put into a model that code or a JSON file made.

Keras itself pairs layers by their order, and by their names on request. Both can be wrong without a sound, so that here
one is taken where it alone fits or both agree; where both fit and differ, the user decides.

A model file in the form that its loader takes: the right suffix, the words and the version that the loader knows.

The user's file is never written: what has to differ is a copy in a temporary folder.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rnnexport.core.errors import ConversionError, ForeignCode, UsageError, reason
from rnnexport.core.load_options import WeightsBy
from rnnexport.source.api import KerasApi, Model
from rnnexport.source.configs import Config, Origin
from rnnexport.source.files import SourceFile
from rnnexport.source.safety import import_h5py
from rnnexport.source.stored import StoredLayer, StoredWeights, stored_weights

_SHOWN = 5
_NUMBERED = re.compile(r"(.*?)(?:_(\d+))?$")
_HDF5_SUFFIXES = (".h5", ".hdf5")
# tf_keras converts weights of exactly this version; Keras 1 wrote its full one.
_KERAS_1 = "1"


def load_weights(api: KerasApi, model: Model, file: SourceFile, by: WeightsBy) -> str:
    """Load the weights of `file` into `model`.

    Returns:
        How layers were paired, in words.

    Raises:
        UsageError: `by` asks for what the layout does not have.
        ConversionError: they don't fit, or fit in two ways; lists both sides.
    """
    stored = file.stored or stored_weights(file.weights)
    if stored is None:
        raise ConversionError(f"{file.weights.name} without weights", "weights of a model", "save them again")
    wanted = _places(model)
    if stored.layout == "paths":
        if by == "name":
            raise UsageError(
                f"--weights-by name for {file.weights.name}, which keeps layers by their place", "order", "drop it"
            )
        _require_same_shapes(file, stored, wanted)
        if by == "auto":
            _require_same_names(file, stored, api.names_by_place(model))
        by_name = False
    else:
        by_name = _by_name(file, stored, wanted, by)
    by_their_name = {layer.name: layer for layer in wanted}
    pairs = (
        [(one, by_their_name[one.name]) for one in stored.layers]
        if by_name
        else list(zip(stored.layers, wanted, strict=False))
    )
    if stored.layout == "layers" and by != "order":
        _require_inner_order(file, pairs)
    with weights_file(file.weights, stored) as path, ForeignCode(partial(_unfit, file, stored, wanted)):
        # Keras 3 takes no `by_name` for the layout by paths, not even False.
        model.load_weights(path, **({"by_name": True} if by_name else {}))
    return "name" if by_name else "order" if stored.layout == "layers" else "place in the model"


def _places(model: Model) -> list[StoredLayer]:
    """What the model has a place for, in the order of files: layers with weights, and what it holds outside them."""
    found = [(layer.name, [*layer.trainable_weights, *layer.non_trainable_weights]) for layer in model.layers]
    held = {id(weight) for _, weights in found for weight in weights}
    found.append((model.name, [weight for weight in model.weights if id(weight) not in held]))
    # The name of a weight with those of the layers it lies in, which Keras 3 calls its path.
    return [
        StoredLayer(name, tuple((str(getattr(w, "path", w.name)), tuple(w.shape)) for w in weights))
        for name, weights in found
        if weights
    ]


def _by_name(file: SourceFile, stored: StoredWeights, wanted: Sequence[StoredLayer], by: WeightsBy) -> bool:
    """Whether layers are paired by name, else by order."""
    in_file, in_model = [layer.name for layer in stored.layers], [layer.name for layer in wanted]
    named = sorted(in_file) == sorted(in_model)
    if by == "name" and not named:
        raise _differ(file, "the layers have other names", stored.layers, wanted)
    if by != "order" and named and (in_file == in_model or by == "name" or not _fit(stored, wanted)):
        return True
    if len(in_file) != len(in_model):
        raise _differ(file, "another number of layers", stored.layers, wanted)
    if by == "auto" and any(name in in_model and in_model.index(name) != at for at, name in enumerate(in_file)):
        raise ConversionError(
            f"{file.weights.name} fits the model by order ({_listed(stored.layers)} to {_listed(wanted)}), "
            "and has names of it at other places",
            "layers in one order",
            "give --weights-by order or --weights-by name",
        )
    return False


def _fit(stored: StoredWeights, wanted: Sequence[StoredLayer]) -> bool:
    return [layer.shapes for layer in stored.layers] == [layer.shapes for layer in wanted]


def _require_same_shapes(file: SourceFile, stored: StoredWeights, wanted: Sequence[StoredLayer]) -> None:
    """Keras reads what the model has a place for, and leaves the rest of the file unread."""
    in_file = Counter(shape for layer in stored.layers for shape in layer.shapes)
    in_model = Counter(shape for layer in wanted for shape in layer.shapes)
    if in_file != in_model:
        raise _differ(file, "other shapes", stored.layers, wanted)


def _require_inner_order(file: SourceFile, pairs: Sequence[tuple[StoredLayer, StoredLayer]]) -> None:
    for one, other in pairs:
        if differs_in_order([name for name, _ in one.weights], [name for name, _ in other.weights]):
            raise ConversionError(
                f"{file.weights.name} has the weights inside {one.name} in another order than the model's "
                f"{other.name}: a layer in it was frozen, or is made in another order",
                "layers that are made and frozen as they were when the file was written",
                "set trainable and the order in the code as they were, or give --weights-by order if it is right",
            )


def _require_same_names(file: SourceFile, stored: StoredWeights, in_model: Mapping[str, str]) -> None:
    """Keras pairs by place alone; names that say otherwise make it a guess."""
    for place, name in in_model.items():
        other = stored.names.get(place, name)
        if other != name and other in in_model.values():
            raise ConversionError(
                f"{file.weights.name} fits the model by place, where it has {other!r} for the model's {name!r}, which "
                f"has {other!r} at another place",
                "layers in one order",
                "give --weights-by order if the place is right, or build the layers in the order of the file",
            )


def _unfit(
    file: SourceFile, stored: StoredWeights, wanted: Sequence[StoredLayer], error: BaseException
) -> ConversionError:
    told = _differ(file, "they don't fit", stored.layers, wanted)
    return ConversionError(f"{told.found} ({reason(error)})", told.expected, told.todo)


def _differ(
    file: SourceFile, what: str, in_file: Sequence[StoredLayer], in_model: Sequence[StoredLayer]
) -> ConversionError:
    """Both sides, without the layers that are alike at the same place."""
    alike = sum(1 for one, other in zip(in_file, in_model, strict=False) if one.shapes == other.shapes)
    only = [(one, other) for one, other in zip(in_file, in_model, strict=False) if one.shapes != other.shapes]
    left = [one for one, _ in only] + list(in_file[len(in_model) :])
    right = [other for _, other in only] + list(in_model[len(in_file) :])
    if not left and not right:
        left, right, alike = list(in_file), list(in_model), 0
    same = f" besides {alike} alike" if alike else ""
    return ConversionError(
        f"weights of {file.weights.name} for another model: {what}: the file has {_listed(left)}, "
        f"the model {_listed(right)}{same}",
        "the same layers and shapes",
        "give the --builder or --architecture that belongs to them",
    )


def _listed(layers: Sequence[StoredLayer]) -> str:
    shown = [f"{layer.name} {' '.join(map(_shape, layer.shapes))}" for layer in layers[:_SHOWN]]
    more = len(layers) - len(shown)
    return ", ".join([*shown, *([f"{more} more"] if more else [])]) or "none"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def differs_in_order(in_file: Sequence[str], in_model: Sequence[str]) -> bool:
    """Whether both sides have the same names, but for numbers that Keras gave, in another order.

    Keras stores the weights of a layer (a nested model, stacked cells, a wrapper) as a list, the trainable ones first.
    A layer that was frozen when the file was written, or that the code makes in another order, moves them without a
    change of shape. The names that are stored with them tell.

        file   [a/kernel, a/bias, b/kernel, b/bias]    model   [b/kernel, b/bias, a/kernel, a/bias]    refused
        file   [lstm/kernel, lstm_1/kernel]            model   [lstm_4/kernel, lstm_5/kernel]          the same order

    Args:
        in_file: names of the weights of one layer, as stored.
        in_model: those of the layer they are for.
    """
    one, other = list(_relative(in_file)), list(_relative(in_model))
    return one != other and sorted(one) == sorted(other)


def _relative(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The names without what all have in front, and with Keras' numbers counted from 0."""
    paths = [name.split(":")[0].split("/") for name in names]
    shared = 0
    while all(len(path) > shared + 1 and path[shared] == paths[0][shared] for path in paths):
        shared += 1
    parts = {part for path in paths for part in path[shared:-1]}
    ranks = {part: _rank(part, parts) for part in parts}
    for path in paths:
        yield (*(ranks[part] for part in path[shared:-1]), path[-1])


def _rank(part: str, parts: set[str]) -> str:
    """`lstm_5` among `lstm_4` and `lstm_5` is the second `lstm`."""
    base = _split(part)[0]
    alike = sorted(_split(other)[1] for other in parts if _split(other)[0] == base)
    return f"{base}#{alike.index(_split(part)[1])}"


def _split(part: str) -> tuple[str, int]:
    match = _NUMBERED.match(part)
    assert match is not None
    return match[1], int(match[2] or 0)


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
