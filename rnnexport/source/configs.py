"""Walking the configuration of a model: JSON in which an object is a dict with `class_name` and `config`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Config = dict[str, Any]


def serialised_objects(node: Any, key: str = "") -> Iterator[tuple[str, Config]]:
    """Every serialised object at or below `node`, parents first, with the key it (or its list) stands under."""
    if isinstance(node, dict):
        if isinstance(node.get("class_name"), str) and "config" in node:
            yield key, node
        for name, child in node.items():
            yield from serialised_objects(child, name)
    elif isinstance(node, list):
        for child in node:
            yield from serialised_objects(child, key)


def changed(node: Any, change: Callable[[Config], Config]) -> Any:
    """A copy in which every serialised object is what `change` makes of it, children before parents."""
    if isinstance(node, list):
        return [changed(child, change) for child in node]
    if not isinstance(node, dict):
        return node
    copy = {name: changed(child, change) for name, child in node.items()}
    return change(copy) if isinstance(copy.get("class_name"), str) and isinstance(copy.get("config"), dict) else copy


def without_key(node: Any, key: str) -> Any:
    """A copy without whatever stands under `key`, at any depth."""
    if isinstance(node, list):
        return [without_key(child, key) for child in node]
    if isinstance(node, dict):
        return {name: without_key(child, key) for name, child in node.items() if name != key}
    return node


def nested_deeper(node: Any, limit: int = 200) -> bool:
    """Whether objects and lists lie in each other deeper than any model's, and than Python can walk."""
    level = [node]
    for _ in range(limit):
        level = [child for item in level for child in _children(item)]
        if not level:
            return False
    return True


def _children(node: Any) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []


def strings(node: Any) -> Iterator[str]:
    """Every string in a configuration: the names of all that it could ask for."""
    if isinstance(node, dict):
        for child in node.values():
            yield from strings(child)
    elif isinstance(node, list):
        for child in node:
            yield from strings(child)
    elif isinstance(node, str):
        yield node


def label(node: Config) -> str:
    """An object in words: its class, and its name if it has one."""
    kind, name = str(node["class_name"]).rpartition(">")[2], name_in(node)
    return kind if name is None else f"{kind} {name!r}"


def name_in(node: Config) -> str | None:
    """The name of an object. Functional models have it beside the configuration, too, which a class may leave out."""
    inner = node["config"]
    found = [each.get("name") for each in (inner, node) if isinstance(each, dict)]
    return next((name for name in found if isinstance(name, str)), None)
