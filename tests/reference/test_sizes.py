"""Python code that lets a shape decide: refused while that size is open, exported right where it is fixed."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnxruntime
import pytest

import rnnexport
from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import Boundary
from rnnexport.reference.describe import Described
from rnnexport.reference.sizes import require_same_at_sizes
from rnnexport.source.describe import describe
from rnnexport.source.load import load_source
from rnnexport.source.trace import trace
from rnnexport.verification.tolerance import Tolerance
from tests.in_turn import in_turn
from tests.source.shape_layers import with_layer

pytestmark = pytest.mark.xdist_group("sizes")
APIS = ["keras", "tf_keras"]


def check(k, kind, boundary=None):
    source = load_source(with_layer(k, kind))
    signature = describe(source, boundary or Boundary())
    traced = trace(source, signature, unroll=False)
    require_same_at_sizes(source, Described(signature, (), Tolerance(), traced))


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize(
    ("kind", "dim", "size", "option"),
    [
        ("Literal", "time", 65, "--timesteps N"),
        ("Rows", "batch", 17, "--batch N"),
        ("Attribute", "time", 20, "--timesteps N"),
        ("Global", "time", 40, "--timesteps N"),
        ("HandedOn", "time", 31, "--timesteps N"),
        ("Positions", "time", 5, "--timesteps N"),
    ],
)
def test_a_shape_that_decides_is_refused_by_layer_line_and_size(name, kind, dim, size, option):
    k = pytest.importorskip(name)
    with pytest.raises(ConversionError, match=rf"layer looking \({kind}\) at shape_layers.py:\d+ decides") as refusal:
        check(k, kind)
    assert f"a graph of an open {dim} does not: at {dim} {size} of shapes" in refusal.value.found
    assert f"give {option} to export it for one size" in refusal.value.todo


@pytest.mark.parametrize(("kind", "name"), in_turn(["BySize", "Features", "Guarded"]))
def test_what_computes_the_same_with_open_sizes_passes(kind, name):
    check(pytest.importorskip(name), kind)


def test_a_number_that_eager_keras_takes_too_long_for_is_seen_by_graphs_alone():
    with pytest.raises(ConversionError, match="at time 3001 of shapes"):
        check(pytest.importorskip("keras"), "VeryLong")


def test_the_other_size_may_be_fixed_and_does_not_help():
    with pytest.raises(ConversionError, match="an open batch does not"):
        check(pytest.importorskip("keras"), "Rows", Boundary(timesteps=7))
    check(pytest.importorskip("keras"), "Rows", Boundary(batch=7))


@pytest.mark.parametrize("name", APIS)
def test_it_is_exported_right_where_that_size_is_fixed(name, tmp_path):
    model = with_layer(pytest.importorskip(name), "Literal")
    export = partial(rnnexport.export, model, "onnx", tmp_path / "model.onnx")
    with pytest.raises(ConversionError, match="decides by a shape"):
        export()
    assert not list(tmp_path.iterdir())
    x = np.random.default_rng(1).standard_normal((2, 70, 3)).astype("float32")
    for steps, factor in ((70, 2.0), (60, 1.0)):
        path = export(timesteps=steps).path
        [found] = onnxruntime.InferenceSession(str(path)).run(None, {"x": x[:, :steps]})
        np.testing.assert_array_equal(found, x[:, :steps] * np.float32(factor))


def test_what_was_made_of_it_for_every_length_is_not_verified_beside_it(tmp_path):
    """Below 65 steps it computes what the artifact does, and no feed says what it does above."""
    import onnx
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", "time", 3]) for name in ("x", "looking"))
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["looking"])], "shapes", [x], [y])
    path = tmp_path / "foreign.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    with pytest.raises(ConversionError, match=r"layer looking \(Literal\) at shape_layers.py:\d+ decides"):
        rnnexport.verify(path, source=with_layer(pytest.importorskip("keras"), "Literal"))
    assert rnnexport.verify(path, source=with_layer(pytest.importorskip("keras"), "BySize")).artifacts
