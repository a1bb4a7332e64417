"""Versions of installed packages, without importing them, and where this one was installed from."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

_ROOT = Path(__file__).parents[2]
_REQUIREMENT = re.compile(r"'rnnexport\[(\w+)\]'")


def installed(*packages: str) -> dict[str, str]:
    """The installed version of each package, by its distribution name; one that is missing is left out."""
    from importlib import metadata

    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def as_installed(line: str) -> str:
    """A line with `'rnnexport[EXTRA]'` in it, as pip understands it here: a clone or a wheel is on no index."""
    return _REQUIREMENT.sub(lambda found: requirement(found[1]), line)


def requirement(extra: str) -> str:
    """What pip takes to install this package with that extra: its name, or the clone or wheel it was installed from."""
    place = _origin()
    if place is None or not place.exists():
        return f"'rnnexport[{extra}]'"
    return f"{'-e ' if place.is_dir() else ''}'{place}[{extra}]'"


@cache
def _origin() -> Path | None:
    """The folder or file that pip installed this package from; the clone that it runs in; None if it is an index."""
    from importlib import metadata

    if (_ROOT / "pyproject.toml").is_file():
        return _ROOT
    try:
        told = metadata.distribution("rnnexport").read_text("direct_url.json")
        url = urlsplit(str(json.loads(told)["url"])) if told else None
    except (metadata.PackageNotFoundError, ValueError, KeyError, TypeError):
        return None
    return Path(unquote(url.path)) if url is not None and url.scheme == "file" else None
