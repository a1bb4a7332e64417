"""Versions of installed packages, without importing them."""

from __future__ import annotations

from importlib import metadata


def installed(*packages: str) -> dict[str, str]:
    """The installed version of each package, by its distribution name; one that is missing is left out."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
