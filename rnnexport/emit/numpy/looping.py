"""Calls of `scan` and `repeat`, and what stands on their left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rnnexport.emit.numpy.constants import as_array
from rnnexport.emit.numpy.expression import Binding, Expression, combined
from rnnexport.emit.numpy.layout import bracketed
from rnnexport.ir.program import Iteration, Scan
from rnnexport.ir.terms import Term


def loop(call: Iteration, name: Expression, found: Mapping[Term, Expression]) -> Expression:
    """The call of `scan` or `repeat` that a loop is.

    Args:
        call: the loop.
        name: of the function of its step.
        found: what its inputs are written as.
    """
    states = call.leading + call.states
    if isinstance(call, Scan):
        given = [as_array(found[part], part) for part in call.operands]
        constants = given[states : len(call.step.parameters)]
        groups = [given[: call.leading], given[call.leading : states], constants + _dtype_for(name)]
        length = [] if call.length is None else [f"length={found[call.length].text}"]
        texts = [name.text, *map(_tuple, groups if groups[-1] else groups[:-1]), *length]
        return combined(f"scan({', '.join(texts)})", Binding.ATOM, [*given, name], frozenset({"scan"}))
    limit, go_on = (None if part is None else found[part] for part in call.inputs[: call.leading])
    given = [as_array(found[part], part) for part in call.inputs[call.leading :] if part is not None]
    groups = [given[: call.states], given[call.states :] + _dtype_for(name)]
    texts = [name.text, "None" if limit is None else limit.text, "True" if go_on is None else go_on.text]
    texts += map(_tuple, groups if groups[-1] else groups[:-1])
    uses = [*given, name, *(part for part in (limit, go_on) if part is not None)]
    return combined(f"repeat({', '.join(texts)})", Binding.ATOM, uses, frozenset({"repeat"}))


def _dtype_for(function: Expression) -> list[Expression]:
    return [Expression("dtype", needs_dtype=True)] if function.needs_dtype else []


def _tuple(parts: Sequence[Expression]) -> str:
    return bracketed([part.text for part in parts])


def loop_pattern(call: Iteration, read: set[int]) -> tuple[list[int], str]:
    """What stands on the left of a loop: `(outputs), (states)`, and `_` for a group of which none is read."""
    ports = list(range(len(call.results)))
    groups = (call.outputs, call.states)
    if not read & set(ports[call.outputs :]):
        ports, groups = ports[: call.outputs], (call.outputs, -1)
    texts = [_group(size) for size in groups]
    return ports, ", ".join(texts)


def _group(size: int) -> str:
    if size < 1:
        return "()" if size == 0 else "_"
    return bracketed(["{}"] * size)
