"""A frozen graph written anew, operator by operator, some of them in other forms.

    Before: z: complex64 = Complex(a, b); y = Real(Mul(z, w))     After: y = a * w_real - b * w_imag

1. What no output depends on is left out.
2. An operator that has no other form is the one that it was, under its name.
3. What takes the place of an operator is below its name: `lru/mul` becomes `lru/mul/...`.
4. Calls are written out, and so is the branch that is taken where the condition is known.
5. What depends on constants alone may be a constant: sizes, axes, conditions.

Integers and truth values that a graph computes of constants alone: sizes, axes, and conditions of branches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import function_def_to_graph, set_flag, smart_constant_value
from rnnexport.conversion.forms.decompositions import FOLDED
from rnnexport.conversion.forms.values import ComplexPair, Form, FormError, Tensor, Value, copied
from rnnexport.core.errors import ConversionError
from rnnexport.source.double import plain_session
from rnnexport.source.graphs import CALLS, CASES, CHOICES, LOOPS

_LOWERED = "_lower_using_switch_merge"
_RUNS = LOOPS | CHOICES | CALLS
GraphDef = Any
# So many numbers are computed, no more.
_FEW = 64
# What takes elements out of a shape, of which some are not known: there is no such number among indices and sizes.
_PICKS, _OPEN = frozenset({"GatherV2", "Slice", "StridedSlice"}), -(2**31) + 1


class Replay:
    """The writing of one graph; how operators and loops are written is a subclass's.

    Args:
        graph: the graph, with its library of functions.
    """

    def __init__(self, graph: tf.Graph) -> None:
        self._graph = graph
        self._library = {function.signature.name: function for function in graph.as_graph_def().library.function}
        self._opened: dict[tuple[str, str], Any] = {}
        self._needed: dict[tuple[int, tuple[str, ...]], list[tf.Operation]] = {}

    def write(self, given: Mapping[str, Value], wanted: Sequence[Tensor], prefix: str = "") -> list[Value]:
        """Write what tensors depend on into the default graph.

        Args:
            given: what stands for placeholders, by the names of these tensors.
            wanted: tensors of one graph, the model's or that of a function.
            prefix: of the names.

        Returns:
            What stands for the tensors.

        Raises:
            ConversionError: an operator has no form for what it reads; names it and the layer.
        """
        values: dict[str, Value] = dict(given)
        order = [one for one in self._needed_for(wanted) if one.outputs and one.outputs[0].name not in values]
        graph = tf.compat.v1.get_default_graph()
        for operation in order:  # so that nothing new takes a name that is still to come
            if operation.type not in CALLS:
                graph.unique_name(prefix + operation.name, mark_as_used=True)
        for operation in order:
            inputs = [values[tensor.name] for tensor in operation.inputs]
            outputs = self._written(operation, inputs, prefix + operation.name)
            values |= {tensor.name: value for tensor, value in zip(operation.outputs, outputs, strict=True)}
        return [values[tensor.name] for tensor in wanted]

    def _needed_for(self, wanted: Sequence[Tensor]) -> list[tf.Operation]:
        """The operations that tensors depend on, in the order of their graph; what checks alone is none."""
        if not wanted:
            return []
        key = id(wanted[0].graph), tuple(tensor.name for tensor in wanted)
        if key not in self._needed:
            reached: set[tf.Operation] = set()
            todo = [tensor.op for tensor in wanted]
            while todo:
                operation = todo.pop()
                if operation not in reached:
                    reached.add(operation)
                    todo += [tensor.op for tensor in operation.inputs]
            self._needed[key] = [operation for operation in wanted[0].graph.get_operations() if operation in reached]
        return self._needed[key]

    def _written(self, operation: tf.Operation, inputs: Sequence[Value], name: str) -> Sequence[Value]:
        if operation.type in CALLS:
            return self._called(operation.get_attr("f").name, inputs, name)
        if operation.type in LOOPS:
            return self._loop(operation, inputs, name)
        if operation.type in CHOICES:
            return self._choice(operation, inputs, name)
        return self._operator(operation, inputs, name)

    def _operator(self, operation: tf.Operation, inputs: Sequence[Value], name: str) -> Sequence[Value]:
        """What an operator gives."""
        raise NotImplementedError

    def _loop(self, operation: tf.Operation, inputs: Sequence[Value], name: str) -> Sequence[Value]:
        """What a loop carries when it ends."""
        raise NotImplementedError

    def _called(self, function: str, inputs: Sequence[Value], name: str) -> list[Value]:
        """A function written out, below a name."""
        inner = self._function(function, [_shape(value) for value in inputs])
        given = {tensor.name: value for tensor, value in zip(inner.inputs, inputs, strict=True)}
        with tf.name_scope(""):
            with tf.name_scope(name) as scope:  # of its own, each time that it is written
                pass
            return self.write(given, inner.outputs, scope)

    def _function(self, name: str, shapes: Sequence[tf.TensorShape | None]) -> Any:
        """The graph of a function that is called, with shapes of its inputs where these are known."""
        key = name, str(shapes)
        if key not in self._opened:
            with self._graph.as_default():
                self._opened[key] = function_def_to_graph(self._library[name], list(shapes))
        return self._opened[key]

    def _choice(self, operation: tf.Operation, inputs: Sequence[Value], name: str) -> list[Value]:
        """One of several functions, the last for every index that is none; of two by a condition, the first if not."""
        index, *given = inputs
        if operation.type in CASES:
            functions = [branch.name for branch in operation.get_attr("branches")]
        else:
            functions = [operation.get_attr(side).name for side in ("else_branch", "then_branch")]
            with tf.name_scope(f"{name}/"):
                index = index if index.dtype == tf.bool else tf.not_equal(index, tf.zeros_like(index))
        place = smart_constant_value(index)
        if place is not None:
            inside = 0 <= int(place) < len(functions)
            return self._called(functions[int(place) if inside else -1], given, name)
        templates: list[list[Value]] = []

        def of(at: int) -> list[Tensor]:
            templates.append(self._called(functions[at], given, name))
            return list(flattened(templates[-1]))

        def chosen(at: int) -> Any:
            if at == len(functions) - 1:
                return of(at)
            return tf.cond(tf.equal(index, at), lambda: of(at), lambda: chosen(at + 1))

        with tf.name_scope(f"{name}/"):
            if index.dtype == tf.bool:
                found = tf.cond(index, partial(of, 1), partial(of, 0), name=f"{name}/")
            else:
                found = chosen(0)
        return regrouped(found if isinstance(found, list | tuple) else [found], templates[0])


class FormReplay(Replay):
    """The writing of one graph in forms, its loops kept: a complex argument of a function becomes two.

    Args:
        graph: the graph, with its library of functions.
        form_of: gives the form of an operator for what it reads; None for one that stays.
    """

    def __init__(self, graph: tf.Graph, form_of: Callable[[tf.Operation, Sequence[Value]], Form | None]) -> None:
        super().__init__(graph)
        self._form_of = form_of

    def write(self, given: Mapping[str, Value], wanted: Sequence[Tensor], prefix: str = "") -> list[Value]:
        """See `Replay`; loops and choices that forms made stay what they are: no format has their older operators."""
        found = super().write(given, wanted, prefix)
        for operation in tf.compat.v1.get_default_graph().get_operations():
            if operation.type in _RUNS and operation.node_def.attr[_LOWERED].b:
                set_flag(operation, _LOWERED, value=False)
        return found

    def _operator(self, operation: tf.Operation, inputs: Sequence[Value], name: str) -> Sequence[Value]:
        if (number := known_integers(operation, inputs)) is not None:
            with tf.name_scope(""):
                return [tf.constant(number, operation.outputs[0].dtype, name=f"{name}/")]
        if operation.type in FOLDED:
            with tf.name_scope(f"{name}/"):
                if (constants := computed(operation)) is not None:
                    return constants
        form = self._form_of(operation, inputs)
        if form is not None:
            try:
                with tf.name_scope(f"{name}/"):
                    found = form(operation, inputs)
            except FormError as error:
                raise _formless(operation, name, str(error)) from error
            if found is not None:
                return found
        if any(isinstance(value, ComplexPair) for value in inputs) or any(
            tensor.dtype.is_complex for tensor in operation.outputs
        ):
            raise _formless(operation, name, "of complex numbers")
        return copied(operation, inputs, name)

    def _loop(self, operation: tf.Operation, inputs: Sequence[Value], name: str) -> list[Value]:
        shapes = [tensor.shape for tensor in operation.outputs]
        body, template = self._again(operation.get_attr("body").name, inputs, shapes)
        cond, _ = self._again(operation.get_attr("cond").name, inputs, shapes)
        sizes = list(flattened(inputs, [[shape] for shape in shapes]))
        found = getattr(tf.raw_ops, operation.type)(
            input=list(flattened(inputs)), cond=cond, body=body, output_shapes=sizes, name=f"{name}/"
        )
        return regrouped(found, template)

    def _again(self, name: str, inputs: Sequence[Value], shapes: Sequence[tf.TensorShape]) -> tuple[Any, list[Value]]:
        """The function anew, and what its outputs are: numbers in the place of tensors."""
        inner = self._function(name, shapes)
        templates: list[list[Value]] = []

        def body(*flat: Tensor) -> list[Tensor]:
            given = {tensor.name: value for tensor, value in zip(inner.inputs, regrouped(flat, inputs), strict=True)}
            outputs = self.write(given, inner.outputs)
            templates.append(outputs)
            return list(flattened(outputs))

        # tf2onnx takes a name that a function and one inside it have in common for one value.
        sizes = flattened(inputs, [[shape] for shape in shapes])
        specs = [
            tf.TensorSpec(shape, value.dtype, f"{name}_{at}")
            for at, (shape, value) in enumerate(zip(sizes, flattened(inputs), strict=True))
        ]
        return tf.function(body, autograph=False).get_concrete_function(*specs), templates[0]


def flattened(values: Sequence[Value], lists: Sequence[Sequence[Any]] | None = None) -> Iterator[Any]:
    """Both parts of each pair, and every other value; or for each of them what stands in `lists` beside it."""
    for at, value in enumerate(values):
        parts = [value.real, value.imag] if isinstance(value, ComplexPair) else [value]
        yield from parts if lists is None else [lists[at][0]] * len(parts)


def regrouped(flat: Sequence[Tensor], like: Sequence[Value]) -> list[Value]:
    """The inverse of `flattened`, by what is a pair in `like`."""
    rest = iter(flat)
    return [ComplexPair(next(rest), next(rest)) if isinstance(value, ComplexPair) else next(rest) for value in like]


def _shape(value: Value) -> tf.TensorShape | None:
    """None of a list of tensors, which has none."""
    shape: tf.TensorShape | None = getattr(value.real if isinstance(value, ComplexPair) else value, "shape", None)
    return shape


def _formless(operation: tf.Operation, name: str, why: str) -> ConversionError:
    fixed = "fix that size in the Input (the length with --timesteps N), or " if " open " in why else ""
    return ConversionError(
        f"no form of {operation.type} {why} in {name.rpartition('/')[0] or name}",
        "operators that can be written in real numbers",
        f"{fixed}write the layer with other operations, or export to saved-model, which keeps every operator",
    )


def has_known_branch(graph_def: GraphDef) -> bool:
    """Whether the graph has a choice of functions by a condition that depends on constants alone."""
    known: set[str] = set()
    for node in graph_def.node:
        read = [name.removeprefix("^").partition(":")[0] for name in node.input]
        if node.op in CHOICES and read[0] in known:
            return True
        if node.op == "Const" or (read and set(read) <= known):
            known.add(node.name)
    return False


def known_integers(operation: tf.Operation, inputs: Sequence[Value]) -> np.ndarray | None:
    """What an operation on known numbers gives, a few integers or truth values; None for any other.

    Args:
        operation: of another graph.
        inputs: what it reads in the default graph.
    """
    if not inputs or len(operation.outputs) != 1 or operation.op_def.is_stateful:
        return None
    dtype = operation.outputs[0].dtype
    if not (dtype.is_integer or dtype.is_bool) or any(isinstance(value, ComplexPair) for value in inputs):
        return None
    known = _sizes if operation.type in _PICKS else tf.get_static_value
    values = [value for value in map(known, inputs) if value is not None]
    if len(values) < len(inputs) or any(np.size(value) > _FEW for value in values):
        return None
    with tf.Graph().as_default() as graph:
        (output,) = copied(operation, list(map(tf.constant, values)), "known")
        found: np.ndarray = np.asarray(plain_session(graph).run(output))
    is_open = operation.type in _PICKS and (found == _OPEN).any()
    return found if found.size <= _FEW and not is_open else None


def computed(operation: tf.Operation) -> list[Value] | None:
    """What TensorFlow's kernel gives, as constants of the default graph; None where it depends on more than constants.

    Args:
        operation: of another graph.
    """
    seen, todo = {operation}, [operation]
    while todo:
        one = todo.pop()
        if one.type != "Const" and (not one.inputs or one.op_def.is_stateful):
            return None
        new = {tensor.op for tensor in one.inputs} - seen
        seen |= new
        todo += new
    return [_constant(array) for array in plain_session(operation.graph).run(list(operation.outputs))]


def _constant(array: np.ndarray) -> Value:
    if np.iscomplexobj(array):
        return ComplexPair(tf.constant(array.real, name="real"), tf.constant(array.imag, name="imag"))
    return tf.constant(array)


def _sizes(value: Any) -> np.ndarray | None:
    """A known array; of a shape with open sizes the others."""
    if value.op.type == "Shape" and value.op.inputs[0].shape.rank is not None:
        sizes = [_OPEN if size is None else size for size in value.op.inputs[0].shape]
        return np.array(sizes, value.dtype.as_numpy_dtype)
    known: np.ndarray | None = tf.get_static_value(value)
    return known
