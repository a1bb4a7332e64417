"""Loading a model again, to see whether it follows from its file.

Code that computes tensors from weights in `build()`, and uses these in `call()`, means two things:

1. In a graph (Keras 1 and 2 of the `keras` package below 2.4 had nothing else) such a tensor is computed anew in each
   call, from the weights as they are then.
2. Run eagerly, as TensorFlow 2 and Keras 3 do, it is computed once, from the initial values of the weights. Training
   and loading leave it as it was, and no file holds it.

A file is loaded once more, each variable starting from the value that the file gave it, so that what `build()` computes
is computed from that. It is what a file of the first kind means. Of the second kind nothing can be put right: if a load
like that computes something else, the model depends on initial values that the file does not hold, be they the same in
each load.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.source.held import changed_values, held_values, is_own, listed, variable_of
from rnnexport.source.model import SourceModel

Load = Callable[[], SourceModel]


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
