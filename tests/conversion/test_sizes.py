"""What is computed for its sizes alone, and slices of whole axes, leave the converted graph; its values stay."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from rnnexport.conversion.cleanup import ask_inputs_for_sizes, infer_shapes, leave_whole_axes_out

# The first output of a cell, asked for its sizes; the states of a loop before it keep theirs, or do not.
MASKED = """<ir_version: 8, opset_import: ["" : 17]>
masked (float[batch, time, 5] x, float[5, 5] w) => (float[rows, 5] y)
{
  zero = Constant<value_int = 0>()
  axis = Constant<value_ints = [0]>()
  steps = Constant<value_int = 3>()
  always = Constant<value = bool {1}>()
  first = Gather<axis = 1>(x, zero)
  state = Loop(steps, always, first)<body = step (int64 i, bool on, float[?, 5] h) => (bool on_out, float[?, 5] h_out) {
    on_out = Identity(on)
    product = MatMul(h, w)
    %s
  }>
  made = MatMul(state, w)
  output = Tanh(made)
  sizes = Shape(output)
  y = ConstantOfShape(sizes)
}"""
KEPT = "h_out = Tanh(product)"
GROWN = "h_out = Concat<axis = 0>(h, product)"


def parsed(text: str) -> ir.Model:
    model: ir.Model = ir.from_proto(onnx.parser.parse_model(text))
    infer_shapes(model)
    return model


def run(model: ir.Model, **feed: np.ndarray) -> list[np.ndarray]:
    return onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString()).run(None, feed)


@pytest.mark.parametrize(("step", "left"), [(KEPT, 0), (GROWN, 1)])
def test_sizes_that_a_loop_keeps_are_those_of_the_inputs(step, left):
    model = parsed(MASKED % step)
    rng = np.random.default_rng(3)
    feed = {"x": rng.standard_normal((4, 6, 5), "f"), "w": rng.standard_normal((5, 5), "f")}
    wanted = run(model, **feed)
    ask_inputs_for_sizes(model, model.graph.inputs[:1])
    assert [node.op_type for node in model.graph].count("Loop") == left
    assert [node.op_type for node in model.graph].count("MatMul") == left
    (found,) = run(model, **feed)
    assert np.array_equal(found, wanted[0])
    assert found.shape == ((4, 5) if step is KEPT else (32, 5))


def test_what_is_read_besides_stays():
    text = (MASKED % KEPT).replace("(float[rows, 5] y)", "(float[rows, 5] y, float[rows, 5] output)")
    model = parsed(text)
    before = [node.op_type for node in model.graph]
    ask_inputs_for_sizes(model, model.graph.inputs[:1])
    assert [node.op_type for node in model.graph] == before


def test_slices_go_over_the_axes_that_they_cut_alone():
    model = parsed(
        """<ir_version: 8, opset_import: ["" : 17]>
        cut (float[batch, 7] x) => (float[batch, m] part, float[batch, 7] whole, float[batch, 7] back)
        {
          zeros = Constant<value_ints = [0, 0]>()
          last = Constant<value_ints = [2147483647, -2]>()
          ends = Constant<value_ints = [2147483647, 2147483647]>()
          axes = Constant<value_ints = [0, 1]>()
          one = Constant<value_ints = [1]>()
          minus = Constant<value_ints = [-1]>()
          least = Constant<value_ints = [-2147483647]>()
          part = Slice(x, zeros, last, axes)
          all = Slice(x, zeros, ends, axes)
          whole = Relu(all)
          back = Slice(x, minus, least, one, minus)
        }"""
    )
    x = np.random.default_rng(4).standard_normal((3, 7), "f")
    leave_whole_axes_out(model)
    (part,) = [node for node in model.graph if node.outputs[0].name == "part"]
    bounds = [ir.convenience.get_const_tensor(value).numpy().tolist() for value in part.inputs[1:]]
    assert bounds == [[0], [-2], [1]]
    found = dict(zip(("part", "whole", "back"), run(model, x=x), strict=True))
    assert np.array_equal(found["part"], x[:, :-2])
    assert np.array_equal(found["whole"], np.maximum(x, 0))
    assert np.array_equal(found["back"], x[:, ::-1])
    (relu,) = [node for node in model.graph if node.op_type == "Relu"]
    assert relu.inputs[0] is model.graph.inputs[0]
