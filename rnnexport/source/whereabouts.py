"""Where the code may be that a model file needs and that was not given: found without importing any of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rnnexport.source.packages import LIBRARIES, ObjectName, top_of

_MOST_FILES = 2000
_REGISTERS = re.compile(r"register_keras_serializable|get_custom_objects")


@dataclass(frozen=True)
class Place:
    """An installed module that defines a class or function.

    Attributes:
        module: its dotted name.
        given_as: the module to import for it: its package, where that imports it.
        registers: whether it registers what it defines.
    """

    module: str
    given_as: str
    registers: bool


def advice(wanted: ObjectName, packages: Collection[str], keras: str) -> str:
    """What to do for a class or function that is not known.

    Args:
        wanted: as the file names it.
        packages: the top names of packages that the user gave, or that the file names.
        keras: the Keras that will load the file.
    """
    for place in _places(wanted, packages, keras):
        what = "registered" if place.registers else "defined"
        return f"{wanted.name} is {what} by {place.given_as}: give --custom-objects {place.given_as}"
    top = top_of(wanted.module)
    if top not in ("", "__main__") and _folder(top) is None:
        return f"give the file that defines {wanted.name} with --custom-objects FILE.py; no module {top} is here"
    return f"give the file or module that defines {wanted.name} with --custom-objects FILE.py"


def _places(wanted: ObjectName, packages: Collection[str], keras: str) -> list[Place]:
    """Where it is defined, the likeliest first."""
    package = wanted.text.rpartition(">")[0].replace("-", "_")
    candidates = dict.fromkeys((top_of(wanted.module), package, *sorted(packages)))
    tops = [top for top in candidates if top.isidentifier() and top not in LIBRARIES]
    found = [place for top in tops for place in _defining(top, wanted.name)]
    return sorted(found, key=lambda place: (place.module != wanted.module, not place.registers, _other(place, keras)))


def _other(place: Place, keras: str) -> bool:
    """Whether a module looks like one for another framework: `ncps.torch.ltc`, `ncps.tf.ltc` for Keras 3."""
    others = {"torch", "paddle", "jax", "tf" if keras == "keras" else "keras"}
    return bool(others & set(place.module.split(".")))


def _defining(top: str, name: str) -> Iterator[Place]:
    folder = _folder(top)
    if folder is None:
        return
    pattern = re.compile(rf"^(?:class|def)\s+{re.escape(name)}\b", re.MULTILINE)
    for file in sorted(folder.rglob("*.py"))[:_MOST_FILES]:
        text = file.read_text(errors="replace")
        if pattern.search(text):
            parts = [top, *file.relative_to(folder).with_suffix("").parts]
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            yield Place(module, _given_as(module, file), bool(_REGISTERS.search(text)))


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
