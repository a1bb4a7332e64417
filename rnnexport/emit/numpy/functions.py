"""The functions of a program: names for what their statements left open, and lines for each.

What is known of the shapes of terms, with the names of open sizes: `B` and `T` follow the model's inputs inwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rnnexport.emit.numpy.expression import Expression, Shape, Size
from rnnexport.emit.numpy.layout import LINE, Legend, block, bracketed, commented, statement
from rnnexport.emit.numpy.naming import LOCALS, NamesInScope, Origins, TokenNames, WeightName, shown
from rnnexport.emit.numpy.operators import names_of_all
from rnnexport.emit.numpy.writing import TOKEN, Assignment, Context, WrittenFunction, write_body
from rnnexport.ir.operators import operator
from rnnexport.ir.program import If, Iteration, Scan
from rnnexport.ir.size_arithmetic import Vector, of_numbers, of_term
from rnnexport.ir.terms import Term, below, broadcast

# What a program may have besides: no name of its own may hide one of these.
FUNCTIONS = frozenset((*names_of_all(), "load_weights", "checked", "main"))
# The longest expression that is no assignment, in characters: shorter ones are tried where a line gets too long.
_LENGTHS = (60, 40, 24, 0)
_WHOLE = of_numbers(64)
KnownShapes = dict[Term, Shape | None]


@dataclass(frozen=True, eq=False)
class StepFunction:
    """The function of one step, which several loops may share.

    Attributes:
        name: of the function.
        parameters: their names.
        lines: its body, without docstring.
        helpers: the functions of `operators` that are called.
        needs_dtype: whether its last parameter is `dtype`.
        scopes: the layers whose loops call it, for its docstring.
    """

    name: str
    parameters: tuple[str, ...]
    lines: tuple[str, ...]
    helpers: frozenset[str]
    needs_dtype: bool
    scopes: list[str] = field(default_factory=list)

    def text(self) -> list[str]:
        """The whole function."""
        doc = f'    """One timestep of {shown(_listed(self.scopes))}."""'
        return [*block(f"def {self.name}(", self.parameters, "):", 0), doc, *self.lines]


@dataclass(frozen=True, eq=False)
class MainFunction:
    """What the model computes.

    Attributes:
        states: the names of the states before.
        lines: two levels deep, in a method.
        results: an expression for each of the outputs and states after.
        helpers: the functions of `operators` that are called.
        needs_dtype: whether `dtype` is read.
    """

    states: tuple[str, ...]
    lines: tuple[str, ...]
    results: tuple[str, ...]
    helpers: frozenset[str]
    needs_dtype: bool


class Functions:
    """Writes the functions of one program.

    Args:
        origins: what the source calls things.
        legend: the letters of sizes.
        weights: what each weight is called.
        inputs: the name of each input of the model.
    """

    def __init__(
        self, origins: Origins, legend: Legend, weights: Mapping[Term, WeightName], inputs: Mapping[Term, str]
    ) -> None:
        self._origins, self._legend, self._inputs = origins, legend, frozenset(inputs.values())
        self._tokens = TokenNames(origins, weights, inputs)
        self.steps: list[StepFunction] = []

    def main(
        self,
        results: Sequence[Term],
        given: Mapping[Term, Expression],
        states: Mapping[Term, str],
        shapes: Mapping[Term, Shape | None],
        taken: Sequence[str],
    ) -> MainFunction:
        """The model's own function.

        Args:
            results: its outputs, and the states after.
            given: what its inputs and weights are written as.
            states: the states before, each with a name for one that no loop begins with.
            shapes: of all that is given.
            taken: names that it must not give.
        """
        known = shapes_of(results, shapes)
        wanted = dict(enumerate({**states, **self._tokens.initials(results, states)}.values()))
        for longest in _LENGTHS:
            self.steps = []
            body = write_body(results, (*given, *states), self._context(given, known, longest))
            names = self._tokens.names(body, wanted, [*taken, *self._taken()], None)
            lines = list(self._lines(body, names, known, 2, headers=True))
            if max(map(len, lines), default=0) <= LINE:
                break
        texts = tuple(_filled(part.text, names) for part in body.results)
        return MainFunction(tuple(names[: len(states)]), tuple(lines), texts, body.helpers, body.needs_dtype)

    def step(self, call: Iteration, shapes: Mapping[Term, Shape | None]) -> Expression:
        """The name of the function of a loop's step, which is written unless an equal one is."""
        function = call.step
        given = dict(zip(function.parameters, _fitted(call, shapes), strict=True))
        known = shapes_of(function.results, given)
        wanted = self._tokens.parameters(call)
        others = list(self.steps)
        for longest in _LENGTHS:
            self.steps = list(others)
            context = self._context({}, _numbers_alone(known), longest)
            body = write_body(function.results, function.parameters, context)
            names = self._tokens.names(body, wanted, self._taken(), call)
            lines = [*self._lines(body, names, known, 1), *self._returned(call, body, names)]
            if max(map(len, lines), default=0) <= LINE:
                break
        parameters = [names[at] for at in range(len(function.parameters))]
        parameters += ["dtype"] if body.needs_dtype else []
        made = StepFunction(self._free_name(call), tuple(parameters), tuple(lines), body.helpers, body.needs_dtype)
        return self._kept(made, self._tokens.scope(function.scope))

    def _kept(self, made: StepFunction, scope: str) -> Expression:
        for other in self.steps:
            if (other.parameters, other.lines) == (made.parameters, made.lines):
                made = other
                break
        else:
            self.steps.append(made)
        if scope not in made.scopes:
            made.scopes.append(scope)
        return Expression(made.name, needs_dtype=made.needs_dtype)

    def _context(self, given: Mapping[Term, Expression], shapes: Mapping[Term, Shape | None], longest: int) -> Context:
        return Context(
            given,
            shapes,
            self._origins.variable,
            lambda term: self._origins.path(term) or "the model",
            self.step,
            longest,
        )

    def _taken(self) -> list[str]:
        """The names that nothing in a function may hide."""
        return [*self._legend.words, *FUNCTIONS, *(other.name for other in self.steps)]

    def _free_name(self, call: Iteration) -> str:
        """Of the cell, where the source has one inside the layer; else of the layer."""
        names = NamesInScope([*LOCALS, *self._inputs, *self._taken()])
        return names.give(self._tokens.cell(call), len(self.steps))

    def _returned(self, call: Iteration, body: WrittenFunction, names: Sequence[str]) -> list[str]:
        texts = [_filled(part.text, names) for part in body.results]
        end = len(texts) - call.states
        outputs, states = bracketed(texts[end - call.outputs : end]), bracketed(texts[end:])
        if isinstance(call, Scan):
            return statement(f"return {outputs}, {states}", 1)
        return statement(f"return {texts[0]}, {states}, {outputs}", 1)

    def _lines(
        self,
        body: WrittenFunction,
        names: Sequence[str],
        shapes: Mapping[Term, Shape | None],
        indent: int,
        *,
        headers: bool = False,
    ) -> Iterator[str]:
        layer = ""
        for each in body.statements:
            above = self._header(each) if headers else ""
            if above and above != layer:
                yield f"{'    ' * indent}# {shown(above)}"
                layer = above
            targets = ["_" if token is None else names[token] for token in each.targets]
            text = f"{each.pattern.format(*targets)} = {_filled(each.written.text, names)}"
            first = each.tokens[0]
            comment = self._legend.shape(shapes.get(body.tokens[first]))
            yield from commented(statement(text, indent), comment)

    def _header(self, each: Assignment) -> str:
        call = each.term.call
        path = call.step.scope + "/" if isinstance(call, Iteration) else self._origins.path(each.term)
        layer = self._origins.top_layer(path)
        return "" if layer is None else f"{layer.name}: {layer.class_name}" if layer.class_name else layer.name


def _fitted(call: Iteration, shapes: Mapping[Term, Shape | None]) -> list[Shape | None]:
    """The shapes of the parameters of a step: of a While, whose inputs are others, what the graph tells."""
    if not isinstance(call, Scan):
        return [parameter.shape for parameter in call.step.parameters]
    return step_shapes(call, [shapes.get(part) for part in call.operands])


def _numbers_alone(shapes: Mapping[Term, Shape | None]) -> dict[Term, Shape | None]:
    """Shapes without letters: the sizes that they stand for have no name in the function of a step."""
    return {
        term: None if shape is None else tuple(size if isinstance(size, int) else None for size in shape)
        for term, shape in shapes.items()
    }


def _filled(text: str, names: Sequence[str]) -> str:
    return TOKEN.sub(lambda found: names[int(found[1])], text)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def shapes_of(roots: Iterable[Term], given: Mapping[Term, Shape | None]) -> KnownShapes:
    """The shape of every term below the roots.

    Args:
        roots: of one function.
        given: those of its parameters, and of the functions around.
    """
    found: KnownShapes = dict(given)
    numbers: dict[Term, Vector | None] = {}
    for term in below(roots):
        inputs = [None if part is None else found[part] for part in term.inputs]
        numbers[term] = _numbers(term, inputs, [None if part is None else numbers[part] for part in term.inputs])
        if term not in found:
            told = _told(term, inputs)
            if term.op in ("Expand", "Reshape", "ConstantOfShape"):
                told = _sized(numbers[term.operands[-1]])
            if term.op == "Expand":
                told = broadcast([inputs[0], told])
            found[term] = joined(term.shape, told)
    return found


def _told(term: Term, inputs: Sequence[Shape | None]) -> Shape | None:
    """The shape of a term by those of its inputs."""
    if isinstance(term.call, Scan):
        return _scan(term, inputs)
    if isinstance(term.call, If):
        return inputs[1] if inputs[1] == inputs[2] else None
    rule = operator(term.op).shape
    return None if rule is None else rule(term, inputs)


def _sized(wanted: Vector | None) -> Shape | None:
    """The shape that a vector of sizes asks for: what is -1 or 0 in it is told by the operand."""
    if wanted is None:
        return None
    return tuple(size if isinstance(size, str) or (size or 0) > 0 else None for size in wanted.flat)


def _numbers(term: Term, shapes: Sequence[Shape | None], parts: Sequence[Vector | None]) -> Vector | None:
    """The elements of a scalar or a vector of sizes, as far as shape arithmetic tells them."""
    if term.op == "Const":
        array = term.array
        known = array.dtype.kind in "iu" and array.ndim <= 1 and array.size <= _WHOLE.longest
        return Vector(array.ndim, tuple(int(item) for item in array.ravel())) if known else None
    if term.op == "Shape":
        part = slice(term.attribute("start", 0), term.attribute("end"))
        return None if shapes[0] is None else Vector(1, shapes[0][part])
    return of_term(term, parts, _WHOLE)


def joined(one: Shape | None, other: Shape | None) -> Shape | None:
    """What two shapes of one value know together; a number is known better than a name."""
    if one is None or other is None or len(one) != len(other):
        return one if other is None else (other if one is None else one)
    return tuple(_better(a, b) for a, b in zip(one, other, strict=True))


def _better(one: Size | None, other: Size | None) -> Size | None:
    if isinstance(one, int) or other is None:
        return one
    return other


def _scan(term: Term, inputs: Sequence[Shape | None]) -> Shape | None:
    call = term.call
    assert isinstance(call, Scan)
    given = step_shapes(call, inputs)
    if term.port >= call.outputs:
        return given[call.leading + term.port - call.outputs]
    first = inputs[0] if call.leading else None
    inner = shapes_of(call.step.results, dict(zip(call.step.parameters, given, strict=True)))
    each = inner[call.each[term.port]]
    return None if each is None else (first[0] if first else None, *each)


def step_shapes(call: Scan, inputs: Sequence[Shape | None]) -> list[Shape | None]:
    """The shapes of the parameters of the step of a Scan in every one of its steps, from those of its inputs.

    A state has the sizes that the first one and all that follow have in common.
    """
    function = call.step
    states = slice(call.leading, call.leading + call.states)
    found: list[Shape | None] = [
        joined(parameter.shape, (None if shape is None else shape[1:]) if at < call.leading else shape)
        for at, (parameter, shape) in enumerate(zip(function.parameters, inputs, strict=False))
    ]
    found[states] = inputs[states]
    while True:
        inner = shapes_of(function.results, dict(zip(function.parameters, found, strict=True)))
        after = [inner[term] for term in call.after]
        common = [_common(one, other) for one, other in zip(found[states], after, strict=True)]
        if common == found[states]:
            return found
        found[states] = common


def _common(one: Shape | None, other: Shape | None) -> Shape | None:
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(a if a == b else None for a, b in zip(one, other, strict=True))
