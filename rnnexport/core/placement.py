"""Where the nodes of an artifact ran: a frozen value that every layer shares."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The operators of ONNX that repeat a step over time.
RECURRENT_OPERATORS = frozenset({"LSTM", "GRU", "RNN", "Scan", "Loop"})


@dataclass(frozen=True)
class PlacedNode:
    """One node and the provider that ran it.

    Attributes:
        name: as the runtime calls it. That is its name in the file, unless the runtime fused it with others.
        operator: its operator.
        provider: the short name of the execution provider, such as `cpu` and `cuda`.
        runs: how often it ran while placement was observed. A node in the body of a loop runs once a step.
        recurrent: whether it is one of `RECURRENT_OPERATORS` or a node in the body of a Scan or Loop. None where that
            can't be told: a part that the provider compiled into one node, and the runtime does not say out of what.
    """

    name: str
    operator: str
    provider: str
    runs: int
    recurrent: bool | None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "name": self.name,
            "operator": self.operator,
            "provider": self.provider,
            "runs": self.runs,
            "recurrent": self.recurrent,
        }


@dataclass(frozen=True)
class Placement:
    """Which provider ran which nodes.

    Shares are shares of distinct nodes. They say nothing of time: one MatMul can outweigh fifty nodes that reshape,
    and a node counts once however many steps it ran. The nodes are those that the runtime ran, and not those of the
    file: it folds constants and fuses nodes before it places them. A part that a provider compiled counts as the
    nodes it was made of. A Scan or Loop that a provider compiled with its body counts as one node. Copies between the
    memories of two providers are no nodes.

    Attributes:
        nodes: each node that ran, once, in the order in which it ran first.
    """

    nodes: tuple[PlacedNode, ...]

    def counts(self) -> Mapping[str, int]:
        """How many nodes each provider ran; the providers in alphabetical order."""
        counted = Counter(node.provider for node in self.nodes)
        return {provider: counted[provider] for provider in sorted(counted)}

    def share(self, provider: str) -> float:
        """The share of all nodes that ran on `provider`, 0 to 1; 0 where no node ran."""
        return _share(self.nodes, provider) or 0.0

    def recurrent_share(self, provider: str) -> float | None:
        """The same among recurrent nodes; None where there are none, or where it can't be told (see `opaque`)."""
        return None if self.opaque else _share(self.recurrent, provider)

    @property
    def recurrent(self) -> tuple[PlacedNode, ...]:
        """The nodes that are known to be recurrent."""
        return tuple(node for node in self.nodes if node.recurrent)

    @property
    def opaque(self) -> tuple[PlacedNode, ...]:
        """The compiled parts of which nobody knows whether they are recurrent. What they hold is never guessed."""
        return tuple(node for node in self.nodes if node.recurrent is None)

    def elsewhere(self, provider: str) -> tuple[PlacedNode, ...]:
        """The nodes that ran on another provider than `provider`."""
        return tuple(node for node in self.nodes if node.provider != provider)

    def to_json(self) -> dict[str, Any]:
        """As plain values: the counts, and the nodes one by one."""
        return {"counts": dict(self.counts()), "nodes": [node.to_json() for node in self.nodes]}


def _share(nodes: tuple[PlacedNode, ...], provider: str) -> float | None:
    return sum(node.provider == provider for node in nodes) / len(nodes) if nodes else None
