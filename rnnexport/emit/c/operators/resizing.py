"""Resizing: each number is a weighted sum of some of the old ones; which and how much is known when it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rnnexport.emit.c.arrays import Array, Size
from rnnexport.emit.c.body import FunctionWriter, loops
from rnnexport.emit.c.elementwise import NoFormError
from rnnexport.emit.c.operators.parts import viewed
from rnnexport.emit.numpy.operators.resizing import resize, resize_by
from rnnexport.ir.terms import Term


def _resize(body: FunctionWriter, term: Term) -> None:
    """Axis by axis."""
    array = viewed(body, term, body.array(term.operands[0]))
    changed = {axis: weights for axis, weights in _resizings(body, term, array.shape) if weights is not None}
    for last, (axis, (places, weights)) in zip([*[False] * (len(changed) - 1), True], changed.items(), strict=False):
        taps, shape = places.shape[1], (*array.shape[:axis], len(places), *array.shape[axis + 1 :])
        made = body.made(term, shape, array.dtype) if last else body.fresh("resized", array.dtype, shape)
        whole = bool((weights == 1).all() and taps == 1)
        tables = [
            body.pointed(Array(each.dtype.name, each.shape, (taps, 1), "", values=each), name)
            for name, each in (("places", places), ("shares", weights.astype(array.dtype) if not whole else places))
        ]
        names = [f"i{at}" for at in range(len(shape))]
        body.uses(array.offset, *array.strides)
        with loops(body, names, shape):
            parts = []
            for tap in range(taps):
                at = f"{names[axis]} * {taps} + {tap}"
                old = array.element(
                    [f"(size_t){tables[0].base}[{at}]" if n == axis else i for n, i in enumerate(names)]
                )
                parts.append(old if whole else f"{old} * {tables[1].base}[{at}]")
            body.line(f"{made.element(names)} = {' + '.join(parts)};")
        array = made
    if not changed:
        body.set(term, array)


def _resizings(
    body: FunctionWriter, term: Term, shape: Sequence[Size]
) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray] | None]]:
    """For each axis that is resized, the places of the old numbers and their weights; None where nothing changes."""
    scales, sizes = (term.inputs[at] if len(term.inputs) > at else None for at in (2, 3))
    axes = [axis % len(shape) for axis in term.attribute("axes") or range(len(shape))]
    by_size = sizes is not None and body.shape(sizes) != (0,)
    factors = body.array(scales).values if scales is not None and not by_size else None
    given: Sequence[Size | np.float32] = body.numbers(sizes) if by_size and sizes is not None else []
    if not by_size:
        if factors is None:
            raise NoFormError("its scales are known from data alone")
        given = list(np.asarray(factors, np.float32).ravel())
    for axis, wanted in zip(axes, given, strict=True):
        old = shape[axis]
        if wanted == (old if by_size else 1):
            yield axis, None
        elif not isinstance(old, int) or (by_size and not isinstance(wanted, int)):
            raise NoFormError("how it is resized depends on the length")
        else:
            yield axis, _taps(_resized_eye(term, old, wanted))


def _resized_eye(term: Term, old: int, wanted: Size | np.float32) -> np.ndarray:
    """What each new number has of each old one, of the shape (new, old): the NumPy function, of the unit matrix."""
    words = {name: term.attribute(name) for name in ("mode", "coordinate_transformation_mode", "nearest_mode")}
    mode, coordinates, rounding = (str(word) if word else "" for word in words.values())
    if term.attribute("antialias", 0) or str(term.attribute("keep_aspect_ratio_policy") or "stretch") != "stretch":
        raise NoFormError("antialias, or an aspect ratio that is kept")
    if coordinates == "tf_crop_and_resize":
        raise NoFormError(f"its coordinates are {coordinates}")
    settings = (mode or "nearest", coordinates or "half_pixel", rounding or "round_prefer_floor")
    cubic = float(np.float32(term.attribute("cubic_coeff_a", -0.75)))
    outside = bool(term.attribute("exclude_outside", 0))
    if isinstance(wanted, int):
        return resize(np.eye(old), {0: wanted}, *settings, cubic, outside)
    return resize_by(np.eye(old), {0: float(str(wanted))}, *settings, cubic, outside)


def _taps(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places of the numbers that count in each row, as many in each, and how much each counts."""
    count = max(1, int((matrix != 0).sum(axis=1).max()))
    places = np.sort(np.argsort(matrix == 0, axis=1, kind="stable")[:, :count], axis=1)
    return places.astype(np.int32), np.take_along_axis(matrix, places, axis=1)


OPERATORS: dict[str, Callable[[FunctionWriter, Term], None]] = {"Resize": _resize}
