"""The functions of a program: names for what their statements left open, and lines for each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rnnexport.emit.numpy.expression import Expression, Shape
from rnnexport.emit.numpy.layout import LINE, Legend, block, bracketed, commented, statement
from rnnexport.emit.numpy.naming import LOCALS, NamesInScope, Origins, shown
from rnnexport.emit.numpy.operators import names_of_all
from rnnexport.emit.numpy.sizes import shapes_of, step_shapes
from rnnexport.emit.numpy.tokens import TokenNames, Weight
from rnnexport.emit.numpy.writing import TOKEN, Assignment, Context, WrittenFunction, write_body
from rnnexport.ir.program import Iteration, Scan
from rnnexport.ir.terms import Term

# What a program may have besides: no name of its own may hide one of these.
FUNCTIONS = frozenset((*names_of_all(), "load_weights", "checked", "main"))
# The longest expression that is no assignment, in characters: shorter ones are tried where a line gets too long.
_LENGTHS = (60, 40, 24, 0)


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
        self, origins: Origins, legend: Legend, weights: Mapping[Term, Weight], inputs: Mapping[Term, str]
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
            names = self._tokens.given(body, wanted, [*taken, *self._taken()], None)
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
            names = self._tokens.given(body, wanted, self._taken(), call)
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
