"""Parts of other packages that have no public name: where one is gone, the version of the package is at fault.

Also a module of a package without the package around it, whose import would bring much that is not needed. It is loaded
under its own name, so that a later import of the package finds it and uses the same classes.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from rnnexport.core.errors import ConversionError


def part_of(owner: Any, name: str) -> Any:
    """A part of another package.

    Args:
        owner: the module or class that has it.
        name: of the part.

    Raises:
        ConversionError: it is not there: this version of the package is not supported.
    """
    try:
        return getattr(owner, name)
    except AttributeError:
        raise unsupported(owner, name) from None


def unsupported(owner: Any, name: str) -> ConversionError:
    """What to say where a part of another package is gone."""
    place = getattr(owner, "__module__", None) or owner.__name__  # that of a class, or a module itself
    package = place.partition(".")[0]
    return ConversionError(
        f"this version of {package} is not supported: {_version(package)} has no {place}.{name}",
        f"{package} {_supported(package) or 'of the versions that rnnexport asks for'}",
        "install that one, as pip install 'rnnexport[convert]' does",
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "the one here"


def _supported(package: str) -> str:
    """The versions that this package asks for, such as `>=1.17,<1.18`; empty where that is not known."""
    try:
        asked = requires("rnnexport") or []
    except PackageNotFoundError:
        return ""
    found = [one.partition(";")[0].strip() for one in asked if one.startswith(package)]
    bounds = [one.removeprefix(package) for one in found if not one.removeprefix(package)[:1].isalnum()]
    return ",".join(sorted(bounds[0].split(","), reverse=True)) if bounds else ""


def inner_layers(layer: Any, *, recursive: bool = True) -> list[Any]:
    """The layers that a layer holds, itself apart; with `recursive`, those in them too. Seen with 3.15 and 2.21."""
    return list(layer._flatten_layers(include_self=False, recursive=recursive))


def module_alone(name: str) -> ModuleType | None:
    """The module of that name, `package.sub.module`; None where it is not there, or not a file of that place."""
    if name in sys.modules:
        return sys.modules[name]
    package, *folders, _ = name.split(".")
    found = find_spec(package)
    places = [str(Path(place, *folders)) for place in (found and found.submodule_search_locations) or ()]
    spec = PathFinder.find_spec(name, places)
    if spec is None or spec.loader is None:
        return None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
