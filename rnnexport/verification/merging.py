"""The reports of all shards as that of a single run, to the last digit: sums are exact, the rest is counts and maxima.

What is no data is in the first shard alone. What is said of all values together (precision, and whether anything was
compared at all) is said anew of the sums.

Frozen values as plain ones that JSON holds, and back, by their annotations. Every number comes back bit by bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from rnnexport.core.errors import UsageError
from rnnexport.verification.compare import merged_by_name
from rnnexport.verification.report import ArtifactReport, FeedReport
from rnnexport.verification.verdict import problems_of, status_of

# What each shard says of itself; all else is the same in all of them.
_OWN = {"artifact", "status", "feeds", "problems", "placement", "settings", "located"}
Value = TypeVar("Value")
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # what JSON has no numbers for


def merged(parts: Sequence[ArtifactReport]) -> ArtifactReport:
    """One artifact on one provider, over all shards, which come in their order.

    Raises:
        UsageError: they are not of one run.
    """
    first = parts[0]
    for other in parts[1:]:
        if name := _difference(first, other):
            raise UsageError(
                f"shards of {first.artifact} on {first.provider} whose {name} differs",
                "those of one artifact, source, data and set of options",
                "run the shards again, all alike",
            )
    for part in parts:
        if part.status == "mismatch" and not part.feeds:  # it crashed, or can't be fed
            return replace(part, artifact=first.artifact)
    located = next((part.located for part in parts if part.located is not None), None)
    whole = replace(first, feeds=_feeds(parts), located=located)
    wiring = next((problem.text for problem in first.problems if problem.kind == "states"), "")
    problems = problems_of(whole, (), wiring)
    status = status_of(problems, whole.feeds)
    absent = next((part for part in parts if part.status == "not run"), None)
    if absent is not None and status == "passed":
        return replace(whole, status="not run", problems=absent.problems)
    return replace(whole, status=status, problems=problems, located=None if status == "passed" else located)


def _feeds(parts: Sequence[ArtifactReport]) -> tuple[FeedReport, ...]:
    """Those of the first shard, its data those of all."""
    data = [feed for part in parts for feed in part.feeds if feed.kind == "data"]
    outputs = tuple(merged_by_name(comparison for feed in data for comparison in feed.outputs).values())
    return tuple(replace(feed, outputs=outputs) if feed.kind == "data" else feed for feed in parts[0].feeds)


def _difference(one: ArtifactReport, other: ArtifactReport) -> str:
    """The first thing in which they differ and must not; empty where there is none."""
    names = [field.name for field in fields(one) if field.name not in _OWN]
    return next((name for name in names if plain(getattr(one, name)) != plain(getattr(other, name))), "")


def plain(value: Any) -> Any:
    """What `read` makes `value` of again: a dataclass by its fields, or by its `to_json` where it has the inverse."""
    if hasattr(value, "from_json"):
        return value.to_json()
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def read(kind: type[Value], value: Any) -> Value:
    """The inverse of `plain` for a value of that class. ValueError, LookupError or TypeError where it is none."""
    found: Value = _read(kind, value)
    return found


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(kind: Any, value: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if origin in (Union, UnionType):
        return None if value is None and NoneType in arguments else _read(_only(arguments), value)
    if origin is Literal:
        return _one_of(arguments, value)
    if origin is tuple:
        return tuple(_read(arguments[0], one) for one in _of(list, value))
    if origin is not None and issubclass(origin, Mapping):
        return {key: _read(arguments[1], one) for key, one in _of(dict, value).items()}
    if hasattr(kind, "from_json"):
        return kind.from_json(value)
    if is_dataclass(kind):
        return _dataclass(kind, _of(dict, value))
    return _number(value) if kind is float else _of(kind, value)


def _dataclass(kind: Any, value: dict[str, Any]) -> Any:
    hints = _hints(kind)
    names = [field.name for field in fields(kind)]
    if set(names) != set(value):
        raise ValueError(f"a {kind.__name__} of {', '.join(sorted(value))}")
    return kind(**{name: _read(hints[name], value[name]) for name in names})


def _only(arguments: tuple[Any, ...]) -> Any:
    """The kind of `X | None`."""
    (kind,) = (one for one in arguments if one is not NoneType)
    return kind


def _one_of(allowed: tuple[Any, ...], value: Any) -> Any:
    if value not in allowed:
        raise ValueError(f"{value!r} is none of {allowed}")
    return value


def _number(value: Any) -> float:
    if isinstance(value, str):
        return _WORDS[value]
    return float(_of(int, value)) if isinstance(value, int) else _of(float, value)


def _of(kind: type[Value], value: Any) -> Value:
    if type(value) is not kind:
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
