"""A manifest: which models are exported to which targets, where to, and how.

A JSON file with a list of objects. `model`, a path, and `to`, targets, are needed; `output` is the folder of the
artifacts, by default that of the manifest. The rest are options of `rnnexport export`, underscores for dashes. Paths
are relative to the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rnnexport.core.errors import ForeignCode, UsageError, closest, did_you_mean, reason, require_file
from rnnexport.targets.registry import TARGET_NAMES

# The options of an entry, and the types of their values.
_OPTIONS: Mapping[str, tuple[type, ...]] = {
    "custom_objects": (list,),
    "opset": (int,),
    "batch": (int, str),
    "timesteps": (int, str),
    "stream": (int, str),
    "cast": (str,),
    "tflite_timesteps": (int,),
    "data": (str,),
    "verify": (bool,),
    "proof": (str,),
    "input_names": (dict, str),
    "output_names": (dict, str),
}
_KNOWN: Mapping[str, tuple[type, ...]] = {"model": (str,), "to": (list, str), "output": (str,), **_OPTIONS}


@dataclass(frozen=True)
class FleetJob:
    """One model to export.

    Attributes:
        model: the path of the file.
        to: the targets.
        folder: where the artifacts go.
        options: keywords of `export_all`.
    """

    model: Path
    to: tuple[str, ...]
    folder: Path
    options: Mapping[str, Any]


def read_manifest(path: Path) -> tuple[FleetJob, ...]:
    """The jobs of a manifest, in its order.

    Raises:
        UsageError: it is no manifest; names the entry that is wrong, or two that would write the same artifact.
    """
    require_file(path, "a manifest: a JSON list of models")
    with ForeignCode(partial(_unreadable, path)):
        entries: Any = json.loads(path.read_bytes())
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{path} with no list of models", '[{"model": "a.keras", "to": ["onnx"]}, ...]', "change it")
    jobs = tuple(_job(path, at, entry) for at, entry in enumerate(entries, 1))
    seen: dict[tuple[Path, str, str], int] = {}
    for at, job in enumerate(jobs, 1):
        for to in job.to:
            place = (job.folder.resolve(), job.model.stem, to)
            if place in seen:
                raise UsageError(
                    f"entries {seen[place]} and {at} of {path.name} write the same artifact",
                    "a name or an output of its own for each",
                    "give one of them another output",
                )
            seen[place] = at
    return jobs


def _job(path: Path, at: int, entry: Any) -> FleetJob:
    if problem := _problem(entry):
        raise UsageError(f"entry {at} of {path.name}: {problem[0]}", *problem[1:])
    home, to = path.parent, entry["to"] if isinstance(entry["to"], list) else [entry["to"]]
    options = {key: entry[key] for key in _OPTIONS if key in entry}
    if "custom_objects" in options:
        options["custom_objects"] = _code(home, options["custom_objects"])
    if "data" in options and "://" not in options["data"]:
        options["data"] = str(home / options["data"])
    return FleetJob(home / entry["model"], tuple(dict.fromkeys(to)), home / entry.get("output", "."), options)


def _problem(entry: Any) -> tuple[str, str, str] | None:
    """What is wrong with an entry: what was found, what was expected, what to do."""
    if not isinstance(entry, dict):
        return "no object", '{"model": "a.keras", "to": ["onnx"]}', "change it"
    for key, value in entry.items():
        if key not in _KNOWN:
            return f"unknown {key!r}", ", ".join(_KNOWN), did_you_mean(closest(key, _KNOWN), "leave it out")
        if type(value) not in _KNOWN[key]:
            return f"{key} {value!r}", " or ".join(kind.__name__ for kind in _KNOWN[key]), "change it"
    if missing := [key for key in ("model", "to") if not entry.get(key)]:
        return f"no {missing[0]}", "model, to", "add it"
    to = entry["to"] if isinstance(entry["to"], list) else [entry["to"]]
    if unknown := [name for name in to if name not in TARGET_NAMES]:
        return f"target {unknown[0]!r}", ", ".join(TARGET_NAMES), "change it"
    return None


def _code(home: Path, sources: Sequence[Any]) -> list[str]:
    """Files of code relative to the manifest; modules as they are."""
    return [str(home / str(one)) if str(one).partition(":")[0].endswith(".py") else str(one) for one in sources]


def _unreadable(path: Path, error: BaseException) -> UsageError:
    return UsageError(f"{path} can't be read ({reason(error)})", "a JSON list of models", "change it")
