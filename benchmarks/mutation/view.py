"""An ONNX graph to look at and to edit: who makes a value, who reads it, which constant it is, bodies included.

A fault is a pure function of a model. It looks for places, and for each of them gives an `Edit`: where it is, and what
to do there, which is done in a copy. So every mutant has one fault, and the model that is given stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import onnx
from onnx import numpy_helper

from benchmarks.mutation.nodes import attribute, evaluated

FLOATS = (onnx.TensorProto.FLOAT,)
_CUTS = ("Slice", "Squeeze", "Split", "Identity")
Attributes = Mapping[str, object]


@dataclass(frozen=True)
class Edit:
    """One fault at one place.

    Attributes:
        where: the place, in words that are the same in every run.
        apply: puts the fault into the model that the place was found in.
    """

    where: str
    apply: Callable[[], None]


Fault = Callable[["View"], Iterator[Edit]]


@dataclass(frozen=True)
class Mutant:
    """A model with one fault.

    Attributes:
        where: the place of the fault.
        model: the whole of it, goldens and boundary as they were.
    """

    where: str
    model: onnx.ModelProto


def mutants(model: onnx.ModelProto, fault: Fault) -> Iterator[Mutant]:
    """Every mutant that `fault` makes of `model`, which is left as it is."""
    for index in range(len(list(fault(View(copied(model)))))):
        copy = copied(model)
        edit = list(fault(View(copy)))[index]
        edit.apply()
        yield Mutant(edit.where, copy)


def copied(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that shares nothing."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


@dataclass(frozen=True, eq=False)
class Place:
    """One graph: that of the model, or the body of a node.

    Attributes:
        graph: the graph.
        owner: the node whose body it is; None for the graph of the model.
        around: the place of that node.
    """

    graph: onnx.GraphProto
    owner: onnx.NodeProto | None = None
    around: Place | None = None

    @property
    def loop(self) -> str:
        """`Loop` or `Scan` where this is the body of one; empty elsewhere."""
        return self.owner.op_type if self.owner is not None and self.owner.op_type in ("Loop", "Scan") else ""

    def states(self) -> list[int]:
        """The indices of the body's inputs that are carried from step to step and float, changed by the step."""
        assert self.owner is not None
        first = 2 if self.loop == "Loop" else 0
        last = len(self.graph.input) if self.loop == "Loop" else len(self.graph.input) - scanned(self.owner)
        return [
            at
            for at in range(first, last)
            if self.graph.input[at].type.tensor_type.elem_type in FLOATS and self.after(at) != self.graph.input[at].name
        ]

    def after(self, at: int) -> str:
        """The body's output that is the next value of its input `at`."""
        return str(self.graph.output[at - 1 if self.loop == "Loop" else at].name)


def scanned(scan: onnx.NodeProto) -> int:
    """How many inputs of a Scan are sequences."""
    return int(next(a.i for a in scan.attribute if a.name == "num_scan_inputs"))


@dataclass(frozen=True, eq=False)
class View:
    """A model that may be edited. What was looked up holds until the first edit."""

    model: onnx.ModelProto
    _names: Iterator[int] = field(default_factory=lambda: iter(range(1_000_000)))

    @cached_property
    def places(self) -> list[Place]:
        """All graphs, the model's first."""
        found = [Place(self.model.graph)]
        for place in found:
            for node in place.graph.node:
                found += [Place(a.g, node, place) for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
        return found

    @property
    def main(self) -> Place:
        """The graph of the model."""
        return self.places[0]

    def nodes(self, *ops: str) -> Iterator[tuple[Place, onnx.NodeProto]]:
        """All nodes of these operators whose values matter, of every operator where none is named.

        What is read for its shape alone is computed in vain, and a fault there is none.
        """
        for place, node in self.everything():
            if (not ops or node.op_type in ops) and any(name in self._needed for name in node.output):
                yield place, node

    def everything(self) -> Iterator[tuple[Place, onnx.NodeProto]]:
        """All nodes."""
        return ((place, node) for place in self.places for node in place.graph.node)

    @cached_property
    def _needed(self) -> set[str]:
        """The names of all values that an output depends on."""
        todo = [value.name for value in self.main.graph.output]
        found: set[str] = set()
        while todo:
            name = todo.pop()
            node = None if name in found else self.producer(name)
            found.add(name)
            if node is not None and node.op_type != "Shape":
                todo += node.input
                todo += [value.name for a in node.attribute for value in a.g.output]
        return found

    @cached_property
    def _producers(self) -> dict[str, tuple[Place, onnx.NodeProto]]:
        return {name: (place, node) for place, node in self.everything() for name in node.output if name}

    @cached_property
    def _readers(self) -> dict[str, list[tuple[onnx.NodeProto, int]]]:
        readers: dict[str, list[tuple[onnx.NodeProto, int]]] = {}
        for _, node in self.nodes():
            for at, name in enumerate(node.input):
                readers.setdefault(name, []).append((node, at))
        return readers

    def producer(self, name: str) -> onnx.NodeProto | None:
        """The node that makes the value."""
        found = self._producers.get(name)
        return None if found is None else found[1]

    def readers(self, name: str) -> list[tuple[onnx.NodeProto, int]]:
        """The nodes that read the value, and as which input."""
        return self._readers.get(name, [])

    @cached_property
    def _constants(self) -> dict[str, onnx.TensorProto]:
        found = {tensor.name: tensor for place in self.places for tensor in place.graph.initializer}
        for _, node in self.everything():
            value = attribute(node, "value")
            if node.op_type == "Constant" and value is not None:
                found[node.output[0]] = value.t
        return found

    @cached_property
    def _invariants(self) -> dict[str, str]:
        """Inputs of Loop bodies that hold the same value in every step, with the outer value they hold."""
        found = {}
        for place in self.places:
            if place.loop == "Loop" and place.owner is not None:
                for at, value in enumerate(place.graph.input):
                    if at >= 2 and place.after(at) == value.name:
                        found[value.name] = place.owner.input[at]
        return found

    def origin(self, name: str) -> str:
        """The outer value that the body of a Loop was given under this name, or the name itself."""
        while name in self._invariants:
            name = self._invariants[name]
        return name

    def tensor(self, name: str) -> onnx.TensorProto | None:
        """The constant of that name, also where a Loop carries it unchanged."""
        return self._constants.get(self.origin(name))

    def array(self, name: str) -> np.ndarray | None:
        """Its value."""
        tensor = self.tensor(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def known(self, name: str) -> np.ndarray | None:
        """The value of a constant, or of a part that is cut out of one."""
        array, node = self.array(name), self.producer(name)
        if array is not None or node is None or node.op_type not in _CUTS:
            return array
        inputs = [self.known(one) for one in node.input]
        given = [one for one in inputs if one is not None]
        return None if len(given) < len(inputs) else evaluated(node, given)[list(node.output).index(name)]

    def root(self, name: str) -> onnx.TensorProto | None:
        """The constant that a value is, or is cut out of."""
        tensor, node = self.tensor(name), self.producer(name)
        return self.root(node.input[0]) if tensor is None and node is not None and node.op_type in _CUTS else tensor

    def weights(self) -> Iterator[tuple[str, onnx.TensorProto]]:
        """Every float constant that has axes, with its name: what was trained, and what was computed from that."""
        for name, tensor in self._constants.items():
            if tensor.data_type in FLOATS and tensor.dims and self.readers_of_constant(name):
                yield name, tensor

    def readers_of_constant(self, name: str) -> list[tuple[onnx.NodeProto, int]]:
        """The nodes that read a constant, also those in Loops that carry it."""
        names = [name, *(inner for inner in self._invariants if self.origin(inner) == name)]
        return [reader for one in names for reader in self.readers(one) if reader[0].op_type != "Loop"]

    def put(self, tensor: onnx.TensorProto, value: np.ndarray) -> None:
        """Give a constant another value."""
        old = numpy_helper.to_array(tensor)
        assert value.shape == old.shape, (value.shape, old.shape)
        tensor.CopyFrom(numpy_helper.from_array(np.asarray(value, old.dtype, order="C"), tensor.name))

    def new_name(self, kind: str) -> str:
        """A name that the model does not have."""
        return f"mutation/{kind}_{next(self._names)}"

    def ints(self, *numbers: int) -> str:
        """A new constant list of int64."""
        return self.constant(np.array(numbers, np.int64))

    def constant(self, value: np.ndarray | np.generic) -> str:
        """A new constant, which every graph can read."""
        name = self.new_name("const")
        self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def before(
        self, place: Place, node: onnx.NodeProto, op: str, inputs: Sequence[str], attributes: Attributes | None = None
    ) -> str:
        """The output of a new node right before `node`."""
        return self._inserted(place, self._index(place, node), op, inputs, self.new_name(op.lower()), attributes)

    def behind(
        self,
        place: Place,
        node: onnx.NodeProto,
        op: str,
        inputs: Sequence[str],
        output: str,
        attributes: Attributes | None = None,
    ) -> None:
        """A new node right behind `node`, which makes the value `output`."""
        self._inserted(place, self._index(place, node) + 1, op, inputs, output, attributes)

    def _index(self, place: Place, node: onnx.NodeProto) -> int:
        return next(at for at, other in enumerate(place.graph.node) if other is node or other == node)

    def _inserted(
        self, place: Place, at: int, op: str, inputs: Sequence[str], output: str, attributes: Attributes | None
    ) -> str:
        made = onnx.helper.make_node(op, list(inputs), [output])
        made.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in (attributes or {}).items())
        place.graph.node.insert(at, made)
        return output

    def renamed_output(self, node: onnx.NodeProto, at: int) -> str:
        """Give an output of `node` a new name, so that another node can make the old one."""
        node.output[at] = self.new_name("was")
        return str(node.output[at])
