"""Parts of other packages that have no public name: where one is gone, the version of the package is at fault."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, requires, version
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
