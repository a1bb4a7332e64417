"""Which of the user's definitions a file means: by name or registered name, and never one of Keras' own by accident."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnexport.core.errors import UsageError
from rnnexport.source.api import KerasApi
from rnnexport.source.configs import serialised_objects, strings
from rnnexport.source.custom_objects import Collected, CustomObjects, collect
from rnnexport.source.files import SourceFile
from rnnexport.source.packages import references, resolve


def objects_for(file: SourceFile, custom_objects: Sequence[str] | Mapping[str, object], api: KerasApi) -> CustomObjects:
    """The objects to load `file` with, by the names that it uses.

    Args:
        file: the file.
        custom_objects: the user's files and modules, or a dict, which is taken as it is.
        api: the Keras that will load it.

    Raises:
        UsageError: a name that the file uses has several definitions, Keras' own among them, or another package.
    """
    if isinstance(custom_objects, Mapping):
        return dict(custom_objects)
    collected = collect(custom_objects)
    texts = set(strings(file.config))
    needed = {text.rpartition(">")[2] for text in texts}
    for name in sorted(needed & set(collected.clashes)):
        raise UsageError(
            f"{name} defined by {' and by '.join(collected.clashes[name])}", "one definition", "drop a --custom-objects"
        )
    kept = _without_builtins(file, collected, needed, api)
    return {**_of_packages(file, collected, kept, api), **_registered(texts, kept, collected, api), **kept}


def _of_packages(file: SourceFile, collected: Collected, kept: CustomObjects, api: KerasApi) -> CustomObjects:
    """What the file names besides, where the packages that the user gave have it."""
    wanted = [
        one
        for one in references(file.config)
        if one.name not in kept and (one.name not in api.builtins or one.module or ">" in one.text)
    ]
    found = resolve(wanted, collected.packages, api.registered)
    # Older files know what is registered by its own name as well.
    short = {text.rpartition(">")[2]: value for text, value in found.items()}
    return {**{name: value for name, value in short.items() if name not in api.builtins}, **found}


def _without_builtins(file: SourceFile, collected: Collected, needed: set[str], api: KerasApi) -> CustomObjects:
    """The user's objects but for those whose name means Keras' own in this file."""
    modules = _modules(file)
    kept = dict(collected.objects)
    for name in sorted(needed & set(kept) & api.builtins - collected.meant):
        if modules.get(name, "keras").partition(".")[0] not in ("keras", "tf_keras"):
            continue  # the file says whose it is
        if file.container == ".h5":
            raise UsageError(
                f"{name} in {file.path.name} is defined by {collected.sources[name]} and by {api.name} itself",
                "one definition",
                f"give {collected.sources[name]}:{name} if that is meant, else rename it there",
            )
        del kept[name]
    return kept


def _modules(file: SourceFile) -> dict[str, str]:
    """The module of each class and function that the file names with one; files of an older form name none."""
    found = {}
    for _, node in serialised_objects(file.config):
        if isinstance(module := node.get("module"), str):
            name = node["config"] if node["class_name"] == "function" else node["class_name"]
            found[str(name).rpartition(">")[2]] = module
    return found


def _registered(texts: set[str], kept: CustomObjects, collected: Collected, api: KerasApi) -> CustomObjects:
    """`package>Name` for each that the file uses: an older file knows an object by that alone."""
    aliases: dict[str, object] = {}
    taken: dict[str, str] = {}
    for text in sorted(text for text in texts if ">" in text):
        name = text.rpartition(">")[2]
        if name not in kept:
            continue
        registered = api.registered_name(kept[name])
        other = registered if ">" in registered and registered != text else taken.get(name)
        if other is not None:
            raise UsageError(
                f"{text} in the file, and {other} in {collected.sources[name]}", "one of them", "give the code of both"
            )
        aliases[text], taken[name] = kept[name], text
    return aliases
