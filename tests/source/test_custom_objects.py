"""The user's own code: several files, relative imports, packages, registered names, functions, clashes."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import rnnexport
from rnnexport.core.errors import ConversionError, UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.source.custom_objects import collect
from rnnexport.source.load import load_source

pytestmark = pytest.mark.xdist_group("custom objects")
X = np.random.default_rng(4).standard_normal((3, 6, 5)).astype("float32")


def write(folder, **files):
    """Files by their path, `__` for a slash; the folders are made."""
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def names(*sources):
    return sorted(collect([str(source) for source in sources]).objects)


def test_files_of_no_package_may_import_relatively(tmp_path):
    write(
        tmp_path,
        cells__gru="from .base import Base\nfrom ..shared.acts import act\nclass Gru(Base): pass\n",
        cells__base="class Base: pass\n",
        shared__acts="def act(x): return x\n",
    )
    assert names(tmp_path / "cells/gru.py") == ["Base", "Gru", "act"]
    # Once more is the same class, and a file of the same name elsewhere another.
    other = write(
        tmp_path / "other",
        cells__gru="from .base import Base\nclass Gru(Base): pass\n",
        cells__base="class Base: pass\n",
    )
    first, second = (collect([str(f / "cells/gru.py")]).objects["Base"] for f in (tmp_path, other))
    assert first is not second


def test_a_file_that_is_given_and_imported_by_another_is_no_clash(tmp_path):
    write(
        tmp_path,
        base="class Base: pass\n",
        relative="from .base import Base\nclass Gru(Base): pass\n",
        absolute="from base import Base\nclass Lstm(Base): pass\n",
    )
    collected = collect([str(tmp_path / f"{name}.py") for name in ("base", "relative", "absolute")])
    assert collected.clashes == {}
    assert sorted(collected.objects) == ["Base", "Gru", "Lstm"]


def test_files_of_a_package_are_its_modules(tmp_path):
    write(
        tmp_path,
        rnnpkg____init__="",
        rnnpkg__sub__x="",
    )
    (tmp_path / "rnnpkg" / "__init__.py").write_text("from rnnpkg.cells import Cell\n")
    (tmp_path / "rnnpkg" / "cells.py").write_text(
        "from .base import Base\nfrom rnnpkg import base\nclass Cell(Base): pass\n"
    )
    (tmp_path / "rnnpkg" / "base.py").write_text("class Base: pass\n")
    assert names(tmp_path / "rnnpkg/cells.py", tmp_path / "rnnpkg/__init__.py") == ["Base", "Cell"]
    assert collect([str(tmp_path / "rnnpkg/cells.py")]).clashes == {}
    assert sys.modules["rnnpkg.cells"].__file__ == str(tmp_path / "rnnpkg/cells.py")


def test_a_package_whose_name_is_taken_is_told(tmp_path):
    write(tmp_path, email__gru="class Gru: pass\n")
    (tmp_path / "email" / "__init__.py").write_text("")
    import email  # noqa: F401

    with pytest.raises((UsageError, ConversionError), match=r"email"):
        collect([str(tmp_path / "email/gru.py")])


def test_an_import_that_fails_is_told_with_its_line(tmp_path):
    write(tmp_path, cells__gru="from .missing import Base\n")
    with pytest.raises(ConversionError, match=r"ModuleNotFoundError at .*gru\.py:1 while importing .*missing"):
        collect([str(tmp_path / "cells/gru.py")])


CELLS = '''
import {keras} as keras

@keras.{register}(package="shop", name="{name}")
class ScaledCell(keras.layers.GRUCell):
    """A GRU whose input is scaled, so that a plain GRUCell in its place gives other numbers."""

    def call(self, inputs, states, training=False):
        return super().call(inputs * 0.5, states, training=training)

@keras.{register}(package="shop")
def bent(x):
    return x / (1 + abs(x))
'''


@pytest.mark.parametrize("form", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["ScaledCell", "OtherName"])
@pytest.mark.parametrize(
    ("keras", "register"),
    [("keras", "saving.register_keras_serializable"), ("tf_keras", "utils.register_keras_serializable")],
)
def test_registered_classes_and_functions_are_found(keras, register, name, form, tmp_path):
    code = tmp_path / f"cells_{keras}_{name}.py"
    code.write_text(CELLS.format(keras=keras, register=register, name=name))
    made = collect([str(code)]).objects
    k = sys.modules[keras]
    model = k.Sequential(
        [
            k.Input((None, 5)),
            k.layers.RNN(made["ScaledCell"](4)),
            k.layers.Dense(3, activation=made["bent"], bias_initializer="uniform"),
        ]
    )
    model.save(tmp_path / f"m{form}")
    source = load_source(tmp_path / f"m{form}", LoadOptions([str(code)]))
    np.testing.assert_array_equal(np.asarray(source.model(X)), np.asarray(model(X)))


def test_two_definitions_are_a_clash_only_where_the_model_needs_them(tmp_path, saved):
    one = write(tmp_path, one="class CGRUCell: pass\nclass Unused: pass\n") / "one.py"
    two = write(tmp_path, two="class Unused: pass\n") / "two.py"
    from samples.catalog import SAMPLES_BY_NAME

    sample = SAMPLES_BY_NAME["cgru_no_bias"]
    load_source(saved(sample.name), LoadOptions([str(sample.path), str(two)]))
    needed = next(name for name in collect([str(sample.path)]).objects if "Cell" in name)
    one.write_text(f"class {needed}: pass\n")
    with pytest.raises(UsageError, match=rf"{needed} defined by .*cgru_cell\.py and by .*one\.py; expected one"):
        load_source(saved(sample.name), LoadOptions([str(sample.path), str(one)]))


def test_a_missing_name_is_told_with_what_was_found(saved, tmp_path):
    code = write(tmp_path, near="class CGRUCel: pass\ndef other(): pass\n") / "near.py"
    with pytest.raises(
        ConversionError, match=r"unknown custom class '\w+' in cgru_no_bias.keras; given are CGRUCel, other"
    ):
        rnnexport.load(saved("cgru_no_bias"), LoadOptions([str(code)]))


@pytest.mark.parametrize("keras", ["keras", "tf_keras"])
@pytest.mark.parametrize("form", [".keras", ".h5"])
def test_a_helper_does_not_take_the_place_of_keras_own(keras, form, tmp_path):
    k = pytest.importorskip(keras)
    model = k.Sequential([k.Input((None, 5)), k.layers.LSTM(4)])
    model.save(tmp_path / f"m{form}")
    code = write(tmp_path, shadow="def tanh(x): return x * 0.1\n") / "shadow.py"
    if form == ".h5":  # its configuration says "tanh", whosever that was
        with pytest.raises(UsageError, match=rf"tanh in m\.h5 is defined by .*shadow\.py and by {keras} itself"):
            load_source(tmp_path / "m.h5", LoadOptions([str(code)]))
        meant = load_source(tmp_path / "m.h5", LoadOptions([f"{code}:tanh"])).model
        assert np.abs(np.asarray(meant(X)) - np.asarray(model(X))).max() > 0.05
        return
    source = load_source(tmp_path / "m.keras", LoadOptions([str(code)]))
    np.testing.assert_array_equal(np.asarray(source.model(X)), np.asarray(model(X)))


def test_a_name_that_is_not_there_is_told(tmp_path):
    code = write(tmp_path, some="class Mine: pass\n") / "some.py"
    assert names(f"{code}:Mine") == ["Mine"]
    with pytest.raises(UsageError, match=r"some\.py:Other, where .*some\.py defines no Other; expected Mine"):
        collect([f"{code}:Other"])


def test_what_a_file_imports_from_an_installed_package_is_no_object(tmp_path):
    code = write(tmp_path, uses="from rich.text import Text\nfrom click import echo\nclass Mine: pass\n") / "uses.py"
    assert names(code) == ["Mine"]


def test_an_object_of_another_package_is_not_taken(tmp_path):
    import keras

    text = "import keras\n@keras.saving.register_keras_serializable({!r})\nclass Scale(keras.layers.Layer):\n"
    text += "    def call(self, x): return x * {}\n"
    one = write(tmp_path, one=text.format("pa", 2)) / "one.py"
    two = write(tmp_path, two=text.format("pb", 5)) / "two.py"
    scales = [collect([str(code)]).objects["Scale"] for code in (one, two)]
    keras.Sequential([keras.Input((None, 5)), *(scale() for scale in scales)]).save(tmp_path / "m.keras")
    with pytest.raises(UsageError, match=r"pb>Scale in the file, and pa>Scale in .*one\.py"):
        load_source(tmp_path / "m.keras", LoadOptions([str(one)]))


def test_a_folder_is_no_code(tmp_path, monkeypatch):
    (tmp_path / "emptyfolder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="emptyfolder, which is a folder without code of its own"):
        collect(["emptyfolder"])
