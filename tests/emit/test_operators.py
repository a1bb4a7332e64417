"""Operators of ONNX in C, each against what it is in NumPy."""

from __future__ import annotations

import shutil

import numpy as np
import onnx
import pytest

from tests.emit.cprograms import opened

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.mark.parametrize(("time", "batch"), [(0, 1), (1, 0)])
def test_rows_of_different_lengths_are_turned_round(time, batch, tmp_path):
    shape = (5, 3, 2) if time == 0 else (3, 5, 2)
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18]> g (float[{",".join(map(str, shape))}] x) => (float[N, M, 2] y)'
        "<int64[3] lengths = {2, 5, 1}>"
        f"{{ y = ReverseSequence<time_axis = {time}, batch_axis = {batch}>(x, lengths) }}"
    )
    model.graph.output[0].type.CopyFrom(model.graph.input[0].type)
    x = np.arange(30, dtype=np.float32).reshape(shape)
    by_row = np.moveaxis(x, batch, 0)
    wanted = np.stack([np.concatenate([row[:n][::-1], row[n:]]) for row, n in zip(by_row, (2, 5, 1), strict=True)])
    found = opened(model, tmp_path).run({"x": x})["y"]
    np.testing.assert_array_equal(found, np.moveaxis(wanted, 0, batch))
