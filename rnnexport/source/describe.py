"""The signature of a model, found by asking Keras for the inputs and by running it for the outputs.

The static shapes Keras reports for outputs are hints at best (custom layers compute them by hand), so the outputs
are what eager Keras returns at two sizes of every dynamic dimension.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rnnexport.errors import ConversionError, ForeignCode, UsageError
from rnnexport.signature import (
    BATCH,
    TIME,
    Boundary,
    Dim,
    Signature,
    StateSpec,
    TensorSpec,
    argument_name,
    unique_names,
)
from rnnexport.source.api import NamedTensor, StateVariable
from rnnexport.source.load import SourceModel
from rnnexport.source.reference import explain_call, run_eager

# Two sizes for each dynamic dimension, all different and none likely to be a fixed size times another.
_PROBES = ((3, 11, 23, 41, 59, 67), (5, 17, 29, 47, 61, 71))
_DTYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


def describe(source: SourceModel, boundary: Boundary) -> Signature:
    """The signature of `source` with `boundary` applied.

    Raises:
        UsageError: `boundary` asks for what the model does not allow.
        ConversionError: the model declares no inputs, or can't be run.
    """
    tensors = source.api.inputs(source.model)
    if not tensors:
        raise ConversionError(
            f"{source.name} declares no inputs (it is a subclassed model)",
            "a Sequential or functional model",
            "wrap it: x = Input(...); Model(x, model(x))",
        )
    inputs = tuple(_input(source, tensor, boundary) for tensor in tensors)
    _check_asked(inputs, boundary, source.name)
    _check_names(inputs)
    states = _states(source.api.states(source.model), [spec.name for spec in inputs])
    return Signature(inputs, _outputs(source, Signature(inputs, (), states)), states)


def _input(source: SourceModel, tensor: NamedTensor, boundary: Boundary) -> TensorSpec:
    if tensor.dtype not in _DTYPES:
        raise ConversionError(f"input {tensor.name} of dtype {tensor.dtype}", "numbers or bool", "convert it outside")
    shape = tuple(_dim(tensor, axis, size, boundary) for axis, size in enumerate(tensor.shape))
    # Which embedding reads which input is not known here; ids below the smallest vocabulary are right for all.
    sizes = [layer.input_dim for layer in source.api.layers(source.model) if type(layer).__name__ == "Embedding"]
    high = min(sizes) if sizes and tensor.dtype.startswith(("int", "uint")) else None
    return TensorSpec(tensor.name, tensor.dtype, shape, high)


def _dim(tensor: NamedTensor, axis: int, size: int | None, boundary: Boundary) -> Dim:
    if size is not None:
        return size
    name, asked = {0: (BATCH, boundary.batch), 1: (TIME, boundary.timesteps)}.get(
        axis, (f"{tensor.name}_axis{axis}", None)
    )
    return asked if isinstance(asked, int) else name


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


def _check_names(inputs: Sequence[TensorSpec]) -> None:
    """TensorFlow wants identifiers: two names that become one could not be told apart."""
    identifiers = [argument_name(spec.name) for spec in inputs]
    if len(set(identifiers)) < len(identifiers):
        names = ", ".join(spec.name for spec in inputs)
        raise ConversionError(f"inputs {names}", "names that differ in letters, digits or _", "rename the Input layers")


def _states(variables: Sequence[StateVariable], taken: Sequence[str]) -> tuple[StateSpec, ...]:
    """Names that sort the same on both sides: one fixed prefix an end, before one stem a state."""
    counts: dict[str, int] = {}
    stems = []
    for variable in variables:
        index = counts[variable.layer] = counts.get(variable.layer, -1) + 1
        stems.append(f"{variable.layer}_{index:02d}")
    # No input may have a name that a state gets.
    stems = unique_names(stems, [name.removeprefix("state_") for name in taken])
    specs = []
    for stem, state in zip(stems, variables, strict=True):
        shape, dtype = tuple(state.initial.shape), state.initial.dtype.name
        before, after = TensorSpec(f"state_{stem}", dtype, shape), TensorSpec(f"next_state_{stem}", dtype, shape)
        specs.append(StateSpec(state.layer, before, after, state.initial))
    return tuple(specs)


def _outputs(source: SourceModel, partial: Signature) -> tuple[TensorSpec, ...]:
    """Run the model twice, at sizes that differ in every dynamic dimension, and name what moved along."""
    if len(partial.dynamic_dims) > len(_PROBES[0]):
        raise ConversionError(
            f"{len(partial.dynamic_dims)} dynamic dimensions in {source.name}",
            f"at most {len(_PROBES[0])}",
            "fix some of them in the model's Input layers",
        )
    sizes = [dict(zip(partial.dynamic_dims, probe, strict=False)) for probe in _PROBES]
    with ForeignCode(explain_call(source)):
        runs = [
            run_eager(source, [_zeros(spec, size) for spec in partial.inputs], [s.initial for s in partial.states])[0]
            for size in sizes
        ]
    taken = [spec.name for spec in partial.all_inputs] + [state.output.name for state in partial.states]
    names = unique_names(source.api.output_names(source.model), taken)
    return tuple(
        TensorSpec(name, first.dtype.name, _moved(name, first.shape, second.shape, *sizes))
        for name, first, second in zip(names, *runs, strict=True)
    )


def _zeros(spec: TensorSpec, sizes: dict[str, int]) -> np.ndarray:
    return np.zeros(spec.sized(sizes), spec.dtype)


def _moved(
    name: str, first: tuple[int, ...], second: tuple[int, ...], sizes1: dict[str, int], sizes2: dict[str, int]
) -> tuple[Dim, ...]:
    """Name each axis: fixed where both runs agree, the dynamic dimension both runs show, or one of its own."""
    named: list[Dim] = []
    for axis, (one, two) in enumerate(zip(first, second, strict=True)):
        same = [dim for dim in sizes1 if sizes1[dim] == one and sizes2[dim] == two]
        named.append(one if one == two else same[0] if same else f"{name}_axis{axis}")
    return tuple(named)
