"""Faults that only some inputs show: large ones, far rows and steps, single ids. The feeds have to visit them."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import rnnexport
from rnnexport.artifact.checksum import sealed

VOCABULARY = 23


def model(masked=False, ids=False):
    keras.utils.set_random_seed(5)
    x = keras.Input((None,) if ids else (None, 4), dtype="int32" if ids else "float32", name="x")
    inner = keras.layers.Embedding(VOCABULARY, 4, mask_zero=masked)(x) if ids else x
    y = keras.layers.GRU(3, return_sequences=True, bias_initializer="normal")(inner)
    return keras.Model(x, keras.layers.Dense(2, bias_initializer="normal")(y))


def constant(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def kept_up_to(axis, count):
    """Nodes that set x to 0 from place `count` of an axis on: `x * (range(size) < count)`."""
    shape = [1, 1, 1]
    shape[axis] = -1
    constants = [constant("f_axis", np.array([axis])), constant("f_count", count), constant("f_shape", shape)]
    constants += [constant("f_0", 0), constant("f_1", 1), constant("f_none", np.array([], "int64"))]
    nodes = [
        helper.make_node("Shape", ["x"], ["f_sizes"]),
        helper.make_node("Gather", ["f_sizes", "f_axis"], ["f_size_1"]),
        helper.make_node("Reshape", ["f_size_1", "f_none"], ["f_size"]),
        helper.make_node("Range", ["f_0", "f_size", "f_1"], ["f_places"]),
        helper.make_node("Less", ["f_places", "f_count"], ["f_less"]),
        helper.make_node("Cast", ["f_less"], ["f_keep"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["f_keep", "f_shape"], ["f_column"]),
        helper.make_node("Mul", ["x", "f_column"], ["f_x"]),
    ]
    return nodes, constants


def clipped():
    low, high = constant("f_low", np.float32(-20)), constant("f_high", np.float32(20))
    return [helper.make_node("Clip", ["x", "f_low", "f_high"], ["f_x"])], [low, high]


def with_fault_at_input(path, fault, to):
    """The artifact with its goldens and a seal, as a converter with that fault would have written it."""
    changed = onnx.load(path)
    nodes, constants = fault
    for node in changed.graph.node:
        node.input[:] = ["f_x" if name == "x" else name for name in node.input]
    for at, node in enumerate(nodes):
        changed.graph.node.insert(at, node)
    changed.graph.initializer.extend(constants)
    return written(changed, to)


def without_row(path, row, to):
    changed = onnx.load(path)
    (table,) = [one for one in changed.graph.initializer if one.dims[:1] == [VOCABULARY]]
    values = numpy_helper.to_array(table).copy()
    assert np.abs(values[row]).min() > 0
    values[row] = 0
    table.CopyFrom(numpy_helper.from_array(values, table.name))
    return written(changed, to)


def written(changed, to):
    to.write_bytes(sealed(changed.SerializeToString(deterministic=True)))
    return to


FAULTS = {
    "clipped at 20": clipped(),
    "7 rows": kept_up_to(0, 7),
    "33 steps": kept_up_to(1, 33),
    "100 steps": kept_up_to(1, 100),
}


ROWS = (("ids", 0), ("ids", VOCABULARY - 1), ("masked", 1), ("masked", VOCABULARY - 1))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """The right artifact of the model of real inputs, and what it and all faulty ones are found to be."""
    folder = tmp_path_factory.mktemp("artifacts")
    verdicts = {}
    for kind, made in (("real", model()), ("ids", model(ids=True)), ("masked", model(masked=True, ids=True))):
        path = folder / f"{kind}.onnx"
        source = rnnexport.load(made)
        rnnexport.export(source, "onnx", path)
        faulty = {row: without_row(path, row, folder / f"{kind}_{row}.onnx") for one, row in ROWS if one == kind}
        if kind == "real":
            faulty = {
                fault: with_fault_at_input(path, nodes, folder / f"{at}.onnx")
                for at, (fault, nodes) in enumerate(FAULTS.items())
            }
        alone = rnnexport.verify([path, *faulty.values()]).artifacts
        beside = rnnexport.verify([path, *faulty.values()], source=source).artifacts
        for name, one, other in zip(("right", *faulty), alone, beside, strict=True):
            verdicts[kind, name] = one.status, other.status
    return folder / "real.onnx", verdicts


@pytest.mark.long
def test_faults_beyond_a_bound_are_caught_by_the_file_alone_and_by_its_source(artifact):
    _, verdicts = artifact
    faults = {("real", fault) for fault in FAULTS} | set(ROWS)
    assert verdicts == {(kind, "right"): ("passed", "passed") for kind in ("real", "ids", "masked")} | dict.fromkeys(
        faults, ("mismatch", "mismatch")
    )


def test_the_faults_do_nothing_inside_their_bounds(artifact, tmp_path):
    """Else the tests above would show nothing."""
    from rnnexport.targets.registry import target

    path, _ = artifact
    x = np.random.default_rng(0).uniform(-19, 19, (7, 33, 4)).astype("float32")
    with target("onnx").runner(path, "cpu") as runner:
        wanted = runner.run({"x": x})
    for fault in FAULTS.values():
        with target("onnx").runner(with_fault_at_input(path, fault, tmp_path / "faulty.onnx"), "cpu") as runner:
            for name, array in runner.run({"x": x}).items():
                np.testing.assert_allclose(array, wanted[name], rtol=1e-5, atol=1e-6)
