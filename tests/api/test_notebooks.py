"""What Python and notebooks see: names, short texts, a callback, and other packages kept quiet."""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tf_keras

import rnnexport
from rnnexport.api.notebook import Bar
from rnnexport.core.errors import UsageError
from rnnexport.core.progress import Detail, quiet

TARGETS = ("onnx", "tflite", "saved-model", "numpy")

GROUP = pytest.mark.xdist_group("lstm")


class Doubled(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def test_export_as_keras_users_type_it(tmp_path):
    x = keras.Input((3, 2), name="x")
    keras.Model(x, Doubled()(x)).save(tmp_path / "m.keras")
    done = rnnexport.export(
        tmp_path / "m.keras", tmp_path / "m.onnx", custom_objects={"Doubled": Doubled}, verify=False
    )
    assert done.path == tmp_path / "m.onnx"
    assert [spec.name for spec in done.signature.inputs] == ["x"]
    given = np.ones((2, 3, 2), "float32")
    (out,) = rnnexport.run(done.path, {"x": given}).outputs.values()
    np.testing.assert_array_equal(out, 2 * given)
    both = {"custom_objects": {"Doubled": Doubled}, "loading": rnnexport.LoadOptions({"Doubled": Doubled})}
    with pytest.raises(UsageError, match="custom_objects, and others in loading"):
        rnnexport.export(tmp_path / "m.keras", tmp_path / "m.onnx", **both)


def test_a_wrong_call_is_told():
    with pytest.raises(TypeError, match=r"'timestep'; did you mean timesteps\?"):
        rnnexport.export("m.keras", timestep=3)
    with pytest.raises(UsageError, match=r"target 'tf'.*did you mean saved-model\?"):
        rnnexport.export("m.keras", to="tf", output="m")
    with pytest.raises(UsageError, match=r"m.xyz, whose name says no target"):
        rnnexport.export("m.keras", "m.xyz")


@GROUP
def test_values_are_short_to_read(exported):
    done = exported("lstm")["onnx"]
    report = rnnexport.verify(done.path)
    assert repr(done) == f"<Exported {done.path}: verified, {repr(done).rpartition(', ')[2]}"
    assert repr(report) == f"<ShownReport passed: {done.path} on cpu passed>"
    assert len(repr(report.artifacts[0])) < 300
    assert str(done.path) in done._repr_html_()
    page = report._repr_html_()
    assert page.startswith("<iframe")
    assert "sandbox" in page
    assert "<script" not in page
    assert report.run is not None
    assert rnnexport.inspect(done.path).signature.inputs[0].name == done.signature.inputs[0].name


def test_a_bar_tells_what_goes_on():
    pages = []
    bar = Bar(pages.append, 3)
    for message in ("loading <m>", "running", Detail("running: half"), "tracing"):
        bar(message)
    bar.end()
    assert [re.search(r'value="(\d)" max="(\d)"', page).groups() for page in pages] == [
        ("0", "3"),
        ("1", "3"),
        ("1", "3"),
        ("2", "3"),
        ("3", "3"),
    ]
    assert "loading &lt;m&gt;, " in pages[0]
    assert "running: half" in pages[2]
    assert "done" in pages[-1]


@GROUP
def test_all_files_of_a_folder_can_be_verified(exported, tmp_path):
    for name in TARGETS:
        for path in (exported("lstm")[name].path, *exported("lstm")[name].companions):
            (shutil.copytree if path.is_dir() else shutil.copy)(path, tmp_path / path.name)
    report = rnnexport.verify(sorted(tmp_path.iterdir()))
    assert report.passed
    assert sorted(item.target for item in report.artifacts) == sorted(TARGETS)


@pytest.mark.parametrize("api", [keras, tf_keras], ids=["keras", "tf_keras"])
def test_the_best_epoch_is_exported(api, tmp_path):
    model = api.Sequential([api.Input((3,), name="x"), api.layers.Dense(1)])
    model.compile("sgd", "mse")
    best = rnnexport.ExportBest(tmp_path / "m.onnx", monitor="loss", verify=False)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 1))
    kept = []
    spoil = api.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: (
            model.set_weights([np.full_like(w, 9) for w in model.get_weights()]) if epoch == 2 else None
        ),
        on_epoch_end=lambda epoch, logs: kept.append(model.get_weights()),
    )
    model.fit(x, y, epochs=3, verbose=0, callbacks=[spoil, best])
    assert best.epoch == 1
    (out,) = rnnexport.run(best.exported.path, {"x": x}).outputs.values()
    kernel, bias = kept[1]
    np.testing.assert_allclose(out, x.astype("float32") @ kernel + bias, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(model.get_weights()[0], kept[2][0])  # the model is as its last epoch left it
    with pytest.raises(UsageError, match="no val_loss in the logs of an epoch; expected one of loss"):
        model.fit(x, y, epochs=1, verbose=0, callbacks=[rnnexport.ExportBest(tmp_path / "n.onnx")])


def test_other_packages_are_quiet_inside_and_as_before_behind():
    logger = logging.getLogger("tf2onnx")
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        with quiet():
            assert not logger.isEnabledFor(logging.WARNING)
        assert logger.level == logging.INFO
    finally:
        logger.setLevel(before)


def test_what_libraries_print_past_python_is_dropped_in_a_notebook_alone(monkeypatch, capfd):
    with quiet():
        os.write(2, b"a terminal\n")
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    with quiet():
        os.write(2, b"a notebook\n")
    os.write(2, b"behind\n")
    assert capfd.readouterr().err == "a terminal\nbehind\n"
