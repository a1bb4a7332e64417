"""The user's own code: files and modules whose classes and functions a model file names."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

from rnnexport.errors import ConversionError, ForeignCode, RnnExportError, UsageError

# What a user's file imports from these is no custom object.
_LIBRARIES = {*sys.stdlib_module_names, "keras", "tf_keras", "tensorflow", "numpy"}

CustomObjects = Mapping[str, object]


@dataclass(frozen=True)
class Collected:
    """What the user's files and modules define.

    Attributes:
        objects: classes and functions by name.
        clashes: names that several of them define, with the sources; a model that needs one is refused.
    """

    objects: CustomObjects
    clashes: Mapping[str, tuple[str, ...]]


def collect(sources: Iterable[str]) -> Collected:
    """Import each source and gather the classes and functions that it defines, by name.

    Args:
        sources: paths of `.py` files, or dotted names of importable modules.

    Raises:
        UsageError: a file or module is not there.
        ConversionError: its code raises.
    """
    objects: dict[str, object] = {}
    origins: dict[str, list[str]] = {}
    for source in dict.fromkeys(sources):
        for name, value in _defined(_import(source)).items():
            if objects.setdefault(name, value) is value and name in origins:
                continue
            origins.setdefault(name, []).append(source)
    return Collected(objects, {name: tuple(found) for name, found in origins.items() if len(found) > 1})


def _import(source: str) -> ModuleType:
    if source.endswith(".py"):
        if not Path(source).is_file():
            raise UsageError(f"no file {source}", "a .py file or a module", "check --custom-objects")
        with ForeignCode(partial(_explained, source)):
            return _import_file(Path(source))
    if not all(part.isidentifier() for part in source.split(".")):
        raise UsageError(f"{source!r}", "a .py file or the dotted name of a module", "check --custom-objects")
    # As `python -m` does, and an installed script does not: modules of the working directory can be named.
    with _importable(Path.cwd()), ForeignCode(partial(_explained, source)):
        return importlib.import_module(source)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Modules of `folder` can be imported inside this block, and leave no bytecode beside the user's files."""
    before = sys.dont_write_bytecode
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
        sys.path.remove(str(folder))


def _explained(source: str, error: BaseException) -> RnnExportError:
    if (
        isinstance(error, ModuleNotFoundError)
        and not source.endswith(".py")
        and source.startswith(error.name or source)
    ):
        return UsageError(f"no module {source}", "a .py file or a module", "check --custom-objects")
    # The last frame of the user's own code, not of what it called or of the import system.
    frames = traceback.extract_tb(error.__traceback__)
    line = next((f for f in reversed(frames) if Path(f.filename).name == Path(source).name), frames[-1])
    where = f"{error.filename}:{error.lineno}" if isinstance(error, SyntaxError) else f"{line.filename}:{line.lineno}"
    return ConversionError(
        f"{type(error).__name__} at {where} while importing {source}: {error}",
        "code that imports without an error",
        "mend it; --debug shows the traceback",
    )


def _import_file(path: Path) -> ModuleType:
    """Import a file under its own name, its folder importable, once for each file."""
    resolved = path.resolve()
    name = f"rnnexport_custom_{resolved.stem}_{abs(hash(str(resolved))):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, resolved)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importable(resolved.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _defined(module: ModuleType) -> dict[str, object]:
    """Classes and functions of the module: its own, and what it imports from other code of the user's."""
    return {
        name: value
        for name, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__.partition(".")[0] not in _LIBRARIES
    }
