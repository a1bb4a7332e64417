"""A subclassed model, which declares no inputs, as the one layer of a functional model that does.

    Before: model.call(x)        After: Model(x = Input(...), model(x))

Its weights are those of the live model. The batch is left open, and so is the length wherever the model can be called
with an open one: what it was first called with is no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rnnexport.errors import ConversionError, ForeignCode, reason
from rnnexport.loading import InputShape
from rnnexport.source.api import KerasApi, Model

_TODO = 'call it once on real inputs, or give Loading(inputs={"x": ((None, None, 8), "float32")})'


def with_inputs(api: KerasApi, model: Model, inputs: Mapping[str, InputShape] | None) -> Model:
    """`model`, in a functional model where it declares no inputs itself.

    Args:
        api: the Keras of the model.
        model: the model.
        inputs: what the user says of its inputs; None for what the model was built with.

    Raises:
        ConversionError: nothing tells what goes in, or the model can't be called with it.
    """
    if api.inputs(model):
        return model
    arguments: Mapping[str, Any] = inputs or api.built_inputs(model) or {}
    if not arguments:
        raise ConversionError(f"{model.name} is subclassed and was never called", "to know its inputs", _TODO)
    failure: ConversionError | None = None
    for candidate in [arguments] if inputs else _opened(arguments):
        try:
            with ForeignCode(lambda error: _refused(model, arguments, error)):
                return api.wrapped(model, candidate)
        except ConversionError as error:
            # Not with an open length: the fixed one is next.
            failure = failure or error
    assert failure is not None
    raise failure


def _refused(model: Model, arguments: Mapping[str, Any], error: BaseException) -> ConversionError:
    return ConversionError(
        f"{model.name} can't be called with {dict(arguments)}: {reason(error)}", "inputs that it takes", _TODO
    )


def _opened(arguments: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The shapes with batch and length open, then with the batch alone."""
    for axes in (2, 1):
        yield {name: _mapped(struct, axes) for name, struct in arguments.items()}


def _mapped(struct: Any, axes: int) -> Any:
    if isinstance(struct, dict):
        return {name: _mapped(child, axes) for name, child in struct.items()}
    if isinstance(struct, list):
        return [_mapped(child, axes) for child in struct]
    shape, dtype = struct
    # From rank 3 on the last axis holds the features, which no recurrent layer leaves open.
    opened = min(axes, len(shape) if len(shape) < 3 else len(shape) - 1)
    return (None,) * opened + tuple(shape[opened:]), dtype
