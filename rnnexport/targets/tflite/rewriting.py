"""A traced model with operators in the forms that are safe in TFLite, node by node, in loops too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from rnnexport.source.trace import TracedModel
from rnnexport.targets.tflite.forms import FORMS, READS_SIGN, SIGN_BIT


def in_other_forms(traced: TracedModel) -> TracedModel:
    """The model with all operators of `FORMS` on floats written so; itself where it has none."""
    graph_def = traced.function.graph.as_graph_def()
    bodies = [function.node_def for function in graph_def.library.function]
    for nodes in (graph_def.node, *bodies):
        _name_sign_bits(nodes)
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


def _name_sign_bits(nodes: Any) -> None:
    """Make one operator of the two that read a sign bit, in place."""
    by_name = {node.name: node for node in nodes}
    for node in nodes:
        parts = [by_name.get(value.partition(":")[0]) for value in node.input] if node.op == "BitwiseAnd" else []
        match parts:
            case [read, mask] if read is not None and mask is not None and _is_sign_bit(read, mask):
                node.op, node.input[:] = READS_SIGN, read.input[:1]
                node.attr["T"].type = tf.float32.as_datatype_enum


def _is_sign_bit(read: Any, mask: Any) -> bool:
    floats = read.op == "Bitcast" and read.attr["T"].type == tf.float32.as_datatype_enum
    return floats and mask.op == "Const" and bool((tf.make_ndarray(mask.attr["value"].tensor) == SIGN_BIT).all())


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
    form, output, dtype = _form(node.op, node.attr["T"].type)
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
    last.attr["T"].type = dtype
    return [*parts, last]


def _output(op: str) -> str:
    """The name that an operator gives its result."""
    found = op_def_registry.get(op)
    name: str = found.output_arg[0].name
    return name


@cache
def _form(op: str, dtype: int) -> tuple[tuple[Any, ...], str, int]:
    """The nodes of a form, of inputs `x` and `y`, the name of the last, and the data type that it gives."""
    count = FORMS[op].__code__.co_argcount
    with tf.Graph().as_default() as graph:
        inputs = [tf.compat.v1.placeholder(tf.as_dtype(dtype), name=name) for name in ("x", "y")[:count]]
        output = FORMS[op](*inputs)
        return tuple(graph.as_graph_def().node), output.op.name, output.dtype.as_datatype_enum
