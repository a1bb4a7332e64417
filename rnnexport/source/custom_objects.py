"""The user's own code: files and modules whose classes and functions a model file names.

Which of the user's definitions a file means: by name or registered name, and never one of Keras' own by accident.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from rnnexport.core.errors import ConversionError, ForeignCode, RnnExportError, UsageError
from rnnexport.source.configs import serialised_objects, strings
from rnnexport.source.files import SourceFile
from rnnexport.source.packages import LIBRARIES, is_installed, packages_of, references, resolve

if TYPE_CHECKING:
    from rnnexport.source.api import KerasApi

CustomObjects = Mapping[str, object]


@dataclass(frozen=True)
class Collected:
    """What the user's files and modules define.

    Attributes:
        objects: classes and functions by name.
        sources: where each name comes from.
        meant: names that the user gave by name, and that are meant even where Keras has one of the same.
        clashes: names that several of them define, with the sources; a model that needs one is refused.
        packages: the packages that they are part of or import from, see `packages`; of what is given by name none.
    """

    objects: CustomObjects
    sources: Mapping[str, str]
    meant: frozenset[str]
    clashes: Mapping[str, tuple[str, ...]]
    packages: frozenset[str] = frozenset()


def collect(sources: Collection[str]) -> Collected:
    """Import each source and gather the classes and functions that it defines, by name.

    Args:
        sources: paths of `.py` files, or dotted names of importable modules; with `:Name` behind it that name alone.

    Raises:
        UsageError: a file or module is not there.
        ConversionError: its code raises.
    """
    objects: dict[str, object] = {}
    origins: dict[str, list[str]] = {}
    packages: frozenset[str] = frozenset()
    for source in dict.fromkeys(sources):
        given, beside = _given(source)
        packages |= beside
        for name, value in given.items():
            if name in origins and _same(objects[name], value):
                continue
            objects.setdefault(name, value)
            origins.setdefault(name, []).append(source)
    first = {name: found[0] for name, found in origins.items()}
    meant = frozenset(source.rpartition(":")[2] for source in sources if ":" in source)
    clashes = {name: tuple(found) for name, found in origins.items() if len(found) > 1}
    return Collected(objects, first, meant, clashes, packages)


def _given(source: str) -> tuple[dict[str, object], frozenset[str]]:
    """What one source defines, with the packages that it brings; or the one object that it names."""
    code, colon, name = source.rpartition(":")
    if not colon:
        module = import_code(source)
        return _defined(module), packages_of(module)
    defined = _defined(import_code(code))
    if name not in defined:
        there = ", ".join(defined) or "a class or function"
        raise UsageError(f"{source}, where {code} defines no {name}", there, "check the name")
    return {name: defined[name]}, frozenset()


def _same(one: object, other: object) -> bool:
    """Whether two objects are one definition: a file may be imported by itself and by another one's import."""
    return one is other or (_place(one) is not None and _place(one) == _place(other))


def _place(value: object) -> tuple[str, str] | None:
    file = getattr(sys.modules.get(getattr(value, "__module__", "")), "__file__", None)
    return None if file is None else (str(Path(file).resolve()), getattr(value, "__qualname__", ""))


def import_code(source: str, option: str = "--custom-objects") -> ModuleType:
    """Import a `.py` file or a module of that name.

    Args:
        source: the path of the file, or the dotted name of the module.
        option: that named it, for messages.

    Raises:
        UsageError: it is not there.
        ConversionError: its code raises.
    """
    if source.endswith(".py"):
        if not Path(source).is_file():
            raise UsageError(f"no file {source}", "a .py file or a module", f"check {option}")
        with ForeignCode(partial(_explained, source, option)):
            return _import_file(Path(source).resolve())
    if not all(part.isidentifier() for part in source.split(".")):
        raise UsageError(f"{source!r}", "a .py file or the dotted name of a module", f"check {option}")
    # As `python -m` does, and an installed script does not: modules of the working directory can be named.
    with _importable(Path.cwd()), ForeignCode(partial(_explained, source, option)):
        module = importlib.import_module(source)
    if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
        raise UsageError(
            f"{source}, which is a folder without code of its own", "a .py file or a module", f"check {option}"
        )
    return module


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


def _explained(source: str, option: str, error: BaseException) -> RnnExportError:
    if (
        isinstance(error, ModuleNotFoundError)
        and not source.endswith(".py")
        and source.startswith(error.name or source)
    ):
        return UsageError(f"no module {source}", "a .py file or a module", f"check {option}")
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
    """Import a file once, its folder importable: as part of its package, or under a name of its own.

    A file of no package may import relatively all the same: its folders become a package of a name of their own.
    """
    if (root := _package_root(path)) is not None:
        return _import_from_package(path, root.parent)
    levels = _relative_levels(path)
    if not levels:
        return _import_alone(path)
    folder = path.parents[levels - 1]
    package = _own_name(folder)
    if package not in sys.modules:
        sys.modules[package] = module = ModuleType(package)
        module.__path__ = [str(folder)]
    with _importable(path.parent):
        return importlib.import_module(".".join([package, *path.relative_to(folder).with_suffix("").parts]))


def _import_from_package(path: Path, parent: Path) -> ModuleType:
    parts = path.relative_to(parent).with_suffix("").parts
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    with _importable(parent):
        module = importlib.import_module(name)
    found = Path(module.__file__ or "").resolve()
    if found != path:
        raise UsageError(f"{path} as {name}, which is {found} already", "packages of different names", "rename one")
    return module


def _import_alone(path: Path) -> ModuleType:
    name = _own_name(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importable(path.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _own_name(path: Path) -> str:
    return f"rnnexport_custom_{path.stem}_{abs(hash(str(path))):x}"


def _package_root(path: Path) -> Path | None:
    """The topmost of the folders from that of `path` upwards that are packages."""
    root = None
    for folder in path.parents:
        if not (folder / "__init__.py").is_file():
            return root
        root = folder
    return root


def _relative_levels(path: Path) -> int:
    """How many folders up the file's own relative imports reach; 0 where it has none."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return 0  # importing it will say so
    return max((node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)), default=0)


def _defined(module: ModuleType) -> dict[str, object]:
    """Classes and functions of the module: its own, and what it imports from other code of the user's."""
    own = module.__name__.partition(".")[0]
    found = {}
    for name, value in vars(module).items():
        top = str(getattr(value, "__module__", "")).partition(".")[0]
        usable = (inspect.isclass(value) or inspect.isfunction(value)) and top not in LIBRARIES
        if usable and (top == own or not is_installed(value)):
            found[name] = value
    return found


def objects_for(file: SourceFile, custom_objects: Sequence[str] | Mapping[str, object], api: KerasApi) -> CustomObjects:
    """The objects to load `file` with, by the names that it uses.

    Args:
        file: the file.
        custom_objects: the user's files and modules, or a dict, which is taken as it is.
        api: the Keras that will load it.

    Raises:
        UsageError: a name that the file uses has several definitions, Keras' own among them, or another package.
    """
    if isinstance(custom_objects, Mapping):
        return dict(custom_objects)
    collected = collect(custom_objects)
    texts = set(strings(file.config))
    needed = {text.rpartition(">")[2] for text in texts}
    for name in sorted(needed & set(collected.clashes)):
        raise UsageError(
            f"{name} defined by {' and by '.join(collected.clashes[name])}", "one definition", "drop a --custom-objects"
        )
    kept = _without_builtins(file, collected, needed, api)
    return {**_of_packages(file, collected, kept, api), **_registered(texts, kept, collected, api), **kept}


def _of_packages(file: SourceFile, collected: Collected, kept: CustomObjects, api: KerasApi) -> CustomObjects:
    """What the file names besides, where the packages that the user gave have it."""
    wanted = [
        one
        for one in references(file.config)
        if one.name not in kept and (one.name not in api.builtins or one.module or ">" in one.text)
    ]
    found = resolve(wanted, collected.packages, api.registered)
    # Older files know what is registered by its own name as well.
    short = {text.rpartition(">")[2]: value for text, value in found.items()}
    return {**{name: value for name, value in short.items() if name not in api.builtins}, **found}


def _without_builtins(file: SourceFile, collected: Collected, needed: set[str], api: KerasApi) -> CustomObjects:
    """The user's objects but for those whose name means Keras' own in this file."""
    modules = _modules(file)
    kept = dict(collected.objects)
    for name in sorted(needed & set(kept) & api.builtins - collected.meant):
        if modules.get(name, "keras").partition(".")[0] not in ("keras", "tf_keras"):
            continue  # the file says whose it is
        if file.container == ".h5":
            raise UsageError(
                f"{name} in {file.path.name} is defined by {collected.sources[name]} and by {api.name} itself",
                "one definition",
                f"give {collected.sources[name]}:{name} if that is meant, else rename it there",
            )
        del kept[name]
    return kept


def _modules(file: SourceFile) -> dict[str, str]:
    """The module of each class and function that the file names with one; files of an older form name none."""
    found = {}
    for _, node in serialised_objects(file.config):
        if isinstance(module := node.get("module"), str):
            name = node["config"] if node["class_name"] == "function" else node["class_name"]
            found[str(name).rpartition(">")[2]] = module
    return found


def _registered(texts: set[str], kept: CustomObjects, collected: Collected, api: KerasApi) -> CustomObjects:
    """`package>Name` for each that the file uses: an older file knows an object by that alone."""
    aliases: dict[str, object] = {}
    taken: dict[str, str] = {}
    for text in sorted(text for text in texts if ">" in text):
        name = text.rpartition(">")[2]
        if name not in kept:
            continue
        registered = api.registered_name(kept[name])
        other = registered if ">" in registered and registered != text else taken.get(name)
        if other is not None:
            raise UsageError(
                f"{text} in the file, and {other} in {collected.sources[name]}", "one of them", "give the code of both"
            )
        aliases[text], taken[name] = kept[name], text
    return aliases
