"""A subclassed model, which declares no inputs, as the one layer of a functional model that does.

    Before: model.call(x)        After: Model(x = Input(...), model(x))

Its weights are those of the live model. The batch is left open unless stateful layers fix it, and so is the length
wherever the model runs with an open one: what it was first called with is no part of it.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.core.load_options import InputShape
from rnnexport.core.signature import Boundary
from rnnexport.source.api import KerasApi
from rnnexport.source.describe import describe
from rnnexport.source.model import SourceModel
from rnnexport.source.probe import LENGTHS, lengths_around

_FEATURES_FROM = 3  # from this rank on the last axis holds features, which no recurrent layer leaves open


def with_inputs(source: SourceModel, api: KerasApi, inputs: Mapping[str, InputShape] | None) -> SourceModel:
    """`source`, its model inside a functional one where it declares no inputs itself.

    Args:
        source: the model.
        api: its Keras.
        inputs: what the user says of its inputs; None for what the model was built with.

    Raises:
        ConversionError: nothing tells what goes in, or the model can't be called with it.
    """
    if api.inputs(source.model):
        return source
    arguments: Mapping[str, Any] = inputs or api.built_inputs(source.model) or {}
    if not arguments:
        raise ConversionError(
            f"{source.name} is subclassed, and was never called, or Keras has not kept with what",
            "to know its inputs and their dtypes",
            _todo(source),
        )
    refusals = []
    built = None if inputs else max(_lengths(arguments), default=None)
    for candidate in [arguments] if inputs else _opened(arguments):
        try:
            return _called(source, api, candidate, built)
        except ConversionError as error:
            refusals.append(error)  # not with lengths that are open: the next candidate has fewer
    raise refusals[-1]


def _called(source: SourceModel, api: KerasApi, arguments: Mapping[str, Any], built: int | None) -> SourceModel:
    def refused(error: BaseException) -> ConversionError:
        found = f"{source.name} can't be called with {dict(arguments)}: {reason(error)}"
        return ConversionError(found, "inputs that it takes", _todo(source))

    with ForeignCode(refused):
        wrapped = replace(source, model=api.wrapped(source.model, arguments))
    lengths = LENGTHS if built is None else lengths_around(built)
    describe(wrapped, Boundary(), lengths)  # runs it at two sizes of all that is open
    return wrapped


def _todo(source: SourceModel) -> str:
    """How to say what goes in, by the names of the arguments that its call needs."""
    parameters = inspect.signature(source.model.call).parameters.values()
    needed = [one.name for one in parameters if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD]
    if len(needed) > 1:  # Keras 3 keeps what the first of them was, tf_keras what all were
        shown = ", ".join(f'"{name}": (SHAPE, DTYPE)' for name in needed)
        return f"give LoadOptions(inputs={{{shown}}}), a SHAPE such as (None, None, 8), a DTYPE such as 'float32'"
    return 'call it once on real inputs, or give LoadOptions(inputs={"x": ((None, None, 8), "float32")})'


def _opened(arguments: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The shapes with batch and length open, then with the length of inputs with features alone, then the batch."""
    for lengths_from in (2, _FEATURES_FROM, 99):
        yield {name: _mapped(struct, lengths_from) for name, struct in arguments.items()}


def _lengths(struct: Any) -> Iterator[int]:
    """The lengths of all that has rank 2 or more, as it was first called."""
    if isinstance(struct, (dict, list)):
        for child in struct.values() if isinstance(struct, dict) else struct:
            yield from _lengths(child)
    else:
        yield from (size for size in struct[0][1:2] if size is not None)


def _mapped(struct: Any, lengths_from: int) -> Any:
    if isinstance(struct, dict):
        return {name: _mapped(child, lengths_from) for name, child in struct.items()}
    if isinstance(struct, list):
        return [_mapped(child, lengths_from) for child in struct]
    shape, dtype = struct
    opened = 2 if len(shape) >= lengths_from else 1
    return (None,) * opened + tuple(shape[opened:]), dtype
