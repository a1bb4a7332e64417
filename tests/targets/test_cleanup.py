"""Clean-up of a graph: what it takes away, and what it must leave."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from rnnexport.conversion import cleanup
from rnnexport.conversion.cleanup import clean_up
from rnnexport.core.errors import ConversionError
from rnnexport.targets.onnx.session import run

F32 = onnx.TensorProto.FLOAT
HEAD = '<ir_version: 8, opset_import: ["": 17]> '
# A loop that adds up tanh(x) times a slice of a constant, with constants and an identity in its body.
LOOP = (
    HEAD
    + """g (float[batch, 2] x, int64 n) => (float[batch, 2] total) {
  yes = Constant<value = bool {1}>()
  t = Tanh(x)
  total, again = Loop(n, yes, x, x) <body = b (int64 i, bool go_on, float[batch, 2] s, float[batch, 2] r)
      => (bool next, float[batch, 2] sum, float[batch, 2] kept) {
    next = Identity(go_on)
    weights = Constant<value_floats = [1.5, 2.5, 3.5]>()
    from = Constant<value_ints = [0]>()
    to = Constant<value_ints = [2]>()
    two = Slice(weights, from, to)
    scaled = Mul(t, two)
    same = Identity(scaled)
    sum = Add(s, same)
    kept = Identity(t)
  }>
}"""
)


def parsed(text: str) -> ir.Model:
    return ir.from_proto(onnx.parser.parse_model(text))


def cleaned(model: ir.Model, feed: dict[str, np.ndarray], equal: ir.Model | None = None) -> ir.Model:
    """The model cleaned twice, as an export does; it is valid and computes what it, or its equal, computed."""
    (wanted,) = run(equal or model, [feed])
    boundary = [(value.name, str(value.shape)) for value in (*model.graph.inputs, *model.graph.outputs)]
    clean_up(model)
    clean_up(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert boundary == [(value.name, str(value.shape)) for value in (*model.graph.inputs, *model.graph.outputs)]
    (found,) = run(model, [feed])
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)
    return model


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph.all_nodes()]


X2 = {"x": np.array([0.3, -0.7], "float32")}


def test_a_loop_keeps_what_it_computes_and_every_value_in_it_is_typed():
    feed = {"x": np.linspace(-1, 1, 6, dtype="float32").reshape(3, 2), "n": np.array(3)}
    model = cleaned(parsed(LOOP), feed)
    assert operators(model) == ["Tanh", "Loop", "Identity", "Mul", "Add", "Identity"]
    (body,) = [graph for graph in model.graphs() if graph is not model.graph]
    values = [*body.inputs, *(output for node in body for output in node.outputs)]
    assert all(value.dtype is not None and value.shape is not None for value in values)
    assert not body.initializers
    assert "unk__" not in str(ir.to_proto(model))
    assert [value.shape[0].value for value in model.graph.outputs] == ["batch"]


def test_the_bytes_are_the_same_each_time():
    models = [parsed(LOOP) for _ in range(2)]
    for model in models:
        clean_up(model)
        model.metadata_props["mine"] = "kept"
        clean_up(model)
    one, two = (ir.to_proto(model) for model in models)
    assert one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)
    assert [(item.key, item.value) for item in one.metadata_props] == [("mine", "kept")]
    assert "folded_from" not in str(one)


def test_equal_outputs_keep_their_names():
    body = "h = Tanh(x) a = Identity(h) b = Identity(h) c = Tanh(x)"
    model = parsed(HEAD + f"g (float[2] x) => (float[2] a, float[2] b, float[2] c) {{ {body} }}")
    assert operators(cleaned(model, X2)).count("Tanh") == 1


@pytest.mark.parametrize("step", ["Add(x, e)", "Sub(x, e)"])
def test_a_small_number_is_not_nothing(step):
    model = parsed(HEAD + f"g (float[2] x) => (float[2] y) {{ e = Constant<value_float = 1e-9>() y = {step} }}")
    assert operators(cleaned(model, {"x": np.zeros(2, "float32")})) == [step[:3]]


def test_a_number_next_to_one_is_not_one():
    model = parsed(HEAD + "g (float[2] x) => (float[2] y) { e = Constant<value_float = 1.000005>() y = Mul(x, e) }")
    assert operators(cleaned(model, X2)) == ["Mul"]


def test_what_folding_would_blow_up_stays():
    body = (
        "s = Constant<value_ints = [1000, 1000]>() e = Constant<value_floats = [1.5]>() l = Expand(e, s) y = Mul(l, x)"
    )
    model = parsed(HEAD + f"g (float[1, 1000] x) => (float[1000, 1000] y) {{ {body} }}")
    model = cleaned(model, {"x": np.ones((1, 1000), "float32")})
    assert operators(model) == ["Expand", "Mul"]
    assert ir.to_proto(model).ByteSize() < 2000


def test_parts_of_a_large_weight_become_weights():
    weight = np.random.default_rng(0).standard_normal((300, 400)).astype("float32")
    numbers = {"z": 0, "m": 200, "e": 400, "o": 1}
    body = " ".join(f"{name} = Constant<value_ints = [{number}]>()" for name, number in numbers.items())
    body += " a = Slice(w, z, m, o) b = Slice(w, m, e, o) p = MatMul(x, a) q = MatMul(x, b) y = Add(p, q)"
    model = parsed(HEAD + f"g (float[n, 300] x, float[300, 400] w) => (float[n, 200] y) {{ {body} }}")
    value = model.graph.inputs.pop()
    value.const_value = ir.tensor(weight, name="w")
    model.graph.register_initializer(value)
    model = cleaned(model, {"x": np.ones((2, 300), "float32")})
    assert operators(model) == ["MatMul", "MatMul", "Add"]
    assert sum(item.const_value.size for item in model.graph.initializers.values()) == weight.size


def test_chance_is_left_to_the_runtime():
    body = "a = RandomNormal<shape = [2]>() b = RandomNormal<shape = [2]>() y = Sub(a, b) z = Tanh(x)"
    model = parsed(HEAD + f"g (float[2] x) => (float[2] y, float[2] z) {{ {body} }}")
    clean_up(model)
    assert operators(model).count("RandomNormal") == 2


def lstm(omitted: bool, constant: bool = False) -> ir.Model:
    """Two LSTMs of one input, of which one gives all steps and the other the last."""
    rng = np.random.default_rng(1)
    shapes = {"W": (1, 8, 3), "R": (1, 8, 2)} | ({"x": (5, 1, 3)} if constant else {})
    weights = [onnx.numpy_helper.from_array(rng.standard_normal(s).astype("float32"), n) for n, s in shapes.items()]
    more = {"hidden_size": 2, "activations": ["Relu", "Tanh", "Relu"]}
    make = onnx.helper.make_node
    nodes = [
        make("LSTM", ["x", "W", "R"], ["all", ""] if omitted else ["all"], **more),
        make("LSTM", ["x", "W", "R"], ["", "last"] if omitted else ["each", "last"], **more),
        *(make("Tanh", ["all"], ["a"]), make("Tanh", ["last"], ["b"]), make("Neg", ["used"], ["c"])),
    ]
    info = onnx.helper.make_tensor_value_info
    inputs = [info("used", F32, [2])] + ([] if constant else [info("x", F32, [5, 1, 3])])
    outputs = [info("a", F32, [5, 1, 1, 2]), info("b", F32, [1, 1, 2]), info("c", F32, [2])]
    graph = onnx.helper.make_graph(nodes, "g", inputs, outputs, weights)
    return ir.from_proto(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8))


@pytest.mark.parametrize("omitted", [True, False])
def test_equal_nodes_that_omit_different_outputs_become_one_with_both(omitted):
    """ONNX Runtime refuses to load the model as it was: it merges them itself, and loses an output."""
    model = cleaned(lstm(omitted), {"x": np.ones((5, 1, 3), "float32"), "used": np.ones(2, "float32")}, lstm(False))
    assert operators(model).count("LSTM") == 1
    assert len(next(iter(model.graph)).outputs) == 2


def test_an_lstm_of_constants_is_left_to_the_runtime():
    """onnx's own evaluator, which folds, ignores its activations."""
    assert "LSTM" in operators(cleaned(lstm(omitted=False, constant=True), {"used": np.ones(2, "float32")}))


def test_nothing_is_logged_even_where_a_pass_fails(caplog, capfd):
    caplog.set_level(logging.DEBUG)
    model = parsed(HEAD + "g (float[2] x) => (float[2] y) { y = NoSuchOperator(x) }")
    clean_up(model)
    assert operators(model) == ["NoSuchOperator"]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capfd.readouterr() == ("", "")


def test_a_step_that_fails_is_told_in_one_line(monkeypatch):
    def give_up(model: ir.Model) -> None:
        raise ValueError("not\nthis one")

    monkeypatch.setattr(cleanup, "STEPS", (give_up,))
    with pytest.raises(ConversionError, match="give_up can't deal with the ONNX graph of g: ValueError: not this one"):
        clean_up(parsed(LOOP))


def test_what_is_reshaped_has_the_rank_that_its_computed_sizes_say():
    """Twice: the rank of the second follows from that of the first."""
    text = (
        '<ir_version: 8, opset_import: ["": 13]> '
        + """g (float[batch, time, 4] x, int64[3] sizes, int64[3] others) => (float z) {
      a = Reshape(x, sizes)
      b = Transpose<perm = [1, 0, 2]>(a)
      c = Reshape(b, others)
      z = ReduceSum<keepdims = 0>(c)
    }"""
    )
    model = ir.from_proto(onnx.parser.parse_model(text))
    cleanup.infer_shapes(model)
    ranks = {value.name: len(value.shape) for node in model.graph for value in node.outputs if value.shape is not None}
    assert ranks == {"a": 3, "b": 3, "c": 3, "z": 0}
