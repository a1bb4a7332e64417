"""The arrows of the house: imports point down, siblings in targets never meet, TensorFlow stays where it belongs."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.house import names_of_two_classes

PACKAGE = Path(__file__).parent.parent / "rnnexport"

# The highest layer wins; a module may import its own layer and those below.
LAYERS = {
    "rnnexport.core": 0,
    "rnnexport.artifact": 0,
    "rnnexport.compat": 0,
    "rnnexport.version": 0,
    "rnnexport.user_data": 0,
    "rnnexport.source": 1,
    "rnnexport.ir": 1,
    "rnnexport.lowering": 1,
    "rnnexport.conversion": 1,
    "rnnexport.emit": 1,
    "rnnexport.quantization": 1,
    "rnnexport.targets": 2,
    "rnnexport.isolation": 3,
    "rnnexport.verification": 3,
    "rnnexport.reference": 4,
    "rnnexport.runtime": 4,
    "rnnexport.api": 4,
    "rnnexport.triton": 4,
    "rnnexport.fleet": 4,
    "rnnexport.report": 4,
    "rnnexport.cli": 5,
    "rnnexport.__main__": 5,
    "rnnexport": 5,
}
KERAS = {"keras", "tf_keras"}
TENSORFLOW = {"tensorflow", "tf2onnx"}
KERAS_MODULES = {"rnnexport.compat.keras2", "rnnexport.compat.keras3"}
# Converters need TensorFlow, and so does the runner of the format that TensorFlow runs; nothing else above `source`.
TENSORFLOW_MODULES = {
    "rnnexport.compat.tensorflow",
    "rnnexport.compat.tf2onnx",
    "rnnexport.compat.tflite_quantizer",
    "rnnexport.conversion.convert",
    "rnnexport.conversion.forms",
    "rnnexport.conversion.forms.arrays",
    "rnnexport.conversion.forms.complex_numbers",
    "rnnexport.conversion.forms.decompositions",
    "rnnexport.conversion.forms.fourier",
    "rnnexport.conversion.forms.reductions",
    "rnnexport.conversion.forms.replay",
    "rnnexport.conversion.forms.special",
    "rnnexport.conversion.forms.text",
    "rnnexport.conversion.forms.values",
    "rnnexport.conversion.handlers.making",
    "rnnexport.targets.tflite.elements",
    "rnnexport.targets.tflite.export",
    "rnnexport.targets.tflite.forms.bits",
    "rnnexport.targets.tflite.forms.einsum",
    "rnnexport.targets.tflite.forms.form",
    "rnnexport.targets.tflite.forms.functions",
    "rnnexport.targets.tflite.forms.orders",
    "rnnexport.targets.tflite.forms.parts",
    "rnnexport.targets.tflite.forms.pictures",
    "rnnexport.targets.tflite.fusing",
    "rnnexport.targets.tflite.looping",
    "rnnexport.targets.tflite.metadata",
    "rnnexport.targets.tflite.places",
    "rnnexport.targets.tflite.quantized",
    "rnnexport.targets.tflite.recurrences",
    "rnnexport.targets.tflite.replaying",
    "rnnexport.targets.tflite.stacking",
    "rnnexport.targets.saved_model.export",
    "rnnexport.targets.saved_model.metadata",
    "rnnexport.targets.saved_model.runner",
    "rnnexport.targets.saved_model.values",
}
RUNTIMES = {"onnxruntime", "ai_edge_litert"}
# What the program in the middle and the lowering may import of this package besides layer 0.
GRAPHS = {"rnnexport.ir": ("rnnexport.ir",), "rnnexport.lowering": ("rnnexport.ir", "rnnexport.lowering")}
LOWERING = {"onnx_ir", "numpy"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> set[str]:
    """Every module imported anywhere in the file, inside functions and under TYPE_CHECKING too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return found


def layer(module: str) -> int:
    """Of the longest prefix in the table; the package itself, its top, is no prefix of another."""
    prefix = module
    while prefix not in LAYERS:
        prefix = prefix.rpartition(".")[0]
    assert module == "rnnexport" or prefix != "rnnexport", f"{module} has no layer in the table"
    return LAYERS[prefix]


def top(module: str) -> str:
    return module.partition(".")[0]


MODULES = dict(modules())


def test_all_modules_are_found():
    assert len(MODULES) > 40
    assert set(MODULES) >= TENSORFLOW_MODULES


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    own = {name for name in imports(MODULES[module]) if top(name) == "rnnexport" and name != "rnnexport"}
    own = {name if name in MODULES else name.rpartition(".")[0] for name in own} - {"rnnexport"}
    assert {name for name in own if layer(name) > layer(module)} == set()


@pytest.mark.parametrize("module", MODULES)
def test_siblings_in_targets_do_not_meet(module):
    if not module.startswith("rnnexport.targets.") or module.count(".") < 2:
        return
    family = ".".join(module.split(".")[:3])
    shared = {"rnnexport.targets.base", "rnnexport.targets.registry"}
    found = {name if name in MODULES else name.rpartition(".")[0] for name in imports(MODULES[module])}
    others = {name for name in found if name.startswith("rnnexport.targets.")} - shared
    assert all(name.startswith(family) for name in others) or family in shared


@pytest.mark.parametrize("module", MODULES)
def test_keras_and_tensorflow_stay_where_they_belong(module):
    found = {top(name) for name in imports(MODULES[module])}
    if not module.startswith("rnnexport.source"):
        assert not found & KERAS or module in KERAS_MODULES
        assert not found & TENSORFLOW or module in TENSORFLOW_MODULES
    if module.startswith("rnnexport.verification"):
        assert not found & (TENSORFLOW | RUNTIMES)


@pytest.mark.parametrize("module", MODULES)
def test_the_lowering_knows_graphs_and_numbers_alone(module):
    """No runtime and no converter: what it needs of them is handed to it."""
    room = ".".join(module.split(".")[:2])
    if room not in GRAPHS:
        return
    found = imports(MODULES[module])
    assert {top(name) for name in found} <= LOWERING | {"rnnexport"} | set(sys.stdlib_module_names)
    own = {name if name in MODULES else name.rpartition(".")[0] for name in found if top(name) == "rnnexport"}
    assert all(layer(name) == 0 or name.startswith(GRAPHS[room]) for name in own - {"rnnexport", ""})


def test_a_class_name_has_one_meaning():
    assert names_of_two_classes() == {}


@pytest.mark.parametrize("module", MODULES)
def test_functions_are_short(module):
    tree = ast.parse(MODULES[module].read_text())
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    # The signature and the docstring of a public function may fill a screen of their own.
    long = [f.name for f in functions if (f.end_lineno or 0) - f.body[0].lineno > 50]
    assert long == []
