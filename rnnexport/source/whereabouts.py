"""Where the code may be that a model file needs and that was not given: found without importing any of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from rnnexport.core.load_options import LoadOptions
from rnnexport.source.configs import Config, choose_api, without_key
from rnnexport.source.files import SourceFile
from rnnexport.source.packages import LIBRARIES, ObjectName, references, top_of
from rnnexport.source.safety import check_names

_MOST_FILES = 2000
_REGISTERS = re.compile(r"register_keras_serializable|get_custom_objects")


@dataclass(frozen=True)
class Definition:
    """An installed module that defines a class or function.

    Attributes:
        module: its dotted name.
        given_as: the module to import for it: its package, where that imports it.
        registers: whether it registers what it defines.
    """

    module: str
    given_as: str
    registers: bool


def check_code_supplied(file: SourceFile, loading: LoadOptions) -> None:
    """Refuse a file that names classes or functions of the user's where no code was given at all.

    Loading the file refuses it, too, and knows what the user's code defines; this needs no TensorFlow. What a process
    that has imported Keras registered there counts as given.

    Raises:
        ConversionError: names the first of them, and where it was found.
    """
    if loading.custom_objects or loading.builder or loading.allow_unsafe or not file.config:
        return
    if "keras" in sys.modules or "tf_keras" in sys.modules:
        return
    keras, _ = choose_api(file.origin, loading.keras_api, file.path.name)
    check_names(loaded_config(file), {}, file.path.name, partial(advice, file, loading, keras))


def loaded_config(file: SourceFile) -> Config:
    """The configuration without what Keras would compile, which is not loaded, and so needs no code."""
    config = file.config if file.architecture is None else without_key(file.config, "compile_config")
    return {key: value for key, value in config.items() if key != "compile_config"}


def advice(file: SourceFile, loading: LoadOptions, keras: str, wanted: ObjectName) -> str:
    """What to do for a class or function that is not known.

    Args:
        file: the model file.
        loading: the code that the user gave.
        keras: the Keras that will load the file.
        wanted: the class or function.
    """
    known = {one.text: one for one in references(file.config)}
    wanted = known.get(wanted.text, wanted)
    given = [] if isinstance(loading.custom_objects, Mapping) else loading.custom_objects
    packages = {top_of(one) for one in given if not one.endswith(".py")}
    packages |= {top_of(one.module) for one in known.values()} - LIBRARIES - {"", "builtins", "__main__"}
    for place in _places(wanted, packages, keras):
        what = "registered" if place.registers else "defined"
        return f"{wanted.name} is {what} by {place.given_as}: give --custom-objects {place.given_as}"
    for script in _scripts(wanted, file.path.parent):
        return f"{script.name} defines {wanted.name}: give --custom-objects {script}"
    top = top_of(wanted.module)
    if top not in ("", "builtins", "__main__") and _folder(top) is None:
        return f"give the file that defines {wanted.name} with --custom-objects FILE.py; no module {top} is here"
    return f"give the file or module that defines {wanted.name} with --custom-objects FILE.py"


def _scripts(wanted: ObjectName, folder: Path) -> list[Path]:
    """The files here and beside the model that define it, the one that the model names first."""
    pattern = _definition(wanted.name)
    here = [Path(path.name) for path in sorted(Path.cwd().glob("*.py"))]
    beside = [] if folder.resolve() == Path.cwd() else sorted(folder.glob("*.py"))
    found = [path for path in (*here, *beside)[:_MOST_FILES] if pattern.search(path.read_text(errors="replace"))]
    return sorted(found, key=lambda path: path.stem != wanted.module)


def _places(wanted: ObjectName, packages: Collection[str], keras: str) -> list[Definition]:
    """Where it is defined, the likeliest first."""
    package = wanted.text.rpartition(">")[0].replace("-", "_")
    candidates = dict.fromkeys((top_of(wanted.module), package, *sorted(packages)))
    tops = [top for top in candidates if top.isidentifier() and top not in LIBRARIES]
    found = [place for top in tops for place in _defining(top, wanted.name)]
    return sorted(found, key=lambda place: (place.module != wanted.module, not place.registers, _other(place, keras)))


def _other(place: Definition, keras: str) -> bool:
    """Whether a module looks like one for another framework: `ncps.torch.ltc`, `ncps.tf.ltc` for Keras 3."""
    others = {"torch", "paddle", "jax", "tf" if keras == "keras" else "keras"}
    return bool(others & set(place.module.split(".")))


def _defining(top: str, name: str) -> Iterator[Definition]:
    folder = _folder(top)
    if folder is None:
        return
    pattern = _definition(name)
    for file in sorted(folder.rglob("*.py"))[:_MOST_FILES]:
        text = file.read_text(errors="replace")
        if pattern.search(text):
            parts = [top, *file.relative_to(folder).with_suffix("").parts]
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield Definition(module, _given_as(module, file), bool(_REGISTERS.search(text)))


def _definition(name: str) -> re.Pattern[str]:
    return re.compile(rf"^(?:class|def)\s+{re.escape(name)}\b", re.MULTILINE)


def _given_as(module: str, file: Path) -> str:
    """The package of a module where it imports that module; else the module."""
    package, _, last = module.rpartition(".")
    init = file.parent / "__init__.py"
    if package and file.name != "__init__.py" and init.is_file():
        imports = re.compile(rf"^\s*(?:from|import)\b.*\b{re.escape(last)}\b", re.MULTILINE)
        if imports.search(init.read_text(errors="replace")):
            return package
    return module


def _folder(top: str) -> Path | None:
    """The folder of an installed package; None where there is none. Nothing is imported."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    places = [] if spec is None else list(spec.submodule_search_locations or ())
    return Path(places[0]) if places else None
