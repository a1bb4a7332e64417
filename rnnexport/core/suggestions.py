"""What was probably meant where something is misspelled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path

_CLOSE = 0.6
_MOST = 10_000  # names of a folder that are looked at


def closest(word: str, known: Iterable[str], meant: Mapping[str, str] | None = None) -> str:
    """The one of `known` that is most like `word`; empty where none is.

    Args:
        word: what was typed.
        known: what there is.
        meant: other words for some of them, such as `{"tf": "saved-model"}`.
    """
    lowered = word.lower().replace("_", "-")
    if meant and lowered in meant:
        return meant[lowered]
    by_lower = {name.lower().replace("_", "-"): name for name in known}
    return next((by_lower[name] for name in get_close_matches(lowered, by_lower, 1, _CLOSE)), "")


def closest_file(path: Path) -> str:
    """The path beside `path` whose name is most like it; empty where none is, or its folder can't be read."""
    try:
        names = [entry.name for entry, _ in zip(path.parent.iterdir(), range(_MOST), strict=False)]
    except OSError:
        return ""
    alike = [name for name in names if name != path.name and _ratio(Path(name).stem, path.stem) >= _CLOSE]
    found = closest(path.name, alike)  # by the stem first: most files of a folder end alike
    return str(path.with_name(found)) if found else ""


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one.lower(), other.lower()).ratio()


def did_you_mean(found: str, otherwise: str) -> str:
    """A question where there is something to ask, else what is to be done."""
    return f"did you mean {found}?" if found else otherwise
