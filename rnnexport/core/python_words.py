"""Errors in the words of whoever reads them: options as they are typed in a shell, or arguments as in Python.

Messages are written for the command line. The functions that Python calls say the same of their own arguments: `give
timesteps=N` for `give --timesteps N`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from rnnexport.core.errors import RnnExportError

_IN_A_COMMAND: ContextVar[bool] = ContextVar("in_a_command", default=False)
# Options that are called otherwise in Python, and those that are a part of another argument.
_NAMES = {"o": "output", "range": "ranges", "map": "names", "require-placement": "placement"}
_OWNERS = {
    "LoadOptions": ("keras-api", "builder", "architecture", "weights-by", "allow-unsafe"),
    "LoweringRequest": ("lowering", "for", "tune", "portable"),
    "TFLiteForm": ("form",),
    "CForm": ("math", "deterministic", "max-bytes", "weights"),
    "Override": ("rtol", "atol"),
    "UserData": ("columns", "shard"),
    "Limits": ("memory", "timeout"),
}
_ATTRIBUTES = {"lowering": "form", "for": "provider"}
_FLAGS = {"no-verify": "verify=False", "tf32": "tf32=True", "dims": "dims=True", "debug": "its __cause__"}
_TRUE = ("allow-unsafe", "deterministic", "portable")
# What stands behind an option and is its value: a placeholder, a number, a file or module, or one of its choices.
_VALUE = (
    r"[A-Z][A-Z_]*(?:\.\w+)?\b|-?\d[\d.]*\b|\w+[./:][\w./:]*\w|(?:tf_)?keras\b|float\d+\b|native\b|scan\b|unroll\b|loop\b"
    r"|rolled\b|fused\b|order\b|name\b|libm\b|inside\b|beside\b|none\b|dynamic\b|\w+=\w+|(?<=-names )\w[^\s,;:]*"
)
_OPTION = re.compile(rf"(?<![\w-])(?:--([a-z][a-z0-9]*(?:-[a-z0-9]+)*)|-(o))\b(?: ({_VALUE}))?")


def in_python(text: str) -> str:
    """The text with each option as an argument."""
    return _OPTION.sub(_argument, text)


def _argument(found: re.Match[str]) -> str:
    option, value = found[1] or found[2], found[3] or ""
    if option in _FLAGS:
        return f"{_FLAGS[option]} {value}".strip()
    literal = value if not value or re.fullmatch(r"[A-Z_.]+|-?[\d.]+", value) else repr(value)
    if "=" in value:
        literal = "{{{!r}: {!r}}}".format(*value.split("=", 1))
    name = _NAMES.get(option) or option.replace("-", "_")
    owner = next((owner for owner, options in _OWNERS.items() if option in options), "")
    if not owner:
        return name if found.string.startswith(":", found.end()) else f"{name}={literal}"
    name = _ATTRIBUTES.get(option, name)
    if option in _TRUE:
        return f"{owner}({name}=True)"
    return f"{owner}({name}={literal})" if literal else f"{owner}.{name}"


@contextmanager
def in_python_words() -> Iterator[None]:
    """Around what Python calls: errors say its arguments, unless a command calls it."""
    try:
        yield
    except RnnExportError as error:
        if not _IN_A_COMMAND.get():
            error.reword(in_python)
        raise


@contextmanager
def in_a_command() -> Iterator[None]:
    """Around a command, whose errors say its options."""
    token = _IN_A_COMMAND.set(True)
    try:
        yield
    finally:
        _IN_A_COMMAND.reset(token)
