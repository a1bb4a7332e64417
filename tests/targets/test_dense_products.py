"""A Dense over a sequence is one product; what only looks like one keeps its shapes."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from rnnexport.targets.onnx.dense_products import join_products
from tests.lowering.runtime import run

WHOLE = """<ir_version: 8, opset_import: ["": 17]>
m ({x} x, {x} other) => (float[P, Q, 4] y)
<int64[2] rows = {rows}, int64[2] free = {free}, int64[1] width = {{4}}, int64[3] fixed = {fixed}>
{{
  flat = Reshape (x, rows)
  product = MatMul (flat, W)
  shape = Shape ({of})
  narrow = Cast <to = 6> (shape)
  leading = Gather <axis = 0> (narrow, free)
  wide = Cast <to = 7> (leading)
  joined = Concat <axis = 0> (wide, width)
  narrow_joined = Cast <to = 6> (joined)
  sizes = Cast <to = 7> (narrow_joined)
  y = Reshape (product, {sizes})
}}"""
USUAL = {"x": "float[B, T, 3]", "rows": "{-1, 3}", "free": "{0, 1}", "fixed": "{2, 5, 4}", "of": "x", "sizes": "sizes"}
FEED = np.random.default_rng(1).standard_normal((2, 5, 3)).astype("f")


def model(**changes):
    made = onnx.parser.parse_model(WHOLE.format(**USUAL | changes))
    array = np.random.default_rng(7).standard_normal((3, 4)).astype("f")
    made.graph.initializer.append(onnx.numpy_helper.from_array(array, "W"))
    return ir.from_proto(onnx.shape_inference.infer_shapes(made))


def operators(found):
    return [node.op_type for node in found.graph]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"x": "float[2, 5, 3]", "sizes": "fixed"},
        {"x": "float[2, T, 3]", "sizes": "fixed", "fixed": "{2, -1, 4}"},
    ],
    ids=["open", "fixed", "one size left open"],
)
def test_a_product_of_all_rows_is_one_of_the_sequence(changes):
    found = model(**changes)
    given = {"x": FEED, "other": FEED}
    (wanted,) = run(found, [given])
    join_products(found)
    assert "MatMul" in operators(found)
    assert found.graph.outputs[0].producer().op_type == "MatMul"
    np.testing.assert_allclose(run(found, [given])[0]["y"], wanted["y"], rtol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"of": "other"},  # another sequence, which may be of other sizes
        {"free": "{1, 0}"},
        {"x": "float[B, T, 6]"},  # its rows are half a timestep
        {"x": "float[2, 5, 3]", "sizes": "fixed", "fixed": "{5, 2, 4}"},
        {"x": "float[2, T, 3]", "sizes": "fixed", "fixed": "{-1, 2, 4}"},
    ],
    ids=["of another", "turned sizes", "rows of another width", "turned fixed sizes", "one size turned"],
)
def test_what_only_looks_like_one_stays(changes):
    found = model(**changes)
    before = operators(found)
    join_products(found)
    assert operators(found) == before
