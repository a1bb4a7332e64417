"""Many subjects in one model: what verifies there is exact, what does not is cut in parts until it stands alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from time import perf_counter
from typing import Any

from benchmarks.support.measure import Found, Measured, built_or_not, exports
from benchmarks.support.models import Built, Subject, build

# Subjects of one model: an export costs nearly the same for one operator as for ten.
MOST = 24
Exports = Callable[[Built, Sequence[str], bool], dict[str, Found]]


def measured_together(subjects: Sequence[Subject], targets: Sequence[str], export: Exports = exports) -> list[Measured]:
    """What became of each, in their order; of the seconds each has its share.

    Args:
        subjects: those whose models have the same input become one.
        targets: formats.
        export: what becomes of one model.
    """
    start = perf_counter()
    models = {subject: built_or_not(subject) for subject in subjects}
    groups: dict[Any, list[Subject]] = {}
    words: dict[Subject, dict[str, Found]] = {}
    for subject, built in models.items():
        if isinstance(built, Found):
            words[subject] = dict.fromkeys(targets, built)
        else:
            groups.setdefault(_input(built), []).append(subject)
    for group in groups.values():
        words |= zip(group, _words(list(group), targets, export), strict=True)
    seconds = (perf_counter() - start) / len(subjects)
    sizes = {subject: "" if isinstance(built, Found) else built.sizes for subject, built in models.items()}
    return [Measured(subject, sizes[subject], words[subject], seconds) for subject in subjects]


def _words(subjects: Sequence[Subject], targets: Sequence[str], export: Exports) -> list[dict[str, Found]]:
    if len(subjects) == 1:
        return [export(build(subjects[0]), targets, True)]
    found = export(joined([build(subject, f"model_of_{subject.name}") for subject in subjects]), targets, False)
    left = [name for name in targets if found[name].word != "exact"]
    exact = {name: what for name, what in found.items() if name not in left}
    if not left:
        return [exact] * len(subjects)
    parts = _parts(subjects, [found[name].why for name in left])
    rest = {subject: one for part in parts for subject, one in zip(part, _words(part, left, export), strict=True)}
    return [{name: (exact | rest[subject])[name] for name in targets} for subject in subjects]


def _parts(subjects: Sequence[Subject], reasons: Sequence[str]) -> list[list[Subject]]:
    """Those whose models the reasons name and the others; two halves where that is none or all."""
    named = [one for one in subjects if any(re.search(rf"model_of_{one.name}(?!_?[a-z])", why) for why in reasons)]
    if 0 < len(named) < len(subjects):
        return [named, [one for one in subjects if one not in named]]
    half = len(subjects) // 2
    return [list(subjects[:half]), list(subjects[half:])]


def joined(parts: Sequence[Built]) -> Built:
    """One model of several that have the same input, and different names."""
    api = _api_of(parts[0].model)
    (first,) = parts[0].model.inputs
    x = api.Input(batch_shape=tuple(first.shape), dtype=_dtype(first), name="x")
    outputs = [one for part in parts for one in _flat(part.model(x))]
    return Built(api.Model(x, outputs, name="model"), parts[0].sizes, parts[0].steps)


def _input(built: Built) -> tuple[Any, ...]:
    """Equal for models that can be one."""
    (x,) = built.model.inputs
    return type(built.model).__module__.partition(".")[0], tuple(x.shape), _dtype(x), built.sizes, built.steps


def _api_of(model: Any) -> Any:
    return import_module(type(model).__module__.partition(".")[0])


def _dtype(tensor: Any) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype))


def _flat(found: Any) -> Iterator[Any]:
    parts = found if isinstance(found, list | tuple) else [found]
    for part in parts:
        yield from (_flat(part) if isinstance(part, list | tuple) else [part])
