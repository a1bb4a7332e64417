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

from rnnexport.conversion.forms.replay import Replay
from rnnexport.conversion.forms.values import copied
from rnnexport.core.errors import ConversionError
from rnnexport.source.freezing import captured
from rnnexport.source.graphs import CALLS, CHOICES, LOOPS
from rnnexport.source.trace import TracedModel
from rnnexport.targets.tflite.elements import LISTS, ElementList, NotFixed
from rnnexport.targets.tflite.forms import FORMS
from rnnexport.targets.tflite.forms.form import known
from rnnexport.targets.tflite.looping import Loop
from rnnexport.targets.tflite.stacking import STACKS, Stacked

# A tensor, or a list of tensors: an `ElementList` where loops are written out, else a `Stacked` if that is asked for.
Value = Any
_SHAPES = frozenset({"Shape", "Size", "Rank"})
_AIDS = frozenset({"GatherV2", "StridedSlice"})  # forms that the converter does without, but for others behind them
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
    wanted = (FORMS.keys() - _AIDS - style.kept) | CALLS | LOOPS | CHOICES
    if not any(one.type in wanted for one in graph.get_operations()):
        return traced
    made: dict[str, tf.Tensor] = {}

    def rebuild() -> None:
        given: dict[str, Value] = {}
        for name in traced.input_tensors:
            tensor = graph.get_tensor_by_name(name)
            given[name] = tf.compat.v1.placeholder(tensor.dtype, tensor.shape, tensor.op.name)
        outputs = [graph.get_tensor_by_name(name) for name in traced.output_tensors]
        found = _Replay(graph, style).write(given | captured(traced.open_weights), outputs)
        made.update({name: given[name] for name in traced.input_tensors})
        made.update(zip(traced.output_tensors, map(tf.identity, found), strict=True))

    wrapped = tf.compat.v1.wrap_function(rebuild, [])
    names = [spec.name for spec in traced.signature.all_outputs]
    outputs = {name: made[tensor] for name, tensor in zip(names, traced.output_tensors, strict=True)}
    function = wrapped.prune([made[tensor] for tensor in traced.input_tensors], outputs)
    return replace(traced, function=function)


class _Replay(Replay):
    """The writing of one graph in a style."""

    def __init__(self, graph: tf.Graph, style: Style) -> None:
        super().__init__(graph)
        self._style = style
        self._count = 0

    def _operator(self, operation: Any, inputs: Sequence[Value], name: str) -> Sequence[Value]:
        kind = operation.type
        if kind in self._style.lists or any(isinstance(value, ElementList | Stacked) for value in inputs):
            return self._on_lists(operation, inputs, name)
        form = None if kind in self._style.kept else FORMS.get(kind)
        if form is not None:
            with tf.name_scope(f"{name}/"):
                found = form(operation, *inputs)
            if found is not None:
                return _shaped(operation, [found] if isinstance(found, tf.Tensor) else list(found))
        self._count += 1
        if self._count > _MOST_NODES:
            raise ConversionError(
                f"loops written out have more than {_MOST_NODES:,} operators",
                "shorter loops",
                "give fewer --timesteps or --stream",
            )
        return [_folded(tensor) for tensor in copied(operation, inputs, name)]

    def _on_lists(self, operation: Any, inputs: Sequence[Value], name: str) -> Sequence[Value]:
        if operation.type in ("Identity", "IdentityN"):
            return inputs
        if operation.type not in self._style.lists:
            raise NotFixed(f"{operation.type} of a list")
        with tf.name_scope(f"{name}/"):
            return self._style.lists[operation.type](operation, *inputs)

    def _loop(self, operation: Any, inputs: Sequence[Value], name: str) -> Sequence[Value]:
        if operation.name in self._style.fused:
            return self._style.fused[operation.name](inputs)
        cond, body = (partial(self._called, operation.get_attr(key).name, name=name) for key in ("cond", "body"))
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
            step = self._function(operation.get_attr("body").name, [None] * len(inputs))
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


def _shaped(operation: Any, outputs: Sequence[tf.Tensor]) -> Sequence[tf.Tensor]:
    """The outputs with what is known of their shapes in the source, where code said more than the graph does."""
    for made, given in zip(outputs, operation.outputs, strict=True):
        made.set_shape(given.shape)
    return outputs


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
