"""What things are called in a program: as the source calls them, as far as Python's grammar and the reader allow."""

from __future__ import annotations

import builtins
import keyword
import re
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnexport.ir.operators import operator
from rnnexport.ir.program import If, SourceOp
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
