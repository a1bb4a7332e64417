"""The table of targets. Asking for one loads nothing of another, and nothing of TensorFlow."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rnnexport.artifact.beside import artifact_of
from rnnexport.core.errors import UsageError, closest, did_you_mean, require_path
from rnnexport.core.file_kinds import KERAS, ONNX, TFLITE, kind_of
from rnnexport.core.signature import argument_name
from rnnexport.targets.base import Target
from rnnexport.targets.onnx.providers import PROVIDERS, RUNTIMES

if TYPE_CHECKING:  # modules of formats are imported by name, when they are called for; here they are checked
    from rnnexport.targets import base
    from rnnexport.targets.c import allowed as c_allowed
    from rnnexport.targets.c import export as c_export
    from rnnexport.targets.c import metadata as c_metadata
    from rnnexport.targets.c import quantized as c_quantized
    from rnnexport.targets.c import runner as c_runner
    from rnnexport.targets.c import values as c_values
    from rnnexport.targets.numpy import allowed as numpy_allowed
    from rnnexport.targets.numpy import export as numpy_export
    from rnnexport.targets.numpy import metadata as numpy_metadata
    from rnnexport.targets.numpy import runner as numpy_runner
    from rnnexport.targets.numpy import values as numpy_values
    from rnnexport.targets.onnx import export as onnx_export
    from rnnexport.targets.onnx import metadata as onnx_metadata
    from rnnexport.targets.onnx import quantized as onnx_quantized
    from rnnexport.targets.onnx import runner as onnx_runner
    from rnnexport.targets.onnx import values as onnx_values
    from rnnexport.targets.saved_model import export as saved_model_export
    from rnnexport.targets.saved_model import metadata as saved_model_metadata
    from rnnexport.targets.saved_model import runner as saved_model_runner
    from rnnexport.targets.saved_model import values as saved_model_values
    from rnnexport.targets.tflite import export as tflite_export
    from rnnexport.targets.tflite import metadata as tflite_metadata
    from rnnexport.targets.tflite import quantized as tflite_quantized
    from rnnexport.targets.tflite import runner as tflite_runner
    from rnnexport.targets.tflite import values as tflite_values

    _EXPORTERS: tuple[base.Exporter, ...] = (
        c_export,
        numpy_export,
        onnx_export,
        saved_model_export,
        tflite_export,
    )
    _METADATA: tuple[base.Metadata, ...] = (
        *(c_metadata, numpy_metadata, onnx_metadata, saved_model_metadata, tflite_metadata),
    )
    _OPENERS: tuple[base.Opener, ...] = (
        c_runner,
        numpy_runner,
        onnx_runner,
        saved_model_runner,
        tflite_runner,
    )
    _INSPECTORS: tuple[base.Inspector, ...] = (
        c_values,
        numpy_values,
        onnx_values,
        saved_model_values,
        tflite_values,
    )
    _OWNERS: tuple[base.Owner, ...] = (
        c_metadata,
        numpy_metadata,
    )
    _HOLDERS: tuple[base.HoldsFiles, ...] = (
        c_metadata,
        onnx_metadata,
    )
    _QUANTIZES: tuple[base.Quantizes, ...] = (onnx_quantized, tflite_quantized, c_quantized)
    _CODE: tuple[base.HoldsCode, ...] = (
        c_allowed,
        numpy_allowed,
    )

# Of ONNX: from the oldest that is tested to the newest that both onnx and ONNX Runtime know.
OPSETS = range(13, 27)
# Which runtimes want others, as their documentation has it: of Barracuda 1.0 to 3.0, of Sentis 1.6 and of the operators
# of onnx-tensorrt 7.2.
OLDER_OPSETS = (
    "ONNX Runtime, TensorRT from 7.2 and Unity's Sentis (7 to 15) load 13, and tract and OpenVINO what --portable "
    "writes; for Unity's Barracuda, which is documented with 9, and for older TensorRT nothing is written"
)
NEWER_OPSETS = "26 is the newest that ONNX Runtime 1.31 loads"
# A script hides modules of its own name from what it imports, and NumPy imports many of Python's.
_MODULES = frozenset(("numpy", *sys.stdlib_module_names))

_TARGETS = (
    Target(
        name="onnx",
        package="rnnexport.targets.onnx",
        suffix=".onnx",
        unrolled=False,
        writers=("tf2onnx", "onnx", "onnx-ir", "onnxscript"),
        input_name=str,
        opsets=OPSETS,
        providers=(*PROVIDERS, *RUNTIMES),
        weights_beside=".data",
        # ONNX Runtime's tanh is off by 6e-7 in a GRU, and so is its 1 - z: 2 to 5 times as much as in an LSTM, an RNN,
        # Tanh and Sigmoid (1.31.1, on a CPU; `python -m benchmarks.kernels`).
        kernel_errors={"GRU": 2.0},
    ),
    Target(
        name="tflite",
        package="rnnexport.targets.tflite",
        suffix=".tflite",
        unrolled=True,
        writers=("tensorflow",),
        input_name=argument_name,
        entries=True,
        limited=True,
        providers=("cpu", "no-xnnpack", "tflm"),
        runtimes=("ai_edge_litert.interpreter",),
        sums_in_order=True,
    ),
    Target(
        name="saved-model",
        package="rnnexport.targets.saved_model",
        suffix="_saved_model",
        unrolled=False,
        writers=("tensorflow",),
        input_name=argument_name,
        layout=("saved_model.pb", "variables", "assets", "assets.extra", "fingerprint.pb"),
        entries=True,
        runtimes=("tensorflow",),
    ),
    Target(
        name="numpy",
        package="rnnexport.targets.numpy",
        suffix=".py",
        unrolled=False,
        writers=("tf2onnx", "numpy"),
        input_name=argument_name,
        companions=(".npz",),
        reserved=_MODULES,
        is_code=True,
    ),
    Target(
        name="c",
        package="rnnexport.targets.c",
        suffix=".c",
        unrolled=False,
        writers=("tf2onnx", "onnx", "onnx-ir"),
        input_name=argument_name,
        companions=(".h", ".c.npz"),
        weights_beside=".bin",
        is_code=True,
        limited=True,
    ),
)

TARGET_NAMES = tuple(target.name for target in _TARGETS)
# What else people call them.
OTHER_NAMES = {
    "tf": "saved-model",
    "tensorflow": "saved-model",
    "savedmodel": "saved-model",
    "pb": "saved-model",
    "lite": "tflite",
    "litert": "tflite",
    "tf-lite": "tflite",
    "python": "numpy",
    "np": "numpy",
    "ort": "onnx",
    "onnxruntime": "onnx",
}
_MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")
_SUFFIX_OF = {ONNX: ".onnx", TFLITE: ".tflite"}
# Every execution provider that some target can run on.
ALL_PROVIDERS = tuple(dict.fromkeys(provider for target in _TARGETS for provider in target.providers))


def target(name: str) -> Target:
    """The target of that name.

    Raises:
        UsageError: there is none.
    """
    for candidate in _TARGETS:
        if candidate.name == name:
            return candidate
    todo = did_you_mean(closest(name, TARGET_NAMES, OTHER_NAMES), "change --to")
    raise UsageError(f"target {name!r}", f"one of {', '.join(TARGET_NAMES)}", todo)


def target_by_suffix(path: Path) -> Target | None:
    """The target whose artifacts have names that end as that of `path` does, whether or not it is there."""
    return next((one for one in _TARGETS if path.name.endswith(one.suffix)), None)


def target_of(path: Path) -> Target:
    """The target whose artifact `path` is.

    Raises:
        UsageError: there is nothing at `path`, nothing any target knows, or one file of an artifact without the others.
    """
    require_path(path, "an artifact")
    for candidate in _TARGETS:
        if candidate.recognises(path):
            return candidate
    for beside in companions_of(path):
        require_path(beside, f"the files of an artifact side by side, {path.name} and {beside.name}")
    raise _no_artifact(path)


def _no_artifact(path: Path) -> UsageError:
    """What is wrong with a path that no target knows: a model, the other file of an artifact, or something else."""
    expected = "model.onnx, model.tflite, a SavedModel folder, model.py beside model.npz, or model.c beside model.c.npz"
    try:
        kind = kind_of(path)
    except OSError as error:
        return UsageError(f"can't read {path}: {error.strerror}", expected, "check its rights")
    if path.suffix == ".npz" and path.with_suffix(".py").is_file():
        return UsageError(f"{path} is no artifact by itself", expected, f"give {path.with_suffix('.py')}")
    if (whole := artifact_of(path)) is not None:
        return UsageError(f"{path} holds the goldens of {whole.name} alone", expected, f"give {whole}")
    model = kind == KERAS or path.suffix in _MODEL_SUFFIXES
    todo = f"export it first: rnnexport onnx {path}" if model else "check the path"
    if kind in _SUFFIX_OF and path.suffix != _SUFFIX_OF[kind]:
        todo = f"give it a name that ends in {_SUFFIX_OF[kind]}"
    return UsageError(f"{path} is no artifact by its name, but {kind}", expected, todo)


def companions_of(path: Path) -> tuple[Path, ...]:
    """The files that lie beside `path`, were it an artifact."""
    return tuple(file for one in _TARGETS if path.suffix == one.suffix for file in one.files(path)[1:])


def may_lie_beside(path: Path) -> tuple[Path, ...]:
    """The same, and the file of its weights, which a large one has."""
    weights = (
        path.with_name(path.name + one.weights_beside)
        for one in _TARGETS
        if one.weights_beside and path.suffix == one.suffix
    )
    return (*companions_of(path), *weights)


def model_name(artifact: str | Path, target_name: str) -> str:
    """The name of the model that an artifact was named after."""
    return Path(artifact).name.removesuffix(target(target_name).suffix)
