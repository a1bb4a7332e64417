"""Functions that are to be compiled by XLA, made functions like others: what they compute is the same.

Both Keras compile a convolution in groups, since an older TensorFlow had no other kernel of one on a CPU, and a model's
own code may say `tf.function(jit_compile=True)`. No converter looks into such a function.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_COMPILED = "_XlaMustCompile"
_WHOLE = "_noinline"  # what is compiled must not be written out where it is called


def interpret_compiled(graph_def: Any) -> None:
    """Let TensorFlow run the functions of a graph operator by operator, in place, but those that it can't run so."""
    functions = graph_def.library.function
    found = [one for one in functions if _COMPILED in one.attr and one.attr[_COMPILED].b]
    plain = [one for one in found if not any(map(_is_compiled_alone, one.node_def))]
    if not plain:
        return
    names = {function.signature.name for function in plain}
    for function in plain:
        function.attr.pop(_COMPILED)
        function.attr.pop(_WHOLE, None)
    for node in _nodes(graph_def):
        if "f" in node.attr and node.attr["f"].func.name in names:
            node.attr.pop(_COMPILED, None)
    # TensorFlow knows the functions as they were, and those that call them, by their names.
    for function in functions:
        function.signature.name += "_plain"
    for node in _nodes(graph_def):
        for value in node.attr.values():
            for called in (*([value.func] if value.HasField("func") else []), *value.list.func):
                called.name += "_plain"


def _is_compiled_alone(node: Any) -> bool:
    """Whether TensorFlow has no kernel of an operator on a CPU but a compiled one."""
    return bool(node.op == "Conv3D" and node.attr["data_format"].s == b"NCDHW")


def _nodes(graph_def: Any) -> Iterator[Any]:
    yield from graph_def.node
    for function in graph_def.library.function:
        yield from function.node_def
