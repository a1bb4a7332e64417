"""Whether a C program is what this package writes of the graph beside it, told before anything is compiled."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rnnexport.core.errors import ForeignCode, UsageError, reason
from rnnexport.targets.c.files import HEADER, read_source, read_text, read_weights
from rnnexport.version import __version__

_EXPECTED = "what the graph beside it is written as, with weights that are numbers"


def check_code(path: Path) -> None:
    """Refuse a program that is not, word for word, what the graph beside it gives.

    Raises:
        UsageError: names the first line that is another one.
    """
    source = read_source(path)
    with ForeignCode(partial(_unreadable, path)):
        program, header = (read_text(file).decode() for file in (path, path.with_suffix(HEADER)))
        weights = read_weights(path, source)
        wanted = source.text_like(program, weights)
    if wanted.weights != weights:
        raise UsageError(f"{source.weights} holds more than weights", _EXPECTED, "export the model again")
    for file, found, right in ((path, program, wanted.program), (path.with_suffix(HEADER), header, wanted.header)):
        if found != right:
            raise UsageError(
                f"{file.name} is no program as rnnexport {__version__} writes one: line {_first(found, right)}",
                _EXPECTED,
                "export the model again, use the rnnexport that wrote it, or give --allow-unsafe if you trust whoever "
                "wrote it",
            )


def _first(found: str, right: str) -> int:
    """The number of the first line that differs."""
    pairs = zip(found.split("\n"), right.split("\n"), strict=False)
    return next(
        (number for number, (one, other) in enumerate(pairs, 1) if one != other), min(map(_lines, (found, right)))
    )


def _lines(text: str) -> int:
    return text.count("\n") + 1


def _unreadable(path: Path, error: BaseException) -> UsageError:
    return UsageError(
        f"{path.name} is no program as rnnexport writes one: {reason(error)}", _EXPECTED, "export the model again"
    )
