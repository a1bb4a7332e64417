"""Operators written another way in front of the TFLite converter, whose own forms overflow, or lose small results.

softplus(x)   log(1 + exp(x)) there, infinite from 89 on and 0 below -17
log1p(x)      log(1 + x), expm1(x)  exp(x) - 1: no digit left of an x of 1e-8
rsqrt(0)      NaN in XNNPACK, and with it a normalised row of zeros
x // y        refused by the kernel for a y of 0, of floats too
isinf(x)      compares with the largest finite number, which the converter makes of every infinity
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from rnnexport.source.trace import TracedModel

Form = Callable[..., tf.Tensor]


def _log1p(x: tf.Tensor) -> tf.Tensor:
    """Where x is small, by the series of 2 * atanh(x / (2 + x)): the logarithm of LiteRT is 6% off next to 1."""
    part = x / (x + 2.0)
    square = part * part
    near = 2.0 * part * (1.0 + square * (1.0 / 3.0 + square * (1.0 / 5.0 + square / 7.0)))
    return tf.where(tf.abs(x) < 0.1, near, tf.math.log(x + 1.0))


def _expm1(x: tf.Tensor) -> tf.Tensor:
    return tf.tanh(0.5 * x) * (tf.exp(x) + 1.0)


def _softplus(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(x) + _log1p(tf.exp(-tf.abs(x)))


def _rsqrt(x: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.equal(x, 0.0), 1.0 / x, tf.math.rsqrt(x))


def _floor_div(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.floor(x / y)


def _is_inf(x: tf.Tensor) -> tf.Tensor:
    return tf.abs(x) > x.dtype.max


def _xlog1py(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    return tf.where(tf.equal(x, 0.0), tf.zeros_like(x * y), x * _log1p(y))


FORMS: Mapping[str, Form] = {
    "Expm1": _expm1,
    "FloorDiv": _floor_div,
    "IsInf": _is_inf,
    "Log1p": _log1p,
    "Rsqrt": _rsqrt,
    "Softplus": _softplus,
    "Xlog1py": _xlog1py,
}


def in_other_forms(traced: TracedModel) -> TracedModel:
    """The model with all operators of `FORMS` on floats written so; itself where it has none."""
    graph_def = traced.function.graph.as_graph_def()
    bodies = [function.node_def for function in graph_def.library.function]
    if not any(_applies(node) for nodes in (graph_def.node, *bodies) for node in nodes):
        return traced
    _rewrite(graph_def.node, in_function=False)
    for function in graph_def.library.function:
        renamed = _rewrite(function.node_def, in_function=True)
        for name, value in function.ret.items():
            function.ret[name] = _read(value, renamed)
    _rename_functions(graph_def)
    graph = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph_def, name=""), [])
    names = [spec.name for spec in traced.signature.all_outputs]
    element = graph.graph.get_tensor_by_name
    outputs = {name: element(tensor) for name, tensor in zip(names, traced.output_tensors, strict=True)}
    return replace(traced, function=graph.prune([element(tensor) for tensor in traced.input_tensors], outputs))


def _rename_functions(graph_def: Any) -> None:
    """Give all functions other names, in place: TensorFlow keeps those that it has seen, by their names."""
    library = graph_def.library
    names = {function.signature.name: f"{function.signature.name}_in_other_forms" for function in library.function}
    for node in [*graph_def.node, *(node for function in library.function for node in function.node_def)]:
        node.op = names.get(node.op, node.op)
        for attribute in node.attr.values():
            for called in [attribute.func, *attribute.list.func] if attribute.WhichOneof("value") else []:
                if called.name in names:
                    called.name = names[called.name]
    for function in library.function:
        function.signature.name = names[function.signature.name]
    del library.gradient[:]


def _applies(node: Any) -> bool:
    return node.op in FORMS and tf.as_dtype(node.attr["T"].type).is_floating


def _rewrite(nodes: Any, *, in_function: bool) -> set[str]:
    """Put the nodes of its form in the place of each node, in place; the names of those that were replaced.

    The last node of a form has the name of the one that it replaces. A value is read by `node` in a graph, and by
    `node:output:0` in the body of a function.
    """
    old = [node for node in nodes if _applies(node)]
    renamed = {node.name for node in old} if in_function else set()
    new = [part for node in old for part in _parts(node, in_function=in_function)]
    kept = [node for node in nodes if not _applies(node)] + new
    for node in kept:
        for at, read in enumerate(node.input):
            node.input[at] = _read(read, renamed)
    copies = [type(node).FromString(node.SerializeToString()) for node in kept]
    del nodes[:]
    nodes.extend(copies)
    return renamed


def _read(value: str, renamed: Iterable[str]) -> str:
    """A value as a function reads it, where what gives it is an Identity now."""
    name, colon, _ = value.partition(":")
    return f"{name}:output:0" if colon and name in renamed else value


def _parts(node: Any, *, in_function: bool) -> list[Any]:
    form, output = _form(node.op, node.attr["T"].type)
    given: dict[str, str] = dict(
        zip(("x", "y"), [read for read in node.input if not read.startswith("^")], strict=False)
    )
    ops = {part.name: part.op for part in form}

    def value(name: str) -> str:
        if name in given:
            return given[name]
        own = f"{node.name}/{name}"
        return f"{own}:{_output(ops[name])}:0" if in_function else own

    parts = []
    for part in form:
        if part.op != "Placeholder":
            copy = type(part).FromString(part.SerializeToString())
            copy.name = f"{node.name}/{part.name}"
            copy.input[:] = [value(read) for read in part.input]
            parts.append(copy)
    last = type(node)(name=node.name, op="Identity", input=[value(output)])
    last.attr["T"].CopyFrom(next(part for part in parts if part.name == f"{node.name}/{output}").attr["T"])
    if node.op == "IsInf":
        last.attr["T"].type = tf.bool.as_datatype_enum
    return [*parts, last]


def _output(op: str) -> str:
    """The name that an operator gives its result."""
    found = op_def_registry.get(op)
    name: str = found.output_arg[0].name
    return name


@cache
def _form(op: str, dtype: int) -> tuple[tuple[Any, ...], str]:
    """The nodes of a form, of inputs `x` and `y`, and the name of the last."""
    count = FORMS[op].__code__.co_argcount
    with tf.Graph().as_default() as graph:
        inputs = [tf.compat.v1.placeholder(tf.as_dtype(dtype), name=name) for name in ("x", "y")[:count]]
        output = FORMS[op](*inputs)
        return tuple(graph.as_graph_def().node), output.op.name
