"""The whole job: load, describe, trace, export, verify. The Python API of exporting, and what its commands call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rnnexport.api.export_job import Exported, ExportJob, Options, file_name, run_jobs
from rnnexport.artifact.atomic_write import made_folder
from rnnexport.core.errors import ProviderError, UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.lowering import LoweringRequest
from rnnexport.core.progress import Progress, silent
from rnnexport.core.signature import Boundary, Extent, Length, Range
from rnnexport.targets.base import DEFAULT_OPSET, ExportOptions, Target
from rnnexport.targets.registry import NEWER_OPSETS, OLDER_OPSETS, target
from rnnexport.verification.tolerance import Override

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel

_LOADING = LoadOptions()
_LOWERING = LoweringRequest()
_OVERRIDE = Override()
_ANY: Mapping[str, tuple[float, float]] = MappingProxyType({})


def load(model: Any, loading: LoadOptions = _LOADING) -> SourceModel:
    """Load a model file, or wrap a live Keras model, for `export` and `verify`. Loads TensorFlow.

    Args:
        model: the path of a model file, weights, an architecture or a SavedModel, a live model of Keras 3 or tf_keras,
            or what `load` returned.
        loading: what the user says about it, the model's own code before all.

    Raises:
        UsageError: there is no such file, or no such module.
        ConversionError: the file is no Keras model, is damaged, names a class that is not known, or does not tell what
            its numbers mean.
    """
    _require_tensorflow()
    from rnnexport.source.load import load_source
    from rnnexport.source.model import SourceModel

    return model if isinstance(model, SourceModel) else load_source(model, loading)


def export(
    model: Any,
    to: str = "onnx",
    output: str | Path | None = None,
    *,
    loading: LoadOptions = _LOADING,
    opset: int = DEFAULT_OPSET,
    lowering: LoweringRequest = _LOWERING,
    batch: Length = None,
    timesteps: Length = None,
    stream: Length = None,
    cast: str | None = None,
    data: str | Path | None = None,
    ranges: Mapping[str, tuple[float, float]] = _ANY,
    verify: bool = True,
    tolerance: Override = _OVERRIDE,
    progress: Progress = silent,
) -> Exported:
    """Convert a model to one target, verify the artifact, and only then put it in place.

    Args:
        model: see `load`.
        to: `onnx`, `tflite`, `saved-model` or `numpy`.
        output: where the artifact goes; by default into the working directory, named after the model. For NumPy a
            `.py` file, its `.npz` going beside it, or a folder for both, made where it is missing.
        loading: see `load`.
        opset: of the ONNX file.
        lowering: the form that each recurrence of an ONNX file is to have, and what it is to be fast on.
        batch: the batch size to fix, `dynamic`, or None for what the model says.
        timesteps: the same for the length. TFLite needs a fixed one.
        stream: the steps of a chunk, or `dynamic` for any (one in TFLite), to export the model as a stream: called with
            a chunk and the states, it gives the steps of the chunk and the states to go on from. None for whole
            sequences.
        cast: `float32` for an artifact that takes, gives and computes float32, whatever float its source computes in.
        data: inputs of the user's own to verify on besides, an `.npz` or a folder of them, see
            `verification.user_data`; some of them are kept in the artifact.
        ranges: the least and the largest value that an input will have, by its name. Others are not verified on, now
            and later: it is recorded.
        verify: False to put the artifact in place unverified.
        tolerance: of the verification, where it is not to be the default one, widened where the source itself is less
            certain.
        progress: is told what goes on, in a few words a step.

    Raises:
        UsageError, ConversionError, MismatchError, ProviderError: see the classes; nothing was written.
    """
    extent = Extent(Boundary(batch, timesteps, _ranges(ranges)), stream, cast or "")
    kind, options = target(to), Options(ExportOptions(opset, lowering), tolerance, verify, _path(data))
    _check_opset([kind], opset)
    place = None if output is None else Path(output)
    folder = place if place is not None and _is_folder_of(kind, place) else None
    file = None if folder is not None else place
    if file is not None:
        kind.check_destination(file)
    progress("loading")
    source = load(model, loading)
    at = file or (folder or Path()) / file_name(kind, source)
    with nullcontext() if folder is None else made_folder(folder):
        return run_jobs(source, [ExportJob(kind, at, extent)], options, progress)[0]


def export_all(
    model: Any,
    to: Iterable[str],
    folder: str | Path,
    *,
    loading: LoadOptions = _LOADING,
    opset: int = DEFAULT_OPSET,
    lowering: LoweringRequest = _LOWERING,
    batch: Length = None,
    timesteps: Length = None,
    stream: Length = None,
    cast: str | None = None,
    tflite_timesteps: int | None = None,
    data: str | Path | None = None,
    ranges: Mapping[str, tuple[float, float]] = _ANY,
    verify: bool = True,
    tolerance: Override = _OVERRIDE,
    progress: Progress = silent,
) -> tuple[Exported, ...]:
    """Convert a model to several targets, with one load, and one trace for all targets that can share it.

    The artifacts are named after the model, and put in place when all are verified: if one fails, nothing is
    written. Arguments and errors are those of `export`, and:

    Args:
        folder: where the artifacts go; it is made where it is missing.
        tflite_timesteps: the length TFLite is fixed to, where `timesteps` leaves it dynamic for the others.
    """
    kinds = [target(name) for name in dict.fromkeys(to)]
    options = Options(ExportOptions(opset, lowering), tolerance, verify, _path(data))
    if not kinds:
        raise UsageError("no target", "at least one", "give --to")
    _check_opset(kinds, opset)
    general = Extent(Boundary(batch, timesteps, _ranges(ranges)), stream, cast or "")
    boundary = general.boundary if tflite_timesteps is None else replace(general.boundary, timesteps=tflite_timesteps)
    fixed = replace(general, boundary=boundary)
    progress("loading")
    source = load(model, loading)
    jobs = [
        ExportJob(kind, Path(folder) / file_name(kind, source), fixed if kind.unrolled else general) for kind in kinds
    ]
    with made_folder(Path(folder)):
        return run_jobs(source, jobs, options, progress)


def _ranges(given: Mapping[str, tuple[float, float]]) -> tuple[Range, ...]:
    return tuple(Range(name, *bounds) for name, bounds in given.items())


def _path(data: str | Path | None) -> Path | None:
    return None if data is None else Path(data)


def _is_folder_of(kind: Target, output: Path) -> bool:
    """Whether an output path is that of a folder for the files of an artifact that has several."""
    own = (kind.suffix, *kind.companions)
    return bool(kind.companions) and (output.is_dir() or (output.suffix not in own and not output.exists()))


def _check_opset(kinds: Sequence[Target], opset: int) -> None:
    for kind in kinds:
        if kind.opsets is not None and opset not in kind.opsets:
            allowed = f"{kind.opsets.start} to {kind.opsets.stop - 1}"
            why = OLDER_OPSETS if opset < kind.opsets.start else NEWER_OPSETS
            raise UsageError(f"--opset {opset} for {kind.name}", allowed, f"choose one of these: {why}")


def _require_tensorflow() -> None:
    if find_spec("tensorflow") is None:
        raise ProviderError("tensorflow is not installed", "it, to load a model", "pip install 'rnnexport[convert]'")
