"""What to do with a model that can't be traced: whether it can with sizes that are fixed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import BATCH, Signature, TensorSpec
from rnnexport.source.model import SourceModel
from rnnexport.source.trace import trace

_ROWS, _STEPS = 3, 7


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
