"""What is refused before TensorFlow is imported, which takes seconds: paths, options, what a file says of itself."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnexport.api.jobs import ExportJob, check_destination_of
from rnnexport.core.errors import UsageError, closest, did_you_mean, require_file, require_path
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.quantization import QuantizeRequest
from rnnexport.core.signature import TIME, dynamic_length
from rnnexport.core.user_data import UserData
from rnnexport.quantization.loss import metric_of
from rnnexport.targets.base import Target
from rnnexport.user_data.places import places

if TYPE_CHECKING:
    from rnnexport.source.files import SourceFile

_CODE = "a .py file or a module"


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
    from rnnexport.source.whereabouts import check_code_given

    file = identify(Path(model), loading)
    if not isinstance(loading.custom_objects, dict):
        for source in loading.custom_objects:
            check_code(str(source), "--custom-objects")
    if isinstance(loading.builder, str):
        check_code(loading.builder, "--builder")
    check_code_given(file, loading)
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
