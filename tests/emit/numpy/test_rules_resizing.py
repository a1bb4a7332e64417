"""Resizing: beside ONNX Runtime, and in float64 beside the formula of every element."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.emit.numpy.rendering import (
    NOTHING,
    RANKS,
    SHAPES,
    Node,
    check,
    drawn,
    evaluated,
    float32,
    int64,
    refused,
    text_of,
    written,
)

KNOWN = (SHAPES, RANKS)
NEAR = {"rtol": 1e-5, "atol": 1e-5}
H, W = 4, 7
COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "tf_half_pixel_for_nn")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
WAYS = [
    *({"mode": "nearest", "nearest_mode": rounding} for rounding in ROUNDINGS),
    {"mode": "linear"},
    {"mode": "cubic"},
    {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
]
SIZES = ((5, 8), (11, 3), (1, 21))
NONE = np.zeros(0, np.float32)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())))
def test_a_resizing(way, coordinates):
    x, attributes = drawn(2, 3, H, W), {**way, "coordinate_transformation_mode": coordinates}
    for size in SIZES:
        check(
            "Resize", x, NONE, NONE, int64(2, 3, *size), attributes=attributes, constant=(1, 2, 3), known=KNOWN, **NEAR
        )
        scales = float32(1, 1, size[0] / H, size[1] / W)
        check("Resize", x, None, scales, attributes=attributes, constant=(2,), known=KNOWN, **NEAR)
    check("Resize", x, None, None, int64(2, 3, 8, 14), attributes=attributes, known=KNOWN, **NEAR)
    check("Resize", x, None, float32(1, 1, 1.3, 2.6), attributes=attributes, constant=(2,), known=KNOWN, **NEAR)
    attributes["axes"] = [2, -1]
    check("Resize", x, None, float32(1.3, 0.7), attributes=attributes, constant=(2,), known=KNOWN, **NEAR)
    check("Resize", x, None, None, int64(6, 9), attributes=attributes, constant=(3,), known=KNOWN, **NEAR)


def resized(x, size, attributes):
    node = Node("Resize", (x, None, None, int64(1, size)), attributes, (3,))
    (value,) = evaluated(written(node, NOTHING), {"x0": x, "x3": int64(1, size)}, np.float64)
    return value[0]


def test_between_two_elements_in_float64():
    x = drawn(1, 5, dtype=np.float64)
    y = resized(x, 7, {"mode": "linear", "coordinate_transformation_mode": "half_pixel"})
    for i, value in enumerate(y):
        at = min(max((i + 0.5) * 5 / 7 - 0.5, 0.0), 4.0)
        low = math.floor(at)
        high = min(low + 1, 4)
        np.testing.assert_allclose(value, x[0, low] * (1 - (at - low)) + x[0, high] * (at - low), rtol=1e-14)


def test_a_cubic_goes_through_cubics_in_float64():
    """With the coefficient -0.5 it is exact for parabolas, away from the ends."""
    n = np.arange(12.0)
    attributes = {"mode": "cubic", "cubic_coeff_a": -0.5, "coordinate_transformation_mode": "asymmetric"}
    y = resized((3 * n * n - 2 * n + 1)[None], 36, attributes)
    at = np.arange(36) / 3
    inside = (at >= 1) & (at <= 10)
    np.testing.assert_allclose(y[inside], (3 * at * at - 2 * at + 1)[inside], rtol=1e-13)


@pytest.mark.parametrize(("n", "size"), [(49, 7), (14, 18), (28, 36), (3, 9), (30, 10), (26, 54)])
def test_whole_ratios_hit_elements_exactly(n, size):
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    y = resized(np.arange(float(n))[None], size, attributes)
    assert y.tolist() == [i * n // size for i in range(size)]


def test_what_is_written():
    x, linear = drawn(2, 3, H, W), {"mode": "linear"}
    sizes, scales = int64(2, 3, 8, 10), float32(1, 1, 2, 10 / 7)
    wanted = 'resize(x0, {2: 8, 3: 10}, "linear", "half_pixel")'
    assert text_of("Resize", x, None, None, sizes, constant=(3,), attributes=linear) == wanted
    assert text_of("Resize", x, None, scales, constant=(2,), attributes=linear) == wanted
    by = 'resize_by(x0, {2: 2.0, 3: (10 / 7)}, "linear", "half_pixel")'
    assert text_of("Resize", x, None, scales, constant=(2,), attributes=linear, known=RANKS) == by
    nearest = 'resize(x0, {3: 10}, "nearest", "half_pixel", "round_prefer_floor")'
    assert text_of("Resize", x, None, None, int64(2, 3, H, 10), constant=(3,)) == nearest
    assert text_of("Resize", x, None, None, int64(2, 3, H, W), constant=(3,)) == "x0"
    assert text_of("Resize", x, None, float32(1, 1, 1, 1), constant=(2,)) == "x0"
    computed = 'resize(x0, dict(enumerate(x3)), "linear", "half_pixel")'
    assert text_of("Resize", x, None, None, sizes, attributes=linear) == computed
    some = text_of("Resize", x, None, None, int64(8, 10), attributes={**linear, "axes": [2, 3]})
    assert some == 'resize(x0, dict(zip((2, 3), x3, strict=True)), "linear", "half_pixel")'


def test_what_is_not_written():
    x, sizes = drawn(2, 3, H, W), int64(2, 3, 8, 10)

    def why(data=x, **attributes):
        return refused("Resize", data, None, None, sizes, constant=(3,), attributes=attributes)

    crop = "tf_crop_and_resize"
    assert why(coordinate_transformation_mode=crop) == f"with coordinates {crop}"
    assert why(mode="linear", antialias=1) == "with antialias"
    assert why(keep_aspect_ratio_policy="not_larger") == "that keeps the aspect ratio"
    assert why(x.astype(np.uint8), mode="linear") == "between elements of uint8"
    assert refused("Resize", x, None, float32(1, 1, 2, 3)) == "by scales that are computed"
