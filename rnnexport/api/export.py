"""The whole job: load, describe, trace, export, verify. The Python API of exporting, and what its commands call.

What is refused before TensorFlow is imported, which takes seconds: paths, options, what a file says of itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from rnnexport.api.jobs import Exported, ExportJob, Options, check_destination_of
from rnnexport.api.keywords import (
    ExportKeywords,
    TargetName,
    extent_of,
    loading_of,
    options_of,
    require_known,
    steps_of,
)
from rnnexport.api.notebook import shown
from rnnexport.artifact.atomic_write import made_folder
from rnnexport.core.errors import (
    ProviderError,
    UsageError,
    closest,
    did_you_mean,
    in_python_words,
    require_file,
    require_path,
)
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.progress import Progress, quiet
from rnnexport.core.quantization import QuantizeRequest
from rnnexport.core.run_record import Watch
from rnnexport.core.signature import TIME, dynamic_length
from rnnexport.core.user_data import UserData
from rnnexport.isolation.limits import Allowance, Limits
from rnnexport.quantization.loss import metric_of
from rnnexport.targets.base import Target
from rnnexport.targets.registry import NEWER_OPSETS, OLDER_OPSETS, TARGET_NAMES, target, target_by_suffix
from rnnexport.user_data.places import places

if TYPE_CHECKING:
    from rnnexport.source.files import SourceFile
    from rnnexport.source.model import SourceModel

_LOADING = LoadOptions()
_CODE = "a .py file or a module"


@in_python_words()
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
    return _loaded(model, loading, check_model(model, loading))


def _loaded(model: Any, loading: LoadOptions, file: SourceFile | None) -> SourceModel:
    """See `load`; `file` is what `check_model` found."""
    if find_spec("tensorflow") is None:
        raise ProviderError("tensorflow is not installed", "it, to load a model", "pip install 'rnnexport[convert]'")
    if file is not None and file.container == "saved-model" and not loading.allow_unsafe:
        Allowance.lower(Limits().memory_for(file.path))  # a program may make arrays of any size
    with quiet():
        from rnnexport.source.load import load_source
        from rnnexport.source.model import SourceModel

        return model if isinstance(model, SourceModel) else load_source(model, loading, file)


@in_python_words()
def export(
    model: Any,
    to: TargetName | str | Path | None = None,
    output: str | Path | None = None,
    **keywords: Unpack[ExportKeywords],
) -> Exported:
    """Convert a model to one target, verify the artifact, and only then put it in place.

        rnnexport.export(model, "model.onnx", custom_objects={"MyCell": MyCell})
        rnnexport.export("model.keras", to="tflite", timesteps=50)

    Args:
        model: see `load`.
        to: `onnx`, `tflite`, `saved-model`, `numpy` or `c`; or the path of the artifact, whose suffix says which.
        output: where the artifact goes, if `to` does not say it; by default into the working directory, named after the
            model. For NumPy a `.py` file, its `.npz` going beside it, or a folder for both, made where it is missing.
        keywords: see `ExportKeywords`.

    Raises:
        UsageError, ConversionError, MismatchError, ProviderError: see the classes; nothing was written.
        TypeError: a keyword that there is not.
    """
    watch = Watch()
    require_known("export", keywords, ExportKeywords, "to", "output")
    kind, place = _wanted(to, None if output is None else Path(output))
    extent, loading = extent_of(keywords), loading_of(keywords)
    options = options_of(keywords)
    _check_opset([kind], options.form.opset)
    folder = place if place is not None and _is_folder_of(kind, place) else None
    file = None if folder is not None else place
    if file is not None:
        kind.check_destination(file)
    check_data(options.data)
    check_quantization(options.quantize, [kind])
    found = check_model(model, loading)
    if found is not None:
        at = file or _inside(folder) / f"{name_of(found)}{kind.suffix}"
        if folder is None or folder.is_dir():
            check_jobs(found, [ExportJob(kind, at, extent, options.form.tflite)])
    made = nullcontext() if folder is None else made_folder(folder)
    with shown(keywords.get("progress"), steps_of(keywords, 1)) as progress, made:
        progress("loading")
        source = _loaded(model, loading, found)
        at = file or _inside(folder) / f"{source.name}{kind.suffix}"
        return _run(watch, source, [ExportJob(kind, at, extent, options.form.tflite)], options, progress)[0]


@in_python_words()
def export_all(
    model: Any,
    to: Iterable[TargetName | str],
    folder: str | Path,
    *,
    tflite_timesteps: int | None = None,
    **keywords: Unpack[ExportKeywords],
) -> tuple[Exported, ...]:
    """Convert a model to several targets, with one load, and one trace for all targets that can share it.

    The artifacts are named after the model, and put in place when all are verified: if one fails, nothing is written.

    Args:
        model: see `load`.
        to: the targets, see `export`.
        folder: where the artifacts go; it is made where it is missing.
        tflite_timesteps: the length TFLite is fixed to, where `timesteps` leaves it dynamic for the others.
        keywords: see `ExportKeywords`.

    Raises:
        UsageError, ConversionError, MismatchError, ProviderError: see the classes; nothing was written.
        TypeError: a keyword that there is not.
    """
    watch = Watch()
    require_known("export_all", keywords, ExportKeywords, "to", "folder", "tflite_timesteps")
    kinds = [target(name) for name in dict.fromkeys(to)]
    if not kinds:
        raise UsageError("no target", "at least one", "give --to")
    options, loading = options_of(keywords), loading_of(keywords)
    _check_opset(kinds, options.form.opset)
    general = extent_of(keywords)
    boundary = general.boundary if tflite_timesteps is None else replace(general.boundary, timesteps=tflite_timesteps)
    fixed = replace(general, boundary=boundary)

    def jobs(name: str) -> list[ExportJob]:
        made = [ExportJob(kind, Path(folder) / f"{name}{kind.suffix}", general, options.form.tflite) for kind in kinds]
        return [replace(job, extent=fixed) if job.kind.unrolled else job for job in made]

    check_data(options.data)
    check_quantization(options.quantize, kinds)
    found = check_model(model, loading)
    told = shown(keywords.get("progress"), steps_of(keywords, len(kinds)))
    with made_folder(Path(folder)), told as progress:
        if found is not None:
            check_jobs(found, jobs(name_of(found)))
        progress("loading")
        source = _loaded(model, loading, found)
        return _run(watch, source, jobs(source.name), options, progress)


def _run(
    watch: Watch, source: SourceModel, jobs: Sequence[ExportJob], options: Options, progress: Progress
) -> tuple[Exported, ...]:
    from rnnexport.api.export_job import run_jobs

    with quiet():
        done = run_jobs(source, jobs, options, progress)
    return tuple(replace(one, seconds=watch.seconds) for one in done)


def _wanted(to: TargetName | str | Path | None, output: Path | None) -> tuple[Target, Path | None]:
    """The target and the place of the artifact, from whichever of the two says them."""
    if isinstance(to, str) and to in TARGET_NAMES:
        return target(to), output
    if to is None and output is None:
        return target("onnx"), None
    if output is None:
        output = Path(str(to))
    elif to is not None:
        return target(str(to)), output  # which refuses it
    by_suffix = target_by_suffix(output)
    if by_suffix is None:
        if output.suffix == "" and to is not None:
            return target(str(to)), output
        raise UsageError(
            f"{output}, whose name says no target", f"one of {', '.join(TARGET_NAMES)}", "say to= which, or change it"
        )
    return by_suffix, output


def _inside(folder: Path | None) -> Path:
    return folder or Path()


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


def check_model(model: Any, loading: LoadOptions) -> SourceFile | None:
    """Look at a model file and at the code that it needs; None for a live model, and for one that is loaded.

    Raises:
        UsageError: there is no such file or module, or options contradict each other.
        ConversionError: it is no Keras model, is damaged, holds what is refused, or needs code that was not given.
        ProviderError: h5py is not installed.
    """
    if not isinstance(model, str | Path):
        return None
    require_path(Path(model), "a saved Keras model")
    from rnnexport.source.files import identify
    from rnnexport.source.whereabouts import check_code_supplied

    file = identify(Path(model), loading)
    if not isinstance(loading.custom_objects, dict):
        for source in loading.custom_objects:
            check_code(str(source), "--custom-objects")
    if isinstance(loading.builder, str):
        check_code(loading.builder, "--builder")
    check_code_supplied(file, loading)
    return file


def check_code(source: str, option: str) -> None:
    """Refuse a file or module, with or without `:NAME` behind it, that is not there. None of its code runs.

    Raises:
        UsageError: names it, and the option that it was given with.
    """
    code = source.rpartition(":")[0] or source
    if code.endswith(".py"):
        require_file(Path(code), f"{_CODE}, for {option}")
        return
    top = code.partition(".")[0]
    folders = [str(Path.cwd()), *sys.path]
    if top.isidentifier() and top not in sys.modules and not _finds(top, folders):
        beside = closest(f"{top}.py", (path.name for path in Path.cwd().glob("*.py")))
        raise UsageError(f"no module {code}", _CODE, did_you_mean(beside, f"check {option}"))


def _finds(module: str, folders: Sequence[str]) -> bool:
    """Whether a module of that name can be imported, its code not being run."""
    if PathFinder.find_spec(module, folders) is not None:
        return True
    finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)  # of packages installed for editing, too
    return any(find is not None and find(module, None) is not None for find in finders)


def check_data(data: UserData | None) -> None:
    """Refuse a place of data at which there are none. Raises as `places`."""
    if data is not None:
        places(data)


def check_quantization(request: QuantizeRequest | None, kinds: Iterable[Target]) -> None:
    """Refuse a form that a format has not, a metric that there is not, and data that are not there. UsageError."""
    if request is not None:
        for kind in kinds:
            request.forms(kind.name)
        metric_of(request.metric)
        check_data(request.sequences)


def check_jobs(file: SourceFile | None, jobs: Iterable[ExportJob]) -> None:
    """Refuse an artifact that can't go where it is to go, or whose length is open in a format that needs a fixed one.

    Raises:
        UsageError: names the place, or the option that is missing.
    """
    for job in jobs:
        check_destination_of(job, None if file is None else file.path)
        called = job.extent.with_fixed_sizes().called if job.unrolls else None
        if file is None or called is None or isinstance(called.timesteps, int):
            continue
        if any(shape[1:2] == [None] for shape in _input_shapes(file)):
            raise dynamic_length(name_of(file), [TIME])


def name_of(file: SourceFile) -> str:
    """The name that artifacts of a model file have by default."""
    name = file.path.name
    if file.container == "saved-model":
        return name
    return name.removesuffix(".weights.h5") if name.endswith(".weights.h5") else file.path.stem


def _input_shapes(file: SourceFile) -> Iterator[list[int | None]]:
    """The shapes that the configuration declares for the model's inputs, the batch in front; none where it does not."""
    inner = file.config.get("config")
    if not isinstance(inner, dict):
        return
    wanted = set(_strings(inner.get("input_layers"))) if "input_layers" in inner else None
    layers = inner.get("layers")
    for layer in layers if isinstance(layers, list) else ():
        known = layer.get("config") if isinstance(layer, dict) and layer.get("class_name") == "InputLayer" else None
        if isinstance(known, dict) and (wanted is None or known.get("name") in wanted):
            shape = known.get("batch_shape", known.get("batch_input_shape"))
            if isinstance(shape, list):
                yield shape


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, list | dict):
        for child in node.values() if isinstance(node, dict) else node:
            yield from _strings(child)
