"""Convolution, pooling and dropout: beside ONNX Runtime, and in float64 beside loops over every element."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tests.emit.numpy.rendering import NOTHING, RANKS, SHAPES, Node, check, drawn, evaluated, refused, text_of, written

KNOWN = (SHAPES, NOTHING)
NEAR = {"rtol": 1e-5, "atol": 1e-5}
# Sizes of space and of the kernel.
SPACES = {1: ((9,), (3,)), 2: ((8, 9), (3, 2)), 3: ((6, 7, 5), (2, 3, 1))}
STRIDES, DILATIONS, PADS = (2, 3, 1), (2, 1, 2), ((1, 0), (2, 0), (1, 3))
N, C, M = 3, 6, 12


def pads(rank):
    """As ONNX has them: all before, then all behind."""
    return [before for before, _ in PADS[:rank]] + [behind for _, behind in PADS[:rank]]


def ways(rank, *, dilated_same=True):
    """Attributes of a window: strides, dilations and padding, each as it is by default or not."""
    one = [1] * rank
    paddings = ({}, {"pads": pads(rank)}, *({"auto_pad": name} for name in ("SAME_UPPER", "SAME_LOWER", "VALID")))
    for strides, dilations, padding in product((one, STRIDES[:rank]), (one, DILATIONS[:rank]), paddings):
        if dilated_same or dilations == one or not padding.get("auto_pad", "").startswith("SAME"):
            yield {"strides": list(strides), "dilations": list(dilations), **padding}


@pytest.mark.parametrize(("rank", "groups"), [(1, 1), (1, 2), (2, 1), (2, C), (3, 2)])
def test_a_convolution(rank, groups):
    space, size = SPACES[rank]
    x, kernel, bias = drawn(N, C, *space), drawn(M, C // groups, *size, seed=1), drawn(M, seed=2)
    for way in ways(rank, dilated_same=False):
        attributes = {"kernel_shape": list(size), "group": groups, **way}
        check("Conv", x, kernel, bias, attributes=attributes, known=(SHAPES,), **NEAR)
    check("Conv", x, kernel, attributes={"group": groups}, known=KNOWN, **NEAR)


@pytest.mark.parametrize(("rank", "groups"), [(1, C), (2, 1), (2, 2), (3, 2)])
def test_a_transposed_convolution(rank, groups):
    space, size = SPACES[rank]
    x, kernel, bias = drawn(N, C, *space), drawn(C, 4, *size, seed=1), drawn(4 * groups, seed=2)
    for way in ways(rank):
        if rank == 3 and "pads" in way and way["strides"][2] == 1:
            way["pads"][2] = way["pads"][5] = 1  # what is cut off must leave something
        attributes = {"kernel_shape": list(size), "group": groups, **way}
        check("ConvTranspose", x, kernel, bias, attributes=attributes, known=(SHAPES,), **NEAR)
    check("ConvTranspose", x, kernel, attributes={"group": groups}, known=KNOWN, **NEAR)


@pytest.mark.parametrize("padding", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("shape", [(16, 22), (17, 24), (15, 23), (16, 25)])
def test_a_transposed_convolution_of_a_given_size(shape, padding):
    x, kernel = drawn(N, C, 8, 8), drawn(C, 4, 3, 2, seed=1)
    attributes = {"strides": [2, 3], "auto_pad": padding, "output_shape": list(shape), "kernel_shape": [3, 2]}
    check("ConvTranspose", x, kernel, attributes=attributes, known=KNOWN, **NEAR)


def test_a_transposed_convolution_that_goes_on_behind_the_end():
    attributes = {"strides": [2, 3], "output_padding": [1, 2]}
    check("ConvTranspose", drawn(N, C, 4, 3), drawn(C, 4, 3, 2, seed=1), attributes=attributes, known=KNOWN, **NEAR)


@pytest.mark.parametrize("padding", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("size", [1, 2])
def test_a_transposed_convolution_with_gaps(size, padding):
    attributes = {"strides": [3], "auto_pad": padding, "kernel_shape": [size]}
    check("ConvTranspose", drawn(2, 3, 4), drawn(3, 5, size, seed=1), attributes=attributes, known=KNOWN, **NEAR)


def test_no_rows_give_no_rows():
    x = np.zeros((0, C, 9), np.float32)
    check("Conv", x, drawn(M, C // 2, 3), attributes={"group": 2}, rtol=1e-5)
    node = Node("ConvTranspose", (x, drawn(C, 4, 3)), {"group": 2, "strides": [2]})
    (y,) = evaluated(written(node), {"x0": x, "x1": node.inputs[1]}, np.float32)
    assert y.shape == (0, 8, 19)


def looped(x, kernel, bias, way, groups):
    """A convolution, one product at a time."""
    strides, dilations, around = way["strides"], way["dilations"], PADS[: x.ndim - 2]
    rows, channels = x.shape[:2]
    sizes = [
        (n + sum(pad) - (k - 1) * d - 1) // s + 1
        for n, k, s, d, pad in zip(x.shape[2:], kernel.shape[2:], strides, dilations, around, strict=True)
    ]
    y = np.zeros((rows, len(kernel), *sizes))
    per_group = channels // groups
    for row, out, *at in np.ndindex(*y.shape):
        y[row, out, *at] = bias[out]
        first = out // (len(kernel) // groups) * per_group
        for channel, *tap in np.ndindex(*kernel.shape[1:]):
            places = [
                a * s + t * d - pad[0] for a, s, t, d, pad in zip(at, strides, tap, dilations, around, strict=True)
            ]
            if all(0 <= place < n for place, n in zip(places, x.shape[2:], strict=True)):
                y[row, out, *at] += x[row, first + channel, *places] * kernel[out, channel, *tap]
    return y


def doubles(*shape, seed=0):
    return drawn(*shape, seed=seed, dtype=np.float64)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_convolution_in_float64_is_its_definition(rank, groups):
    way = {"strides": list(STRIDES[:rank]), "dilations": list(DILATIONS[:rank]), "pads": pads(rank)}
    x, kernel = doubles(2, 4, *(7, 5)[:rank]), doubles(8, 4 // groups, *(3, 2)[:rank], seed=1)
    bias = doubles(8, seed=2)
    node = Node("Conv", (x, kernel, bias), {**way, "group": groups})
    (y,) = evaluated(written(node), {"x0": x, "x1": kernel, "x2": bias}, np.float64)
    np.testing.assert_allclose(y, looped(x, kernel, bias, way, groups), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("rank", [1, 2])
def test_a_transposed_convolution_in_float64_is_the_adjoint(rank, groups):
    """<convolve(x), y> = <x, transposed(y)> for all x and y, which both have this kernel."""
    way = {"strides": list(STRIDES[:rank]), "dilations": list(DILATIONS[:rank]), "pads": pads(rank)}
    x, kernel = doubles(2, 4, *(7, 5)[:rank]), doubles(8, 4 // groups, *(3, 2)[:rank], seed=1)
    seen = looped(x, kernel, np.zeros(8), way, groups)
    y = doubles(*seen.shape, seed=3)
    # The sizes that x has beyond what y reaches.
    reach = [
        s * (n - 1) + d * (k - 1) + 1 - sum(pad)
        for s, n, d, k, pad in zip(STRIDES, y.shape[2:], DILATIONS, kernel.shape[2:], PADS, strict=False)
    ]
    more = [int(n - r) for n, r in zip(x.shape[2:], reach, strict=True)]
    node = Node("ConvTranspose", (y, kernel), {**way, "group": groups, "output_padding": more})
    (back,) = evaluated(written(node), {"x0": y, "x1": kernel}, np.float64)
    assert back.shape == x.shape
    np.testing.assert_allclose((back * x).sum(), (seen * y).sum(), rtol=1e-13)
    unit = np.zeros_like(x)
    unit[1, 2, *(3, 1)[:rank]] = 1
    one = (looped(unit, kernel, np.zeros(8), way, groups) * y).sum()
    np.testing.assert_allclose(back[1, 2, *(3, 1)[:rank]], one, rtol=1e-13)


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize("rank", SPACES)
def test_a_pooling(rank, op):
    space, size = SPACES[rank]
    x = drawn(2, 4, *space)
    size = tuple(k + 1 for k in size)  # ONNX Runtime refuses windows that strides jump over
    for way, ceil_mode, count in product(ways(rank, dilated_same=False), (0, 1), (0, 1)):
        if op == "AveragePool" and any(d > 1 for d in way["dilations"]):
            continue
        if count and op != "AveragePool":
            continue
        attributes = {"kernel_shape": list(size), "ceil_mode": ceil_mode, **way}
        attributes.update({"pads": [1, 0, 1, 0, 1, 1][: 2 * rank]} if "pads" in way else {})
        if op == "AveragePool":
            del attributes["dilations"]
            attributes["count_include_pad"] = count
        check(op, x, attributes=attributes, known=(SHAPES,), **NEAR)


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
def test_no_window_begins_in_the_padding_behind_the_end(op):
    attributes = {"kernel_shape": [2], "strides": [3], "pads": [0, 1], "ceil_mode": 1}
    check(op, drawn(2, 4, 6), attributes=attributes, known=KNOWN, **NEAR)


def test_a_pooling_in_float64_is_its_definition():
    x = doubles(2, 3, 7)
    attributes = {"kernel_shape": [3], "strides": [2], "pads": [1, 0], "ceil_mode": 1}
    windows = [[None, 0, 1], [1, 2, 3], [3, 4, 5], [5, 6]]
    for count, pick in ((0, 0), (1, 1)):
        node = Node("AveragePool", (x,), {**attributes, "count_include_pad": count})
        (mean,) = evaluated(written(node), {"x0": x}, np.float64)
        for at, window in enumerate(windows):
            inside = [i for i in window if i is not None]
            divisor = len(window) if pick else len(inside)
            np.testing.assert_allclose(mean[..., at], x[..., inside].sum(axis=-1) / divisor, rtol=1e-14)
    (most,) = evaluated(written(Node("MaxPool", (x,), attributes)), {"x0": x}, np.float64)
    for at, window in enumerate(windows):
        inside = x[..., [i for i in window if i is not None]]
        np.testing.assert_array_equal(most[..., at], inside.max(axis=-1))


@pytest.mark.parametrize("rank", SPACES)
@pytest.mark.parametrize(("op", "name"), [("GlobalAveragePool", "mean"), ("GlobalMaxPool", "max")])
def test_a_pooling_of_all(op, name, rank):
    found = check(op, drawn(2, 4, *SPACES[rank][0]), known=(SHAPES, RANKS), **NEAR)
    axes = {1: "2", 2: "(2, 3)", 3: "(2, 3, 4)"}[rank]
    assert {expression.text for (expression,) in found} == {f"x0.{name}(axis={axes}, keepdims=True)"}


def test_defaults_are_not_written():
    x, kernel, bias = drawn(2, 3, 8, 9), drawn(4, 3, 3, 2), drawn(4)
    plain = {"strides": [1, 1], "dilations": [1, 1], "pads": [0, 0, 0, 0], "group": 1, "kernel_shape": [3, 2]}
    assert text_of("Conv", x, kernel, attributes={**plain, "auto_pad": "NOTSET"}) == "convolve(x0, x1)"
    assert text_of("Conv", x, kernel, bias, attributes=plain) == "convolve(x0, x1, x2)"
    valid = {"auto_pad": "VALID", "pads": [1, 1, 1, 1]}
    assert text_of("Conv", x, kernel, attributes=valid, answered=False) == "convolve(x0, x1)"
    told = {**plain, "strides": [2, 1], "pads": [0, 1, 2, 0]}
    wanted = "convolve(x0, x1, x2, strides=(2, 1), padding=((0, 2), (1, 0)))"
    assert text_of("Conv", x, kernel, bias, attributes=told) == wanted
    same = {"auto_pad": "SAME_UPPER", "kernel_shape": [3, 2]}
    assert text_of("Conv", x, kernel, attributes=same) == 'convolve(x0, x1, padding="same_upper")'
    assert text_of("MaxPool", x, attributes=same) == 'max_pool(x0, (3, 2), padding="same_upper")'
    bytes_of = {"kernel_shape": [3, 2], "auto_pad": b"SAME_LOWER"}
    assert text_of("MaxPool", x, attributes=bytes_of) == 'max_pool(x0, (3, 2), padding="same_lower")'
    assert text_of("AveragePool", x, attributes={"kernel_shape": [3, 2]}) == "average_pool(x0, (3, 2))"


def test_dropout_is_what_goes_in():
    x = drawn(2, 3)
    check("Dropout", x)
    check("Dropout", x, np.float32(0.5), np.array(False), constant=(1, 2), outputs=2)
    assert text_of("Dropout", x) == "x0"


def test_what_is_not_written():
    x, ratio = drawn(2, 3, 8), np.float32(0.5)
    assert refused("MaxPool", x, outputs=2, attributes={"kernel_shape": [2]}) == "with the places of the largest"
    assert refused("MaxPool", x.astype(np.int8), attributes={"kernel_shape": [2]}) == "of int8"
    assert refused("Dropout", x, ratio, np.array(True), constant=(1, 2)) == "in training"
    assert refused("Dropout", x, ratio, np.array(False), constant=(1,)) == "in training"
    assert refused("GlobalMaxPool", x, known=NOTHING) == "of an input of unknown rank"
