"""A model around one layer, with a recurrence beside it, or around one function; lengths are open where Keras can."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np

from benchmarks.support import layers as of_layers
from rnnexport.core.errors import ForeignCode, one_line

_STEPS = 6  # where a length is fixed
_SAMPLES = 40  # of sound
_ROWS = 2  # where the batch is fixed too
Family = Literal["keras.layers", "tf_keras.layers", "keras.ops"]
FAMILIES: tuple[Family, ...] = ("keras.layers", "tf_keras.layers", "keras.ops")


class CannotBuildError(Exception):
    """Keras itself can't make the model, or can't run it."""


@dataclass(frozen=True, order=True)
class Subject:
    """A layer or a function.

    Attributes:
        family: the module that has it.
        name: there.
    """

    family: Family
    name: str


@dataclass(frozen=True, eq=False)
class Built:
    """A model of a subject.

    Attributes:
        model: with weights.
        sizes: what is fixed in it for the subject's sake, in words; empty where batch and length are open.
        steps: a length for what needs a fixed one.
    """

    model: Any
    sizes: str
    steps: int = _STEPS


def public(family: Family) -> dict[str, str]:
    """The public names of a module, with the other name of those that are there twice, which is measured instead."""
    module = import_module(family)
    wanted = callable if family == "keras.ops" else lambda value: isinstance(value, type)
    found = {name: getattr(module, name) for name in sorted(dir(module)) if not name.startswith("_")}
    found = {name: value for name, value in found.items() if wanted(value)}
    others = {name: value.__name__ for name, value in found.items() if found.get(value.__name__) is value}
    return {name: "" if others.get(name, name) == name else others[name] for name in found}


def not_applicable(subject: Subject) -> str:
    """Why a subject can't be part of a trained model; empty where it can."""
    if subject.family == "keras.ops":
        from benchmarks.support import functions

        return functions.NOT_APPLICABLE.get(subject.name, "")
    return of_layers.NOT_APPLICABLE.get(subject.name, "")


def kind_of(subject: Subject) -> str:
    """Equal for subjects of one family whose models can have one input."""
    if _is_function(subject) or subject.name not in of_layers.USES:
        return ""
    return f"{of_layers.USES[subject.name].kind}{of_layers.OWN_SHAPES.get(subject.name, '')}"


def build(subject: Subject, name: str = "model") -> Built:
    """The model. Lengths are open where Keras takes them so.

    Raises:
        CannotBuildError: Keras does not make it at any size.
    """
    steps = _SAMPLES if not _is_function(subject) and of_layers.USES[subject.name].kind == "wave" else _STEPS
    refusal = CannotBuildError("no use of it is known")
    for rows, length, sizes in ((None, None, ""), (None, steps, "length"), (_ROWS, steps, "batch and length")):
        try:
            with ForeignCode(lambda error: CannotBuildError(_cause(error))):
                make = _function_model if _is_function(subject) else _layer_model
                model = make(subject, rows, length, name)
                _fill(model)
                _run(model, steps)
                return Built(model, sizes, steps)
        except CannotBuildError as error:
            refusal = error
    raise refusal


def _cause(error: BaseException) -> str:
    """What an error says behind what Keras puts in front of it, and behind it."""
    text = one_line(str(error), 5000).rpartition("Error encountered: ")[2]
    return one_line(text.partition(" Arguments received by")[0], 200)


def _is_function(subject: Subject) -> bool:
    return subject.family == "keras.ops"


def _function_model(subject: Subject, rows: int | None, steps: int | None, name: str) -> Any:
    import keras

    from benchmarks.support.function_layer import Function
    from benchmarks.support.samples import WIDTH

    x = keras.Input((steps, WIDTH), batch_size=rows, name="x")
    # No recurrence: it costs two thirds of the time, and functions do not tell what went before them.
    a = keras.layers.Dense(WIDTH, activation="tanh")(x)
    return keras.Model(x, Function(subject.name, name="function")(a, x), name=name)


def _layer_model(subject: Subject, rows: int | None, steps: int | None, name: str) -> Any:
    api = import_module(subject.family.partition(".")[0])
    use = of_layers.USES[subject.name]
    shape, dtype = of_layers.SHAPES[use.kind]
    shape = of_layers.OWN_SHAPES.get(subject.name, shape)
    x = api.Input([steps if size is None else size for size in shape], batch_size=rows, dtype=dtype, name="x")
    y: Any = x
    if use.kind == "row":
        y = api.layers.SimpleRNN(of_layers.WIDTH)(x)
    elif use.kind in ("picture", "volume", "film"):
        y = api.layers.Rescaling(0.7)(x)
    inside = use.make(api.layers)
    found = inside([y, api.layers.Dense(of_layers.WIDTH)(x)] if use.kind == "pair" else y)
    behind = [] if use.alone or use.kind == "row" else list(_recurrence(api, found))
    if not behind and use.kind == "sequence":
        behind = [api.layers.SimpleRNN(3)(x)]
    return api.Model(x, [*_flat(found), *behind], name=name)


def _flat(y: Any) -> list[Any]:
    return [one for part in y for one in _flat(part)] if isinstance(y, list | tuple) else [y]


def _recurrence(api: Any, y: Any) -> Iterator[Any]:
    """A recurrence on what the layer gives, where that is a sequence of features of numbers, or a picture."""
    if isinstance(y, list | tuple) or "float" not in str(getattr(y.dtype, "name", y.dtype)):
        return
    shape = tuple(y.shape)
    if len(shape) > 3 and None not in shape[1:]:
        y = api.layers.Reshape((shape[1], int(np.prod(shape[2:]))))(y)
    if len(y.shape) == 3 and y.shape[2] is not None:
        yield api.layers.SimpleRNN(3)(y)


def _fill(model: Any) -> None:
    rng = np.random.default_rng(7)
    for weight in model.weights:
        path = str(getattr(weight, "path", weight.name))
        if "float" in str(getattr(weight.dtype, "name", weight.dtype)):
            weight.assign(of_layers.values(rng, path, tuple(weight.shape)).astype("float32"))


def _run(model: Any, steps: int) -> None:
    """Once in eager mode: what Keras itself can't run is no model."""
    import tensorflow as tf

    (tensor,) = model.inputs
    shape = [size or other for size, other in zip(tensor.shape, (_ROWS, steps, *[_STEPS] * 4), strict=False)]
    dtype = str(getattr(tensor.dtype, "name", tensor.dtype))
    numbers = np.random.default_rng(1).uniform(0, 2, shape)
    model(tf.constant("a", shape=shape) if dtype == "string" else numbers.astype(dtype), training=False)
