"""ONNX graphs run and timed in memory."""

from __future__ import annotations

import sys

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from rnnexport.core.errors import ProviderError
from rnnexport.core.lowering import CannotRun
from rnnexport.targets.onnx.session import measure, run


def model(body: str, opset: int = 17) -> ir.Model:
    text = (
        f'<ir_version: 8, opset_import: ["": {opset}]> g (float[n, 3] x) => (float[n, 3] y, float[n, 3] z) {{ {body} }}'
    )
    return ir.from_proto(onnx.parser.parse_model(text))


GOOD = "y = Tanh(x) z = Neg(x)"


def test_outputs_by_name_for_each_feed():
    feeds = [{"x": np.full((n, 3), n, "float32")} for n in (1, 4)]
    for feed, found in zip(feeds, run(model(GOOD), feeds), strict=True):
        assert list(found) == ["y", "z"]
        np.testing.assert_array_equal(found["z"], -feed["x"])


def test_what_comes_out_without_axes_can_go_in():
    text = '<ir_version: 8, opset_import: ["": 17]> g (bool a) => (bool b) { b = Not(a) }'
    inverse = ir.from_proto(onnx.parser.parse_model(text))
    (one,) = run(inverse, [{"a": np.array(True)}])
    assert isinstance(one["b"], np.ndarray)
    (two,) = run(inverse, [{"a": one["b"]}])
    assert (one["b"], two["b"]) == (False, True)


def test_one_time_a_model_and_the_slow_one_is_slower():
    slow = "".join(f"a{i + 1} = Tanh(a{i}) " for i in range(300))
    x = {"x": np.ones((200, 3), "float32")}
    quick, much = measure([model(GOOD), model(f"a0 = Neg(x) {slow} y = Neg(a300) z = Neg(x)")], x)
    assert 0 < quick < much < 1


@pytest.mark.parametrize(
    ("broken", "feed"),
    [
        (model("y = NoSuchOperator(x) z = Neg(x)"), {"x": np.ones((2, 3), "float32")}),
        (model(GOOD, opset=99), {"x": np.ones((2, 3), "float32")}),
        (model("w = MatMul(x, x) y = Identity(w) z = Neg(x)"), {"x": np.ones((2, 3), "float32")}),
        (model(GOOD), {}),
        (model(GOOD), {"x": np.ones((2, 4), "float32")}),
        (model(GOOD), {"x": np.ones((2, 3), "float64")}),
    ],
)
def test_what_the_runtime_refuses_is_one_documented_exception(broken, feed, capfd):
    for call in (lambda: run(broken, [feed]), lambda: measure([broken], feed)):
        with pytest.raises(CannotRun) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_host_without_the_runtime_is_told_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        ProviderError, match=r"onnxruntime is not installed; .*lowering.*pip install .*\[cpu\].*--lowering loop"
    ):
        run(model(GOOD), [])
