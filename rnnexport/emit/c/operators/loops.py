"""Recurrences and choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext

from rnnexport.emit.c.arrays import Array, Size, factor, text
from rnnexport.emit.c.body import Called, FunctionWriter
from rnnexport.emit.c.elements import Numbers
from rnnexport.emit.c.elementwise import NoFormError
from rnnexport.emit.c.operators.parts import fill, viewed
from rnnexport.ir.program import Iteration, Scan, While
from rnnexport.ir.terms import Term


def _scan(body: FunctionWriter, term: Term) -> None:
    step = term.call
    assert isinstance(step, Scan)
    siblings = body.siblings(term)
    sequences = [_sequence(body, part) for part in step.sequences]
    length = sequences[0].shape[0] if step.length is None else body.numbers(step.length)[0]
    states = _states(body, step)
    constants = [body.given_to(part) for part in _constants(step)]
    elements = [each.seen(each.shape[1:], each.strides[1:]) for each in sequences]
    results = _wanted(step, siblings)
    called = body.world.step(step, results, [*elements, *states, *constants])
    after = step.after
    stacked, scratch = _places(body, step, results, called, siblings, length)
    once = length == 1
    index = "0" if once else body.name("t")
    with nullcontext() if once else body.loop(index, length):
        given = [_row(each, index) for each in sequences]
        body.uses(*(each.strides[0] for each in sequences))
        to = [_row(stacked[at], index) if at in stacked else scratch[at].base for at in range(len(results))]
        call(body, called, [*given, *(state.base for state in states), *_pointers(constants), *to])
        _carry(body, states, [to[results.index(state)] for state in after])
    for port, sibling in siblings.items():
        if port >= step.outputs:
            body.set(sibling, states[port - step.outputs])


def _constants(step: Iteration) -> list[Term]:
    """What the step is given that is the same every time."""
    start = step.leading + step.states
    return [part for part in step.inputs[start : start + len(step.constants)] if part is not None]


def _sequence(body: FunctionWriter, term: Term) -> Array:
    """A sequence whose elements are solid; it may run backwards."""
    array = viewed(body, term, body.array(term))
    element = array.seen(array.shape[1:], array.strides[1:])
    return array if element.is_solid and array.padded else body.made_solid(array, body.name_of(term))


def _states(body: FunctionWriter, step: Iteration) -> list[Array]:
    """Buffers that hold the states, with what they begin with."""
    found = []
    for at, term in enumerate(part for part in step.initials if part is not None):
        array = body.array(term)
        made = body.fresh(body.world.state(step, at), array.dtype, array.shape)
        fill(body, made, viewed(body, term, array))
        found.append(made)
    return found


def _wanted(step: Iteration, siblings: dict[int, Term]) -> list[Term]:
    """The results that a step is to write: outputs that are read, and the next states."""
    outputs = [step.each[port] for port in sorted(siblings) if port < step.outputs]
    return list(dict.fromkeys([*outputs, *step.after]))


def _places(
    body: FunctionWriter,
    step: Iteration,
    results: Sequence[Term],
    called: Called,
    siblings: dict[int, Term],
    length: Size,
) -> tuple[dict[int, Array], dict[int, Array]]:
    """Where each result goes: a row of what is stacked, or a buffer of its own."""
    stacked: dict[int, Array] = {}
    for port, sibling in siblings.items():
        if port < step.outputs:
            at = results.index(step.each[port])
            dtype, shape = called.results[at]
            if at in stacked:
                body.set(sibling, stacked[at])
            else:
                stacked[at] = body.made(sibling, (length, *shape), dtype)
    scratch = {
        at: body.fresh("next_" + body.world.name(results[at], step), *called.results[at])
        for at in range(len(results))
        if at not in stacked
    }
    return stacked, scratch


def _row(array: Array, index: str) -> str:
    return array.pointer if index == "0" else f"{array.pointer} + {index} * {factor(array.strides[0])}"


def _pointers(constants: Sequence[Array | Numbers]) -> list[str]:
    return [each.pointer for each in constants if isinstance(each, Array)]


def call(body: FunctionWriter, called: Called, arguments: Sequence[str]) -> None:
    """A call of the function of a step."""
    body.lengths |= set(called.lengths)
    more = [*called.parts, *called.lengths, *(["work"] if called.needs_work else [])]
    if called.needs_work:
        body.called_with_work.append(called)
    used = [argument for at, argument in enumerate(arguments) if at not in called.unused]
    body.line(f"{called.name}({', '.join([*used, *more])});")


def _carry(body: FunctionWriter, states: Sequence[Array], after: Sequence[str]) -> None:
    for state, source in zip(states, after, strict=True):
        body.line(f"memcpy({state.base}, {source}, {factor(state.size)} * sizeof({state.ctype}));")


def _repeat(body: FunctionWriter, term: Term) -> None:
    """A loop that goes on while the data say so, at most so often as its limit says."""
    step = term.call
    assert isinstance(step, While)
    siblings = body.siblings(term)
    if any(port < step.outputs for port in siblings):
        raise NoFormError("how many steps it stacks is known from data alone")
    limit, go_on = step.inputs[:2]
    states = _states(body, step)
    constants = [body.given_to(part) for part in _constants(step)]
    number, condition = body.fresh("number", "int64", ()), body.fresh("go_on", "bool", ())
    if go_on is None:
        body.line(f"{condition.base}[0] = 1;")
    else:
        fill(body, condition, viewed(body, term, body.array(go_on)))
    results = list(dict.fromkeys([step.goes_on, *step.after]))
    called = body.world.step(step, results, [number, condition, *states, *constants])
    scratch = [
        body.fresh("next_" + body.world.name(each, step), *kind)
        for each, kind in zip(results, called.results, strict=True)
    ]
    index = body.name("t")
    bound = "" if limit is None else f" && {index} < {_limit(body, limit)}"
    with body.block(f"for (int64_t {index} = 0; {condition.base}[0]{bound}; {index}++)"):
        body.line(f"{number.base}[0] = {index};")
        given = [number.base, condition.base, *(state.base for state in states), *_pointers(constants)]
        call(body, called, [*given, *(each.base for each in scratch)])
        places = [scratch[results.index(each)].base for each in (step.goes_on, *step.after)]
        _carry(body, [condition, *states], places)
    for port, sibling in siblings.items():
        body.set(sibling, states[port - step.outputs])


def _limit(body: FunctionWriter, term: Term) -> str:
    try:
        (found,) = body.numbers(term)
    except NoFormError:
        return body.solid(term).element_at("0")
    body.uses(found)
    return f"(int64_t)({text(found)})"


def _choice(body: FunctionWriter, term: Term) -> None:
    """Both sides are computed, and one is taken."""
    condition, one, other = (viewed(body, term, body.array(part)) for part in term.operands)
    if one.shape != other.shape:
        raise NoFormError("its sides have different shapes")
    made = body.made(term, one.shape, one.dtype)
    with body.block(f"if ({condition.element_at('0')})"):
        fill(body, made, one)
    with body.block("else"):
        fill(body, made, other)


OPERATORS: dict[str, Callable[[FunctionWriter, Term], None]] = {"scan": _scan, "while": _repeat, "if": _choice}
