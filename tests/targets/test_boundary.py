"""What the runtimes show of inputs and outputs: names, order, dtypes, dimensions."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import rnnexport
from rnnexport.artifact.checksum import sealed
from rnnexport.targets.registry import TARGET_NAMES, target

GROUP = pytest.mark.xdist_group("boundary")
LOOP = rnnexport.LoweringRequest("loop")


def two_inputs():
    """Inputs whose order is not the alphabet's, names that are no identifiers, one input that nothing reads."""
    import keras

    keras.utils.set_random_seed(11)
    z = keras.Input((None, 4), name="z.sequence-in")
    a = keras.Input((3,), name="a")
    unused = keras.Input((2,), name="unused")
    h, last = keras.layers.GRU(3, return_sequences=True, return_state=True, name="gru")(z, initial_state=a)
    return keras.Model([z, a, unused], [last, h, keras.layers.Dense(2, name="first")(h)], name="two_inputs")


def time_of(graph):
    return graph.input[0].type.tensor_type.shape.dim[1]


def dims(value):
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@GROUP
def test_onnx_keeps_names_order_and_names_dimensions(tmp_path):
    path = rnnexport.export(two_inputs(), "onnx", tmp_path / "m.onnx").path
    graph = onnx.load(path).graph
    assert [(v.name, dims(v)) for v in graph.input] == [
        ("z.sequence-in", ["batch", "time", 4]),
        ("a", ["batch", 3]),
        ("unused", ["batch", 2]),
    ]
    assert [(v.name, dims(v)) for v in graph.output] == [
        ("gru", ["batch", 3]),
        ("gru_1", ["batch", "time", 3]),
        ("first", ["batch", "time", 2]),
    ]
    assert "unk__" not in str(graph)


@GROUP
@pytest.mark.parametrize("to", ["tflite", "saved-model", "numpy"])
def test_the_other_targets_take_the_same_feeds(to, tmp_path):
    report = rnnexport.export(two_inputs(), to, tmp_path / ("m" + target(to).suffix), timesteps=7).report
    assert report is not None
    assert report.status == "passed"


@GROUP
@pytest.mark.parametrize(
    "dtype", ["float64", "bool", *(pytest.param(dtype, marks=pytest.mark.long) for dtype in ("float16", "int64"))]
)
def test_an_input_of_any_dtype_that_nothing_reads_stays(dtype, tmp_path):
    import keras

    x, unread = keras.Input((None, 2), name="x"), keras.Input((3,), name="unread", dtype=dtype)
    model = keras.Model([x, unread], keras.layers.GRU(3)(x))
    path = rnnexport.export(model, "onnx", tmp_path / "m.onnx").path
    with target("onnx").runner(path, "cpu") as runner:
        assert [(tensor.name, tensor.dtype) for tensor in runner.inputs] == [("x", "float32"), ("unread", dtype)]


@GROUP
@pytest.mark.parametrize("to", TARGET_NAMES)
def test_fixed_sizes_are_fixed_in_the_file(to, tmp_path):
    path = rnnexport.export(two_inputs(), to, tmp_path / ("m" + target(to).suffix), batch=2, timesteps=5).path
    with target(to).runner(path, "cpu") as runner:
        shapes = {tensor.name: tensor.shape for tensor in runner.inputs}
    assert set(shapes.values()) == {(2, 5, 4), (2, 3), (2, 2)}


@pytest.fixture(scope="module")
def looped(tmp_path_factory):
    """`two_inputs` with its Loop: of a native GRU the runtime knows the sizes itself, and does not ask the file."""
    return rnnexport.export(two_inputs(), "onnx", tmp_path_factory.mktemp("looped") / "m.onnx", lowering=LOOP).path


@GROUP
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda g: g.output[0].CopyFrom(onnx.helper.make_tensor_value_info("gru", 1, ["batch", 4])), "axis 1 is 4"),
        (lambda g: g.output.reverse(), "outputs are"),
        (lambda g: g.output.pop(), "outputs are"),
        (lambda g: g.input.pop(), "inputs are"),
        (
            lambda g: setattr(time_of(g), "dim_param", "steps"),
            "axis 1 is steps, not time",
        ),
        (lambda g: setattr(time_of(g), "dim_value", 5), "axis 1 is 5, not time"),
    ],
)
def test_another_boundary_is_a_mismatch(change, problem, looped, tmp_path):
    path, model = tmp_path / "m.onnx", onnx.load(looped)
    change(model.graph)
    path.write_bytes(sealed(model.SerializeToString()))
    report = rnnexport.verify(path)
    assert report.exit_code == 1
    assert problem in report.artifacts[0].first_problem()


@GROUP
def test_a_batch_baked_in_is_a_mismatch_not_a_crash(looped, tmp_path):
    """An addition that fits one batch only: the runtime raises on other batches, which is the verdict."""
    path, model = tmp_path / "m.onnx", onnx.load(looped)
    name = model.graph.output[0].name
    producer = next(node for node in model.graph.node if name in node.output)
    producer.output[list(producer.output).index(name)] = "inner"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.zeros((2, 3), "float32"), "baked"))
    model.graph.node.append(onnx.helper.make_node("Add", ["inner", "baked"], [name]))
    path.write_bytes(sealed(model.SerializeToString()))
    report = rnnexport.verify(path)
    assert report.exit_code == 1
    assert "the runtime raised" in report.artifacts[0].first_problem()


@GROUP
def test_states_have_names_that_sort_alike_and_initial_values(exported):
    report = exported("stateful_gru")["onnx"]
    proof = target("onnx").read_proof(report.path)
    states = proof.provenance.signature.states
    assert [s.input.name for s in states] == [f"state_gru_layer_{k}_00" for k in range(3)]
    assert [s.output.name for s in states] == [f"next_state_gru_layer_{k}_00" for k in range(3)]
    assert sorted(s.input.name for s in states) == [s.input.name for s in states]
    assert all(s.initial.shape == (1, 64) and not s.initial.any() for s in states)
