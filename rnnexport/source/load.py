"""A path or a live model to a `SourceModel`: the model, its API, and where it came from.

A model made by the user's code, for weights that come without an architecture.

A subclassed model, which declares no inputs, as the one layer of a functional model that does.

    Before: model.call(x)        After: Model(x = Input(...), model(x))

Its weights are those of the live model. The batch is left open unless stateful layers fix it, and so is the length
wherever the model runs with an open one: what it was first called with is no part of it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rnnexport.core.errors import ConversionError, ForeignCode, UsageError, reason
from rnnexport.core.load_options import InputShape, LoadOptions
from rnnexport.core.signature import Boundary
from rnnexport.source.api import KerasApi, Model, api_named, api_of
from rnnexport.source.configs import choose_api, without_key
from rnnexport.source.custom_objects import CustomObjects, import_code, objects_for
from rnnexport.source.describe import describe
from rnnexport.source.files import SourceFile, check_weights, identify
from rnnexport.source.held import live, loaded
from rnnexport.source.model import SourceModel
from rnnexport.source.packages import ObjectName
from rnnexport.source.probe import LENGTHS, lengths_around
from rnnexport.source.program import SavedModelProgram, load_program
from rnnexport.source.safety import Advise, check_names, unknown_object
from rnnexport.source.saved_model_file import SERVING
from rnnexport.source.semantics import Meaning, interpret, refuse_theano_kernels
from rnnexport.source.stored import check_sizes, stored_weights
from rnnexport.source.updated import with_updated_variables
from rnnexport.source.weights import load_weights, whole_file
from rnnexport.source.whereabouts import advice, loaded_config

# Keras 3 says "Could not locate class 'X'", tf_keras "Unknown layer: 'X'": the two ways to miss a custom object.
_UNKNOWN = re.compile(
    r"Could not locate (?P<kind>\w+) '(?P<name>[^']+)'|Unknown (?P<kind2>[\w ]+): '?(?P<name2>[\w>]+)"
)
_DEFAULT = LoadOptions()
_UNSAFE = "let in with --allow-unsafe: code in the file may have run"
_FORM = "module:function or file.py:function"
_FEATURES_FROM = 3  # from this rank on the last axis holds features, which no recurrent layer leaves open


def load_source(
    model: str | Path | Model, loading: LoadOptions = _DEFAULT, file: SourceFile | None = None
) -> SourceModel:
    """Load a model file with the Keras whose numbers it has, or wrap a live model.

    Args:
        model: a path, or a live model of Keras 3 or tf_keras.
        loading: what the user says about it.
        file: what `identify` gave for the path, if it was called before.

    Raises:
        UsageError: no such file, or not a Keras model, or options that contradict each other.
        ConversionError: the file is no Keras model, is damaged, names an object that is not known, or does not tell
            what its numbers mean.
    """
    if isinstance(model, str | Path):
        source = with_updated_variables(_from_file(Path(model), loading, file))
        return replace(source, semantics=(*source.semantics, _UNSAFE)) if loading.allow_unsafe else source
    api = api_of(model)
    if loading.keras_api not in ("auto", api.name):
        raise UsageError(f"a live model of {api.name}, with keras_api={loading.keras_api}", "one", "drop keras_api")
    return with_updated_variables(live(with_inputs(SourceModel(model, api, model.name), api, loading.inputs)))


def _from_file(path: Path, loading: LoadOptions, known: SourceFile | None) -> SourceModel:
    file = known or identify(path, loading)
    if not loading.allow_unsafe:
        check_weights(file)
    own_code = bool(loading.builder) or loading.allow_unsafe
    return loaded(partial(_loaded, path, file, loading), own_code=own_code)


def _loaded(path: Path, file: SourceFile, loading: LoadOptions) -> SourceModel:
    if file.container == "saved-model":
        notes = (f"run through its signature {SERVING}; its layers can't be told, nor its padding and vocabularies",)
        return SourceModel(load_program(file), SavedModelProgram(), file.path.name, file, notes)
    name = path.name.removesuffix(".weights.h5") if path.name.endswith(".weights.h5") else path.stem
    if loading.builder:
        model, api = build(file, loading)
        how = load_weights(api, model, file, loading.weights_by)
        notes = (f"built by code; weights of {file.origin}, paired by {how}",)
        return with_inputs(SourceModel(model, api, name, file, notes), api, loading.inputs)
    if not file.config:
        raise ConversionError(
            f"{path.name} holds weights without an architecture",
            "the architecture too",
            "give --architecture model.json, or --builder module:function",
        )
    return _with_config(file, loading, name)


def _with_config(file: SourceFile, loading: LoadOptions, name: str) -> SourceModel:
    """A file that holds, or lies beside, its configuration."""
    api_name, _ = choose_api(file.origin, loading.keras_api, file.path.name)
    meaning = interpret(file.config, file.origin, file.stored, api_name, file.path.name)
    api = api_named(api_name)
    objects = objects_for(file, loading.custom_objects, api)
    advise = partial(advice, file, loading, api_name)
    if not loading.allow_unsafe:
        check_names(loaded_config(file), objects, file.path.name, advise)
        if (stored := file.stored or stored_weights(file.path)) is not None:
            check_sizes(meaning.config, stored, file.path.name)
    with ForeignCode(partial(_explained, file, api_name, objects, advise)):
        model = _rebuilt(file, meaning, api, objects, loading)
    if not api.owns(model):
        raise ConversionError(f"{file.path.name} holds a {type(model).__name__}", "a model", "save the whole model")
    return with_inputs(SourceModel(model, api, name, file, meaning.notes), api, loading.inputs)


def _rebuilt(file: SourceFile, meaning: Meaning, api: KerasApi, objects: CustomObjects, loading: LoadOptions) -> Model:
    safe = not loading.allow_unsafe
    if file.architecture is None:
        with whole_file(file, meaning.config) as path:
            return api.load(path, objects, safe=safe)
    if api.name == "keras" and "module" not in meaning.config:
        raise ConversionError(
            f"--keras-api keras for {file.path.name} of {file.origin}",
            "tf_keras, since Keras 3 can't read an architecture of Keras 2",
            "drop it, or build the model with Keras 3 and give it with --builder",
        )
    # What it was compiled with is not wanted, and would need the user's losses.
    model = api.rebuild(without_key(meaning.config, "compile_config"), objects, safe=safe)
    load_weights(api, model, file, loading.weights_by)
    return model


def _explained(
    file: SourceFile, keras: str, objects: CustomObjects, advise: Advise, error: BaseException
) -> ConversionError:
    match = _UNKNOWN.search(str(error))
    if match:
        wanted = ObjectName(match["name"] or match["name2"])
        return unknown_object(match["kind"] or match["kind2"], wanted, objects, file.path.name, advise)
    return ConversionError(
        f"{file.path.name} ({file.origin}) can't be rebuilt: {reason(error)}",
        "a model that its own Keras loads",
        f"see what {keras}.models.load_model says of it, and check --custom-objects"
        + ("; a .keras file holds more than an .h5" if file.container == ".h5" else ""),
    )


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
