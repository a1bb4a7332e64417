"""Resizing of images as NumPy: `resize(x, {2: 8, 3: 10}, "linear", "half_pixel")`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rnnexport.emit.numpy.expression import Expression, Operand, UnwrittenError, Use, call
from rnnexport.emit.numpy.rules.attributes import number, word
from rnnexport.emit.numpy.rules.common import Rule, as_array, literal, rank_of

_COORDINATES = ("align_corners", "asymmetric", "half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn")


def _resize(use: Use) -> Expression:
    settings, scales, sizes = _settings(use), _filled(use.given(2)), _filled(use.given(3))
    x, axes = use.operand(0), use.attributes.get("axes")
    if sizes is not None and sizes.elements is None:
        text = sizes.expression.text
        pairs = f"enumerate({text})" if axes is None else f"zip({tuple(axes)}, {text}, strict=True)"
        return _call("resize", x, f"dict({pairs})", settings, [sizes.expression])
    if sizes is not None:
        wanted = dict(zip(_axes(use, len(sizes.elements or ())), sizes.elements or (), strict=True))
        changed = {axis: size for axis, size in wanted.items() if x.shape is None or size != x.shape[axis]}
        return _call("resize", x, _dict(changed), settings) if changed else x.expression
    if scales is None or scales.value is None:
        raise UnwrittenError("by scales that are computed")
    factors = dict(zip(_axes(use, scales.value.size), scales.value.astype(np.float32), strict=True))
    changed_by = {axis: factor for axis, factor in factors.items() if factor != 1}
    exact = _sizes(use, changed_by)
    if not changed_by:
        return x.expression
    if exact is not None:
        return _call("resize", x, _dict(exact), settings)
    return _call("resize_by", x, _dict({axis: literal(factor).text for axis, factor in changed_by.items()}), settings)


def _filled(operand: Operand | None) -> Operand | None:
    """An input that is there: an empty one is as good as none."""
    return None if operand is None or operand.shape == (0,) else operand


def _axes(use: Use, count: int) -> tuple[int, ...]:
    """The axes to be resized, counted from the first."""
    given: Sequence[int] | None = use.attributes.get("axes")
    if given is None:
        return tuple(range(count))
    return tuple(axis if axis >= 0 else axis + rank_of(use.operand(0)) for axis in given)


def _sizes(use: Use, factors: Mapping[int, np.float32]) -> Mapping[int, int] | None:
    """The new sizes, where a factor is nothing but new by old size as float32 has it; None where one is more."""
    old, new, found = use.operand(0).shape, use.results[0].shape, dict[int, int]()
    for axis, factor in factors.items():
        before, after = (None if shape is None else shape[axis] for shape in (old, new))
        if not isinstance(before, int) or not isinstance(after, int) or np.float32(after / before) != factor:
            return None
        found[axis] = after
    return found


def _settings(use: Use) -> list[str]:
    """What follows the sizes in the call.

    Raises:
        UnwrittenError: it is one of the kinds that nothing here computes.
    """
    mode = word(use, "mode", "nearest")
    coordinates = word(use, "coordinate_transformation_mode", "half_pixel")
    if coordinates not in _COORDINATES:
        raise UnwrittenError(f"with coordinates {coordinates}")
    if use.attributes.get("antialias", 0):
        raise UnwrittenError("with antialias")
    if word(use, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise UnwrittenError("that keeps the aspect ratio")
    if mode != "nearest" and use.operand(0).dtype not in (None, "float16", "bfloat16", "float32", "float64"):
        raise UnwrittenError(f"between elements of {use.operand(0).dtype}")
    settings = [f'"{mode}"', f'"{coordinates}"']
    if mode == "nearest":
        settings.append(f'"{word(use, "nearest_mode", "round_prefer_floor")}"')
    if mode == "cubic":
        settings.append(f"cubic={number(use, 'cubic_coeff_a', -0.75).text}")
        settings += ["exclude_outside=True"] if use.attributes.get("exclude_outside", 0) else []
    return settings


def _dict(items: Mapping[int, int | str]) -> str:
    return "{" + ", ".join(f"{axis}: {item}" for axis, item in items.items()) + "}"


def _call(function: str, x: Operand, what: str, settings: Sequence[str], uses: Sequence[Expression] = ()) -> Expression:
    array = as_array(x)
    return call(function, array.text, what, *settings, uses=[array, *uses], helper=True)


RULES: Mapping[str, Rule] = {"Resize": _resize}
