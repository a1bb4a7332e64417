"""Custom objects of installed packages: submodules, registered names, classes that are saved but not registered."""

from __future__ import annotations

import importlib
import subprocess
import sys
from itertools import count

import numpy as np
import pytest

import rnnexport
from rnnexport.core.errors import ConversionError
from rnnexport.core.load_options import LoadOptions

pytestmark = pytest.mark.xdist_group("custom objects")
X = np.random.default_rng(4).standard_normal((3, 6, 5)).astype("float32")
NUMBERS = count()
# As `ncps` is laid out: the named module imports what registers, under names with and without a package.
MODULES = {
    "__init__": "",
    "wirings/__init__": '''
class Wiring:
    """No part of Keras, and not registered: saved by its configuration."""

    def __init__(self, factor): self.factor = factor
    def get_config(self): return {{"factor": self.factor}}
    @classmethod
    def from_config(cls, config): return cls(**config)

def unsaved(*arguments, **options): raise AssertionError("called by a model file")
''',
    "layers/__init__": "from .cell import WiredCell\n",
    "layers/cell": """
import {keras} as keras
from ..wirings import Wiring

@keras.utils.register_keras_serializable(package="", name="bent")
def bent(x): return x / (1 + abs(x))

@keras.utils.register_keras_serializable(package="{name}", name="Wired")
class WiredCell(keras.layers.GRUCell):
    def __init__(self, units, wiring, **options):
        super().__init__(units, **options)
        self.wiring = wiring
    def call(self, inputs, states, training=False):
        return super().call(inputs * self.wiring.factor, states, training=training)
    def get_config(self):
        return {{**super().get_config(), "wiring": keras.utils.serialize_keras_object(self.wiring)}}
    @classmethod
    def from_config(cls, config):
        wiring = keras.utils.deserialize_keras_object(config.pop("wiring"))
        return cls(wiring=wiring, **config)
""",
}


@pytest.fixture(params=["keras", "tf_keras"])
def package(request, tmp_path, monkeypatch):
    """The name of an installed package, the Keras it is for, and the `.keras` file of a model of it."""
    k, name = pytest.importorskip(request.param), f"wired{next(NUMBERS)}"
    place = tmp_path / "site-packages"
    for path, text in MODULES.items():
        file = place / name / f"{path}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(keras=request.param, name=name))
    monkeypatch.syspath_prepend(str(place))
    cells, wirings = (importlib.import_module(f"{name}.{module}") for module in ("layers.cell", "wirings"))
    cell = cells.WiredCell(4, wirings.Wiring(0.25))
    model = k.Sequential([k.Input((None, 5)), k.layers.RNN(cell), k.layers.Dense(3, activation=cells.bent)])
    model.save(tmp_path / "m.keras")
    return name, model, tmp_path / "m.keras"


def forget(name):
    """The package as one that nothing has imported yet; Keras' registry keeps what it has."""
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def require_loaded(file, custom_objects, model):
    found = rnnexport.load(file, LoadOptions(custom_objects)).model
    np.testing.assert_array_equal(np.asarray(found(X)), np.asarray(model(X)))


def test_a_module_stands_for_all_that_importing_it_brings(package):
    name, model, file = package
    forget(name)
    require_loaded(file, [f"{name}.layers"], model)


def test_a_file_stands_for_the_packages_that_it_imports_from(package, tmp_path):
    name, model, file = package
    own = tmp_path / f"own_{name}.py"
    own.write_text(f"from {name}.layers import WiredCell\n")
    user = tmp_path / f"user_{name}.py"
    user.write_text(f"import own_{name}\n")
    require_loaded(file, [str(own)], model)
    require_loaded(file, [str(user)], model)


def test_a_missing_name_is_told_with_where_it_is_registered(package):
    name, _, file = package
    with pytest.raises(ConversionError) as told:
        rnnexport.load(file, LoadOptions())
    assert told.value.found == "unknown custom class 'WiredCell' in m.keras; no code was given"
    assert told.value.todo == f"WiredCell is registered by {name}.layers: give custom_objects='{name}.layers'"
    # What is given by name brings nothing besides.
    with pytest.raises(ConversionError, match=rf"Wiring is defined by {name}\.wirings: give custom_objects='{name}"):
        rnnexport.load(file, LoadOptions([f"{name}.layers:WiredCell"]))


def test_a_package_that_is_not_installed_is_told(package, monkeypatch):
    name, _, file = package
    forget(name)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(file.parent / "site-packages")])
    with pytest.raises(ConversionError, match=rf"give the file that defines WiredCell .*; no module {name} is here"):
        rnnexport.load(file, LoadOptions())


def test_code_that_was_not_given_is_found_beside_the_model_before_tensorflow_starts(package, tmp_path):
    _, _, model = package
    (tmp_path / "aaa.py").write_text("class WiredCell2: ...\n")
    source = tmp_path / "layers.py"
    source.write_text("import keras\n\nclass WiredCell(keras.layers.Layer): ...\nraise SystemExit('this ran')\n")
    program = (
        "import sys\n"
        "from rnnexport.api.export import check_model\n"
        "from rnnexport.core.errors import ConversionError\n"
        "from rnnexport.core.load_options import LoadOptions\n"
        "try:\n"
        f"    check_model({str(model)!r}, LoadOptions())\n"
        "except ConversionError as told:\n"
        "    print(told.todo, 'keras' in sys.modules, 'tensorflow' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    cure = f"layers.py defines WiredCell: give --custom-objects {source}"
    assert done.stdout == f"{cure} False False\n"


def test_functions_that_nothing_registers_are_out_of_reach(package, tmp_path):
    """An older `.h5` may name any function of a package, and Keras would call it with what the file says."""
    name, _, _ = package
    from rnnexport.source.packages import ObjectName, resolve

    importlib.import_module(f"{name}.layers")
    wanted = [
        ObjectName("unsaved"),
        ObjectName("unsaved", f"{name}.wirings"),
        ObjectName("Wiring"),
        ObjectName("AutoGraph"),
    ]
    assert set(resolve(wanted, [name], lambda text: None)) == {"Wiring"}
    # Nor is anything of a package that was not given.
    assert resolve([ObjectName("Wiring", f"{name}.wirings")], ["other"], lambda text: None) == {}


def test_ncps_is_loaded_and_exported_by_its_name_alone(tmp_path):
    ncps = pytest.importorskip("ncps.keras")
    import keras
    from ncps.wirings import AutoNCP

    loading = LoadOptions(["ncps.keras"])
    x = X[..., :3]
    for layer in (ncps.LTC(AutoNCP(8, 2)), ncps.CfC(AutoNCP(8, 2)), ncps.LTC(5, mixed_memory=True)):
        model = keras.Sequential([keras.Input((None, 3)), layer])
        model.save(tmp_path / "m.keras")
        found = rnnexport.load(tmp_path / "m.keras", loading).model
        np.testing.assert_array_equal(np.asarray(found(x)), np.asarray(model(x)))
    keras.Sequential([keras.Input((None, 3)), ncps.CfC(5, return_sequences=True)]).save(tmp_path / "cfc.keras")
    done = rnnexport.export(tmp_path / "cfc.keras", "onnx", tmp_path / "m.onnx", loading=loading)
    assert done.report is not None
    assert done.report.status == "passed"


def lmu(layers, package):
    options = {"memory_d": 2, "order": 4, "theta": 6, "return_sequences": True}
    return [
        package.LMU(hidden_cell=layers.SimpleRNNCell(5), **options),
        package.LMUFeedforward(hidden_cell=layers.SimpleRNNCell(4), **options),
    ]


def tcn(layers, package):
    return [package.TCN(4, 2, dilations=[1, 2], return_sequences=True, use_skip_connections=True), layers.GRU(3)]


@pytest.mark.long
@pytest.mark.parametrize(("name", "make"), [("keras_lmu", lmu), ("tcn", tcn)])
def test_layers_of_other_packages_are_exported(name, make, tmp_path):
    """Discretised memories by Fourier transforms and matrix exponentials; dilated causal convolutions."""
    package = pytest.importorskip(name)
    import keras

    x = y = keras.Input((9, 3))
    for layer in make(keras.layers, package):
        y = layer(y)
    keras.Model(x, y).save(tmp_path / "m.keras")
    done = rnnexport.export_all(
        tmp_path / "m.keras", ["onnx", "numpy", "tflite"], tmp_path / "done", loading=LoadOptions([name])
    )
    assert [one.report.status for one in done if one.report] == ["passed"] * 3
