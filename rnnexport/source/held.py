"""What the layers of a model hold besides their configuration: tensors, arrays and numbers, by layer and attribute.

A tensor that code makes in `build()` is held as an attribute, in a list or a dict, in a helper of its own, or by a
function that closes over it. All of these are looked into; layers are not, for each has its own place here.

Code that computes tensors from weights in `build()`, and uses these in `call()`, means two things:

1. In a graph (Keras 1 and 2 of the `keras` package below 2.4 had nothing else) such a tensor is computed anew in each
   call, from the weights as they are then.
2. Run eagerly, as TensorFlow 2 and Keras 3 do, it is computed once, from the initial values of the weights. Training
   and loading leave it as it was, and no file holds it.

So a file is loaded once more (`loaded`), each variable starting from the value that the file gave it, so that what
`build()` computes is computed from that. It is what a file of the first kind means. Of the second kind nothing can be
put right: if a load like that computes something else, the model depends on initial values that the file does not hold,
be they the same in each load.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from types import FunctionType
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.source.api import Layer
from rnnexport.source.model import SourceModel

_DEEPEST = 4
_KERAS = ("keras", "tf_keras")
# Whose classes are no helpers of a model's own code.
_LIBRARIES = frozenset((*sys.stdlib_module_names, *_KERAS, "tensorflow", "numpy")) - {"__main__"}
Load = Callable[[], SourceModel]


@dataclass(frozen=True, eq=False)
class Held:
    """One value that a layer holds.

    Attributes:
        layer: the layer.
        path: the attribute, and the way from there: `kernels[0]`, `step.scale`.
        array: the value.
        is_tensor: whether TensorFlow holds it, as a tensor or a variable, rather than NumPy or Python.
    """

    layer: Layer
    path: str
    array: np.ndarray
    is_tensor: bool


def is_own(layer: Layer) -> bool:
    """Whether a layer's class is none of Keras' own."""
    return type(layer).__module__.partition(".")[0] not in _KERAS


def is_own_module(module: str | None) -> bool:
    """Whether what a module defines is neither Keras', TensorFlow's, NumPy's nor Python's."""
    return bool(module) and str(module).partition(".")[0] not in _LIBRARIES


def held_values(source: SourceModel, *, but: Iterable[object] = ()) -> list[Held]:
    """What the layers of `source` hold, each value once, in the order of the layers, without these objects."""
    seen = {id(value) for value in but}
    found = []
    for layer in source.api.layers(source.model):
        # Keras' own lists of all that a layer has come behind the attributes that the model's code gave it.
        for name, value in sorted(vars(layer).items(), key=lambda item: item[0].startswith("_")):
            for path, leaf in _leaves(name, value, seen, _DEEPEST):
                is_tensor = not isinstance(leaf, np.ndarray | np.generic | float)
                found.append(Held(layer, path, np.asarray(leaf.numpy() if is_tensor else leaf), is_tensor))
    return found


def changed_values(one: SourceModel, other: SourceModel) -> list[Held]:
    """The values of `one` that are others in `other`, a model of the same code."""
    theirs = {(at, held.path): held.array for at, held in _by_place(other)}
    pairs = [(held, theirs.get((at, held.path))) for at, held in _by_place(one)]
    return [held for held, array in pairs if array is not None and not _same(held.array, array)]


def listed(values: list[Held]) -> str:
    """The values in words: `a and b of layer cell (MyCell)`."""
    by_layer: dict[Layer, list[str]] = {}
    for held in values:
        by_layer.setdefault(held.layer, []).append(held.path)
    return "; ".join(f"{_joined(paths)} of layer {one.name} ({type(one).__name__})" for one, paths in by_layer.items())


def _by_place(source: SourceModel) -> Iterator[tuple[int, Held]]:
    places = {id(layer): at for at, layer in enumerate(source.api.layers(source.model))}
    return ((places[id(held.layer)], held) for held in held_values(source))


def _leaves(path: str, value: Any, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    """(path, value) of each tensor, array and real number at or below `value`."""
    if isinstance(value, float):
        yield path, value
        return
    if id(value) in seen:
        return
    if _is_array(value):
        seen.add(id(value))
        yield path, value
    elif depth and (children := _children(value)):
        seen.add(id(value))
        for name, child in children:
            yield from _leaves(path + name, child, seen, depth - 1)


def _is_array(value: Any) -> bool:
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "fciub"
    concrete = hasattr(value, "numpy") and not tf.is_symbolic_tensor(value)
    return concrete and (tf.is_tensor(value) or isinstance(value, tf.Variable) or _is_keras_variable(value))


def variable_of(weight: Any) -> Any:
    """The variable of TensorFlow that a weight of either Keras is."""
    return weight.value if _is_keras_variable(weight) else weight


def _is_keras_variable(value: Any) -> bool:
    return type(value).__module__.startswith("keras.") and isinstance(getattr(value, "value", None), tf.Variable)


def _children(value: Any) -> list[tuple[str, Any]]:
    """(suffix of the path, value) of what is held by a container, a function, or an object of the model's own code."""
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", child) for key, child in value.items()]
    if isinstance(value, list | tuple):
        return [(f"[{at}]", child) for at, child in enumerate(value)]
    if isinstance(value, partial):
        return [*_children(list(value.args)), *_children(value.keywords), ("", value.func)]
    if isinstance(value, FunctionType):
        cells = zip(value.__code__.co_freevars, value.__closure__ or (), strict=True)
        return [(f".{name}", cell.cell_contents) for name, cell in cells if _is_filled(cell)]
    if is_own_module(type(value).__module__) and not hasattr(value, "trainable_weights"):
        return [(f".{name}", child) for name, child in getattr(value, "__dict__", {}).items()]
    return []


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")


def _joined(names: list[str]) -> str:
    shown = names[:4] + ([f"{len(names) - 4} more"] if len(names) > 4 else [])
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def loaded(load: Load, *, own_code: bool) -> SourceModel:
    """What `load` gives, told how to do it again where code of its own is in it.

    Args:
        load: loads the file. The model is another one each time.
        own_code: whether other code than that of its layers makes it: a builder, or functions in the file.

    Raises:
        ConversionError: whatever `load` raises; or a file of the first kind holds numbers that no graph computes.
    """
    with _noted() as variables:
        source = load()
    if source.api.name == "saved-model" or not (own_code or any(map(is_own, source.api.layers(source.model)))):
        return source
    held = {id(variable_of(weight)) for weight in source.model.weights}
    values = [variable.numpy() if id(variable) in held else None for variable in variables]

    def again() -> SourceModel:
        with _starting_from(values):
            return load()

    if source.file is None or not source.file.origin.multi_backend:
        return replace(source, again=again)
    computed = again()
    others = changed_values(source, computed)
    if frozen := [held for held in others if not held.is_tensor]:
        raise ConversionError(
            f"{listed(frozen)} in {source.file.path.name}: made when the model is built, as numbers that no file holds",
            "numbers that follow from the file",
            "compute them from the weights with operations of the backend, in call()",
        )
    if not others:
        return replace(source, again=again)
    note = f"{listed(others)}: computed from the loaded weights, as {source.file.origin} does in each call"
    return replace(computed, semantics=(*computed.semantics, note), again=again)


def live(source: SourceModel) -> SourceModel:
    """A live model, told how to copy it where its own layers hold values besides weights."""
    beside = held_values(source, but=source.model.weights)
    made = any(is_own(held.layer) and (held.is_tensor or held.array.ndim) for held in beside)
    return replace(source, again=lambda: _copy(source)) if made else source


def _copy(source: SourceModel) -> SourceModel:
    """The model made anew from its configuration, with its weights.

    Raises:
        ConversionError: it can't be: then no file of it can be loaded either.
    """

    def refused(error: BaseException) -> ConversionError:
        found = f"{source.name} can't be made from its configuration: {reason(error)}"
        return ConversionError(found, "a get_config() that its class takes", "mend it")

    keras = import_module(source.api.name)
    classes = {type(layer).__name__: type(layer) for layer in source.api.layers(source.model) if is_own(layer)}
    with ForeignCode(refused), keras.utils.custom_object_scope(classes):
        model = keras.models.clone_model(source.model)
        model.set_weights(source.model.get_weights())
    return replace(source, model=model, again=None)


@contextmanager
def _noted() -> Iterator[list[Any]]:
    """The variables that are made inside this block, in order."""
    made: list[Any] = []

    # Stands in for a constructor of TensorFlow, whatever is passed to it.
    def create(make: Callable[..., Any], **options: Any) -> Any:
        made.append(make(**options))
        return made[-1]

    with tf.variable_creator_scope(create):
        yield made


@contextmanager
def _starting_from(values: Sequence[np.ndarray | None]) -> Iterator[None]:
    """Inside this block each variable starts from the next of `values`, if that is there and has its shape."""
    remaining = iter(values)

    # Stands in for a constructor of TensorFlow, whatever is passed to it.
    def create(make: Callable[..., Any], **options: Any) -> Any:
        value, shape = next(remaining, None), options.get("shape")
        if value is not None and (shape is None or tuple(tf.TensorShape(shape)) == value.shape):
            options["initial_value"] = lambda: tf.constant(value)
        return make(**options)

    with tf.variable_creator_scope(create):
        yield
