"""A program as text, for people: `rnnexport inspect --program`, and tests that want to see what was read.

    def rnn(x_t: float32[?, 3], h: float32[?, 3]; recurrent: float32[3, 3]):
        v0 = MatMul(h, recurrent) : float32[?, 3]
        ...
        return [v2], [v2]

    def model(x: float32[?, ?, 2], kernel: float32[2, 3], recurrent: float32[3, 3]):
        v0 = MatMul(x, kernel) : float32[?, ?, 3]
        v1_0, v1_1 = scan rnn([v0], [0.0], recurrent) : float32[?, ?, 3], float32[?, 3]
        return v1_0, v1_1

What is the same in every step stands behind `;`; sequences and states are lists, and so are what a step gives and its
next states. `?` is a size that only a call knows, `-` an input that is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from rnnexport.core.signature import unique_names
from rnnexport.ir.program import Function, Iteration, Program, Scan, While
from rnnexport.ir.terms import LEAVES, Call, Input, Leaf, Term, below

_SHOWN = 6  # numbers of a constant; of larger ones the shape is shown
_KINDS = {"Element": "x_t", "State": "h", "Step": "step"}


def printed(program: Program) -> str:
    """The functions of a program: those of its steps in the order in which they are needed, the model's own last."""
    return "\n\n".join(_Printer().model(program.main)) + "\n"


class _Printer:
    def __init__(self) -> None:
        self._names: dict[Function, str] = {}

    def model(self, main: Function) -> Iterator[str]:
        yield from self._steps(main)
        yield self._text(main, "model", [main.parameters], [", ".join], [main.results])

    def _steps(self, function: Function) -> Iterator[str]:
        """The functions that a function's loops call, each once."""
        for term in below(function.results, function.parameters):
            if isinstance(call := term.call, Iteration) and call.step not in self._names:
                yield from self._steps(call.step)
                wanted = _identifier(call.step.scope.rpartition("/")[2]) or "step"
                (self._names[call.step],) = unique_names([wanted], ["model", *self._names.values()])
                yield self._step(call)

    def _step(self, call: Iteration) -> str:
        name, split = self._names[call.step], call.leading + call.states
        parts = [call.step.parameters[:split], call.constants]
        if isinstance(call, While):
            shown, results = [", ".join, _listed, _listed], [(call.goes_on,), call.each, call.after]
            return self._text(call.step, name, parts, shown, results, ("step", "goes_on"))
        return self._text(call.step, name, parts, [_listed, _listed], [call.each, call.after])

    def _text(
        self,
        function: Function,
        name: str,
        parts: Sequence[Sequence[Term]],
        shown: Sequence[Any],
        results: Sequence[Sequence[Term]],
        leading: Sequence[str] = (),
    ) -> str:
        wanted = [*leading, *map(_parameter, function.parameters[len(leading) :])]
        names = dict(zip(function.parameters, unique_names(wanted), strict=True))
        lines: list[str] = []
        order = below(function.results, function.parameters)
        for term in order:
            if term.op in LEAVES:
                names[term] = _leaf(term)
            elif term not in names:
                outputs = [other for other in order if other.call is term.call]
                for other in outputs:
                    names[other] = f"v{len(lines)}" if len(outputs) == 1 else f"v{len(lines)}_{other.port}"
                lines.append(self._line(term.call, outputs, names))
        head = "; ".join(", ".join(f"{names[one]}: {_type(one)}" for one in part) for part in parts if part)
        back = ", ".join(show(names[one] for one in part) for show, part in zip(shown, results, strict=True))
        return "\n".join([f"def {name}({head}):", *(f"    {line}" for line in lines), f"    return {back}"])

    def _line(self, call: Call, outputs: Sequence[Term], names: Mapping[Term, str]) -> str:
        left = ", ".join(names[one] for one in outputs)
        return f"{left} = {self._called(call, names)} : {', '.join(map(_type, outputs))}"

    def _called(self, call: Call, names: Mapping[Term, str]) -> str:
        given = ["-" if one is None else names[one] for one in call.inputs]
        if isinstance(call, Iteration):
            states = call.leading + call.states
            first = [_listed(given[: call.leading])] if isinstance(call, Scan) else given[: call.leading]
            arguments = [*first, _listed(given[call.leading : states]), *given[states:]]
            return f"{call.op} {self._names[call.step]}({', '.join(arguments)})"
        attributes = [f"{name}={_attribute(each)}" for name, each in call.attributes.items()]
        return f"{call.op}({', '.join([*given, *attributes])})"


def _parameter(term: Term) -> str:
    """A name for what a function is given."""
    call = term.call
    if isinstance(call, Input):
        return _identifier(call.name.removesuffix(":0").rpartition("/")[2])
    return _KINDS.get(term.op, "w")


def _leaf(term: Term) -> str:
    if term.op == "Const":
        return _number(term.array)
    call = term.call
    return str(call.value.name) if isinstance(call, Leaf) and call.value is not None else term.op


def _identifier(name: str) -> str:
    return re.sub(r"\W+", "_", name).strip("_")


def _number(array: np.ndarray) -> str:
    return repr(array.tolist()) if array.size <= _SHOWN else f"constant[{', '.join(map(str, array.shape))}]"


def _type(term: Term) -> str:
    dtype = "?" if term.dtype is None else term.dtype.name.lower()
    if term.shape is None:
        return f"{_SHORT.get(dtype, dtype)}[...]"
    return f"{_SHORT.get(dtype, dtype)}[{', '.join('?' if size is None else str(size) for size in term.shape)}]"


_SHORT = {"float": "float32", "double": "float64"}


def _attribute(attribute: ir.Attr) -> str:
    value = attribute.value
    if attribute.type == ir.AttributeType.TENSOR:
        return _number(value.numpy())
    if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
        return "graph"
    return repr(list(value)) if isinstance(value, tuple) else repr(value)


def _listed(parts: Iterable[str]) -> str:
    return f"[{', '.join(parts)}]"
