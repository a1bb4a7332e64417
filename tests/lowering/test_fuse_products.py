"""Sums with a product of matrices: which become one Gemm in the step of a Scan."""

from __future__ import annotations

import pytest

from tests.lowering.small import X, loop, node_of, operators, same

SUMS = {
    "a product of one row": ("mean = ReduceMean <axes = [0]> (h) p = MatMul (mean, R) s = Add (p, xw)", "MatMul"),
    "a product of one column": ("p = MatMul (h, column) s = Add (p, b)", "MatMul"),
    "a product that is used twice": ("p = MatMul (h, R) q = Add (p, xw) t = Tanh (p) s = Mul (q, t)", "MatMul"),
    "a sum of one row": ("p = MatMul (h, R) s = Add (p, b)", "Gemm"),
}


@pytest.mark.parametrize("case", SUMS)
def test_a_sum_that_a_gemm_is(case):
    """It broadcasts what is added, never the product; and a product that is needed by itself is made once."""
    text, op = SUMS[case]
    step = f"x_t = Gather <axis = 0> (x, i) xw = MatMul (x_t, W) {text} n = Tanh (s)"
    changed, _ = same(loop(step, inputs=f"{X}, float[4,1] column"), "scan")
    found = operators(node_of(changed, "Scan").attributes["body"].as_graph())
    assert (found[op], found["MatMul"] + found["Gemm"]) == (1, 1)
