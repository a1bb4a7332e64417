"""A model made by the user's code, for weights that come without an architecture."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from rnnexport.core.errors import ConversionError, ForeignCode, UsageError, reason
from rnnexport.core.load_options import LoadOptions
from rnnexport.source.api import KerasApi, Model, api_of
from rnnexport.source.custom_objects import import_code
from rnnexport.source.files import SourceFile
from rnnexport.source.origin import choose_api
from rnnexport.source.semantics import refuse_theano_kernels

_FORM = "module:function or file.py:function"


def build(file: SourceFile, loading: LoadOptions) -> tuple[Model, KerasApi]:
    """The model of the builder that `loading` names, and the Keras it belongs to.

    Raises:
        UsageError: there is no such function, or it takes arguments or returns no model.
        ConversionError: its code raises, or its Keras is not the one that the weights are from.
    """
    function, name = _function(loading.builder)
    with ForeignCode(partial(_failed, name)):
        model = function()
    try:
        api = api_of(model)
    except UsageError as error:
        raise UsageError(f"--builder {name} returns {error.found}", "a Keras model", "return the model") from error
    if loading.keras_api not in ("auto", api.name):
        raise UsageError(
            f"--builder {name} makes a model of {api.name}, with --keras-api {loading.keras_api}",
            "one Keras",
            "change one of the two",
        )
    with ForeignCode(partial(_unbuilt, name)):
        weights = list(model.weights)
    if not weights:
        raise _unbuilt(name)
    refuse_theano_kernels((type(layer).__name__ for layer in api.layers(model)), file.origin, file.path.name)
    if loading.keras_api == "auto":
        _refuse_hard_sigmoid(model, api, file, name)
    return model, api


def _refuse_hard_sigmoid(model: Model, api: KerasApi, file: SourceFile, name: str) -> None:
    """The one function of that name which is another one in the Keras that trained the weights."""
    trained_by = None if file.origin.major is None else choose_api(file.origin, "auto", file.path.name)[0]
    if trained_by == api.name:
        return
    for layer in api.layers(model):
        for activation in ("activation", "recurrent_activation"):
            if getattr(getattr(layer, activation, None), "__name__", "") == "hard_sigmoid":
                raise ConversionError(
                    f"layer {layer.name} of --builder {name} has the hard_sigmoid of {api.name}; {file.path.name} is "
                    f"of {file.origin}",
                    f"weights trained with {api.name}, since the two Kerases differ in that function",
                    f"build the model with the other Keras, or give --keras-api {api.name} if this one is meant",
                )


def _function(builder: str | Callable[[], Any] | None) -> tuple[Callable[[], Any], str]:
    if callable(builder):
        return builder, getattr(builder, "__name__", "builder")
    source, colon, attribute = str(builder).rpartition(":")
    if not colon or not source or not attribute.isidentifier():
        raise UsageError(f"--builder {builder}", _FORM, "name the function behind a colon")
    function = getattr(import_code(source, "--builder"), attribute, None)
    if not callable(function):
        raise UsageError(f"--builder {builder}, where {source} has no function {attribute}", _FORM, "check the name")
    return function, str(builder)


def _unbuilt(name: str, error: BaseException | None = None) -> UsageError:
    return UsageError(
        f"--builder {name} makes a model that has no weights yet",
        "a model that is built",
        "give it an Input, or call it once before it is returned",
    )


def _failed(name: str, error: BaseException) -> ConversionError:
    return ConversionError(
        f"--builder {name} raises {reason(error)}",
        "a function without arguments that returns the model",
        "mend it; --debug shows the traceback",
    )
