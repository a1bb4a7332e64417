"""What things are called in a program: as the source calls them, as far as Python's grammar and the reader allow.

Names for the tokens of a function: those of the source, and for what it has none for, by the rules of this file.

1. A value that the source assigns to a variable has the variable's name.
2. A loop gives what is called like its layer, and states called like the layer and the state in it.
3. A state before a step is called like the state after it.
4. What is the same in every step is called like the weight that it is, or is a part of; parts of one weight by the
   gates that they lead to: `recurrent_kernel_zr`, `recurrent_kernel_n`.
5. Else the layer inside the cell names it, the layer of the model, or its kind: `update_conv`, `readout`, `product`.
"""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from rnnexport.emit.numpy.writing import WrittenFunction, tokens_in
from rnnexport.ir.operators import operator
from rnnexport.ir.program import Function, If, Iteration, Scan, SourceOp
from rnnexport.ir.terms import Term, below

if TYPE_CHECKING:
    from rnnexport.core.names import LayerName, SourceNames

# A name of so few characters is one of a gate or a state.
_GATE = 2
# What a program imports or holds besides functions, and nothing of it may hide.
_TYPES = ("Any", "Callable", "ClassVar", "Mapping", "Path", "Sequence", "SimpleNamespace")
_GLOBALS = frozenset((*_TYPES, "MODEL", "WEIGHTS", "annotations", "argparse", "sys", "zipfile", "zlib"))
RESERVED = frozenset({*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "np", "self", "states", "dtype", "scan"})
# The variables of a program's `step` besides those of the model.
LOCALS = ("dtype", "outputs", "self", "sizes", "states", "w")
# The groups of the archive that hold no layer's weights: constants, and first states that are not one number.
_NOWHERE = SourceOp("")
CONSTANTS, START = "constants", "start"
# How far behind a mask a state is looked for, in operators.
_DEEP = 3


@dataclass(frozen=True, eq=False)
class Origins:
    """What the source calls the terms of a model.

    Attributes:
        names: what the tracing of the model found.
        places: where a term is computed in the source.
    """

    names: SourceNames
    places: Mapping[Term, SourceOp]

    def path(self, term: Term) -> str:
        """Where a term is computed in the source; empty where that is not known."""
        place = self.places.get(term)
        return "" if place is None else place.path

    def variable(self, term: Term) -> str | None:
        """The name that the source assigns a term to."""
        place = self.places.get(term, _NOWHERE)
        found = self.names.variables.get(place.path, ())
        name = found[place.port] if place.port < len(found) else ""
        return identifier(name) if name else None

    def cell(self, term: Term, scope: str) -> LayerName | None:
        """The outermost layer inside `scope`, that of a recurrent layer, that a term is computed in."""
        inside = [layer for layer in self._layers(self.path(term)) if layer.scope.startswith(f"{scope}/")]
        return inside[0] if inside else None

    def top_layer(self, path: str) -> LayerName | None:
        """The layer of the model that a path is in."""
        around = self._layers(path)
        return around[0] if around else None

    def _layers(self, path: str) -> list[LayerName]:
        """Those around a path, the outermost first, the model itself apart."""
        around = [layer for layer in self.names.layers if path == layer.scope or path.startswith(f"{layer.scope}/")]
        around.sort(key=lambda layer: len(layer.scope))
        return [layer for layer in around if "/" in layer.scope] or around

    def sublayer(self, term: Term) -> str:
        """The layers that a term is in, as one name, without those that hold a cell and the cell itself; may be empty.

        Before: `voxels/while/cell/update/conv`     After: `update_conv`
        """
        around = self._layers(self.path(term))
        held = [at for at, layer in enumerate(around) if "cell" in layer.class_name.lower()]
        return "_".join(identifier(layer.name) for layer in around[(held[-1] if held else 0) + 1 :])

    def noun(self, term: Term) -> str:
        """A name for what neither the source nor a layer has one for: of its kind."""
        return "chosen" if isinstance(term.call, If) else operator(term.op).noun or snake(term.op.rpartition(".")[2])


class NamesInScope:
    """The names of one function. A name may be given again when nobody reads what it stood for any longer."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._holders: dict[str, int | None] = dict.fromkeys(taken)

    def give(self, wanted: str, token: int, free: Collection[int] = ()) -> str:
        """`wanted`, or that with a number.

        Args:
            wanted: an identifier.
            token: what gets the name.
            free: tokens that nobody reads any longer.
        """
        name, count = wanted, 1
        while name in RESERVED or (name in self._holders and self._holders[name] not in free):
            count += 1
            name = f"{wanted}_{count}"
        self._holders[name] = token
        return name


def identifier(name: str) -> str:
    """A name of the source as one of Python: `dense-1` is `dense_1`, `x²` is `x2`, as Python itself reads letters."""
    plain = unicodedata.normalize("NFKC", name)
    made = "".join(char if f"a{char}".isidentifier() else " " for char in plain)
    made = "_".join(made.split()).strip("_") or "value"
    if not made.isidentifier():
        made = f"layer_{made}"
    return f"{made}_" if keyword.iskeyword(made) else made


def quoted(text: str) -> str:
    """A text as a literal in double quotes, on one line."""
    # The quote in front makes `repr` take single quotes around.
    inner = repr(f'"{text}')[2:-1].replace("\\'", "'").replace('"', '\\"')
    return f'"{inner}"'


def shown(text: str) -> str:
    """A text as it can stand in a docstring or a comment: on one line, its quotes and backslashes escaped."""
    return quoted(text)[1:-1]


def snake(name: str) -> str:
    """`GRUCell` as `gru_cell`, and `Range`, which Python has a `range` beside, as `range_`."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])", "_", name)
    made = identifier(parted.lower())
    return f"{made}_" if made in RESERVED | _GLOBALS else made


def camel(name: str) -> str:
    """`stateful_gru` as `StatefulGru`."""
    made = "".join(part[:1].upper() + part[1:] for part in identifier(name).split("_") if part) or "Model"
    return f"{made}Model" if made in RESERVED | _GLOBALS or not made[0].isupper() else made


def attributes_of(paths: Iterable[str]) -> dict[str, tuple[str, str]]:
    """(group, attribute) of the program for the path of each weight: its layer, and its own name.

    Before: encoder/forward_lstm/lstm_cell/kernel, encoder/backward_lstm/lstm_cell/kernel
    After:  (encoder, forward_lstm_kernel), (encoder, backward_lstm_kernel)
    """
    split = {path: [identifier(part) for part in path.split("/") if part] or [identifier("")] for path in paths}
    groups: dict[tuple[str, str], list[str]] = {}
    for path, parts in split.items():
        groups.setdefault((_group(parts), parts[-1]), []).append(path)
    found: dict[str, tuple[str, str]] = {}
    taken: set[tuple[str, str]] = set()
    for (group, name), members in groups.items():
        for path in members:
            wanted = "_".join([*_apart(split, path, members), name])
            made, count = (group, wanted), 1
            while made in taken:
                count += 1
                made = (group, f"{wanted}_{count}")
            taken.add(made)
            found[path] = made
    return found


def _group(parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return "weights"
    return f"{parts[0]}_" if parts[0] in (CONSTANTS, START) else parts[0]


def _apart(split: Mapping[str, Sequence[str]], path: str, members: Sequence[str]) -> list[str]:
    """The parts between the layer and the weight's name that not all members share."""
    if len(members) == 1:
        return []
    shared = set.intersection(*(set(split[member][1:-1]) for member in members))
    return [part for part in split[path][1:-1] if part not in shared]


def gates_behind(term: Term, results: Sequence[Term], origins: Origins) -> str:
    """The gates that a term leads to, as one word: `zr`; empty where they have no short names."""
    readers: dict[Term, list[Term]] = {}
    for user in below(results):
        for part in user.operands:
            readers.setdefault(part, []).append(user)
    found: dict[str, None] = {}
    queue, seen = [term], {term}
    while queue:
        current = queue.pop(0)
        name = origins.variable(current) if current is not term else None
        if name is not None and len(name) <= _GATE:
            found[name] = None
            continue
        new = [user for user in readers.get(current, []) if user not in seen]
        seen |= set(new)
        queue += new
    return "".join(found)


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

    def names(
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
