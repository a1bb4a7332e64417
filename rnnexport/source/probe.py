"""What a model returns, found by running it at two sizes of every dynamic dimension.

The static shapes that Keras reports are hints at best (custom layers compute them by hand).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from rnnexport.core.errors import ConversionError, ForeignCode, RnnExportError
from rnnexport.core.signature import BATCH, TIME, Dim, Signature, TensorSpec, unique_names
from rnnexport.source.eager import explain_call, run_eager
from rnnexport.source.model import SourceModel
from rnnexport.source.trace import trace

DTYPES = (
    *("float16", "float32", "float64"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    "bool",
    "str",
)
_DTYPE_CURES = {
    "bfloat16": "give --cast float32",
    **dict.fromkeys(("complex64", "complex128"), "make two of it, of the real and the imaginary parts"),
}
_BATCHES = (3, 5)
# Pairs of sizes for the other dimensions, the first of which that the model runs at is used: some models take no
# more steps than they have positions, some need as many as they pool, or as their frames are long. A further dimension
# is longer by `_FURTHER`.
LENGTHS = ((7, 10), (11, 17), (43, 59), (139, 211), (523, 787), (2053, 2591))
_FURTHER = 6
_ALONE = (8, 12, 20, 64, 160, 400)  # lengths to look for one at which a model runs that does at no pair
_FEW = 4  # of these pairs: thousands of steps in eager Keras take seconds
_VALUES = (0, 1)  # of all inputs: the first that the model takes, which counts something from 1, say
_ROWS, _STEPS = 3, 7


def lengths_around(built: int) -> tuple[tuple[int, int], ...]:
    """Pairs for a model that is known to run at one length: it needs no search among thousands of steps."""
    return (*LENGTHS[:2], (built, built + _FURTHER + 1))


def other_dtype(name: str, dtype: str) -> ConversionError:
    """What to say of an input or output of a dtype that no artifact has."""
    cure = _DTYPE_CURES.get(dtype, "cast it in the model")
    return ConversionError(f"{name} of dtype {dtype}", f"one of {', '.join(DTYPES)}", cure)


def output_specs(
    source: SourceModel, partial: Signature, lengths: Sequence[tuple[int, int]] = LENGTHS
) -> tuple[TensorSpec, ...]:
    """The outputs of a model whose inputs and states are known.

    Args:
        source: the model.
        partial: its signature without outputs.
        lengths: pairs of lengths to try, in this order.

    Raises:
        ConversionError: the model raises at every pair of sizes, or returns what no artifact can.
    """
    sizes, runs = _probed(source, partial, lengths)
    taken = [spec.name for spec in partial.all_inputs] + [state.output.name for state in partial.states]
    names = unique_names(source.api.output_names(source.model), taken)
    specs = []
    for name, first, second in zip(names, *runs, strict=True):
        dtype = "str" if first.dtype.kind == "U" else first.dtype.name
        if dtype not in DTYPES:
            raise other_dtype(f"output {name}", dtype)
        if 0 in first.shape:
            raise ConversionError(f"output {name} of shape {first.shape}, which is empty", "values", "drop that output")
        specs.append(TensorSpec(name, dtype, _moved(name, first.shape, second.shape, *sizes)))
    return tuple(specs)


def runs_at(source: SourceModel, partial: Signature, lengths: Sequence[tuple[int, int]] = LENGTHS) -> bool:
    """Whether the model runs when every dynamic dimension has a size of its own, at lengths up to some hundred."""
    try:
        _probed(source, partial, lengths[:_FEW])
    except RnnExportError:
        return False
    return True


def dependent_rows(source: SourceModel, signature: Signature) -> list[str]:
    """The outputs of which a row is another when it is computed alone: the model mixes the batch."""
    rng = np.random.default_rng(0)
    for pair in LENGTHS:
        sizes = _sizes(signature, 0, pair[0])
        feed = [_some(rng, spec.sized(sizes), spec.dtype) for spec in signature.inputs]
        batched = [spec.shape[:1] == (BATCH,) for spec in signature.inputs]
        states, state = ([state.start(rows) for state in signature.states] for rows in (sizes[BATCH], 1))
        alone = [array[:1] if many else array for array, many in zip(feed, batched, strict=True)]
        try:
            with ForeignCode(explain_call(source)):
                together, single = run_eager(source, feed, states)[0], run_eager(source, alone, state)[0]
        except ConversionError:
            continue  # a length that it does not take
        return [
            spec.name
            for spec, many, one in zip(signature.outputs, together, single, strict=True)
            if spec.shape[:1] == (BATCH,) and not _alike(many[:1], one)
        ]
    return []


def some_feed(signature: Signature, which: int) -> dict[str, np.ndarray]:
    """Inputs, without states, at the first (0) or the second (1) of two sizes of all that is open."""
    sizes, rng = _sizes(signature, which, LENGTHS[0][which]), np.random.default_rng(which)
    # Ids are 0 and 1, whatever their dtype.
    dtypes = {spec.name: spec.dtype if spec.high is None else "int64" for spec in signature.inputs}
    made = {spec.name: _some(rng, spec.sized(sizes), dtypes[spec.name]) for spec in signature.inputs}
    return {spec.name: made[spec.name].astype(spec.dtype) for spec in signature.inputs}


def _some(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return (rng.standard_normal(shape) if dtype.startswith("float") else rng.integers(0, 2, shape)).astype(dtype)


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal but for rounding, which differs with the batch."""
    return one.shape == other.shape and np.allclose(one, other, rtol=1e-2, atol=1e-3, equal_nan=True)


def _probed(
    source: SourceModel, partial: Signature, pairs: Sequence[tuple[int, int]]
) -> tuple[list[dict[str, int]], list[list[np.ndarray]]]:
    """Two sizes of all that is open at which the model gives values, and what it gives."""
    refusals: list[ConversionError] = []
    empty: tuple[list[dict[str, int]], list[list[np.ndarray]]] | None = None
    lengths = pairs if set(partial.dynamic_dims) - {BATCH} else pairs[:1]
    for pair, value in product(lengths, _VALUES):
        sizes = [_sizes(partial, which, pair[which]) for which in (0, 1)]
        try:
            found = sizes, [_run(source, partial, size, value) for size in sizes]
        except ConversionError as error:
            refusals.append(error)
            continue
        if all(array.size for array in found[1][0]):
            return found
        empty = empty or found
    if empty is None:
        raise _where_it_runs(source, partial, refusals[0])
    return empty


def _where_it_runs(source: SourceModel, partial: Signature, refusal: ConversionError) -> ConversionError:
    """The refusal, with the option that fixes the length where the model runs at one: it may take even ones alone."""
    if TIME not in partial.dynamic_dims:
        return refusal
    for length, value in product(_ALONE, _VALUES):
        try:
            _run(source, partial, _sizes(partial, 0, length), value)
        except ConversionError:
            continue
        todo = f"give --timesteps N, a length at which it runs, such as {length}"
        return ConversionError(refusal.found, "a model that runs at the lengths it declares", todo)
    return refusal


def _sizes(partial: Signature, which: int, length: int) -> dict[str, int]:
    others = [dim for dim in partial.dynamic_dims if dim != BATCH]
    return {BATCH: _BATCHES[which]} | {dim: length + _FURTHER * k for k, dim in enumerate(others)}


def _run(source: SourceModel, partial: Signature, sizes: Mapping[str, int], value: int) -> list[np.ndarray]:
    inputs = [np.full(spec.sized(sizes), value, spec.dtype) for spec in partial.inputs]
    with ForeignCode(explain_call(source)):
        return run_eager(source, inputs, [state.start(sizes[BATCH]) for state in partial.states])[0]


def _moved(
    name: str,
    first: Sequence[int],
    second: Sequence[int],
    sizes1: Mapping[str, int],
    sizes2: Mapping[str, int],
) -> tuple[Dim, ...]:
    """Name each axis: fixed where both runs agree, the dynamic dimension both runs show, or one of its own."""
    named: list[Dim] = []
    for axis, (one, two) in enumerate(zip(first, second, strict=True)):
        same = [dim for dim in sizes1 if sizes1[dim] == one and sizes2[dim] == two]
        named.append(one if one == two else same[0] if same else f"{name}_axis{axis}")
    return tuple(named)


def with_sizes(error: ConversionError, source: SourceModel, signature: Signature, *, unroll: bool) -> ConversionError:
    """The refusal of a model, with the options that fix what it needs fixed, where these help.

    Args:
        error: why it can't be traced.
        source: the model.
        signature: with the sizes that are open.
        unroll: as it was traced.
    """
    lengths = [dim for dim in signature.dynamic_dims if dim != BATCH]
    batch = [dim for dim in signature.dynamic_dims if dim == BATCH]
    for dims, options in (
        (lengths, "--timesteps N"),
        (batch, "--batch N"),
        (lengths + batch, "--timesteps N --batch N"),
    ):
        if dims and _traces(source, signature, dims, unroll=unroll):
            return ConversionError(error.found, error.expected, f"give {options}, with which it can be traced")
    return error


def _traces(source: SourceModel, signature: Signature, dims: Collection[str], *, unroll: bool) -> bool:
    inputs = tuple(_fixed(spec, dims) for spec in signature.inputs)
    states = tuple(replace(state, input=_fixed(state.input, dims)) for state in signature.states)
    try:
        trace(source, replace(signature, inputs=inputs, states=states), unroll=unroll)
    except ConversionError:
        return False
    return True


def _fixed(spec: TensorSpec, dims: Collection[str]) -> TensorSpec:
    """The input with a number for each of these dimensions."""
    sizes = {dim: _ROWS if dim == BATCH else _STEPS for dim in dims}
    return replace(spec, shape=tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in spec.shape))
