"""The signature of a model: its inputs as Keras declares them, its outputs as eager Keras returns them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from rnnexport.core.errors import ConversionError, UsageError
from rnnexport.core.names import STATE, renamed
from rnnexport.core.signature import (
    BATCH,
    TEXT,
    TIME,
    Boundary,
    Dim,
    Signature,
    StateSpec,
    TensorSpec,
    argument_name,
    unique_names,
)
from rnnexport.source.api import Layer, NamedTensor, StateVariable, ragged_input
from rnnexport.source.model import SourceModel
from rnnexport.source.probe import DTYPES, LENGTHS, dependent_rows, other_dtype, output_specs, runs_at

_MASKED_RANK = 3  # a Masking layer looks at the features of a timestep


def describe(source: SourceModel, boundary: Boundary, lengths: Sequence[tuple[int, int]] = LENGTHS) -> Signature:
    """The signature of `source` with `boundary` applied.

    Args:
        source: the model.
        boundary: what the user wants of its dimensions.
        lengths: pairs of lengths at which it is tried, see `probe`.

    Raises:
        UsageError: `boundary` asks for what the model does not allow.
        ConversionError: the model declares no inputs, or can't be run.
    """
    tensors = source.api.inputs(source.model)
    if not tensors:
        raise ConversionError(
            f"{source.name} has no inputs",
            "a model that computes something of its inputs",
            "check what was saved",
        )
    if ragged := next((tensor.name for tensor in tensors if tensor.ragged), None):
        raise ragged_input(ragged, source.name)
    tensors = _named(source, tensors, boundary)
    readers = source.api.readers(source.model)
    inputs = tuple(
        _ranged(_with_values(source, _input(tensor, boundary), reading), boundary)
        for tensor, reading in zip(tensors, readers, strict=True)
    )
    _check_asked(inputs, boundary, source.name)
    _check_names(inputs)
    states = _states(source.api.states(source.model), inputs)
    _check_ranges((*inputs, *(state.input for state in states)), boundary, source.name)
    states = tuple(replace(state, input=_ranged(state.input, boundary)) for state in states)
    partial = Signature(_own_lengths(source, Signature(inputs, (), states), lengths), (), states)
    signature = replace(partial, outputs=_renamed(output_specs(source, partial, lengths), partial, boundary))
    _require_independent_rows(source, signature)
    return signature


def _named(source: SourceModel, tensors: Sequence[NamedTensor], boundary: Boundary) -> list[NamedTensor]:
    """The inputs under the names that the user gives them."""
    pairs = boundary.names.inputs
    taken = source.api.output_names(source.model) if pairs else ()
    names = renamed([tensor.name for tensor in tensors], pairs, "--input-names", taken)
    return [replace(tensor, name=name) for tensor, name in zip(tensors, names, strict=True)]


def _renamed(outputs: Sequence[TensorSpec], partial: Signature, boundary: Boundary) -> tuple[TensorSpec, ...]:
    """The outputs likewise."""
    taken = [spec.name for spec in (*partial.all_inputs, *(state.output for state in partial.states))]
    names = renamed([spec.name for spec in outputs], boundary.names.outputs, "--output-names", taken)
    return tuple(replace(spec, name=name) for spec, name in zip(outputs, names, strict=True))


def _require_independent_rows(source: SourceModel, signature: Signature) -> None:
    """A program that was traced wrongly can't be put right: there is no layer left to ask."""
    if source.api.name == "saved-model" and (mixed := dependent_rows(source, signature)):
        raise ConversionError(
            f"output {', '.join(mixed)} of {source.name} has other rows alone than in a batch: Keras 3 traces "
            "TimeDistributed over the batch where the length is open",
            "a program whose rows do not depend on each other",
            "export the model that the folder was made from",
        )


def _input(tensor: NamedTensor, boundary: Boundary) -> TensorSpec:
    dtype = TEXT if tensor.dtype == "string" else tensor.dtype
    if dtype not in DTYPES:
        raise other_dtype(f"input {tensor.name}", tensor.dtype)
    shape = tuple(_dim(tensor, axis, size, boundary) for axis, size in enumerate(tensor.shape))
    return TensorSpec(tensor.name, dtype, shape)


def _with_values(source: SourceModel, spec: TensorSpec, readers: Sequence[Layer]) -> TensorSpec:
    """The input with what its values may be: ids below a vocabulary's size, a value that marks padding."""
    api = source.api
    nearest = list(_below(readers))
    if embeddings := [layer for layer in nearest if isinstance(layer, api.embedding)]:
        masked = any(layer.mask_zero for layer in embeddings)
        return replace(spec, high=min(layer.input_dim for layer in embeddings), mask=0.0 if masked else None)
    if spec.dtype.startswith(("int", "uint")):
        # Something stands between this input and its embedding: ids below the smallest vocabulary are right for all.
        everywhere = [layer for layer in api.layers(source.model) if isinstance(layer, api.embedding)]
        masked = any(layer.mask_zero for layer in everywhere)
        return replace(
            spec, high=min((layer.input_dim for layer in everywhere), default=None), mask=0.0 if masked else None
        )
    masking = [layer.mask_value for layer in nearest if isinstance(layer, api.masking)]
    return replace(spec, mask=float(masking[0])) if masking and len(spec.shape) >= _MASKED_RANK else spec


def _below(layers: Sequence[Layer]) -> Iterator[Layer]:
    """The layers, and those inside models and wrappers among them."""
    for layer in layers:
        yield layer
        wrapped = getattr(layer, "layer", None)
        yield from _below([*getattr(layer, "layers", []), *([] if wrapped is None else [wrapped])])


def _dim(tensor: NamedTensor, axis: int, size: int | None, boundary: Boundary) -> Dim:
    if size is not None:
        return size
    name, asked = {0: (BATCH, boundary.batch), 1: (TIME, boundary.timesteps)}.get(
        axis, (f"{tensor.name}_axis{axis}", None)
    )
    return asked if isinstance(asked, int) else name


def _own_lengths(source: SourceModel, partial: Signature, lengths: Sequence[tuple[int, int]]) -> tuple[TensorSpec, ...]:
    """Give every sequence a length of its own where the model runs with lengths that differ.

    One name is one length: a runtime may share memory between all that have it.
    """
    inputs = list(partial.inputs)
    sequences = [index for index, spec in enumerate(inputs) if spec.shape[1:2] == (TIME,)]
    for index in sequences[1:]:
        spec = inputs[index]
        own = replace(spec, shape=(spec.shape[0], f"{spec.name}_{TIME}", *spec.shape[2:]))
        trial = [*inputs[:index], own, *inputs[index + 1 :]]
        if runs_at(source, replace(partial, inputs=tuple(trial)), lengths):
            inputs = trial
    return tuple(inputs)


def _check_asked(inputs: Sequence[TensorSpec], boundary: Boundary, name: str) -> None:
    for option, axis, asked, dim in (
        ("--batch", 0, boundary.batch, BATCH),
        ("--timesteps", 1, boundary.timesteps, TIME),
    ):
        if asked is None:
            continue
        wanted = dim if asked == "dynamic" else asked
        sequences = [spec for spec in inputs if len(spec.shape) > axis]
        if not any(spec.shape[axis] == wanted for spec in sequences):
            fixed = ", ".join(str(spec) for spec in inputs)
            raise UsageError(f"{option} {asked} for {name} ({fixed})", "what the model allows", f"drop {option}")


def _ranged(spec: TensorSpec, boundary: Boundary) -> TensorSpec:
    """The input or state with the range of its values, where the user gave one."""
    bounds = [(one.low, one.high) for one in boundary.ranges if one.name == spec.name]
    return replace(spec, range=bounds[-1]) if bounds else spec


def _check_ranges(inputs: Sequence[TensorSpec], boundary: Boundary, name: str) -> None:
    known = {spec.name: spec for spec in inputs}
    for one in boundary.ranges:
        told = f"--range {one.name}:{one.low:g}:{one.high:g} for {name}"
        spec = known.get(one.name)
        if spec is None:
            what = "an input or a state" if any(name.startswith(STATE) for name in known) else "an input"
            raise UsageError(told, f"{what}: {', '.join(known)}", "change the name")
        whole = spec.high is not None or not spec.dtype.startswith("float")
        first, last = (0 if spec.high is not None else -np.inf), (np.inf if spec.high is None else spec.high - 1)
        if spec.dtype == "bool" or (whole and not first <= np.ceil(one.low) <= np.floor(one.high) <= last):
            ids = "" if spec.high is None else f" with ids from 0 to {spec.high - 1}"
            raise UsageError(told, f"values that {spec}{ids} may have", "change the range")


def _check_names(inputs: Sequence[TensorSpec]) -> None:
    """TensorFlow wants identifiers: two names that become one could not be told apart."""
    identifiers = [argument_name(spec.name) for spec in inputs]
    if len(set(identifiers)) < len(identifiers):
        names = ", ".join(spec.name for spec in inputs)
        raise ConversionError(f"inputs {names}", "names that differ in letters, digits or _", "rename the Input layers")


def _states(variables: Sequence[StateVariable], inputs: Sequence[TensorSpec]) -> tuple[StateSpec, ...]:
    """Names that sort the same on both sides: one fixed prefix an end, before one stem a state."""
    counts: dict[str, int] = {}
    stems = []
    for variable in variables:
        # Layers share a count where a format that wants identifiers could not tell their names apart.
        name = argument_name(f"{STATE}{variable.layer}")
        index = counts[name] = counts.get(name, -1) + 1
        stems.append(f"{variable.layer}_{index:02d}")
    # No input may have a name that a state gets.
    taken = [spec.name.removeprefix(end) for spec in inputs for end in (STATE, f"next_{STATE}")]
    stems = unique_names(stems, taken)
    batch = inputs[0].shape[0]
    specs = []
    for stem, state in zip(stems, variables, strict=True):
        if not state.initial.shape:
            raise ConversionError(
                f"state {stem} of layer {state.layer} is one number for the whole batch",
                "states with a row for each sequence",
                "give it the shape (batch, 1) in the cell",
            )
        if state.initial.dtype.name not in DTYPES:
            raise ConversionError(
                f"state {stem} of dtype {state.initial.dtype.name}", f"one of {', '.join(DTYPES)}", "compute in another"
            )
        shape, dtype = tuple(state.initial.shape), state.initial.dtype.name
        if batch == BATCH and not state.by_row:
            raise ConversionError(
                f"state {stem} of layer {state.layer} has {shape[0]} rows, and the batch is open",
                f"a batch of {shape[0]}",
                f"give --batch {shape[0]}",
            )
        shape = (batch, *shape[1:]) if state.by_row else shape
        before, after = TensorSpec(f"{STATE}{stem}", dtype, shape), TensorSpec(f"next_{STATE}{stem}", dtype, shape)
        initial = np.broadcast_to(state.initial, before.sized({BATCH: 1}))
        specs.append(StateSpec(state.layer, before, after, initial))
    _check_names([*inputs, *(spec.input for spec in specs)])
    return tuple(specs)
