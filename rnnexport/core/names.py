"""Names of inputs, outputs and values: those that the source has, and those that the user gives in their place.

States keep the names that Keras gave them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rnnexport.core.errors import UsageError, closest, did_you_mean

# What every format takes, and every language can say.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
STATE = "state_"  # what the names of inputs that are states begin with
_OF_STATES = (STATE, f"next_{STATE}")
# (the Keras name, the new one); the first is empty for the name of a lone input or output.
Pairs = tuple[tuple[str, str], ...]
RequestedNames = str | Mapping[str, str]


@dataclass(frozen=True)
class Names:
    """New names of inputs and of outputs."""

    inputs: Pairs = ()
    outputs: Pairs = ()

    @staticmethod
    def of(inputs: RequestedNames, outputs: RequestedNames) -> Names:
        """Of new names by the Keras ones, or of the one new name of a lone tensor. UsageError where one is no name."""
        return Names(_pairs("--input-names", inputs), _pairs("--output-names", outputs))

    def to_json(self) -> dict[str, Any]:
        """A value `from_json` reads back; empty where nothing has a new name."""
        value = {"input_names": dict(self.inputs), "output_names": dict(self.outputs)}
        return {key: names for key, names in value.items() if names}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Names:
        """The inverse of `to_json`; reads the same keys among others."""
        return Names.of(dict(value.get("input_names", {})), dict(value.get("output_names", {})))


def _pairs(option: str, given: RequestedNames) -> Pairs:
    pairs = (("", given),) if isinstance(given, str) and given else tuple(dict(given or {}).items())
    for _, new in pairs:
        if not _PLAIN.fullmatch(new):
            raise UsageError(f"{option} {new!r}", "letters, digits, _, - and dots, a letter in front", "change it")
        if new.startswith(_OF_STATES):
            raise UsageError(f"{option} {new}, as a state may be called", "another name", "change it")
    return pairs


def renamed(own: Sequence[str], pairs: Pairs, option: str, taken: Sequence[str] = ()) -> list[str]:
    """The names of some tensors, new ones for those in `pairs`.

    Args:
        own: their Keras names.
        pairs: which get which.
        option: for messages.
        taken: names that others have.

    Raises:
        UsageError: no tensor has such a name, or two would have one.
    """
    names = list(own)
    for old, new in pairs:
        if old == "" and len(names) > 1:
            raise UsageError(f"{option} {new} for {', '.join(own)}", "OLD=NEW", f"give {option} {own[0]}={new}")
        if old not in ("", *own):
            todo = did_you_mean(closest(old, own), f"change {option}")
            raise UsageError(f"{option} {old}={new}, and no {old}", f"one of {', '.join(own)}", todo)
        names[own.index(old) if old else 0] = new
    new_names = [new for _, new in pairs]
    twice = next((name for name in new_names if names.count(name) > 1 or name in taken), None)
    if twice is not None:
        raise UsageError(f"{option}: two tensors called {twice}", "a name for each", f"change {option}")
    return names


@dataclass(frozen=True)
class LayerName:
    """A layer, and the scope that one call of it has in the graph.

    Attributes:
        scope: of the operations that the call made, `functional_1/cgru_1/while/cgru_cell_1`.
        name: the layer's, `cgru_cell`.
        class_name: the layer's, `CGRUCell`.
    """

    scope: str
    name: str
    class_name: str


@dataclass(frozen=True)
class SourceNames:
    """The names that a graph does not keep. Of a SavedModel, which has no code, those of its weights alone.

    Attributes:
        variables: by the path of an operation, in the graph or in the body of a loop, a name for each of its outputs;
            empty for an output that has none.
        weights: by the name of the constant in the frozen graph, the variable's path in the model,
            `cgru/cgru_cell/kernel`; of a tensor that a layer keeps as an attribute, `layer/attribute`; of any other,
            the path of an operation that reads it. Several weights of a Keras 2 model may have one path.
        layers: in the order of the graph.
    """

    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[LayerName, ...] = ()

    def with_constants(self, renamed: Mapping[str, str]) -> SourceNames:
        """The same for a graph in which these constants have other names."""
        return replace(self, weights={renamed.get(name, name): path for name, path in self.weights.items()})
