"""What a model's code calls its values, weights and layers, found while the graph is still the one that it made.

Names are a courtesy to who reads a program made from the graph: it computes the same without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rnnexport.compat.layers import inner_layers
from rnnexport.core.names import LayerName, SourceNames
from rnnexport.source.api import Layer
from rnnexport.source.model import SourceModel
from rnnexport.source.walking import names_in_code


def source_names(source: SourceModel, concrete: Any, entry: str) -> SourceNames:
    """The names of a model that was traced.

    Args:
        source: the model.
        concrete: the `ConcreteFunction`, before it is frozen.
        entry: the file that called the model.
    """
    layers = list(source.api.layers(source.model))
    weights = dict(_weights(source, layers, concrete))
    if not layers:
        return SourceNames(weights=weights)
    variables, paths = names_in_code(concrete.graph, entry)
    return SourceNames(variables, weights, tuple(_layers(paths, source, layers)))


def _weights(source: SourceModel, layers: list[Layer], concrete: Any) -> Iterator[tuple[str, str]]:
    """The constant that each captured variable or tensor becomes, and its path."""
    tree = [("", source.model), *_tree(source.model, "", set())] if layers else []
    known = {id(variable.handle): str(variable.name) for variable in concrete.graph.variables}
    known |= {id(variable.handle): path for path, variable in _variables(tree)}
    attributes = dict(_attributes(tree))
    for outer, inner in concrete.graph.captures:
        reader = next((reader.name for reader in inner.consumers()), "")
        if path := known.get(id(outer)) or attributes.get(id(outer)) or reader:
            yield inner.op.name, path.removesuffix(":0")


def _tree(layer: Layer, path: str, seen: set[int]) -> Iterator[tuple[str, Layer]]:
    """Every layer below one, and its path, `cgru/cgru_cell`."""
    for inner in inner_layers(layer, recursive=False):
        if id(inner) not in seen:
            seen.add(id(inner))
            below = f"{path}/{inner.name}" if path else str(inner.name)
            yield below, inner
            yield from _tree(inner, below, seen)


def _variables(tree: list[tuple[str, Layer]]) -> Iterator[tuple[str, Any]]:
    """The variables of the layers, and their paths."""
    # The innermost layers last, for theirs is the whole path.
    for path, layer in sorted(tree, key=lambda pair: pair[0].count("/")):
        for variable in layer.variables:
            if hasattr(variable, "handle"):
                own = str(getattr(variable, "path", "") or variable.name)
                # Keras 3 builds a cell that it loads before it is in its layer, and records no more than this.
                whole = f"{path}/{own.rpartition('/')[2]}"
                yield (whole if whole.endswith(f"/{own}") else own), variable


def _attributes(tree: list[tuple[str, Layer]]) -> Iterator[tuple[int, str]]:
    """(the identity of a value, `layer/attribute`) for all that layers keep, in lists and dicts too."""
    for layer_path, layer in tree:
        for attribute, value in vars(layer).items():
            path = f"{layer_path or layer.name}/{attribute.lstrip('_')}"
            yield id(value), path
            if isinstance(value, list | tuple):
                yield from ((id(part), f"{path}_{at}") for at, part in enumerate(value))
            elif isinstance(value, dict):
                yield from ((id(part), f"{path}_{key}") for key, part in value.items())


def _layers(paths: Iterable[str], source: SourceModel, layers: list[Layer]) -> Iterator[LayerName]:
    """The layers whose scopes operations are in."""
    # Keras 3 enters the scope of a layer to build it and again to call it, so that the scope has a number in any case.
    numbered = source.api.name == "keras"
    everywhere = _by_name(layers)
    within: dict[str, dict[str, Layer]] = {"": everywhere}
    for path in paths:
        scope = ""
        for part in path.split("/")[:-1]:
            above, scope = scope, f"{scope}/{part}" if scope else part
            if scope in within:
                continue
            layer = _named(part, within[above], numbered) or _named(part, everywhere, numbered)
            within[scope] = within[above] if layer is None else _by_name(_below(layer))
            if layer is not None:
                yield LayerName(scope, layer.name, type(layer).__name__)


def _below(layer: Layer) -> list[Layer]:
    return inner_layers(layer)


def _by_name(layers: Iterable[Layer]) -> dict[str, Layer]:
    found: dict[str, Layer] = {}
    for layer in layers:
        found.setdefault(layer.name, layer)
    return found


def _named(part: str, layers: Mapping[str, Layer], numbered: bool) -> Layer | None:
    """The layer whose scope `part` is: by its name, or by its name and the number of the call."""
    stem, _, number = part.rpartition("_")
    whole, called = layers.get(part), layers.get(stem) if number.isdecimal() else None
    return (called or whole) if numbered else (whole or called)
