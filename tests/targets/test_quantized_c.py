"""C programs with weights of int8: what they lose is bounded, and they are verified and refused like any other."""

from __future__ import annotations

import re
import shutil
import subprocess

import keras
import numpy as np
import pytest

import rnnexport
from rnnexport.core.errors import ConversionError, UsageError
from rnnexport.core.quantization import QuantizeRequest
from rnnexport.quantization.weights import per_channel
from rnnexport.targets.c.quantized import constant_bytes
from rnnexport.targets.registry import target_of
from tests.api.test_quantize import ALONE, FEATURES, gru

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler"),
    pytest.mark.xdist_group("quantize"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A GRU as a stream in int8."""
    folder = tmp_path_factory.mktemp("int8")
    walks = np.random.default_rng(4).standard_normal((8, 25, FEATURES)).cumsum(1) / 4
    np.savez(folder / "data.npz", x=walks.astype("f"))
    request = QuantizeRequest("int8", folder / "data.npz", max_loss=0.02)
    return rnnexport.export(gru(), folder / "gru.c", stream="dynamic", quantize=request)


def test_its_matrices_are_int8_and_its_loss_is_bounded(made):
    plain, trial = made.quantization.trials
    assert plain.worst.value < 1e-5 < trial.worst.value <= 0.02
    assert [(part.operator, part.before) for part in trial.parts] == [
        ("MatMul", 4 * count) for count in (5 * 36, 12 * 36, 12 * 3)
    ]
    assert all(part.after < part.before / 2 for part in trial.parts)
    assert trial.size == constant_bytes(made.path) < plain.size / 2
    assert made.quantization.measured == "measured on 1 calls on data.npz"
    text = made.path.read_text()
    assert "multiply(" not in text
    assert re.search(r"multiply_int8\(\w+, h, rounded, 32767\.0f, ", text)


def test_it_computes_what_the_source_does_with_rounded_weights(made):
    """What is rounded to 16 bits loses a hundredth of that."""
    model = gru()
    for layer in model.layers[1:]:
        layer.set_weights([_rounded(array) if array.shape[0] != 2 else array for array in layer.get_weights()])
    x = np.random.default_rng(6).standard_normal((2, 9, FEATURES)).astype("f")
    with target_of(made.path).runner(made.path, "cpu") as runner:
        found = runner.run({"x": x, "state_gru_00": np.zeros((2, 12), "f")})["head"]
    np.testing.assert_allclose(found, np.asarray(model(x)), atol=3e-4)
    assert np.abs(found - np.asarray(gru()(x))).max() > 3e-3


def _rounded(array):
    if array.ndim < 2:
        return array
    q, scale = per_channel(array, axis=1)
    return q * scale


def test_it_is_verified_by_its_bound_from_the_file_alone(made, python_process):
    done = python_process("-c", ALONE, made.path)
    assert done.returncode == 0, done.stderr
    known = target_of(made.path).read_proof(made.path).provenance
    assert known.options["quantize"] == "int8"
    assert set(known.override["atols"]) == {loss.output for loss in made.quantization.chosen.losses}
    # Fresh inputs stay where the sequences were, states as well: all of these began at 0.
    ends = {name: (low, high) for name, low, high in known.options["ranges"]}
    assert set(ends) == {"x", "state_gru_00"}
    assert -1 <= ends["state_gru_00"][0] < -0.1 < 0.1 < ends["state_gru_00"][1] <= 1


def test_its_self_test_has_the_bounds_of_the_file(made, tmp_path):
    known = target_of(made.path).read_proof(made.path).provenance
    for atol in known.override["atols"].values():
        assert f", {atol!r})" in made.path.read_text()
    subprocess.run(["cc", "-O1", "-DGRU_SELF_TEST", made.path, "-o", tmp_path / "test", "-lm"], check=True)
    assert "0 wrong" in subprocess.run([tmp_path / "test"], check=True, capture_output=True, text=True).stdout


def test_an_altered_weight_is_never_compiled(made, tmp_path):
    files = target_of(made.path).every_file(made.path)
    for file in files:
        shutil.copy(file, tmp_path / file.name)
    path = tmp_path / made.path.name
    text = path.read_text()
    at = text.index("static const int8_t ")
    first = re.compile(r"= \{\n    (-?\d+),").search(text, at)
    path.write_text(text[: first.start(1)] + str(1 - int(first[1])) + text[first.end(1) :])
    with pytest.raises(UsageError, match=r"altered|changed|seal"):
        rnnexport.verify(path)


def test_what_stays_float32_has_to_be_allowed(tmp_path):
    x = keras.Input((6, 4), name="x")
    y = keras.layers.Conv1D(5, 2, name="conv")(x)
    model = keras.Model(x, keras.layers.Dense(3, name="y")(y))
    with pytest.raises(ConversionError, match=r"1 of 2 weights of m.c stay float32 .*conv.*: float32, C has no Conv"):
        rnnexport.export(model, tmp_path / "m.c", quantize=QuantizeRequest("int8"))
    done = rnnexport.export(model, tmp_path / "m.c", quantize=QuantizeRequest("int8", allow_partial=True))
    assert [bool(part.how) for part in done.quantization.chosen.parts] == [False, True]


def test_a_weight_that_is_no_number_is_refused(tmp_path):
    model = gru()
    kernel, bias = model.get_layer("head").get_weights()
    kernel[0, 0] = np.inf
    model.get_layer("head").set_weights([kernel, bias])
    with pytest.raises(ConversionError, match="not finite"):
        rnnexport.export(model, tmp_path / "m.c", quantize=QuantizeRequest("int8"), verify=False)
