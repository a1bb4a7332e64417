"""What can go wrong, as one clear line: what was found, what was expected, what to do.

Every error that a user can cause derives from `RnnExportError`. The exit code belongs to the class, so that the
command line and a release job that uses the Python API agree on what happened. Nothing here knows of Click.

Messages are written for the command line, with options as they are typed in a shell. The functions that Python calls
say the same of their own arguments, `in_python`: `give timesteps=N` for `give --timesteps N`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import SequenceMatcher, get_close_matches
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from rnnexport.core.versions import as_installed

_WRAPPED = re.compile(r"^\s*(\w+(?:Error|Exception): .+)$", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What Keras puts around the error of a layer: its name or class in front, and what it was called with behind.
_IN_LAYER = re.compile(
    r"Exception encountered when calling (?:layer ['\"](?P<name>[^'\"]+)['\"] \(type \w+\)|(?P<kind>\w+)\.call\(\))"
    r"\.\s*(?P<cause>.+?)\s*(?:Call a|A)rguments received by .*",
    re.DOTALL,
)
_INFERRED = re.compile(r"Could not automatically infer the output .*Error encountered:\s*", re.DOTALL)
_RUNTIME = re.compile(r"\{\{function_node [^}]*\}\}\s*|\s*\[Op:\w+\](?:\s*name:)?")
EXIT_PASSED = 0
EXIT_MISMATCH = 1
EXIT_USAGE = 2
EXIT_CONVERSION = 3
EXIT_PROVIDER = 4


class RnnExportError(Exception):
    """The base of all errors that are told to the user in one line.

    Args:
        found: what was met, with the name of the file, layer or option it was met in.
        expected: what would have been right.
        todo: what the user can do about it, in the imperative.
    """

    exit_code: ClassVar[int] = EXIT_USAGE

    def __init__(self, found: str, expected: str, todo: str) -> None:
        self.found, self.expected, self.todo = map(one_line, (found, expected, todo))
        super().__init__(self._line)

    @property
    def _line(self) -> str:
        return f"{self.found}; expected {self.expected}; {self.todo}"

    def reword(self, words: Callable[[str], str]) -> None:
        """Say it in other words, in place: where it was raised stays known."""
        self.found, self.expected, self.todo = map(words, (self.found, self.expected, self.todo))
        self.args = (self._line,)

    def __reduce__(self) -> tuple[type[RnnExportError], tuple[str, str, str]]:
        """What makes it anew in another process, which the one text of an exception does not."""
        return type(self), (self.found, self.expected, self.todo)


class UsageError(RnnExportError):
    """The command can't be carried out as it was typed: an option, a path, a disk that is full."""

    exit_code = EXIT_USAGE


class ConversionError(RnnExportError):
    """The model can't be read, or can't be converted with a guarantee."""

    exit_code = EXIT_CONVERSION


class MismatchError(RnnExportError):
    """The artifact was made, but does not compute what its source computes. It was not put in place."""

    exit_code = EXIT_MISMATCH


class ProviderError(RnnExportError):
    """A runtime or an execution provider that was asked for is not on this host. Never a pass.

    A `todo` says `pip install 'rnnexport[EXTRA]'`; the message says it as it works for this installation.
    """

    exit_code = EXIT_PROVIDER

    def __init__(self, found: str, expected: str, todo: str) -> None:
        super().__init__(found, expected, as_installed(todo))


class CrashError(RnnExportError):
    """An artifact ended the process that ran it, or went over a limit of memory or time."""

    exit_code = EXIT_MISMATCH


class RaisedError(Exception):
    """What foreign code raised in another process, in words."""


class ForeignCode:
    """A block that runs code that is not ours: a user's cell, a Keras loader, a converter. It may raise anything.

    Whatever it raises becomes the error that `explain` makes of it, with the original as its cause: an
    `RnnExportError`, or another that its caller documents. So does a call of `sys.exit`, which must not end a release
    job with a success. An error that is told already passes through, and so does a lack of memory, which says nothing
    about that code.
    """

    def __init__(self, explain: Callable[[BaseException], Exception]) -> None:
        self._explain = explain

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception | SystemExit) and not isinstance(error, RnnExportError | MemoryError):
            raise self._explain(error) from error


def require_path(path: Path, expected: str) -> None:
    """Refuse a path at which there is nothing, or that can be none.

    Raises:
        UsageError: names the path.
    """
    try:
        there = path.exists()
    except (OSError, ValueError) as error:  # too long, in a folder that may not be read, with a zero byte in it
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"can't look at {str(path)!r}: {reason}", expected, "check the path") from error
    if not there:
        raise UsageError(f"no file {path}", expected, did_you_mean(closest_file(path), "check the path"))


def require_file(path: Path, expected: str) -> None:
    """The same, and refuse a folder."""
    require_path(path, expected)
    if path.is_dir():
        raise UsageError(f"{path} is a folder", expected, "give a file")


def reason(error: BaseException) -> str:
    """The kind of an error and what it says, and the layer that Keras says it is in.

    Of one that AutoGraph wrapped in a listing of the code, what it wraps; without what the layer was called with.
    """
    text = _COLOUR.sub("", str(error))
    if isinstance(error, RaisedError):
        return text
    kind, found = type(error).__name__, _IN_LAYER.search(text)
    cause = text if found is None else found["cause"].rstrip(".")
    if cause.lstrip().startswith("in user code:") and (wrapped := _WRAPPED.findall(cause)):
        kind, _, cause = str(wrapped[-1]).partition(": ")
    cause = _RUNTIME.sub("", _INFERRED.sub("", cause)).strip()
    layer = layer_of(error)
    return f"{kind}: {cause}" + (f" (in {layer})" if layer else "")


def layer_of(error: BaseException) -> str:
    """The name or class of the layer that Keras says an error is in; empty where it says none."""
    found = _IN_LAYER.search(_COLOUR.sub("", str(error)))
    return "" if found is None else found["name"] or found["kind"]


def one_line(text: str, limit: int = 600) -> str:
    """`text` with every run of white space made one blank, without colours, cut to `limit` characters."""
    joined = " ".join(_COLOUR.sub("", text).split())
    return joined if len(joined) <= limit else joined[: limit - 3] + "..."


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
    r"|auto\b|rolled\b|fused\b|order\b|name\b|libm\b|inside\b|beside\b|none\b|dynamic\b|\w+=\w+|(?<=-names )\w[^\s,;:]*"
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
