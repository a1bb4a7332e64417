"""Parts of arrays, and arrays put together, are what ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import pytest

from tests.emit.numpy.rendering import NOTHING, RANKS, SHAPES, check, drawn, int64, refused, text_of

X = drawn(2, 5, 6)
KNOWN = (SHAPES, RANKS, NOTHING)


def test_concat():
    parts = drawn(2, 3), drawn(2, 1, seed=1), drawn(2, 0)
    check("Concat", *parts, attributes={"axis": 1}, known=KNOWN)
    check("Concat", *parts, attributes={"axis": -1}, known=KNOWN)
    check("Concat", drawn(2, 3), drawn(4, 3, seed=1), attributes={"axis": 0}, known=KNOWN)
    check("Concat", drawn(2, 3), attributes={"axis": 0})
    assert text_of("Concat", *parts, attributes={"axis": 1}) == "np.concatenate([x0, x1, x2], axis=-1)"
    assert text_of("Concat", *parts[:1], attributes={"axis": 1}) == "x0"


def test_split():
    for axis, sizes in ((2, (1, 2, 3)), (-1, (1, 2, 3)), (1, (2, 0, 3)), (0, (1, 1))):
        attributes, outputs = {"axis": axis}, len(sizes)
        check("Split", X, int64(*sizes), constant=(1,), outputs=outputs, attributes=attributes, known=KNOWN)
        check("Split", X, int64(*sizes), outputs=outputs, attributes=attributes)
    for axis, parts in ((2, 3), (1, 2), (-1, 2), (1, 3)):
        attributes = {"axis": axis, "num_outputs": parts}
        check("Split", X, outputs=parts, attributes=attributes, known=(SHAPES, RANKS, NOTHING))
    check("Split", X, outputs=1, attributes={"axis": 1, "num_outputs": 1})
    texts = text_of("Split", X, int64(2, 4), constant=(1,), outputs=2, attributes={"axis": 2})
    assert texts == "x0[..., :2]; x0[..., 2:]"
    texts = text_of("Split", drawn(2, 6), int64(2, 1, 3), constant=(1,), outputs=3, attributes={"axis": -1})
    assert texts == "x0[:, :2]; x0[:, 2:3]; x0[:, 3:]"


FAR = 2**63 - 1


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps", "text"),
    [
        ((0,), (3,), (1,), None, "x0[:, :3]"),
        ((1,), (FAR,), (1,), None, "x0[:, 1:]"),
        ((1,), (2**31 - 1,), (1,), None, "x0[:, 1:]"),
        ((0, 1), (10**9, 10**9), (0, 1), None, "x0[:, 1:]"),
        ((-2,), (FAR,), (2,), None, "x0[..., -2:]"),
        ((0,), (-1,), (1,), (1,), "x0[:, :-1]"),
        ((0,), (5,), (1,), None, "x0"),
        ((0, 1), (1, 4), None, None, "x0[:1, 1:4]"),
        ((0, 1), (FAR, 4), (0, 2), None, "x0[..., 1:4]"),
        ((-1,), (-FAR,), (1,), (-1,), "x0[:, ::-1]"),
        ((FAR,), (-FAR - 1,), (-2,), (-1,), "x0[:, ::-1]"),
        ((4,), (-6,), (1,), (-1,), "x0[:, ::-1]"),
        ((3,), (0,), (1,), (-2,), "x0[:, 3:0:-2]"),
        ((4,), (-5,), (1,), (-1,), "x0[:, :-5:-1]"),
        ((0,), (FAR,), (1,), (2,), "x0[:, ::2]"),
        ((-9,), (9,), (1,), None, "x0"),
        ((-9,), (2,), (1,), None, "x0[:, :2]"),
        ((3,), (1,), (1,), None, "x0[:, 3:1]"),
        ((9,), (-1,), (1,), (-1,), "x0[:, :-1:-1]"),
        ((1, 0), (2, 1), (-1, 0), None, "x0[:1, :, 1:2]"),
    ],
)
def test_slice(starts, ends, axes, steps, text):
    inputs = [X, int64(*starts), int64(*ends)]
    inputs += [None if axes is None and steps is None else int64(*(axes or range(len(starts))))]
    inputs += [] if steps is None else [int64(*steps)]
    inputs = inputs if inputs[-1] is not None else inputs[:-1]
    constant = tuple(range(1, len(inputs)))
    known = KNOWN if axes is None or len(axes) == 1 else (SHAPES, RANKS)
    check("Slice", *inputs, constant=constant, known=known)
    check("Slice", *inputs)
    check("Slice", *inputs, constant=(1, 2))
    check("Slice", *inputs, constant=constant[2:])
    assert text_of("Slice", *inputs, constant=constant) == text


def test_slices_of_short_axes():
    for size in (0, 1, 2):
        for start, end, step in ((0, -1, 1), (1, FAR, 1), (-1, -FAR, -1), (-3, FAR, 1), (0, 1, 1)):
            inputs = [drawn(size, 3), int64(start), int64(end), int64(0), int64(step)]
            check("Slice", *inputs, constant=(1, 2, 3, 4), known=KNOWN)


def test_pad():
    for widths in (
        (0, 1, 2, 0, 3, 0),
        (0, 0, 0, 0, 0, 0),
        (1, 0, 0, 0, 0, 1),
        (0, -1, 2, 0, 3, -2),
        (0, -1, 0, 0, 0, 0),
    ):
        for mode in ("constant", "reflect", "edge"):
            check("Pad", X, int64(*widths), constant=(1,), attributes={"mode": mode})
        if min(widths) >= 0:
            check("Pad", X, int64(*widths), known=KNOWN)
        check("Pad", X, int64(*widths), np.float32(0.2), constant=(1, 2))
        check("Pad", X, int64(*widths), np.float32(0.2), constant=(1,))
    check("Pad", X, int64(2, 1), None, int64(1), constant=(1, 3))
    check("Pad", X, int64(2, 0, 1, 3), np.float32(-1.5), int64(-1, 0), constant=(1, 2, 3))
    text = text_of("Pad", X, int64(0, 2, 0, 0, 1, 0), constant=(1,))
    assert text == "np.pad(x0, ((0, 0), (2, 1), (0, 0)))"
    assert (
        refused("Pad", X, int64(2, 1), None, int64(1), constant=(3,)) == "with widths that are computed for some axes"
    )
    assert refused("Pad", X, int64(0, 1), constant=(1,), attributes={"mode": "odd"}) == "of mode odd"


def test_gather():
    for axis in (0, 1, 2, -1):
        for indices in (
            np.int64(1),
            np.int64(-1),
            int64(1, 0, -1),
            int64(0, 1),
            np.array([[0, 1], [-1, 0]]),
            np.zeros((0,), np.int64),
        ):
            for dtype in (np.int32, np.int64):
                index = np.asarray(indices, dtype)
                check("Gather", X, index, constant=(1,), attributes={"axis": axis}, known=KNOWN)
                known = KNOWN if axis >= 0 else (SHAPES, RANKS)
                check("Gather", X, index, attributes={"axis": axis}, known=known)
    assert text_of("Gather", X, np.int64(-1), constant=(1,), attributes={"axis": 1}) == "x0[:, -1]"
    assert text_of("Gather", X, int64(2, 0), constant=(1,), attributes={"axis": 1}) == "x0[:, [2, 0]]"
    assert text_of("Gather", X, int64(2, 3), constant=(1,), attributes={"axis": 1}) == "x0[:, 2:4]"
    assert text_of("Gather", X, int64(2, 3), constant=(1,), attributes={"axis": 1}, known=RANKS) == "x0[:, [2, 3]]"
    assert text_of("Gather", X, int64(0, 1), constant=(1,)) == "x0"
    assert text_of("Gather", drawn(9, 4), np.array([[1, 2]])) == "x0[x1]"
    assert refused("Gather", X, int64(1), known=NOTHING, attributes={"axis": -1}) == "of an input of unknown rank"
