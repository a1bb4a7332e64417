"""What importing a package brings besides what its module defines: its other modules, and what it registers.

A model file names the classes of a package by the module they are in (`ncps.wirings.wirings`), by the name that they
are registered under (`ncps>LTC`, `>lecun_tanh`), or by their own name alone. Of what was imported, that alone is taken
which is registered, or made to be saved: a class with `get_config` and `from_config`. Keras calls what a file names, so
other functions of a package that a user's file happens to import are out of a model file's reach.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from rnnexport.source.configs import Config, serialised_objects, strings

# What a user's file imports from these is no custom object.
LIBRARIES = frozenset((*sys.stdlib_module_names, "keras", "tf_keras", "tensorflow", "numpy"))

_SAVED = ("get_config", "from_config")


@dataclass(frozen=True)
class ObjectName:
    """A class or function, as a file names it.

    Attributes:
        text: with the package that it is registered under, where the file has that.
        module: that the file says it is in; empty where it does not say.
    """

    text: str
    module: str = ""

    @property
    def name(self) -> str:
        """Its own name."""
        return self.text.rpartition(">")[2]


def references(config: Config) -> list[ObjectName]:
    """What a configuration may name: classes and functions with their modules, then every other text."""
    found: dict[str, ObjectName] = {}
    for _, node in serialised_objects(config):
        module = node["module"] if isinstance(node.get("module"), str) else ""
        name = node["config"] if node["class_name"] == "function" else node["class_name"]
        for text in (name, node.get("registered_name")):
            if isinstance(text, str) and (text not in found or not found[text].module):
                found[text] = ObjectName(text, "" if module == "builtins" else module)
    return [*found.values(), *(ObjectName(text) for text in dict.fromkeys(strings(config)) if text not in found)]


def packages_of(module: ModuleType) -> frozenset[str]:
    """The packages that a module is part of, or imports from, directly or through modules that are not installed."""
    found: set[str] = set()
    waiting = [module]
    seen = {id(module)}
    while waiting:
        one = waiting.pop()
        found.add(top_of(one.__name__))
        if is_installed(one):
            continue  # its package is taken whole
        for other in _imported(one):
            if id(other) not in seen and top_of(other.__name__) not in LIBRARIES:
                seen.add(id(other))
                waiting.append(other)
    return frozenset(found)


def _imported(module: ModuleType) -> Iterator[ModuleType]:
    for value in list(vars(module).values()):
        other = value if isinstance(value, ModuleType) else sys.modules.get(str(getattr(value, "__module__", "")))
        if other is not None:
            yield other


def resolve(
    references: Collection[ObjectName], packages: Collection[str], registered: Callable[[str], object | None]
) -> dict[str, object]:
    """Which of the references are in these packages, by their texts.

    Args:
        references: what a file names.
        packages: what the user gave, by their top names. They are imported.
        registered: the object that is registered under a name; None where there is none.
    """
    defined = definitions(packages)
    found = {}
    for one in references:
        if (value := _resolved(one, packages, registered, defined)) is not None:
            found[one.text] = value
    return found


def _resolved(
    one: ObjectName,
    packages: Collection[str],
    registered: Callable[[str], object | None],
    defined: Mapping[str, Mapping[str, object]],
) -> object | None:
    value = registered(one.text) if ">" in one.text else None
    if value is not None and top_of(getattr(value, "__module__", "")) in packages:
        return value
    places = defined.get(one.name, {})
    if one.module in places:
        return places[one.module]
    if one.module and top_of(one.module) not in packages:
        return None  # of another package, or of Keras
    return next(iter(places.values())) if len(places) == 1 else None


def definitions(packages: Collection[str]) -> dict[str, dict[str, object]]:
    """The classes made to be saved in all modules of these packages that are imported, by name, then by module."""
    found: dict[str, dict[str, object]] = {}
    for module in list(sys.modules.values()):
        if not isinstance(module, ModuleType) or top_of(module.__name__) not in packages:
            continue
        for name, value in list(vars(module).items()):
            own = getattr(value, "__module__", None) == module.__name__
            if own and inspect.isclass(value) and all(hasattr(value, method) for method in _SAVED):
                found.setdefault(name, {})[module.__name__] = value
    return found


def top_of(module: str) -> str:
    """The first part of a dotted name."""
    return module.partition(".")[0]


def is_installed(value: object) -> bool:
    """Whether a module, or the module of an object, comes from an installed package, such as scipy."""
    module = value if isinstance(value, ModuleType) else sys.modules.get(str(getattr(value, "__module__", "")))
    file = getattr(module, "__file__", None)
    return file is not None and "site-packages" in Path(file).parts
