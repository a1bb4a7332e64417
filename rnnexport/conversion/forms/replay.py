"""A frozen graph written anew, operator by operator, some of them in other forms.

    Before: z: complex64 = Complex(a, b); y = Real(Mul(z, w))     After: y = a * w_real - b * w_imag

1. What no output depends on is left out.
2. An operator that has no other form is the one that it was, under its name.
3. What takes the place of an operator is below its name: `lru/mul` becomes `lru/mul/...`.
4. The functions of loops and branches are written anew as well: a complex argument of theirs becomes two. Other calls
   are written out, and so is the branch that is taken where the condition is known.
5. Integers that depend on constants alone are constants: sizes, axes, conditions; so is what `FOLDED` operators give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf

from rnnexport.compat.tensorflow import function_def_to_graph, set_flag
from rnnexport.conversion.forms.decompositions import FOLDED
from rnnexport.conversion.forms.known import CASES, computed, known_integers
from rnnexport.conversion.forms.values import Form, FormError, Pair, Tensor, Value, copied
from rnnexport.core.errors import ConversionError

_LOOPS = {"While": tf.raw_ops.While, "StatelessWhile": tf.raw_ops.StatelessWhile}
_CHOICES = {"If": tf.raw_ops.If, "StatelessIf": tf.raw_ops.StatelessIf}

_CALLS = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
_LOWERED = "_lower_using_switch_merge"
_RUNS = frozenset({*_LOOPS, *_CHOICES, *_CALLS, *CASES})


class Replay:
    """The writing of one graph.

    Args:
        graph: the graph, with its library of functions.
        form_of: gives the form of an operator for what it reads; None for one that stays.
    """

    def __init__(self, graph: tf.Graph, form_of: Callable[[tf.Operation, Sequence[Value]], Form | None]) -> None:
        self._graph, self._form_of = graph, form_of
        self._functions = {function.signature.name: function for function in graph.as_graph_def().library.function}

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
        known: dict[str, Value] = dict(given)
        order = list(_order(wanted, known))
        for operation in order:  # so that nothing new takes a name that is still to come
            tf.compat.v1.get_default_graph().unique_name(prefix + operation.name, mark_as_used=True)
        for operation in order:
            inputs = [known[tensor.name] for tensor in operation.inputs]
            outputs = self._written(operation, inputs, prefix + operation.name)
            known |= {tensor.name: value for tensor, value in zip(operation.outputs, outputs, strict=True)}
        _keep_loops(tf.compat.v1.get_default_graph())
        return [known[tensor.name] for tensor in wanted]

    def _written(self, operation: tf.Operation, inputs: Sequence[Value], name: str) -> list[Value]:
        if operation.type in _RUNS:
            return self._run(operation, inputs, name)
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
        if any(isinstance(value, Pair) for value in inputs) or any(
            tensor.dtype.is_complex for tensor in operation.outputs
        ):
            raise _formless(operation, name, "of complex numbers")
        return list(copied(operation, inputs, name))

    def _run(self, operation: tf.Operation, inputs: Sequence[Value], name: str) -> list[Value]:
        if operation.type in _CALLS:
            return self._called(operation.get_attr("f").name, inputs, f"{name}/")
        flat, where = list(flattened(inputs)), f"{name}/"
        if operation.type in _LOOPS:
            shapes = [tensor.shape for tensor in operation.outputs]
            body, template = self._function(operation.get_attr("body").name, inputs, shapes)
            cond, _ = self._function(operation.get_attr("cond").name, inputs, shapes)
            sizes = list(flattened(inputs, [[shape] for shape in shapes]))
            found = _LOOPS[operation.type](input=flat, cond=cond, body=body, output_shapes=sizes, name=where)
            return regrouped(found, template)
        chosen = tf.get_static_value(inputs[0])
        if chosen is not None:
            return self._called(_branches(operation)[_place(operation, chosen)], inputs[1:], where)
        if operation.type in CASES:
            return self._case(inputs[0], _branches(operation), inputs[1:], where)
        flat = flat[1:]
        shapes = [tensor.shape for tensor in operation.inputs[1:]]
        branches = [self._function(branch, inputs[1:], shapes) for branch in _branches(operation)]
        then, other = (branch for branch, _ in branches)
        both = list(zip(then.outputs, other.outputs, strict=True))
        kinds = {
            "Tout": [tensor.dtype for tensor in then.outputs],
            "output_shapes": [one.shape.most_specific_compatible_shape(two.shape) for one, two in both],
        }
        found = _CHOICES[operation.type](
            input=flat, cond=inputs[0], then_branch=then, else_branch=other, name=where, **kinds
        )
        return regrouped(found, branches[0][1])

    def _case(self, index: Tensor, names: Sequence[str], inputs: Sequence[Value], prefix: str) -> list[Value]:
        """One of several functions, the last for every index that is none, as choices of two."""
        templates: list[list[Value]] = []

        def of(at: int) -> list[Tensor]:
            templates.append(self._called(names[at], inputs, prefix))
            return list(flattened(templates[-1]))

        def chosen(at: int) -> Any:
            if at == len(names) - 1:
                return of(at)
            return tf.cond(tf.equal(index, at), lambda: of(at), lambda: chosen(at + 1))

        found = chosen(0)
        return regrouped(found if isinstance(found, list | tuple) else [found], templates[0])

    def _opened(self, function: str, shapes: Sequence[tf.TensorShape]) -> Any:
        with self._graph.as_default():
            return function_def_to_graph(self._functions[function], shapes)

    def _called(self, function: str, inputs: Sequence[Value], prefix: str) -> list[Value]:
        inner = self._opened(function, [_shape(value) for value in inputs])
        given = {tensor.name: value for tensor, value in zip(inner.inputs, inputs, strict=True)}
        return self.write(given, inner.outputs, prefix)

    def _function(
        self, name: str, inputs: Sequence[Value], shapes: Sequence[tf.TensorShape]
    ) -> tuple[Any, list[Value]]:
        """The function anew, and what its outputs are: numbers in the place of tensors."""
        inner = self._opened(name, shapes)
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


def _keep_loops(graph: tf.Graph) -> None:
    """Loops and choices that a form made are to stay what they are: no format has their older operators."""
    for operation in graph.get_operations():
        if operation.type in _RUNS and operation.node_def.attr[_LOWERED].b:
            set_flag(operation, _LOWERED, value=False)


def _branches(operation: tf.Operation) -> list[str]:
    """The functions of a choice."""
    if operation.type in CASES:
        return [branch.name for branch in operation.get_attr("branches")]
    return [operation.get_attr(side).name for side in ("then_branch", "else_branch")]


def _place(operation: tf.Operation, chosen: Any) -> int:
    """The number of the branch that is taken; the last one for an index that is none."""
    if operation.type not in CASES:
        return 0 if chosen else 1
    count = len(_branches(operation))
    return int(chosen) if 0 <= chosen < count else count - 1


def _order(wanted: Sequence[Tensor], known: Mapping[str, Value]) -> Iterator[tf.Operation]:
    """The operations that tensors depend on, each behind what it reads."""
    done: set[str] = set()
    todo = [(tensor.op, False) for tensor in reversed(wanted) if tensor.name not in known]
    while todo:
        operation, is_ready = todo.pop()
        if is_ready:
            yield operation
        elif operation.name not in done:
            done.add(operation.name)
            todo.append((operation, True))
            todo.extend((tensor.op, False) for tensor in reversed(operation.inputs) if tensor.name not in known)


def flattened(values: Sequence[Value], lists: Sequence[Sequence[Any]] | None = None) -> Iterator[Any]:
    """Both parts of each pair, and every other value; or for each of them what stands in `lists` beside it."""
    for at, value in enumerate(values):
        parts = [value.real, value.imag] if isinstance(value, Pair) else [value]
        yield from parts if lists is None else [lists[at][0]] * len(parts)


def regrouped(flat: Sequence[Tensor], like: Sequence[Value]) -> list[Value]:
    """The inverse of `flattened`, by what is a pair in `like`."""
    rest = iter(flat)
    return [Pair(next(rest), next(rest)) if isinstance(value, Pair) else next(rest) for value in like]


def _shape(value: Value) -> tf.TensorShape:
    shape: tf.TensorShape = (value.real if isinstance(value, Pair) else value).shape
    return shape


def _formless(operation: tf.Operation, name: str, why: str) -> ConversionError:
    fixed = "fix that size in the Input (the length with --timesteps N), or " if " open " in why else ""
    return ConversionError(
        f"no form of {operation.type} {why} in {name.rpartition('/')[0] or name}",
        "operators that can be written in real numbers",
        f"{fixed}write the layer with other operations, or export to saved-model, which keeps every operator",
    )
