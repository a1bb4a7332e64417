"""Whether a model computes the same as a graph of open sizes: a shape that Python code looks at may decide otherwise.

Only where the code of a model lets a shape decide (`shape_looks`) is it run, in eager Keras and as its graph, at sizes
on both sides of every number that is compared there. Where they differ, and a graph of these very sizes does not, it
is the open size that makes the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import ConversionError, ForeignCode
from rnnexport.core.signature import BATCH, TIME, Dim, Signature, TensorSpec
from rnnexport.reference.describe import Described
from rnnexport.verification.compare import excess
from rnnexport.verification.tolerance import Tolerance

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel
    from rnnexport.source.shape_looks import Look
    from rnnexport.source.trace import TracedModel

_ROWS, _STEPS, _FURTHER = 3, 5, 7  # of dimensions whose turn it is not
_UNKNOWN = (2, 17, 33, 65, 129)  # where a number can't be told
_MOST, _MOST_LARGE = 48, 8  # sizes of a dimension
_EAGERLY = 256  # above that a graph of these very sizes stands for eager Keras, which takes too long
_LARGEST = 100_000  # what is larger stands for no size
_OPTIONS = {BATCH: "--batch N", TIME: "--timesteps N"}
_TODO = "or decide with operations (ops.shape, ops.where) there"


def require_same_at_sizes(source: SourceModel, known: Described) -> None:
    """Refuse a model of which a graph of open sizes decides otherwise than eager Keras.

    Args:
        source: the model.
        known: it at a boundary.

    Raises:
        ConversionError: names the layer, the line, the size, and what to fix.
    """
    dims = known.signature.dynamic_dims
    if not dims:
        return
    from rnnexport.source.shape_looks import looks

    found = looks(source)
    for dim in dims if found else ():
        for size in _sizes(found):
            _require_same(source, known, found, dim, _at(known.signature, dim, size))


def _sizes(found: Sequence[Look]) -> list[int]:
    numbers = {number for look in found for number in look.numbers if number <= _LARGEST}
    beside = {number + step for number in numbers for step in (-1, 0, 1)}
    unknown = _UNKNOWN if any(not look.numbers for look in found) else ()
    small = sorted(size for size in {*beside, *unknown} if 0 < size <= _EAGERLY)
    large = sorted(size for number in numbers for size in (number, number + 1) if size > _EAGERLY)
    return small[:_MOST] + large[:_MOST_LARGE]


def _at(signature: Signature, dim: str, size: int) -> dict[str, int]:
    """A size for every open dimension: `size` for this one, and no other has the same."""
    others = [other for other in signature.dynamic_dims if other not in (BATCH, TIME)]
    usual = {BATCH: _ROWS, TIME: _STEPS} | {other: _FURTHER + at for at, other in enumerate(others)}
    open_ones = {name: usual[name] for name in signature.dynamic_dims}
    return {name: given + 10 if given == size else given for name, given in open_ones.items()} | {dim: size}


def _require_same(
    source: SourceModel, known: Described, found: Sequence[Look], dim: str, sizes: Mapping[str, int]
) -> None:
    feed = _feed(known.signature, sizes)
    tolerance = known.tolerance.for_length(sizes.get(TIME, 1))
    expected = _expected(source, known.signature, feed, sizes)
    if expected is None:
        return  # sizes that the model itself does not take
    how = _difference(expected, known.traced, feed, tolerance)
    if not how:
        return
    # Where a graph of these sizes differs too, it is not that they are open; else the first one alone that matters.
    for fixed in ({name: sizes[name]} for name in sorted(sizes, key=lambda name: name != dim)):
        if not _difference(expected, _traced(source, known.signature, fixed), feed, tolerance):
            raise _refusal(source, found, fixed, how)
    if not _difference(expected, _traced(source, known.signature, sizes), feed, tolerance):
        raise _refusal(source, found, sizes, how)


def _expected(source: SourceModel, signature: Signature, feed: Arrays, sizes: Mapping[str, int]) -> Arrays | None:
    """What eager Keras gives, or what stands for it; None where there is nothing."""
    from rnnexport.source.eager import reference

    try:
        if max(sizes.values()) <= _EAGERLY:
            return reference(source, signature, feed)
        traced = _traced(source, signature, sizes)
        return None if traced is None else _run(traced, feed)
    except ConversionError:
        return None


def _traced(source: SourceModel, signature: Signature, sizes: Mapping[str, int]) -> TracedModel | None:
    """The model as a graph of these sizes; None where it can't be one."""
    from rnnexport.source.trace import trace

    def sized(spec: TensorSpec) -> TensorSpec:
        shape: tuple[Dim, ...] = tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in spec.shape)
        return replace(spec, shape=shape)

    states = tuple(replace(one, input=sized(one.input), output=sized(one.output)) for one in signature.states)
    inputs, outputs = (tuple(map(sized, specs)) for specs in (signature.inputs, signature.outputs))
    try:
        return trace(source, Signature(inputs, outputs, states), unroll=False)
    except ConversionError:
        return None


def _run(traced: TracedModel, feed: Arrays) -> dict[str, np.ndarray]:
    def raised(error: BaseException) -> ConversionError:
        return ConversionError(f"the graph raises {type(error).__name__}", "a result", "-")

    with ForeignCode(raised):
        return traced.run(feed)


def _difference(expected: Arrays, traced: TracedModel | None, feed: Arrays, tolerance: Tolerance) -> str:
    """How what a graph gives differs from what is expected, in words; empty where it does not."""
    if traced is None:
        return "there is no graph, for it can't be traced"
    try:
        found = _run(traced, feed)
    except ConversionError as error:
        return error.found
    told = (_differs(name, found[name], array, tolerance) for name, array in expected.items())
    return next(filter(None, told), "")


def _differs(name: str, found: np.ndarray, expected: np.ndarray, tolerance: Tolerance) -> str:
    if found.shape != expected.shape:
        return f"{name} is {expected.shape} eagerly and {found.shape} in the graph"
    if not np.issubdtype(expected.dtype, np.inexact):
        return "" if np.array_equal(found, expected) else f"{name} has other values"
    if not np.array_equal(np.isfinite(found), np.isfinite(expected)):
        return f"{name} is finite in one alone"
    many = excess(found, expected, tolerance)
    return f"{name} is {many:.1f} times the tolerance off" if many > 1 else ""


def _feed(signature: Signature, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    return {spec.name: _values(rng, spec, spec.sized(sizes)) for spec in signature.all_inputs}


def _values(rng: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...]) -> np.ndarray:
    if spec.high is not None or not np.issubdtype(np.dtype(spec.dtype), np.inexact):
        low = 0 if spec.mask is None or spec.high == 1 else 1
        return rng.integers(low, spec.high or 2, shape).astype(spec.dtype)
    return rng.standard_normal(shape).astype(spec.dtype)


def _refusal(source: SourceModel, found: Sequence[Look], sizes: Mapping[str, int], how: str) -> ConversionError:
    """Of the places where a shape decides the one whose number is next to a size."""
    look = min(
        found,
        key=lambda one: min(
            (abs(number - size) for number in one.numbers for size in sizes.values()), default=_LARGEST
        ),
    )
    options = [_OPTIONS.get(dim, "") for dim in sizes]
    fix = f"give {' '.join(options)} to export it for one size" if all(options) else "fix the size in its Input layer"
    dims, where = " and ".join(sizes), ", ".join(f"{dim} {size}" for dim, size in sizes.items())
    return ConversionError(
        f"{look} decides by a shape in Python, which eager Keras knows and a graph of an open {dims} does not: at "
        f"{where} of {source.name} {how}",
        "code that computes the same when a size is open",
        f"{fix}, {_TODO}",
    )
