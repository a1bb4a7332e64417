"""Names for the tokens of a function: those of the source, and for what it has none for, by the rules of this file.

1. A value that the source assigns to a variable has the variable's name.
2. A loop gives what is called like its layer, and states called like the layer and the state in it.
3. A state before a step is called like the state after it.
4. What is the same in every step is called like the weight that it is, or is a part of; parts of one weight by the
   gates that they lead to: `recurrent_kernel_zr`, `recurrent_kernel_n`.
5. Else the layer inside the cell names it, the layer of the model, or its kind: `update_conv`, `readout`, `product`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from rnnexport.emit.numpy.naming import NamesInScope, Origins, gates_behind, identifier, snake
from rnnexport.emit.numpy.writing import WrittenFunction, tokens_in
from rnnexport.ir.program import Function, Iteration, Scan
from rnnexport.ir.terms import Term, below

# How far behind a mask a state is looked for, in operators.
_DEEP = 3


@dataclass(frozen=True)
class WeightName:
    """What a weight is called: in its own layer, and beside others of that name."""

    bare: str
    full: str


class TokenNames:
    """Names tokens.

    Args:
        origins: what the source calls things.
        weights: what each weight is called.
        inputs: the name of each input of the model.
    """

    def __init__(self, origins: Origins, weights: Mapping[Term, WeightName], inputs: Mapping[Term, str]) -> None:
        self._origins, self._weights, self._inputs = origins, weights, inputs

    def given(
        self, body: WrittenFunction, wanted: Mapping[int, str], taken: Sequence[str], call: Iteration | None
    ) -> list[str]:
        """The name of each token."""
        last = _last_reads(body)
        after = {} if call is None else {term: wanted[call.leading + at] for at, term in enumerate(call.after)}
        names = NamesInScope(taken)
        found = [""] * len(body.tokens)
        defined: set[int] = set()
        assigned = {token for each in body.statements for token in each.tokens}
        for token in range(len(body.tokens)):
            if token in wanted and token not in assigned:
                found[token] = names.give(wanted[token], token)
                defined.add(token)
        for at, each in enumerate(body.statements):
            free = {token for token in defined if last.get(token, -1) <= at}
            for token in each.tokens:
                term = body.tokens[token]
                name = self._origins.variable(term) or self._loop_name(term) or after.get(term)
                name = name or self._noun(term, call)
                found[token] = names.give(name, token, free)
                free -= {token}
            defined |= set(each.tokens)
        return found

    def parameters(self, call: Iteration) -> dict[int, str]:
        """The wanted name of each parameter, by its number, which is that of its token."""
        function, after = call.step, call.after
        wanted: dict[int, str] = {}
        for at, term in enumerate(function.parameters):
            state = at - call.leading
            if 0 <= state < call.states:
                name = self._origins.variable(after[state]) or self._gate_in(after[state])
                wanted[at] = name or ("h" if call.states == 1 else f"state_{state + 1}")
            else:
                wanted[at] = self._parameter(term)
        self._spell_out(function, wanted)
        self._tell_apart(function, wanted, range(call.leading))
        self._tell_apart(function, wanted, range(call.leading + call.states, len(function.parameters)))
        return wanted

    def _parameter(self, term: Term) -> str:
        """The name of an element of a sequence, or of what is the same in every step."""
        weight = self._weight(term)
        known = self._origins.variable(term) or (weight.bare if weight is not None else None) or _mask_name(term)
        if known is not None:
            return known
        if term.op == "Input":
            return self._inputs.get(term, "x")
        return self._origins.sublayer(term) or ("x" if term.op == "Element" else self._origins.noun(term))

    def _tell_apart(self, step: Function, wanted: dict[int, str], numbers: range) -> None:
        """Parameters of one name by the gates that they lead to: `recurrent_kernel_zr`, `recurrent_kernel_n`."""
        for name in dict.fromkeys(wanted[at] for at in numbers):
            same = [at for at in numbers if wanted[at] == name]
            if len(same) > 1:
                gates = [gates_behind(step.parameters[at], step.results, self._origins) for at in same]
                if all(gates) and len(set(gates)) == len(gates):
                    wanted.update({at: f"{name}_{gate}" for at, gate in zip(same, gates, strict=True)})

    def _weight(self, term: Term) -> WeightName | None:
        """The one weight that a term is or is computed from."""
        found = [self._weights[part] for part in below([term]) if part in self._weights]
        return found[0] if len(found) == 1 else None

    def _spell_out(self, step: Function, wanted: dict[int, str]) -> None:
        """Weights of several layers inside one cell by their layers too: `update_conv_kernel`."""
        weights = {at: self._weight(term) for at, term in enumerate(step.parameters)}
        known = {weight for weight in weights.values() if weight is not None}
        if len({weight.bare for weight in known}) < len(known):
            named = {at: weight for at, weight in weights.items() if weight is not None and wanted[at] == weight.bare}
            wanted.update({at: weight.full for at, weight in named.items()})

    def _gate_in(self, term: Term) -> str | None:
        """The short name in a state that a mask keeps: `h` of `mask * h + (1 - mask) * before`."""
        level = [term]
        for _ in range(_DEEP):
            level = [part for each in level for part in each.operands]
            names = [name for part in level if (name := self._origins.variable(part)) is not None and len(name) <= 2]
            if names:
                return names[0]
        return None

    def _noun(self, term: Term, call: Iteration | None) -> str:
        """A name for what the source has none for."""
        top = self._origins.top_layer(self._origins.path(term)) if call is None else None
        sublayer = self._inputs.get(term) or self._origins.sublayer(term)
        return sublayer or (identifier(top.name) if top is not None else self._origins.noun(term))

    def initials(self, results: Sequence[Term], states: Mapping[Term, str]) -> dict[Term, str]:
        """The names of the states that loops begin with: those of what they give back."""
        found: dict[Term, str] = {}
        for term in below(results):
            if isinstance(call := term.call, Scan) and term.port == 0:
                for at, leaf in enumerate(call.initials):
                    if leaf is not None and leaf in states:
                        found.setdefault(leaf, self.state_name(call, at))
        return found

    def other_name(self, term: Term, call: Iteration | None) -> str:
        """A name for what the source gives none: of its loop, its layer or its kind."""
        return self._loop_name(term) or self._noun(term, call)

    def state_name(self, call: Iteration, at: int) -> str:
        """What a state of a loop is called outside of it."""
        name = self._origins.variable(call.after[at])
        several = "state" if call.states == 1 else f"state_{at + 1}"
        return identifier(f"{self.scope(call.step.scope)}_{name or several}")

    def _loop_name(self, term: Term) -> str | None:
        """What a loop gives: its output is called like its layer, a state after it like that and the state."""
        if not isinstance(call := term.call, Iteration):
            return None
        layer = self.scope(call.step.scope)
        if term.port < call.outputs:
            name = self._origins.variable(call.each[term.port])
            return identifier(layer) if call.outputs == 1 else identifier(f"{layer}_{name or 'output'}")
        is_scan = isinstance(call, Scan)
        return self.state_name(call, term.port - call.outputs) if is_scan else f"{identifier(layer)}_state"

    def scope(self, scope: str) -> str:
        """The name of the layer that a loop is in."""
        layer = self._origins.top_layer(scope)
        return layer.name if layer is not None else scope.rpartition("/")[2] or "loop"

    def cell(self, call: Iteration) -> str:
        """The name of a step's function: that of the cell where the source has one, else of the layer."""
        scope = call.step.scope
        inside = [self._origins.cell(term, scope) for term in below(call.step.results)]
        cells = [layer for layer in inside if layer is not None]
        if cells:
            outermost = min(cells, key=lambda layer: layer.scope.count("/"))
            return snake(outermost.class_name or outermost.name)
        return f"{identifier(self.scope(scope))}_step"


def _mask_name(term: Term) -> str | None:
    """`mask` of a truth value for each row, or of the number that it is made; of its opposite `no_mask`."""
    inverted = False
    term = term.sequence if term.op == "Element" else term
    while term.op in ("Cast", "Not", "Transpose", "Unsqueeze"):
        inverted ^= term.op == "Not"
        if term.dtype == ir.DataType.BOOL and term.op != "Not":
            break
        term = term.operands[0]
    if term.dtype != ir.DataType.BOOL:
        return None
    return "no_mask" if inverted else "mask"


def _last_reads(body: WrittenFunction) -> dict[int, int]:
    """The number of the last statement that reads each token; results are read after all."""
    last: dict[int, int] = {}
    for at, each in enumerate(body.statements):
        last.update(dict.fromkeys(tokens_in(each.written.text), at))
    for part in body.results:
        last.update(dict.fromkeys(tokens_in(part.text), len(body.statements)))
    return last
