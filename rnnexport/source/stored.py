"""The weights in an HDF5 file, by layer: their names and shapes. Reads no values, needs no TensorFlow.

A configuration that wants larger ones is refused (`check_sizes`).

Two layouts:
    layers   a group a layer by its name, listed in the attribute `layer_names`, each with `weight_names` (`.h5`)
    paths    a group a layer by its place in the model, arrays numbered below `vars` (`.keras`, `.weights.h5`)
"""

from __future__ import annotations

import math
import posixpath
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rnnexport.core.errors import ConversionError
from rnnexport.core.run_record import Parameters
from rnnexport.source.configs import Config, Origin, label, parsed, serialised_objects
from rnnexport.source.safety import import_h5py

Shape = tuple[int, ...]
WEIGHTS_ENTRY = "model.weights.h5"
_TF_KERAS_GROUP = "_layer_checkpoint_dependencies"
# Below these a Keras keeps what is no weight: the optimizer's state, and the seeds of random layers.
_NO_WEIGHTS = ("optimizer", "metrics", "seed_generator")
_SIZES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "Dense"), ("units",)),
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), ("filters", "kernel_size")),
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), ("filters", "kernel_size")),
    "Embedding": ("input_dim", "output_dim"),
}
_SHAPES = ("batch_shape", "batch_input_shape", "build_input_shape")
_LARGEST_INPUT, _LARGEST_ROW = 2**31, 2**24


@dataclass(frozen=True)
class StoredLayer:
    """One layer of the file.

    Attributes:
        name: of the layer, or the path of its group.
        weights: (name, shape) of each of its arrays, in order.
        size: their bytes.
    """

    name: str
    weights: tuple[tuple[str, Shape], ...]
    size: int = 0

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes alone."""
        return tuple(shape for _, shape in self.weights)


@dataclass(frozen=True)
class StoredWeights:
    """All weights of the file: layers that hold some, in the file's order.

    Attributes:
        layout: see the module.
        origin: the Keras that wrote them, where the weights themselves record it.
        layers: the layers.
        names: in the layout by paths, layers' own names by their path, where they are recorded.
    """

    layout: Literal["layers", "paths"]
    origin: Origin
    layers: tuple[StoredLayer, ...]
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> Parameters:
        """All of them together."""
        count = sum(math.prod(shape) for layer in self.layers for shape in layer.shapes)
        return Parameters(count, sum(layer.size for layer in self.layers))

    def bias_shapes(self, layer: str) -> set[Shape]:
        """The shapes of the biases that belong to the layer of that name, wrapped or not."""
        inside = {layer, f"forward_{layer}", f"backward_{layer}"}
        return {
            shape
            for stored in self.layers
            for name, shape in stored.weights
            if name.rpartition("/")[2].split(":")[0].startswith("bias") and inside & {stored.name, *name.split("/")}
        }


def stored_weights(path: Path) -> StoredWeights | None:
    """The weights of an HDF5 file or of a `.keras` archive; None where it holds none.

    Raises:
        ConversionError: the file is damaged.
        ProviderError: h5py is not installed.
    """
    try:
        with _opened(path) as file:
            return None if file is None else _read(file)
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise ConversionError(
            f"{path.name} holds damaged weights ({error})", "whole HDF5", "copy or save it again"
        ) from error


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    h5py = import_h5py()
    if not zipfile.is_zipfile(path):
        with h5py.File(path, "r") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        if WEIGHTS_ENTRY not in archive.namelist():
            yield None
            return
        with archive.open(WEIGHTS_ENTRY) as stream, h5py.File(stream, "r") as file:
            yield file


def _read(file: Any) -> StoredWeights | None:
    group = file.get("model_weights", file)
    if "layer_names" in group.attrs or "layer_names0" in group.attrs:
        layers = tuple(_layer(name, _arrays(group[name])) for name in _texts(group, "layer_names"))
        return StoredWeights("layers", _origin(group), tuple(layer for layer in layers if layer.weights))
    found: dict[str, list[tuple[str, Any]]] = {}
    file.visititems(lambda name, node: _collect(found, name, node))
    if not found:
        return None
    layers = tuple(_layer(name, arrays) for name, arrays in found.items())
    names = _names_by_place(file)
    origin = Origin("3") if names else Origin("2.12") if _TF_KERAS_GROUP in file else Origin(None)
    return StoredWeights("paths", origin, layers, names)


def _names_by_place(file: Any) -> dict[str, str]:
    """The layers' names by the path of their group, which Keras 3 records and tf_keras does not."""
    found: dict[str, str] = {}

    def collect(path: str, node: Any) -> None:
        place, last = posixpath.split(path)
        if last == "vars" and (name := node.attrs.get("name")) is not None:
            found[place] = text_of(name)

    file.visititems(collect)
    return found


def _collect(found: dict[str, list[tuple[str, Any]]], path: str, node: Any) -> None:
    folder, number = posixpath.split(path)
    place, last = posixpath.split(folder)
    if hasattr(node, "shape") and last == "vars" and not any(part.startswith(_NO_WEIGHTS) for part in place.split("/")):
        found.setdefault(place, []).append((number, node))


def _arrays(group: Any) -> list[tuple[str, Any]]:
    return [(name, group[name]) for name in _texts(group, "weight_names")]


def _layer(name: str, arrays: Iterable[tuple[str, Any]]) -> StoredLayer:
    kept = [(key, tuple(array.shape), int(array.nbytes)) for key, array in arrays]
    return StoredLayer(name, tuple((key, shape) for key, shape, _ in kept), sum(size for *_, size in kept))


def _origin(group: Any) -> Origin:
    version = group.attrs.get("keras_version")
    return Origin(None) if version is None else parsed(text_of(version), text_of(group.attrs.get("backend", "")))


def _texts(group: Any, name: str) -> list[str]:
    """An attribute that is a list of texts; a long one is stored in pieces, `name0`, `name1` and so on."""
    if name in group.attrs:
        return [text_of(value) for value in group.attrs[name]]
    pieces: list[list[str]] = []
    while f"{name}{len(pieces)}" in group.attrs:
        pieces.append([text_of(value) for value in group.attrs[f"{name}{len(pieces)}"]])
    return [text for piece in pieces for text in piece]


def text_of(value: bytes | str) -> str:
    """A text of HDF5, which Keras wrote as bytes or as a string."""
    return value.decode() if isinstance(value, bytes) else str(value)


def check_sizes(config: Config, stored: StoredWeights, name: str) -> None:
    """Refuse a configuration of layers that are larger than their weights. Building them could take all of the memory.

    A layer of Keras has a weight that is at least as long as its units, filters or vocabulary; an input is no larger
    than a host's memory, and a row of it no larger than what twenty calls of some tens of rows take.

    Raises:
        ConversionError: names the layer and the size.
    """
    largest = max((size for layer in stored.layers for shape in layer.shapes for size in shape), default=0)
    for _, node in serialised_objects(config):
        inner = node["config"]
        if not isinstance(inner, dict):
            continue
        for key in _SIZES.get(node["class_name"], ()):
            for size in _numbers(inner.get(key)):
                if size > largest:
                    raise _refused(
                        f"{key}={size} of {label(node)} in {name}", f"{largest}, the longest side of a weight"
                    )
        for key in _SHAPES:
            shape = inner.get(key)
            for part, dims, most in (("", shape, _LARGEST_INPUT), (" a row", _row(shape), _LARGEST_ROW)):
                if (size := math.prod(abs(n) for n in _numbers(dims))) > most:
                    raise _refused(f"{key} of {size} values{part} of {label(node)} in {name}", f"{most} values{part}")


def _row(shape: Any) -> Any:
    """A shape without its batch."""
    return shape[1:] if isinstance(shape, list) else None


def _numbers(value: Any) -> Iterator[int]:
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, int):
            yield item


def _refused(found: str, most: str) -> ConversionError:
    return ConversionError(found, f"at most {most}", "copy or save the file again")
