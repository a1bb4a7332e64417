"""A function in terms to the statements of a Python function, names left open.

Each term is one of these:

- a literal, or a size that the program knows: written where it is used;
- an assignment: what the source has a name for, what is used more than once, and what would make a line too long;
- part of the expression that uses it: everything else.

A name is left open as a token, `_t12_`, until all statements are known: only then can two of them share one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rnnexport.core.errors import ConversionError
from rnnexport.emit.numpy.expression import (
    Binding,
    Expression,
    Operand,
    OutputSpec,
    Shape,
    UnnamedError,
    UnwrittenError,
    Use,
    as_array,
    attribute_value,
    call,
    combined,
    dtype_name,
    exact_number,
    written_constant,
)
from rnnexport.emit.numpy.layout import bracketed
from rnnexport.emit.numpy.rules import rule_of
from rnnexport.ir.program import If, Iteration, Scan
from rnnexport.ir.terms import Term, below

TOKEN = re.compile(r"\b_t(\d+)_\b")
_ARITHMETIC = frozenset(("Add", "Sub", "Mul", "Div", "Min", "Max", "Clip", "Pow"))
# The name of the function that a step is written as, given its loop and the shapes around. Where it needs
# `dtype`, that is its last parameter.
StepNamer = Callable[[Iteration, Mapping[Term, "Shape | None"]], Expression]


@dataclass(frozen=True, eq=False)
class Assignment:
    """`targets = code`.

    Attributes:
        targets: the number of the token of each; None for an output that nobody reads.
        written: Python, with tokens for names.
        pattern: what stands on the left, with `{}` for each target.
        term: what it is known by: its place in the source is that of this term.
    """

    targets: tuple[int | None, ...]
    written: Expression
    pattern: str
    term: Term

    @property
    def tokens(self) -> list[int]:
        """The numbers of the tokens that it gives a value."""
        return [token for token in self.targets if token is not None]


@dataclass(frozen=True, eq=False)
class WrittenFunction:
    """The statements of a function.

    Attributes:
        statements: in order.
        results: an expression for each.
        tokens: the term of each token, by its number.
        helpers: the functions of `operators` that are called.
        needs_dtype: whether `dtype` is read.
    """

    statements: tuple[Assignment, ...]
    results: tuple[Expression, ...]
    tokens: tuple[Term, ...]
    helpers: frozenset[str]
    needs_dtype: bool


@dataclass(frozen=True, eq=False)
class Context:
    """What a function is written with.

    Attributes:
        given: what its parameters are written as; a token for those that get a name here.
        shapes: of all its terms.
        variable: the name that the source has for a term, or None.
        where: the path of a term in the source, for messages.
        steps: writes the step of a loop, and gives its name.
        longest: the longest expression that is no assignment, in characters.
    """

    given: Mapping[Term, Expression]
    shapes: Mapping[Term, Shape | None]
    variable: Callable[[Term], str | None]
    where: Callable[[Term], str]
    steps: StepNamer
    longest: int


def write_body(results: Sequence[Term], parameters: Sequence[Term], context: Context) -> WrittenFunction:
    """Write what computes `results`.

    Raises:
        ConversionError: an operator has no NumPy form; names it and the layer it is in.
    """
    return _Writer(results, parameters, context).body()


class _Writer:
    def __init__(self, results: Sequence[Term], parameters: Sequence[Term], context: Context) -> None:
        self._results, self._context = results, context
        self._tokens: list[Term] = []
        self._found: dict[Term, Expression] = {}
        for term in parameters:
            self._found[term] = context.given[term] if term in context.given else self._token(term)
        self._order = below(results, self._found)
        self._uses = uses_of(self._order, results)
        self._readers: dict[Term, list[Term]] = {term: [] for term in self._order}
        for term in self._order:
            for part in term.operands:
                if part in self._readers:
                    self._readers[part].append(term)
        self._statements: list[Assignment] = []

    def body(self) -> WrittenFunction:
        for term in self._order:
            if term not in self._found:
                self._write(term)
        results = tuple(as_array(self._found[term], term) for term in self._results)
        kept = _read(self._statements, results)
        written = [*(statement.written for statement in kept), *results]
        helpers = frozenset[str]().union(*(part.helpers for part in written))
        return WrittenFunction(
            tuple(kept), results, tuple(self._tokens), helpers, any(part.needs_dtype for part in written)
        )

    def _token(self, term: Term) -> Expression:
        self._tokens.append(term)
        return Expression(f"_t{len(self._tokens) - 1}_")

    def _write(self, term: Term) -> None:
        if isinstance(call := term.call, Iteration):
            read = {other.port for other in self._order if other.call is call}
            name = self._context.steps(call, self._context.shapes)
            self._assign(term, loop(call, name, self._found), *loop_pattern(call, read))
            return
        thirds = self._thirds(term) if term.op == "Split" else None
        if thirds is not None:
            self._unpack(term, thirds)
            return
        written = written_constant(term.array) if term.op == "Const" else self._expression(term)
        if isinstance(written, tuple):
            self._keep(term, written[term.port])
        elif len(term.call.results) > 1:
            self._unpack(term, written)
        else:
            self._keep(term, written)

    def _keep(self, term: Term, written: Expression) -> None:
        """As part of what uses it, or as an assignment."""
        long = len(written.text) > self._context.longest
        often = self._uses[term] > 1 or self._is_worth_naming(term)
        self._found[term] = written
        if written.elements is None and (often or long):
            self._name(term)

    def _name(self, term: Term) -> None:
        """Make an assignment of what was to be part of an expression; a name and a constant are none."""
        written = self._found[term]
        if not written.text.isidentifier() and term.op != "Const":
            self._found[term] = self._token(term)
            self._statements.append(Assignment((len(self._tokens) - 1,), written, "{}", term))

    def _is_worth_naming(self, term: Term) -> bool:
        """Whether the source has a name for it that it does not give again to what is computed from it alone."""
        name = self._context.variable(term)
        return name is not None and not any(self._context.variable(reader) == name for reader in self._readers[term])

    def _thirds(self, term: Term) -> Expression | None:
        """A split into equal parts that are all read: one line."""
        axis = term.attribute("axis", 0)
        sizes = [shape[axis] if shape else None for _, shape in term.call.results]
        ports = {other.port for other in self._order if other.call is term.call}
        if len(sizes) == 1 or len(ports) < len(sizes) or None in sizes or len(set(sizes)) > 1:
            return None
        source = self._found[term.operands[0]]
        return call("split", source.text, str(len(sizes)), f"axis={axis}", uses=[source], helper=True)

    def _unpack(self, term: Term, written: Expression) -> None:
        count = len(term.call.results)
        self._assign(term, written, range(count), ", ".join(["{}"] * count))

    def _assign(self, term: Term, written: Expression, ports: Sequence[int], pattern: str) -> None:
        """All outputs of a call at once."""
        siblings = {other.port: other for other in self._order if other.call is term.call}
        numbers = {}
        for port, other in sorted(siblings.items()):
            numbers[port] = len(self._tokens)
            self._found[other] = self._token(other)
        targets = tuple(numbers.get(port) for port in ports)
        self._statements.append(Assignment(targets, written, pattern, term))

    def _expression(self, term: Term) -> Expression | tuple[Expression, ...]:
        if isinstance(term.call, If):
            condition = self._found[term.operands[0]]
            one, other = (as_array(self._found[part], part) for part in term.operands[1:])
            text = f"{one.within(Binding.OR)} if {condition.within(Binding.OR)} else {other.within(Binding.OR)}"
            return combined(text, Binding.CHOICE, [condition, one, other])
        rule = rule_of(term.op)
        try:
            if rule is None:
                raise UnwrittenError("no rule writes it")
            try:
                return rule(self._use(term))
            except UnnamedError:
                for part in term.operands:
                    self._name(part)
                return rule(self._use(term))
        except UnwrittenError as error:
            raise ConversionError(
                f"no NumPy form of {term.op} in {self._context.where(term)}: {error}",
                "operators that NumPy can be written for",
                "export to another format, or write the layer with other operations",
            ) from error

    def _use(self, term: Term) -> Use:
        plain = term.op in _ARITHMETIC and any(part.op != "Const" for part in term.operands)
        inputs = tuple(None if part is None else self._operand(part, plain=plain) for part in term.inputs)
        if term.op == "Equal":  # a float32 that marks padding is the number that the input has, in float64 too
            inputs = tuple(None if part is None else exact_number(part) for part in inputs)
        attributes = {name: attribute_value(attribute) for name, attribute in term.call.attributes.items()}
        shape = self._context.shapes.get(term)
        results = [
            OutputSpec(dtype_name(dtype), shape if port == term.port else static)
            for port, (dtype, static) in enumerate(term.call.results)
        ]
        return Use(term.op, inputs, attributes, tuple(results))

    def _operand(self, term: Term, *, plain: bool) -> Operand:
        """An operand; with `plain`, a whole number beside an array is written without its `.0`."""
        value = term.array if term.op == "Const" else None
        shape = self._context.shapes.get(term, term.shape)
        found = self._found[term]
        if plain and value is not None and value.ndim == 0 and found.text.endswith(".0") and found.text != "-0.0":
            found = Expression(found.text.removesuffix(".0"), found.binding)
        return Operand(found, dtype_name(term.dtype), shape, value)


def uses_of(order: Sequence[Term], results: Sequence[Term]) -> dict[Term, int]:
    """How often each term is used by those in `order`, calls with several outputs counted once, and as a result."""
    counts = dict.fromkeys(order, 0)
    for made in dict.fromkeys(term.call for term in order):
        for part in made.inputs:
            if part is not None and part in counts:
                counts[part] += 1
    for term in results:
        if term in counts:
            counts[term] += 1
    return counts


def _read(statements: Sequence[Assignment], results: Sequence[Expression]) -> list[Assignment]:
    """The statements that something reads: of a value, its shape may be all that was asked."""
    read = set(tokens_in(" ".join(part.text for part in results)))
    kept = []
    for statement in reversed(statements):
        if read & set(statement.tokens):
            kept.append(statement)
            read |= set(tokens_in(statement.written.text))
    return kept[::-1]


def tokens_in(text: str) -> list[int]:
    """The numbers of the tokens in a text, in order."""
    return [int(found) for found in TOKEN.findall(text)]


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
