"""The model around a cell: a counted Loop, written in the ways in which tf2onnx writes it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, TensorProto, helper

from tests.lowering.draws import vector
from tests.lowering.graph import Body, Graph

FLOAT, INT32, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL


@dataclass(frozen=True)
class Layout:
    """How the Loop is written.

    Attributes:
        opset: of the model.
        trips: "for" (a trip count and a condition), "while" (the condition alone), or "fixed" (a constant count).
        timesteps: the constant count; None for any length.
        weights: how they get into the body; see `Body`.
        backwards: whether time runs from the end.
        time_major: whether x is [time, batch, features] already.
        masked: whether a mask of the timesteps comes in as well.
        initial: of each state, in the order of the loop: "zero", "constant" or "input".
        results: the outputs of the model among those of the cell (of every step) and its states (the last ones).
    """

    opset: int
    trips: str
    timesteps: int | None
    weights: str
    backwards: bool
    time_major: bool
    masked: bool
    initial: dict[str, str]
    results: tuple[str, ...]

    def __str__(self):
        told = [self.trips, f"weights {self.weights}", f"opset {self.opset}" * (self.opset != 17)]
        told += ["backwards" * self.backwards, "time-major" * self.time_major, "masked" * self.masked]
        told += [f"{state} from {how}" for state, how in self.initial.items()]
        return ", ".join(filter(None, told)) + " -> " + ", ".join(self.results)


def random_layout(rng, cell, masked=False):
    def pick(*options):
        return options[int(rng.integers(len(options)))]

    states = [str(state) for state in rng.permutation(list(cell.states))]
    results = [str(name) for name in rng.permutation([*cell.outputs, *states])]
    style = pick("sequence", "sequence", "last", "some")
    if style == "sequence":
        results = [name for name in results if name in cell.outputs]
    elif style == "last":
        results = [name for name in results if name in cell.states]
    else:
        results = results[int(rng.integers(len(results))) :]
    must = [name for name in getattr(cell, "must_show", ()) if name not in results]
    trips = pick("for", "for", "for", "while", "while", "fixed")
    return Layout(
        opset=pick(17, 17, 17, 17, 13),
        trips=trips,
        timesteps=int(rng.integers(2, 8)) if trips == "fixed" else None,
        weights=pick("carried", "carried", "captured", "inside", "mixed"),
        backwards=bool(rng.random() < 0.2),
        time_major=bool(rng.random() < 0.1),
        masked=masked,
        initial={state: pick("zero", "zero", "constant", "input") for state in states},
        results=tuple(results + must),
    )


@dataclass(frozen=True)
class Built:
    """A model, and what is needed to compute it by other means.

    Attributes:
        model: with one Loop, or with one in another.
        notes: how the body is written.
        initial: the constant of each state that has one.
    """

    model: ModelProto
    notes: tuple[str, ...]
    initial: dict[str, np.ndarray]


@dataclass(frozen=True)
class Count:
    """How often the Loop runs: names outside, and of what counts in the body.

    Attributes:
        trips: the trip count; None where the condition alone decides.
        condition: before the first step.
        limit: the number of steps as tf2onnx carries it; None for a constant.
        step: the state that counts, in the body.
        iteration: the iteration number that the Loop itself gives to the body.
        going: the condition that the Loop gives to the body.
    """

    trips: str | None
    condition: str
    limit: str | None
    step: str
    iteration: str
    going: str


class LoopWriter:
    """Writes one model, from the top to the bottom."""

    def __init__(self, cell, layout, rng):
        self.cell, self.layout, self.rng = cell, layout, rng
        self.outer = Graph(rng, itertools.count(), f"model/{cell.op.lower()}")
        self.body = Body(self.outer, layout.weights)
        self.initial = {}
        self.batch_axis = 1 if layout.time_major else 0
        self.inputs = [self._data("x", FLOAT, cell.features)]

    def _data(self, name, dtype, *width):
        lead = ["batch", self.layout.timesteps or "time"]
        lead = lead[::-1] if self.layout.time_major else lead
        return helper.make_tensor_value_info(name, dtype, [*lead, *width])

    def build(self):
        sequences = {"x": self._sequence("x")}
        if self.layout.masked:
            self.inputs.append(self._data("mask", BOOL))
            sequences["mask"] = self._sequence(self.outer.op("Unsqueeze", "mask", self.outer.ints(2)))
        count = self._count(sequences["x"])
        before = {state: self._initial(state) for state in self.layout.initial}
        inside = {state: self.body.name(f"placeholder_{state}") for state in before}
        values = {name: self.body.op("Gather", value, count.step) for name, value in sequences.items()}
        written = self.cell.write(self.body, values | self._constants() | {"t": count.step}, inside)
        return Built(self._model(count, before, inside, written), tuple(self.body.notes), self.initial)

    def _sequence(self, name):
        """Time first, and reversed if time runs backwards."""
        outer = self.outer
        value = name if self.layout.time_major else outer.op("Transpose", name, perm=[1, 0, 2])
        if not self.layout.backwards:
            return value
        shape = outer.op("Shape", value)
        length, batch = (outer.op("Gather", shape, outer.ints(axis)) for axis in (0, 1))
        return outer.op("ReverseSequence", value, outer.op("Expand", length, batch), batch_axis=1, time_axis=0)

    def _first(self, shape, axis):
        """One dimension, as tf2onnx takes it: an int32 vector of one element."""
        outer = self.outer
        return outer.op(
            "Slice", outer.op("Cast", shape, to=INT32), outer.ints(axis), outer.ints(axis + 1), outer.ints(0)
        )

    def _count(self, sequence):
        outer, fixed = self.outer, self.layout.timesteps
        if fixed:
            limit, trips = None, outer.const(fixed, np.int64)
            above = outer.op("Less", outer.const(0), outer.const(fixed))
        else:
            limit = outer.op("Squeeze", self._first(outer.op("Shape", sequence), 0), outer.ints(0))
            above = outer.op("Less", outer.const(0), outer.op("Cast", limit, to=FLOAT))
            trips = outer.op("Cast", limit, to=INT64) if self.layout.trips == "for" else None
        condition = above if self.layout.trips == "while" else outer.op("And", above, above)
        inside = (self.body.name(what) for what in ("placeholder", "loop_counter", "cond"))
        return Count(trips, condition, limit, *inside)

    def _initial(self, state):
        outer, shape = self.outer, self.cell.states[state]
        if shape is None:  # a step counter
            return outer.const(0, np.int32)
        how = self.layout.initial[state]
        if how == "input":
            self.inputs.append(helper.make_tensor_value_info(f"initial_{state}", FLOAT, ["batch", *shape]))
            return f"initial_{state}"
        batch = self._first(outer.op("Shape", "x"), self.batch_axis)
        whole = outer.op("Concat", batch, outer.const(shape, np.int32), axis=0)
        whole = outer.op("Cast", whole, to=INT64)
        if how == "zero":
            return outer.op("Expand", outer.const(0), whole)
        self.initial[state] = vector(self.rng, int(np.prod(shape)), 0.2, 0.9).reshape(shape)
        return outer.op("Expand", outer.const(self.initial[state]), whole)

    def _constants(self):
        """Inputs of the model that the cell reads in every step, carried or captured."""
        made = {}
        for name, shape in getattr(self.cell, "constants", {}).items():
            self.inputs.append(helper.make_tensor_value_info(name, FLOAT, ["batch", *shape]))
            made[name] = self.body.carry(name, FLOAT, ["batch", *shape]) if self.outer.chance(0.5) else name
        return made

    def _next_condition(self, count, next_step, carried_limit):
        """(iteration < limit) and (step + 1 < limit), in floats, as tf2onnx compares."""
        body, fixed = self.body, self.layout.timesteps

        def limit(name):
            return body.const(fixed) if fixed else body.op("Cast", name, to=FLOAT)

        above = body.op("Less", body.op("Cast", next_step, to=FLOAT), limit(carried_limit))
        if self.layout.trips == "while":
            return above
        counted = body.op("Less", body.op("Cast", count.iteration, to=FLOAT), limit(count.limit))
        return body.op("And", counted, above)

    def _model(self, count, before, inside, written):
        body, cell = self.body, self.cell
        limit = [] if self.layout.timesteps else [(count.limit, body.name("limit"), INT32, [])]
        next_step = add_one(body, count.step)
        condition = self._next_condition(count, next_step, limit[0][1] if limit else None)
        passed = limit + body.carried
        states = list(before)
        scans = [name for name in cell.outputs if name in self.layout.results]
        body_inputs = [info(count.iteration, INT64), info(count.going, BOOL), info(count.step, INT32)]
        body_inputs += [state_info(inside[state], cell.states[state]) for state in states]
        body_inputs += [info(name, dtype, shape) for _, name, dtype, shape in passed]
        outputs = [info(condition, BOOL), info(next_step, INT32)]
        taken = {name for _, name, _, _ in passed}
        outputs += [state_info(once(body, taken, written.states[state]), cell.states[state]) for state in states]
        outputs += [info(name, dtype, shape) for _, name, dtype, shape in passed]
        outputs += [state_info(once(body, taken, written.outputs[name]), cell.outputs[name]) for name in scans]
        graph = helper.make_graph(body.nodes, "body", body_inputs, outputs, body.initializers)
        given = [count.trips, count.condition, self.outer.const(0, np.int32), *before.values()]
        given += [outside for outside, _, _, _ in passed]
        made = self.outer.ops("Loop", len(outputs) - 1, *given, body=graph)
        first_scan = len(made) - len(scans)
        scanned = dict(zip(scans, made[first_scan:], strict=True))
        return self._with_results(dict(zip(states, made[1:], strict=False)), scanned)

    def _with_results(self, last, scanned):
        results = []
        for name in self.layout.results:
            if name in scanned:
                shape = self.cell.outputs[name]
                perm = [0, 1, 2] if self.layout.time_major else [1, 0, 2]
                perm += range(3, 2 + len(shape))
                value = self.outer.op("Transpose", scanned[name], perm=perm)
                described = self._data(f"every_{name}", FLOAT, *shape)
            else:
                shape, value = self.cell.states[name], last[name]
                described = state_info(f"last_{name}", shape)
            self.outer.nodes.append(helper.make_node("Identity", [value], [described.name]))
            results.append(described)
        graph = helper.make_graph(self.outer.nodes, "model", self.inputs, results, self.outer.initializers)
        opset = helper.make_opsetid("", self.layout.opset)
        return helper.make_model(graph, opset_imports=[opset], ir_version=8)


def info(name, dtype, shape=()):
    return helper.make_tensor_value_info(name, dtype, list(shape))


def state_info(name, shape):
    return info(name, INT32) if shape is None else info(name, FLOAT, ["batch", *shape])


def add_one(body, step):
    return body.op("Add", step, body.const(1, np.int32))


def once(body, taken, name):
    """The value, or its copy if it already is an output of the body or comes from around: outputs differ in name."""
    made = {output for node in body.nodes for output in node.output}
    if name in taken or name not in made or body.chance(0.2):
        name = body.op("Identity", name)
    taken.add(name)
    return name
