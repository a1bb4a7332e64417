"""TFLite files in TensorFlow Lite Micro, and in LiteRT without its delegate."""

from __future__ import annotations

import sys

import keras
import numpy as np
import pytest

import rnnexport
from rnnexport.core.errors import ProviderError, UsageError
from rnnexport.core.forms import TFLiteForm
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.trace import Graphs, trace
from rnnexport.targets.registry import target
from rnnexport.targets.tflite.export import converted

GROUP = pytest.mark.xdist_group("tflite_micro")
STEPS, FEATURES = 9, 3


@pytest.fixture(scope="module")
def source():
    x = keras.Input((None, FEATURES), name="x")
    model = keras.Model(x, keras.layers.LSTM(5, return_sequences=True, name="y")(x), name="small")
    rng = np.random.default_rng(6)
    model.set_weights([rng.uniform(-0.7, 0.7, array.shape) for array in model.get_weights()])
    return rnnexport.load(model)


@pytest.fixture(scope="module")
def files(source, tmp_path_factory):
    """What writes a file, unverified, at a boundary, in a form."""
    folder = tmp_path_factory.mktemp("micro")

    def write(boundary, form):
        path = folder / f"{form.form}_{form.runtime}_{boundary.timesteps}.tflite"
        signature = describe(source, boundary)
        path.write_bytes(converted(Graphs(trace(source, signature, unroll=form.form == "unroll")), form)[0])
        return path

    return write


def ran(path, provider, source):
    """(what a provider gives, what Keras gives)."""
    x = np.random.default_rng(7).standard_normal((1, STEPS, FEATURES)).astype(np.float32)
    with target("tflite").runner(path, provider) as runner:
        runner.run({"x": x[:, ::-1]})
        (found,) = runner.run({"x": x}).values()
        return found, np.asarray(source.model(x)), runner.settings


@GROUP
@pytest.mark.parametrize("form", ["unroll", "rolled", "fused"])
def test_every_form_that_is_made_for_it_runs_there(form, files, source):
    pytest.importorskip("tflite_micro")
    path = files(Boundary(1, STEPS), TFLiteForm(form, "tflm"))
    found, wanted, settings = ran(path, "tflm", source)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert 1_000 < int(settings["arena"].removesuffix(" bytes").replace(",", "")) < 100_000


@GROUP
def test_an_artifact_for_it_is_verified_there(source, tmp_path):
    pytest.importorskip("tflite_micro")
    path = tmp_path / "small.tflite"
    form = TFLiteForm("fused", "tflm")
    exported = rnnexport.export(source, "tflite", path, batch=1, timesteps=STEPS, tflite=form)
    assert (exported.report.status, exported.report.provider) == ("passed", "tflm")
    assert rnnexport.inspect(path).facts["options"] == "batch 1, for tflm, form fused, timesteps 9"
    (report,) = rnnexport.verify(path, providers=["tflm"]).artifacts
    assert report.status == "passed"


@GROUP
def test_an_operator_that_it_lacks_and_open_sizes_are_named(files):
    pytest.importorskip("tflite_micro")
    for boundary, words in (
        (Boundary(1, STEPS), "it has no FILL"),
        (Boundary(1), "has open sizes, in serving_default_x"),
    ):
        path = files(boundary, TFLiteForm("rolled"))
        with pytest.raises(ProviderError, match=words), target("tflite").runner(path, "tflm"):
            pass


@GROUP
def test_what_is_not_installed_is_told(files, monkeypatch):
    path = files(Boundary(1, STEPS), TFLiteForm("rolled"))
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    with pytest.raises(ProviderError, match="tflite-micro is not installed"), target("tflite").runner(path, "tflm"):
        pass


@GROUP
def test_litert_runs_without_its_delegate(files, source):
    found, wanted, _ = ran(files(Boundary(1, STEPS), TFLiteForm("rolled")), "no-xnnpack", source)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_another_runtime_is_refused():
    with pytest.raises(UsageError, match="runtime 'onnx'"):
        TFLiteForm("rolled", "onnx")


@GROUP
@pytest.mark.parametrize("sizes", [{"batch": 1}, {"timesteps": STEPS}])
def test_a_size_that_is_open_is_refused_at_once(sizes, source, tmp_path):
    with pytest.raises(UsageError, match="input x of small with an open size"):
        rnnexport.export(source, "tflite", tmp_path / "m.tflite", tflite=TFLiteForm("rolled", "tflm"), **sizes)
    assert list(tmp_path.iterdir()) == []
