"""A traced model again, operator by operator: in the forms of `forms`, with calls written out, and loops if asked for.

Shapes are inferred anew from those of the inputs, so that what a program left open may be known now, and what follows
from constants and known shapes is a constant.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import tensorflow as tf

from rnnexport.compat.tensorflow import function_def_to_graph
from rnnexport.core.errors import ConversionError
from rnnexport.source.freezing import captured
from rnnexport.source.trace import TracedModel
from rnnexport.targets.tflite.elements import LISTS, ElementList, NotFixed
from rnnexport.targets.tflite.forms import FORMS
from rnnexport.targets.tflite.forms.form import known
from rnnexport.targets.tflite.looping import Loop
from rnnexport.targets.tflite.stacking import STACKS, Stacked

# A tensor, or a list of tensors: an `ElementList` where loops are written out, else a `Stacked` if that is asked for.
Value = Any
_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_LOOPS = frozenset({"While", "StatelessWhile"})
_BRANCHES = frozenset({"If", "StatelessIf", "Case", "StatelessCase"})
_SHAPES = frozenset({"Shape", "Size", "Rank"})
_AIDS = frozenset({"GatherV2", "StridedSlice"})  # forms that the converter does without, but for others behind them
_HINTS = ("_output_shapes", "_class")  # of a graph that is not this one
_MOST_FOLDED = 64  # numbers of a constant that takes the place of an operator
_MOST_NODES = 100_000  # of a graph with its loops written out, which the converter takes minutes for


@dataclass(frozen=True)
class Style:
    """How a model is written again.

    Attributes:
        kept: operators that stay, though they have another form.
        unrolled: whether loops that are counted are written out, step by step.
        stacked: whether lists are tensors, so that every loop can stay one.
        growing: whether such a list may be longer after each of some loops, for a runtime with open sizes inside.
        fused: by the name of a loop, what gives its results for what it begins with, in the place of the loop.
    """

    kept: frozenset[str] = frozenset()
    unrolled: bool = False
    stacked: bool = False
    growing: bool = True
    fused: Mapping[str, Callable[[Sequence[Value]], list[Value]]] = field(default_factory=dict)

    @property
    def lists(self) -> Mapping[str, Callable[..., Sequence[Any]]]:
        """What is written in the place of each operator on lists."""
        return LISTS if self.unrolled else STACKS if self.stacked else {}


PLAIN = Style()


def in_other_forms(traced: TracedModel, style: Style = PLAIN) -> TracedModel:
    """The model with all operators of `FORMS` written so; itself where there is nothing to write in another way.

    Raises:
        ConversionError: a loop that is to be written out has too many steps.
    """
    graph = traced.function.graph
    wanted = (FORMS.keys() - _AIDS - style.kept) | _CALLS | _LOOPS | _BRANCHES
    if not any(one.type in wanted for one in graph.get_operations()):
        return traced
    replay = _Replay(graph, style)
    made: dict[str, tf.Tensor] = {}

    def rebuild() -> None:
        given: dict[str, Value] = {}
        for name in traced.input_tensors:
            tensor = graph.get_tensor_by_name(name)
            given[name] = tf.compat.v1.placeholder(tensor.dtype, tensor.shape, tensor.op.name)
        found = replay.run(graph, given | captured(traced.open_weights), traced.output_tensors)
        made.update({name: given[name] for name in traced.input_tensors})
        made.update(zip(traced.output_tensors, map(tf.identity, found), strict=True))

    wrapped = tf.compat.v1.wrap_function(rebuild, [])
    names = [spec.name for spec in traced.signature.all_outputs]
    outputs = {name: made[tensor] for name, tensor in zip(names, traced.output_tensors, strict=True)}
    function = wrapped.prune([made[tensor] for tensor in traced.input_tensors], outputs)
    return replace(traced, function=function)


class _Replay:
    """Writes operators of one graph into the graph that is open.

    Args:
        graph: that has the functions which are called.
        style: how they are written.
    """

    def __init__(self, graph: tf.Graph, style: Style) -> None:
        self._graph, self._style = graph, style
        self._library = {function.signature.name: function for function in graph.as_graph_def().library.function}
        self._functions: dict[str, Any] = {}
        self._needed: dict[tuple[int, tuple[str, ...]], list[Any]] = {}
        self._count = 0

    def run(self, graph: tf.Graph, given: Mapping[str, Value], wanted: Sequence[str]) -> list[Value]:
        """The tensors of these names, computed from those that are given by name."""
        values = dict(given)
        for operation in self._needed_for(graph, tuple(wanted)):
            if operation.outputs and operation.outputs[0].name not in values:
                inputs = [values[tensor.name] for tensor in operation.inputs]
                outputs = self._written(operation, inputs)
                values.update(zip((tensor.name for tensor in operation.outputs), outputs, strict=True))
        return [values[name] for name in wanted]

    def _needed_for(self, graph: tf.Graph, wanted: tuple[str, ...]) -> list[Any]:
        """The operations that the tensors depend on, in the order of the graph; what checks alone is none."""
        key = id(graph), wanted
        if key not in self._needed:
            reached: set[Any] = set()
            todo = [graph.get_tensor_by_name(name).op for name in wanted]
            while todo:
                operation = todo.pop()
                if operation not in reached:
                    reached.add(operation)
                    todo += [tensor.op for tensor in operation.inputs]
            self._needed[key] = [operation for operation in graph.get_operations() if operation in reached]
        return self._needed[key]

    def _written(self, operation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
        kind = operation.type
        if kind in _CALLS:
            return self._called(operation.get_attr("f").name, inputs, operation.name)
        if kind in _LOOPS:
            return self._loop(operation, inputs)
        if kind in _BRANCHES:
            return self._branches(operation, inputs)
        if kind in self._style.lists or any(isinstance(value, ElementList | Stacked) for value in inputs):
            return self._on_lists(operation, inputs)
        form = None if kind in self._style.kept else FORMS.get(kind)
        if form is not None:
            with tf.name_scope(f"{operation.name}/"):
                found = form(operation, *inputs)
            if found is not None:
                return _shaped(operation, [found] if isinstance(found, tf.Tensor) else list(found))
        return [_folded(tensor) for tensor in _shaped(operation, self._copied(operation, inputs))]

    def _copied(self, operation: Any, inputs: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
        self._count += 1
        if self._count > _MOST_NODES:
            raise ConversionError(
                f"loops written out have more than {_MOST_NODES:,} operators",
                "shorter loops",
                "give fewer --timesteps or --stream",
            )
        attributes = {key: value for key, value in operation.node_def.attr.items() if key not in _HINTS}
        made = tf.compat.v1.get_default_graph().create_op(
            operation.type,
            list(inputs),
            [one.dtype for one in operation.outputs],
            name=operation.name,
            attrs=attributes,
        )
        outputs: Sequence[tf.Tensor] = made.outputs
        return outputs

    def _on_lists(self, operation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
        if operation.type in ("Identity", "IdentityN"):
            return inputs
        if operation.type not in self._style.lists:
            raise NotFixed(f"{operation.type} of a list")
        with tf.name_scope(f"{operation.name}/"):
            return self._style.lists[operation.type](operation, *inputs)

    def _called(self, name: str, inputs: Sequence[Value], scope: str) -> list[Value]:
        """A function written out."""
        body = self._function(name)
        given = {tensor.name: value for tensor, value in zip(body.inputs, inputs, strict=True)}
        with tf.name_scope(scope):
            return self.run(body, given, [tensor.name for tensor in body.outputs])

    def _function(self, name: str) -> Any:
        """The graph of a function that is called."""
        if name not in self._functions:
            with self._graph.as_default():
                self._functions[name] = function_def_to_graph(self._library[name])
        return self._functions[name]

    def _loop(self, operation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
        if operation.name in self._style.fused:
            return self._style.fused[operation.name](inputs)
        cond, body = (
            partial(self._called, operation.get_attr(key).name, scope=operation.name) for key in ("cond", "body")
        )
        if self._style.unrolled:
            steps, values = 0, inputs
            while (going := known(cond(values)[0])) is not None:
                if not going:
                    return values
                steps, values = steps + 1, body(values)
            if any(isinstance(value, ElementList) for value in values):
                raise NotFixed(f"the number of steps of {operation.name}")
        return self._kept_loop(operation, inputs, cond, body)

    def _kept_loop(
        self,
        operation: Any,
        inputs: Sequence[tf.Tensor],
        cond: Callable[[Sequence[Value]], list[Value]],
        body: Callable[[Sequence[Value]], list[Value]],
    ) -> Sequence[tf.Tensor]:
        if any(isinstance(value, Stacked) for value in inputs):
            step = self._function(operation.get_attr("body").name)
            kept = Loop(operation, step, lambda values: cond(values)[0], body, in_blocks=self._style.growing)
            return kept.written(inputs)

        def loop(shapes: Sequence[tf.TensorShape]) -> Sequence[tf.Tensor]:
            found = tf.while_loop(
                lambda *values: cond(values)[0],
                lambda *values: body(values),
                list(inputs),
                shape_invariants=list(shapes),
                name=operation.name,
            )
            return list(found)

        try:
            return loop([tensor.shape for tensor in inputs])
        except ValueError:  # a value has another shape behind a step: that of the source, which holds for all
            return loop([tensor.shape for tensor in operation.outputs])

    def _branches(self, operation: Any, inputs: Sequence[Value]) -> Sequence[Value]:
        """Both branches of a choice, or the cases of an index, the last of which is for all others."""
        index, given = inputs[0], inputs[1:]
        if operation.type in ("If", "StatelessIf"):
            names = [operation.get_attr(key).name for key in ("else_branch", "then_branch")]
            index = index if index.dtype == tf.bool else tf.not_equal(index, tf.zeros_like(index))
            index = tf.cast(index, tf.int32) if known(index) is not None else index
        else:
            names = [function.name for function in operation.get_attr("branches")]
        branches = [partial(self._called, name, given, operation.name) for name in names]
        place = known(index)
        if place is not None:
            inside = 0 <= int(place) < len(branches)
            return branches[int(place) if inside else -1]()
        if index.dtype == tf.bool:
            return _listed(tf.cond(index, branches[1], branches[0]))
        return _chosen(index, 0, branches)


def _shaped(operation: Any, outputs: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
    """The outputs with what is known of their shapes in the source, where code said more than the graph does."""
    for made, given in zip(outputs, operation.outputs, strict=True):
        made.set_shape(given.shape)
    return outputs


def _chosen(index: tf.Tensor, at: int, branches: Sequence[Callable[[], list[Value]]]) -> list[Value]:
    if at == len(branches) - 1:
        return branches[at]()
    return _listed(tf.cond(tf.equal(index, at), branches[at], lambda: _chosen(index, at + 1, branches)))


def _listed(found: Any) -> list[Value]:
    return list(found) if isinstance(found, list | tuple) else [found]


def _folded(tensor: tf.Tensor) -> tf.Tensor:
    """The tensor, or a constant in its place."""
    operation, size = tensor.op, tensor.shape.num_elements()
    plain = tensor.dtype.is_integer or tensor.dtype.is_bool or tensor.dtype.is_floating
    if operation.type == "Const" or not plain or size is None or size > _MOST_FOLDED:
        return tensor
    if operation.type not in _SHAPES and not (
        operation.inputs and all(one.op.type == "Const" or one.op.type in _SHAPES for one in operation.inputs)
    ):
        return tensor
    value = known(tensor)
    return tensor if value is None else tf.constant(value, tensor.dtype, tensor.shape)
