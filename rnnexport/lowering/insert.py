"""Putting what was derived into the graph."""

from __future__ import annotations

import onnx_ir as ir

from rnnexport.ir.constants import Constants
from rnnexport.ir.recurrence import name_of
from rnnexport.lowering.emit import Emission
from rnnexport.lowering.forms import Form


def put_in_place(graph: ir.Graph, loop: ir.Node, form: Form, constants: Constants) -> None:
    """Replace a Loop by one of its forms."""
    name = f"{name_of(loop)}/lowered"
    while any(other.startswith(f"{name}/") for other in graph.initializers):
        name += "_"
    emission = Emission(name, constants, {})
    new = {old: emission.value(term) for old, term in form.items()}
    for initializer in emission.initializers:
        graph.register_initializer(initializer)
    graph.insert_before(loop, emission.nodes)
    for old, value in new.items():
        replace_value(graph, old, value, loop)
    graph.remove(loop, safe=True)
    # What only its body captured is not used any more.
    for node in ir.traversal.RecursiveGraphIterator(loop.attributes["body"].as_graph()):
        for at in range(len(node.inputs)):
            node.replace_input_with(at, None)


def replace_value(graph: ir.Graph, old: ir.Value, new: ir.Value, before: ir.Node) -> None:
    """Let all that reads `old` read `new`. An output of the model keeps its name, by a node in front of `before`."""
    places = [at for at, output in enumerate(graph.outputs) if output is old]
    if places:
        node = ir.Node("", "Identity", [new], num_outputs=1, name=f"{old.name}/kept")
        name, old.name = old.name, f"{old.name}__before"
        (new,) = node.outputs
        new.name, new.type, new.shape = name, old.type, old.shape
        for at in places:
            graph.outputs[at] = new
        graph.insert_before(before, node)
    ir.convenience.replace_all_uses_with(old, new)
