"""A model as a program: functions of terms, with loops and choices as calls that hold the functions of their steps.

    x, kernel = terms.input("x", FLOAT, (None, 7, 2)), terms.input("kernel", FLOAT, (2, 3))
    state = Carried(terms.leaf("State", None, FLOAT, (None, 3)), zeros)
    after = terms.elementwise("Tanh", terms.matmul(terms.element(x), kernel), state.before)
    ...

Terms that depend on no leaf of a step are the same in every step; a step is given them, and knows them by themselves.

A program as text, for people: `rnnexport inspect --program`, and tests that want to see what was read.

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
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from rnnexport.core.names import SourceNames
from rnnexport.core.signature import Signature, unique_names
from rnnexport.ir.terms import LEAVES, Call, Element, Input, Leaf, Result, Shape, Term, Terms, below

# Constants of so many elements are written where they are used, if they are integers.
_SHORT = 8
_SHOWN = 6  # numbers of a constant; of larger ones the shape is shown
_KINDS = {"Element": "x_t", "State": "h", "Step": "step"}
_SHORT_TEXT = {"float": "float32", "double": "float64"}


@dataclass(frozen=True, eq=False)
class Function:
    """A pure function.

    Attributes:
        scope: the path in the source where it is.
        parameters: terms that are given; nothing below them is computed here.
        results: terms to compute.
    """

    scope: str
    parameters: tuple[Term, ...]
    results: tuple[Term, ...]


@dataclass(frozen=True)
class SourceOp:
    """Where a term is computed in the source: the path of a node there, and which of its outputs it is."""

    path: str
    port: int = 0


@dataclass(frozen=True, eq=False)
class Program:
    """A model.

    Attributes:
        signature: what goes in and comes out; states are among both.
        weights: the value of each parameter of `main` that is no input, by its name.
        main: takes the inputs, the states before and the weights, by name; gives the outputs and the states after.
        origins: of the terms that are values of the source.
        names: what the source calls them; weights by their names here.
    """

    signature: Signature
    weights: Mapping[str, np.ndarray]
    main: Function
    origins: Mapping[Term, SourceOp] = field(default_factory=dict)
    names: SourceNames = field(default_factory=SourceNames)

    @property
    def parameters(self) -> dict[str, Term]:
        """What `main` takes, by name."""
        return {term.call.name: term for term in self.main.parameters if isinstance(term.call, Input)}


@dataclass(frozen=True, eq=False, kw_only=True)
class Iteration(Call):
    """A loop. Its outputs are what each step gives, stacked, then the last states.

    Attributes:
        step: takes `leading` parameters, the states and what is the same in every step; gives what is stacked, and the
            next states.
        leading: how many inputs and parameters stand before the states.
        states: how many there are.
        outputs: how many of its outputs are stacked.
    """

    step: Function
    leading: int
    states: int
    outputs: int

    def key(self) -> tuple[object, ...]:
        return (*super().key(), id(self.step), self.leading, self.states, self.outputs)

    @property
    def initials(self) -> tuple[Term | None, ...]:
        """The states before the first step."""
        return self.inputs[self.leading : self.leading + self.states]

    @property
    def constants(self) -> tuple[Term, ...]:
        """The parameters that are the same in every step."""
        return self.step.parameters[self.leading + self.states :]

    @property
    def before(self) -> tuple[Term, ...]:
        """The parameters that are the states before a step."""
        return self.step.parameters[self.leading : self.leading + self.states]

    @property
    def after(self) -> tuple[Term, ...]:
        """The results that are the states after a step."""
        return self.step.results[len(self.step.results) - self.states :]

    @property
    def each(self) -> tuple[Term, ...]:
        """The results that are stacked."""
        end = len(self.step.results) - self.states
        return self.step.results[end - self.outputs : end]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scan(Iteration):
    """A step for each element of some sequences, all time first.

    Its inputs are the sequences, the initial states, the constants, and without sequences the number of steps.
    """

    op: str = "scan"

    @property
    def sequences(self) -> tuple[Term, ...]:
        """The sequences that it takes an element a step of."""
        return self.operands[: self.leading]

    @property
    def length(self) -> Term | None:
        """The number of steps where there is no sequence."""
        return None if self.leading else self.inputs[-1]


@dataclass(frozen=True, eq=False, kw_only=True)
class While(Iteration):
    """Steps for as long as the data say so.

    Its inputs are the largest number of steps, whether it begins, the initial states and the constants. A step takes
    its number and whether it goes on first, and gives whether there is another one first.
    """

    op: str = "while"

    @property
    def goes_on(self) -> Term:
        """The result that says whether there is another step."""
        return self.step.results[0]


@dataclass(frozen=True, eq=False, kw_only=True)
class If(Call):
    """The second input where the first holds, else the third.

    Both are computed: what can't be computed raises, taken or not.
    """

    op: str = "if"


@dataclass(frozen=True, eq=False)
class Carried:
    """A state of a Scan: its leaf before a step, what it is after the step, and what it starts from."""

    before: Term
    after: Term
    initial: Term


def scan(
    terms: Terms,
    scope: str,
    states: Sequence[Carried],
    each: Sequence[Term],
    shapes: Sequence[Shape | None],
    length: Term | None = None,
) -> tuple[Term, ...]:
    """A Scan over the sequences whose elements its step reads.

    Args:
        terms: what makes the terms.
        scope: the path in the source where it is.
        states: what goes on from step to step.
        each: what a step gives besides.
        shapes: of what is stacked of each.
        length: the number of steps, where the step reads no element.

    Returns:
        What is stacked, then the last states; nothing where there are neither.
    """
    results = (*each, *(state.after for state in states))
    before = tuple(state.before for state in states)
    elements = _by_port([term for term in below(results) if isinstance(term.call, Element)])
    constants = constants_of(results, [*elements, *before])
    initials = [state.initial for state in states]
    given: list[Term] = [*(term.sequence for term in elements), *initials, *constants]
    if not elements and length is not None:
        given.append(length)
    kinds: list[Result] = [(term.dtype, shape) for term, shape in zip(each, shapes, strict=True)]
    kinds += [(state.before.dtype or state.initial.dtype, state.before.shape) for state in states]
    function = Function(scope, (*elements, *before, *constants), results)
    call = Scan(
        inputs=tuple(given),
        results=tuple(kinds),
        step=function,
        leading=len(elements),
        states=len(states),
        outputs=len(each),
    )
    return terms.add(call) if results else ()


def constants_of(results: Sequence[Term], own: Iterable[Term]) -> list[Term]:
    """What a step is given: all that it reads and that depends on none of its own leaves, literals aside, in order."""
    inner = set(own)
    order = below(results)
    for term in order:
        if any(part in inner for part in term.operands):
            inner.add(term)
    used = dict.fromkeys(part for term in order if term in inner for part in term.operands)
    return [term for term in dict.fromkeys([*used, *results]) if term not in inner and not is_literal(term)]


def is_literal(term: Term) -> bool:
    """Whether a constant is written where it is used: a number, or a few integers."""
    if term.op != "Const":
        return False
    array = term.array
    return array.ndim == 0 or (array.dtype.kind in "iub" and array.ndim == 1 and array.size <= _SHORT)


def _by_port(elements: Sequence[Term]) -> list[Term]:
    """In the order in which they are read, but those that one call gives in the order in which it gives them."""
    first: dict[Call, int] = {}
    for at, term in enumerate(elements):
        first.setdefault(term.sequence.call, at)
    return sorted(elements, key=lambda term: (first[term.sequence.call], term.sequence.port))


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
        return f"{_SHORT_TEXT.get(dtype, dtype)}[...]"
    return f"{_SHORT_TEXT.get(dtype, dtype)}[{', '.join('?' if size is None else str(size) for size in term.shape)}]"


def _attribute(attribute: ir.Attr) -> str:
    value = attribute.value
    if attribute.type == ir.AttributeType.TENSOR:
        return _number(value.numpy())
    if attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS):
        return "graph"
    return repr(list(value)) if isinstance(value, tuple) else repr(value)


def _listed(parts: Iterable[str]) -> str:
    return f"[{', '.join(parts)}]"
