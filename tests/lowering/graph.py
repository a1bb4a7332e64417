"""ONNX graphs while they are written: the graph around a Loop, and the body of the Loop, which can capture from it."""

from __future__ import annotations

from itertools import count

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper


class Graph:
    """Nodes and initializers, in the order in which they are written. Names are unique across nested graphs."""

    def __init__(self, rng, names=None, scope="model"):
        self.rng = rng
        self.names = names or count()
        self.scope = scope
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []

    def name(self, what):
        return f"{self.scope}/{what}_{next(self.names)}:0"

    def op(self, kind, *inputs, **attributes):
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(self, kind, outputs, *inputs, **attributes):
        made = [self.name(kind) for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, [name or "" for name in inputs], made, **attributes))
        return made

    def const(self, array, dtype=np.float32):
        """An initializer, or now and then a Constant node."""
        tensor = numpy_helper.from_array(np.array(array, dtype))
        if self.chance(0.1):
            return self.op("Constant", value=tensor)
        tensor.name = self.name("const")
        self.initializers.append(tensor)
        return tensor.name

    def ints(self, *values):
        return self.const(values, np.int64)

    def chance(self, probability):
        return bool(self.rng.random() < probability)

    def pick(self, *options):
        return options[int(self.rng.integers(len(options)))]

    def shuffled(self, items):
        items = list(items)
        return [items[index] for index in self.rng.permutation(len(items))]


class Body(Graph):
    """The body of a Loop.

    Attributes:
        outer: the graph around.
        weights: how a weight gets in: "carried" through the loop as a state that never changes, as tf2onnx does,
            "captured" from the graph around, "inside" the body, or each weight in a "mixed" way.
        carried: (name outside, name in the body, dtype, shape) of the states that never change.
        notes: what the writers chose, for the description of the cell.
    """

    def __init__(self, outer, weights="carried"):
        super().__init__(outer.rng, outer.names, f"{outer.scope}/while")
        self.outer = outer
        self.weights = weights
        self.carried: list[tuple[str, str, int, list]] = []
        self.notes: list[str] = []

    def note(self, text):
        if text not in self.notes:
            self.notes.append(text)

    def weight(self, array):
        way = self.pick("carried", "captured", "inside") if self.weights == "mixed" else self.weights
        array = np.array(array, np.float32)
        if way == "inside":
            return self.const(array)
        outside = self.outer.const(array)
        return self.carry(outside, TensorProto.FLOAT, array.shape) if way == "carried" else outside

    def transposed_weight(self, array):
        """A weight that is stored transposed; it is turned in the body or outside."""
        stored = np.array(array, np.float32).T
        if self.chance(0.5):
            self.note("kernel turned in the body")
            return self.op("Transpose", self.weight(stored), perm=[1, 0])
        self.note("kernel turned outside")
        outside = self.outer.op("Transpose", self.outer.const(stored), perm=[1, 0])
        return self.carry(outside, TensorProto.FLOAT, array.shape) if self.weights == "carried" else outside

    def carry(self, outside, dtype, shape):
        inside = self.name("placeholder")
        self.carried.append((outside, inside, dtype, list(shape)))
        return inside
