"""Every opset that is offered: one model, traced once, exported to each and verified."""

from __future__ import annotations

import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from rnnexport.artifact.provenance import Proof, Provenance
from rnnexport.core.errors import ConversionError
from rnnexport.core.lowering import LoweringRequest
from rnnexport.core.signature import Boundary
from rnnexport.targets.base import ExportOptions
from rnnexport.targets.onnx.opset import at_opset
from rnnexport.targets.registry import target
from rnnexport.verification.run_artifact import Expectation, verify_artifact

GROUP = pytest.mark.xdist_group("opsets")
OPSETS = target("onnx").opsets or range(0)


@pytest.fixture(scope="module")
def traced():
    """A convolution, a masked LSTM of both directions, a normalisation and a GRU, traced, with their goldens."""
    import keras

    from rnnexport.api.export import load
    from rnnexport.reference.describe import describe_with_truth
    from rnnexport.source.trace import Graphs, trace

    keras.utils.set_random_seed(3)
    x = keras.Input((None, 4), name="x")
    y = keras.layers.Conv1D(5, 3, padding="causal", activation="relu")(keras.layers.Masking(0.0)(x))
    y = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True))(y)
    y = keras.layers.GRU(2, bias_initializer="uniform", name="gru")(keras.layers.LayerNormalization()(y))
    source = load(keras.Model(x, y, name="all_opsets"))
    known = describe_with_truth(source, Boundary())
    provenance = Provenance("onnx", {"name": "m", "sha256": ""}, "keras", {}, {}, known.signature)
    return Graphs(trace(source, known.signature, unroll=False)), Proof(provenance, known.goldens)


# The ends and the one tf2onnx ends at each time; all of them by `make test-long`.
EACH_TIME = (13, 18, 26)
BY_OPSET = [pytest.param(opset, marks=[] if opset in EACH_TIME else [pytest.mark.long]) for opset in OPSETS]


@GROUP
@pytest.mark.parametrize("opset", BY_OPSET)
def test_every_opset_verifies(opset, traced, tmp_path):
    model, proof = traced
    path = tmp_path / "m.onnx"
    feeds = [golden.feed for golden in proof.goldens]
    target("onnx").export(model, feeds, path, ExportOptions(opset, LoweringRequest()))
    written = onnx.load(path)
    assert [item.version for item in written.opset_import if not item.domain] == [opset]
    assert written.ir_version >= onnx.helper.find_min_ir_version_for(list(written.opset_import))
    report = verify_artifact(target("onnx"), path, Expectation(proof.provenance.signature, proof.goldens))
    assert report.status == "passed", report.first_problem()


def loads(opset: int) -> bool:
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Tanh", ["x"], ["y"])], "g", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        onnxruntime.InferenceSession(model.SerializeToString(), options)
    except onnxruntime.capi.onnxruntime_pybind11_state.Fail as error:
        assert "official released onnx opset versions" in str(error)  # noqa: PT017
        return False
    return True


def test_the_newest_opset_is_the_newest_that_onnx_and_its_runtime_know():
    assert OPSETS[-1] == max(opset for opset in range(18, onnx.defs.onnx_opset_version() + 1) if loads(opset))


def test_an_operator_that_can_not_be_taken_on_is_told_in_one_line():
    text = '<ir_version: 8, opset_import: ["": 18]> taken (float[2] x) => (float[2] y) { y = NoSuchOperator(x) }'
    model = ir.from_proto(onnx.parser.parse_model(text))
    with pytest.raises(ConversionError, match=r"onnx can't take taken from opset 18 to 21: .*NoSuchOperator") as caught:
        at_opset(model, 21)
    assert "\n" not in str(caught.value)
    assert at_opset(model, 18) is model
