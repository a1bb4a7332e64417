"""Names of an ONNX graph without what tracing put into them.

Before: sequential_1/gru_1/while/gru_cell_1/MatMul     After: gru/while/gru_cell/MatMul

A scope of TensorFlow counts how often a name was entered, and the outermost is that of the traced model. Layers get
their Keras names, weights their paths in the model (`dense/kernel`), and inputs, outputs and states keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from rnnexport.conversion.canonical import without_function
from rnnexport.core.names import SourceNames
from rnnexport.core.signature import unique_names


def plain_names(model: ir.Model, names: SourceNames) -> None:
    """Rename nodes and values of `model` in place. What it computes is untouched.

    1. The boundary keeps its names, and no other value gets one of them.
    2. No two values that had different names get the same one.
    """
    scopes = _scopes(names)
    if not scopes:
        return
    graph = model.graph
    boundary = {id(value): str(value.name) for value in (*graph.inputs, *graph.outputs)}
    values = [value for value in _values(graph) if id(value) not in boundary]
    wanted = [_plain(_weight(str(value.name), names.weights), scopes) for value in values]
    for value in values:  # so that none has a name that another one is about to get
        value.name = f"\0{id(value)}"
    for value, name in zip(values, unique_names(wanted, boundary.values()), strict=True):
        value.name = name
    for node in graph.all_nodes():
        if node.name is not None:
            node.name = _plain(node.name, scopes)


def _scopes(names: SourceNames) -> dict[str, str]:
    """What each scope of a layer is called instead. Scopes of one layer that was called twice stay two."""
    known = {layer.scope for layer in names.layers}
    found = dict.fromkeys({scope.partition("/")[0] for scope in known if "/" in scope} - known, "")  # the model's own
    for layer in names.layers:  # outer ones first
        above, _, _ = layer.scope.rpartition("/")
        outer = found.get(above, _plain(above, found))
        (found[layer.scope],) = unique_names([f"{outer}/{layer.name}".lstrip("/")], found.values())
    return found


def _plain(name: str, scopes: Mapping[str, str]) -> str:
    """A name with its longest scope that is known replaced."""
    scope = name = without_function(name)
    while scope:
        if scope in scopes:
            return f"{scopes[scope]}{name[len(scope) :]}".lstrip("/") or name
        scope = scope.rpartition("/")[0]
    return name


def _weight(name: str, weights: Mapping[str, str]) -> str:
    return weights.get(name.removesuffix(":0"), name)


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    """All values, those of bodies too, each once."""
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph.all_nodes():
        yield from node.outputs
        for attribute in node.attributes.values():
            if isinstance(attribute, ir.Attr) and attribute.type == ir.AttributeType.GRAPH:
                yield from attribute.as_graph().inputs
                yield from attribute.as_graph().initializers.values()
