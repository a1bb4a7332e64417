"""A model is converted once, for its float64 program and all artifacts that are written of the conversion."""

from __future__ import annotations

import keras
import onnx
import onnx_ir as ir
import pytest
import tf2onnx.convert

import rnnexport
from rnnexport.targets.onnx.opset import take_back
from samples.cgru_cell import with_random_weights


@pytest.fixture
def opsets(monkeypatch):
    """The opset of each conversion by tf2onnx."""
    found, convert = [], tf2onnx.convert.from_graph_def

    def counted(*args, **kwargs):
        found.append(kwargs["opset"])
        return convert(*args, **kwargs)

    monkeypatch.setattr(tf2onnx.convert, "from_graph_def", counted)
    return found


def test_all_artifacts_are_written_of_one_conversion(opsets, tmp_path):
    x = keras.Input((5, 2), name="x")
    y = keras.layers.Dense(3)(keras.layers.GRU(4, return_sequences=True)(x))
    model = with_random_weights(keras.Model(x, keras.layers.LayerNormalization()(y), name="once"), 3)
    done = rnnexport.export_all(model, ["onnx", "numpy", "c"], tmp_path)
    assert {one.report.status for one in done} == {"passed"}
    assert opsets == [18]
    assert onnx.load(tmp_path / "once.onnx").opset_import[0].version == 17


def graph(text, opset=18):
    return ir.from_proto(onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> g {text}'))


def test_an_older_opset_spells_reductions_and_splits_its_own_way():
    model = graph(
        "(float[4, N] x) => (float[2, 1] y) <int64[1] axes = {-1}>"
        "{ a, b = Split <axis = 0, num_outputs = 2> (x)  s = Add (a, b)"
        "  y = ReduceMean <noop_with_empty_axes = 1> (s, axes) }"
    )
    assert take_back(model, 13)
    split, _, mean = model.graph
    assert "num_outputs" not in split.attributes
    assert [list(mean.attributes), list(mean.attributes["axes"].value), len(mean.inputs)] == [["axes"], [-1], 1]
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    assert [proto.ir_version, proto.opset_import[0].version] == [7, 13]


@pytest.mark.parametrize(
    "text",
    [
        "(int32[2] x, int32[2] w) => (int32[2] y) { y = BitwiseAnd (x, w) }",  # is not there
        "(int8[2] x) => (int8[2] y) { y = Relu (x) }",  # takes other numbers
        "(float[3, N] x) => (float[2, N] a, float[1, N] b) { a, b = Split <num_outputs = 2> (x) }",  # parts are equal
        "(float[2, N] x) => (float[2, N] y) { y = ReduceMax <noop_with_empty_axes = 1> (x) }",  # is y = x
        "(float[2, N] x, int64[K] axes) => (float[M, L] y) { y = ReduceMax (x, axes) }",  # the axes are computed
        "(float[2] x, int64[1, 1] i, float[1] u) => (float[2] y) { y = ScatterND <reduction = 'max'> (x, i, u) }",
    ],
)
def test_what_an_older_opset_has_not_stays_as_it_is(text):
    model = graph(text.replace("'", '"'))
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    assert not take_back(model, 13)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
