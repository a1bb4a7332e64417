"""One order and one set of names for a converted graph, whatever the converter's hash seed and counters were.

tf2onnx walks over sets: what it numbers, the order of its nodes, and which of several equal values it keeps change from
process to process. Afterwards all of these follow from the graph's structure, seen from its outputs:

1. No node is an `Identity`, but where an output of a graph needs one: it is the same value as an output before it, an
   initializer, an input of the model, or a value of a graph around it.
2. Nodes of one graph that compute the same are one, and so are initializers of one graph that hold the same. It has
   the shortest of their names, one from the source before one that tf2onnx made, and all that is known of their shapes.
3. A node stands behind those that it depends on, in the order in which the outputs reach them; what no output reaches
   is gone. Initializers are in the order in which they are read, attributes in that of their names.
4. A node is called by its path in the source; `_2`, `_3`, ... tell nodes of one path apart, in the order of 3.
   One that tf2onnx put beside those of the source is called by what it reads and its operator. Outputs are
   `path:0`, `path:1`, ..., and the inputs of a body `path/in_0`, `path/in_1`, ...
5. The model's inputs and outputs keep their names, order, dtypes and shapes.

Before: const_axes__1391, a/lstm/Shape__1388, a_lstm_while_cond_frozen_170733_a/lstm/while/Less
After:  const_axes, a/lstm/Shape/Cast, a/lstm/while/Less
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence

import onnx_ir as ir
from onnx_ir.traversal import RecursiveGraphIterator

from rnnexport.conversion.boundary import forget_invented_dims
from rnnexport.ir.loop_body import RANDOM, subgraphs

# tf2onnx numbers what it makes `__123`. A node that it takes out of a function gets `function_frozen_123_` in front of
# its path, and one that it copies into the body of a loop `cond___`. TensorFlow calls a table `embedding_lookup/7097`,
# and a function that it traces `__inference_body_123_`.
_COUNTER = re.compile(r"__\d+")
_FUNCTION = re.compile(r"^(?:\w*_frozen_\d+_|__inference_\w+?_\d+_|cond___)+")
_HANDLE = re.compile(r"(embedding_lookup(?:_\d+)?)/\d+(?=(?::\d+)?$)")
_COMPARABLE = frozenset(
    (
        *(ir.AttributeType.FLOAT, ir.AttributeType.INT, ir.AttributeType.STRING, ir.AttributeType.TENSOR),
        *(ir.AttributeType.FLOATS, ir.AttributeType.INTS, ir.AttributeType.STRINGS),
    )
)


def canonicalise(model: ir.Model, own: Collection[str] = ()) -> None:
    """Give all that is inside `model` its canonical order and names, in place; see above.

    Args:
        model: as tf2onnx made it.
        own: parts of the source's paths that look like names of tf2onnx, and are to stay; see `lookalikes`.
    """
    for node in model.graph.all_nodes():
        node.name = _path(str(node.name), own)
        for key in sorted(node.attributes):
            node.attributes[key] = node.attributes.pop(key)
    shapes = [value.shape for value in (*model.graph.inputs, *model.graph.outputs)]
    forget_invented_dims(model.graph)
    _merge(model.graph, own)
    _sort(model.graph)
    boundary = (*model.graph.inputs, *model.graph.outputs)
    for value, shape in zip(boundary, shapes, strict=True):
        value.shape = shape
    _Names({str(value.name) for value in boundary}, own).give(model.graph)


def without_function(path: str) -> str:
    """A path without the name and the number of the function that it was in."""
    return _FUNCTION.sub("", path)


def plain(name: str, own: Collection[str] = ()) -> str:
    """A path without the counters and the names of functions that tf2onnx and TensorFlow put in."""
    parts = _HANDLE.sub(r"\1", name).split("/")
    if parts[0] not in own:
        parts[0] = without_function(parts[0])
    return "/".join(part if part in own else _COUNTER.sub("", part) for part in parts)


def lookalikes(paths: Collection[str]) -> frozenset[str]:
    """The parts of the source's own paths that `plain` would change: a user may call a layer `lstm__2`."""
    parts = {part for path in paths for part in path.split("/")}
    return frozenset(part for part in parts if plain(part) != part)


def preference(name: str, own: Collection[str] = ()) -> tuple[bool, int, str]:
    """The least is the best name of several, which does not depend on numbers."""
    path = plain(name, own)
    return path != name, len(path), path


def _path(name: str, own: Collection[str]) -> str:
    """The path in the source; empty for what tf2onnx numbered, which has none."""
    last = name.rpartition("/")[2]
    return "" if last not in own and _COUNTER.search(last) else plain(name, own)


def _merge(graph: ir.Graph, own: Collection[str], *, is_body: bool = False) -> None:
    """Let all that reads an identity, or what is computed or held twice, read the one that stays."""
    held: dict[Hashable, ir.Value] = {}
    for value in sorted(graph.initializers.values(), key=lambda value: preference(str(value.name), own)):
        _replace(value, held.setdefault(_content(value), value))
    computed: dict[Hashable, ir.Node] = {}
    originals: dict[ir.Value, ir.Value] = {}
    for node in graph:
        for body in subgraphs(node):
            _merge(body, own, is_body=True)
        if _is_identity(node):
            kept = node.inputs
        else:
            first = computed.setdefault(_computation(node), node)
            first.name = min(filter(None, (first.name, node.name)), key=preference, default="")
            kept = first.outputs
        for old, new in zip(node.outputs, kept, strict=True):
            if new is not None and new is not old:
                _replace(old, new)
                originals[old] = new
    _set_outputs(graph, originals, is_body=is_body)


def _is_identity(node: ir.Node) -> bool:
    return node.op_type == "Identity" and not node.domain


def _content(value: ir.Value) -> Hashable:
    """Equal for initializers that hold the same."""
    return _array(value.const_value) if value.const_value is not None else value


def _array(tensor: ir.TensorProtocol) -> Hashable:
    array = tensor.numpy()
    data = repr(array.tolist()).encode() if array.dtype == object else array.tobytes()
    return tensor.dtype, array.shape, hashlib.sha256(data).digest()


def _computation(node: ir.Node) -> Hashable:
    """Equal for nodes that compute the same of the same values."""
    attributes = list(node.attributes.values())
    if node.op_type in RANDOM or any(attribute.type not in _COMPARABLE for attribute in attributes):
        return node
    settings = [
        (item.name, _array(item.value) if item.type == ir.AttributeType.TENSOR else repr(item.value))
        for item in attributes
    ]
    outputs = [bool(value.name) for value in node.outputs]
    return node.domain, node.op_type, tuple(node.inputs), tuple(settings), tuple(outputs)


def _replace(old: ir.Value, new: ir.Value) -> None:
    if new is not old:
        new.type = new.type or old.type
        new.shape = _known(new.shape, old.shape)
        for node, at in tuple(old.uses()):
            node.replace_input_with(at, new)


def _known(one: ir.Shape | None, other: ir.Shape | None) -> ir.Shape | None:
    """What two descriptions of one value know together."""
    if one is None or other is None or len(one) != len(other):
        return other if one is None else one
    return ir.Shape([second if isinstance(second, int) else first for first, second in zip(one, other, strict=True)])


def _set_outputs(graph: ir.Graph, originals: Mapping[ir.Value, ir.Value], *, is_body: bool) -> None:
    """Let the outputs of a graph be originals, where they can; those of the outermost keep their names."""
    before, after = list(graph.outputs), list[ir.Value]()
    for old in before:
        value = originals.get(old, old)
        if value in after or not _may_leave(value, graph, is_body=is_body):
            node = ir.Node("", "Identity", [value], num_outputs=1, name="")
            graph.append(node)
            (copy,) = node.outputs
            copy.type, copy.shape = old.type or value.type, _known(old.shape, value.shape)
            value = copy
        after.append(value)
    names = [value.name for value in before]
    graph.outputs.clear()
    graph.outputs.extend(after)
    for value, name in zip(after, names, strict=True):
        if value.producer() is not None:
            value.name = name


def _may_leave(value: ir.Value, graph: ir.Graph, *, is_body: bool) -> bool:
    return value.graph is graph and (value.producer() is not None or (is_body and value.is_graph_input()))


def _sort(graph: ir.Graph) -> None:
    """Bring nodes and initializers into the order in which the outputs reach them, and take the others away."""
    nodes = list(graph)
    for node in nodes:
        for body in subgraphs(node):
            _sort(body)
    sources = {node: list(_read(node, graph)) for node in nodes}
    order = _reached(graph, sources)
    for node in nodes:
        if node not in order:
            _detach(node)
    graph.remove(nodes)
    graph.extend(order)
    read = dict.fromkeys(value for node in order for value in sources[node] if value.is_initializer())
    graph.initializers.clear()
    for value in read:
        graph.initializers.add(value)


def _reached(graph: ir.Graph, sources: Mapping[ir.Node, Sequence[ir.Value]]) -> dict[ir.Node, None]:
    """The nodes that the outputs depend on, in order; `sources` are the values that each node reads."""
    order: dict[ir.Node, None] = {}
    waiting = _producers(reversed(graph.outputs))
    while waiting:
        node = waiting[-1]
        missing = [] if node in order else [each for each in _producers(sources[node]) if each not in order]
        if missing:
            waiting += reversed(missing)
        else:
            waiting.pop()
            order.setdefault(node)
    return order


def _producers(values: Iterable[ir.Value]) -> list[ir.Node]:
    return [node for value in values if (node := value.producer()) is not None]


def _read(node: ir.Node, graph: ir.Graph) -> Iterator[ir.Value]:
    """The values of `graph` that a node reads, those that its bodies capture too."""
    inner = (part for body in subgraphs(node) for part in RecursiveGraphIterator(body))
    for part in (node, *inner):
        yield from (value for value in part.inputs if value is not None and value.graph is graph)


def _detach(node: ir.Node) -> None:
    for part in (node, *(part for body in subgraphs(node) for part in RecursiveGraphIterator(body))):
        for at in range(len(part.inputs)):
            part.replace_input_with(at, None)


def _beside(node: ir.Node) -> str:
    """A path for a node that has none in the source; what it reads has names."""
    read = [value for value in node.inputs if value is not None]
    made = [producer.name for value in read if (producer := value.producer()) is not None]
    paths = [*made, *(str(value.name).removesuffix(":0") for value in read)]
    return f"{paths[0]}/{node.op_type}" if paths else node.op_type


class _Names:
    """Gives names; `taken` are those that are not to be given."""

    def __init__(self, taken: Collection[str], own: Collection[str]) -> None:
        self._taken, self._own = set(taken), own

    def give(self, graph: ir.Graph, loop: ir.Node | None = None) -> None:
        """Name all that is in `graph`, the body of `loop` or the outermost, in its order."""
        kept = set() if loop is not None else {*graph.outputs}
        if loop is not None:
            for at, value in enumerate(graph.inputs):
                value.name = self._free(f"{loop.name}/in_{at}")
        initializers = list(graph.initializers.values())
        graph.initializers.clear()
        for value in initializers:
            value.name = self._free(plain(str(value.name), self._own))
            graph.initializers.add(value)
        for node in graph:
            node.name = self._free(node.name or _beside(node))
            for at, value in enumerate(node.outputs):
                if value.name and value not in kept:
                    value.name = self._free(f"{node.name}:{at}")
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.GRAPH:
                    attribute.as_graph().name = f"{node.name}/{attribute.name}"
                    self.give(attribute.as_graph(), node)

    def _free(self, base: str) -> str:
        name, count = base, 1
        while name in self._taken:
            count += 1
            name = f"{base}_{count}"
        self._taken.add(name)
        return name
