"""What a model's code calls its values, weights and layers, found while the graph is still the one that it made.

Names are a courtesy to who reads a program made from the graph: it computes the same without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from rnnexport.compat.supported import inner_layers
from rnnexport.compat.tensorflow import function_of
from rnnexport.core.names import LayerName, SourceNames
from rnnexport.source.api import Layer
from rnnexport.source.graphs import BRANCHES, CALLS, LOOPS
from rnnexport.source.model import SourceModel
from rnnexport.source.scopes import UNNAMED, assigned, origin
from rnnexport.source.statements import Code, Frame

_CALLERS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(LOOPS, ("body", "cond")),
    **dict.fromkeys(BRANCHES, ("then_branch", "else_branch")),
    **dict.fromkeys(CALLS, ("f",)),
}
# What a body is given has the path of what it is given.
_NOT_MADE = frozenset({"Const", "Placeholder"})
# What Keras makes beside the outputs of a layer.
_BESIDE = frozenset({"build", "compute_mask", "compute_output_shape", "_set_mask_metadata"})
Names = dict[str, tuple[str, ...]]


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


def names_in_code(graph: Any, entry: str) -> tuple[Names, list[str]]:
    """What the code of a model calls the outputs of the operations that it made.

    Args:
        graph: of the model.
        entry: the file that called it: frames outside this one's are not the model's.

    Returns:
        By the path of an operation a name for each of its outputs, empty where one has none; and the paths of all but
        constants. An operation of a function has the path of the call before its own, as it has when it is inlined.
    """
    walk = _Walk(_outside(graph, entry))
    walk.graph(graph, "", walk.outside)
    return walk.names, walk.paths


def _outside(graph: Any, entry: str) -> tuple[Frame, ...]:
    """The frames up to that of the file `entry`; empty if no operation has one: a loaded program has no code."""
    for operation in graph.get_operations():
        frames = _frames(operation.traceback or ())
        at = max((at for at, (file, _, _) in enumerate(frames) if file == entry), default=-1)
        if at >= 0:
            return frames[: at + 1]
    return ()


def _frames(traceback: Iterable[Any]) -> tuple[Frame, ...]:
    return tuple((frame.filename, frame.lineno, frame.name) for frame in traceback)


@dataclass(frozen=True, eq=False)
class _Walk:
    """The names found so far.

    Attributes:
        outside: the frames around the model.
        names: by path.
        paths: of all operations but for constants and what bodies are given.
        unsure: paths that two operations have, in the branches of an `if`, with different names.
    """

    outside: tuple[Frame, ...]
    names: Names = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    unsure: set[str] = field(default_factory=set)
    code: Code = field(default_factory=Code)

    def graph(self, graph: Any, prefix: str, above: Sequence[Frame], results: Sequence[str] = ()) -> Names:
        """Find the names of a graph and of those below it.

        Args:
            graph: the graph.
            prefix: what stands before the names of its operations.
            above: the frames around the code that made it.
            results: what the code that calls it calls its results, empty for what has no name there.

        Returns:
            The names of its own operations.
        """
        operations = graph.get_operations()
        self.paths.extend(prefix + operation.name for operation in operations if operation.type not in _NOT_MADE)
        inside = [(operation, self._inside(operation, above)) for operation in operations if _may_have_name(operation)]
        code = [pair for pair in inside if not _BESIDE & {name for _, _, name in pair[1]}]
        found = assigned([(operation, self.code.places(frames)) for operation, frames in code])
        for tensor, name in zip(graph.outputs, results, strict=False):
            if name and origin(tensor).op.type not in UNNAMED:
                _rename(found, origin(tensor), name)
        for operation in operations:
            if operation.type in _CALLERS:
                bodies = list(self._bodies(graph, operation, prefix, found.get(operation.name, ())))
                if operation.name not in found and any(names := _of_outputs(operation, bodies)):
                    found[operation.name] = names
        self._keep(found, prefix)
        return found

    def _inside(self, operation: Any, above: Sequence[Frame]) -> tuple[Frame, ...]:
        """The frames of an operation inside those of `above`."""
        traceback, length = operation.traceback or (), len(above)
        if 0 < length <= len(traceback) and _frames(traceback[length - 1 : length]) == (above[-1],):
            return _frames(traceback[length:])
        frames = _frames(traceback)
        same = _shared([frames, above])
        return frames[same:] if 0 < len(self.outside) <= same else ()

    def _bodies(self, graph: Any, operation: Any, prefix: str, names: Sequence[str]) -> Iterator[tuple[Any, Names]]:
        """The graphs that an operation runs, with their names; of a loop, the body before the condition."""
        for attribute in _CALLERS[operation.type]:
            function = function_of(graph, operation.get_attr(attribute).name)
            if (body := getattr(function, "graph", None)) is None:
                continue
            if operation.type in CALLS:
                yield body, self.graph(body, f"{prefix}{operation.name}/", _around(body), names)
            else:
                results = names if operation.type in BRANCHES else ()
                yield body, self.graph(body, "", _frames(operation.traceback or ()), results)

    def _keep(self, found: Names, prefix: str) -> None:
        for name, names in found.items():
            path = prefix + name
            if self.names.setdefault(path, names) != names:
                self.unsure.add(path)
                self.names.pop(path)
            if path in self.unsure:
                self.names.pop(path, None)


def _around(body: Any) -> tuple[Frame, ...]:
    """The frames around a function that is called, which may have been traced by another call than the one here."""
    operations = [operation for operation in body.get_operations() if operation.type not in UNNAMED]
    made = [_frames(operation.traceback or ()) for operation in operations]
    shared = _shared(made)
    own = [at for at, (_, _, name) in enumerate(made[0][: shared + 1]) if name == body.name] if made else []
    return made[0][: own[-1]] if own else ()


def _shared(tracebacks: Sequence[Sequence[Frame]]) -> int:
    """How many of their outermost frames are the same."""
    return sum(1 for _ in takewhile(lambda frames: len(set(frames)) == 1, zip(*tracebacks, strict=False)))


def _rename(names: Names, tensor: Any, name: str) -> None:
    others = names.get(tensor.op.name, ("",) * len(tensor.op.outputs))
    names[tensor.op.name] = (*others[: tensor.value_index], name, *others[tensor.value_index + 1 :])


def _may_have_name(operation: Any) -> bool:
    return len(operation.outputs) > 0 and operation.type not in UNNAMED - {"Identity"}


def _of_outputs(operation: Any, bodies: list[tuple[Any, Names]]) -> tuple[str, ...]:
    """What the bodies of a loop or of an `if` call each of its results, where they agree."""
    by_body = [_of_results(body, names) for body, names in (bodies[:1] if operation.type in LOOPS else bodies)]
    found = [names[0] if len(set(names)) == 1 else "" for names in zip(*by_body, strict=False)]
    return tuple(found[: len(operation.outputs)] + [""] * (len(operation.outputs) - len(found)))


def _of_results(graph: Any, names: Names) -> list[str]:
    results = [origin(tensor) for tensor in graph.outputs]
    return [names[tensor.op.name][tensor.value_index] if tensor.op.name in names else "" for tensor in results]
