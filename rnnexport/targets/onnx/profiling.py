"""Where nodes really ran, read from the profile that ONNX Runtime wrote.

1. A profile has an event for each run of each node, with the node's name, operator, provider, start and duration. The
   nodes are those that are left when the graph is optimised.
2. Nodes run one after the other, and a Scan or Loop has an event too, around those of its body. So a node is in a body
   exactly where it started while a Scan or Loop ran. Names would not do: the runtime renames what it fuses.
3. A provider that compiles has one node for each part it took, named PROVIDER_PART_NUMBER. The session tells which
   nodes a part was made of; the parts are numbered in the order in which it tells them.
4. Copies between the memories of providers, which the runtime puts in, are left out.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

from rnnexport.core.placement import RECURRENT_OPERATORS, PlacedNode, Placement
from rnnexport.targets.onnx.providers import short_name

_KERNEL = "_kernel_time"
_LOOPS = ("Scan", "Loop")
_COPIES = ("MemcpyFromHost", "MemcpyToHost")
# ONNX Runtime drops the events after so many. The event of a loop that is cut off is among them.
_FULL = 1_000_000


@dataclass(frozen=True)
class Partition:
    """Nodes that were given to a provider together: to be compiled to one, or a single node.

    Attributes:
        provider: what ONNX Runtime calls it.
        nodes: the name and the operator of each.
    """

    provider: str
    nodes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _ProfiledNode:
    """A node of the profile; `provider` is what ONNX Runtime calls it."""

    name: str
    operator: str
    provider: str
    recurrent: bool

    @property
    def part(self) -> int | None:
        """The number of the part that was compiled to this node; None for one that was not."""
        number = self.name.removeprefix(f"{self.provider}_{self.operator}_")
        return int(number) if number != self.name and number.isdecimal() else None


def parts(session: Any) -> tuple[Partition, ...]:
    """What each provider was given, as the session tells it; nothing from ONNX Runtime before 1.24."""
    told: Sequence[Any] = getattr(session, "get_provider_graph_assignment_info", tuple)()
    return tuple(
        Partition(part.ep_name, tuple((node.name, node.op_type) for node in part.get_nodes())) for part in told
    )


def read_placement(profile: Path, told: Sequence[Partition]) -> Placement:
    """Which provider ran which node.

    Args:
        profile: what ONNX Runtime wrote. It is read an event at a time: a long loop makes it large.
        told: what `parts` gives for the session.
    """
    loops, complete = _loops(profile)
    runs = Counter(_ran(event, loops) for event in _node_events(profile))
    compiled = {provider: _compiled(provider, told, runs) for provider in {node.provider for node in runs}}
    nodes = [placed for node, count in runs.items() for placed in _placed(node, count, compiled[node.provider])]
    return Placement(tuple(nodes if complete else map(_doubted, nodes)))


def _events(profile: Path) -> Iterator[dict[str, Any]]:
    """Each event. It has a line of its own between those of the brackets of the list."""
    with profile.open(encoding="utf-8") as lines:
        for line in lines:
            text = line.strip().rstrip(",")
            if text.startswith("{"):
                yield json.loads(text)


def _node_events(profile: Path) -> Iterator[dict[str, Any]]:
    for event in _events(profile):
        arguments = event.get("args", {})
        if event.get("cat") == "Node" and arguments.get("provider") and arguments.get("op_name") not in _COPIES:
            yield event


def _loops(profile: Path) -> tuple[list[tuple[int, int]], bool]:
    """Start and end of each run of a Scan or Loop that is in no other, by time; and whether no event was dropped."""
    count, found = 0, []
    for event in _events(profile):
        count += 1
        if event.get("cat") == "Node" and event.get("args", {}).get("op_name") in _LOOPS:
            found.append((event["ts"], event["ts"] + event["dur"]))
    outermost: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if not outermost or start >= outermost[-1][1]:
            outermost.append((start, end))
    return outermost, count < _FULL


def _ran(event: Mapping[str, Any], loops: Sequence[tuple[int, int]]) -> _ProfiledNode:
    arguments = event["args"]
    before = bisect_left(loops, event["ts"], key=itemgetter(0))  # loops that started earlier than the node
    inside = before > 0 and event["ts"] < loops[before - 1][1]
    operator = arguments["op_name"]
    return _ProfiledNode(
        event["name"].removesuffix(_KERNEL), operator, arguments["provider"], inside or operator in RECURRENT_OPERATORS
    )


def _compiled(provider: str, told: Sequence[Partition], runs: Mapping[_ProfiledNode, int]) -> Sequence[Partition]:
    """The parts that the provider compiled, by their number; none where what is told does not fit what ran."""
    names = {node.name for node in runs}
    # A node that was given to the provider and not compiled runs under its own name.
    found = [part for part in told if part.provider == provider and names.isdisjoint(name for name, _ in part.nodes)]
    numbers = [node.part for node in runs if node.provider == provider and node.part is not None]
    return found if numbers and len(found) == max(numbers) + 1 else ()


def _placed(node: _ProfiledNode, runs: int, compiled: Sequence[Partition]) -> Iterator[PlacedNode]:
    provider = short_name(node.provider)
    if node.part is None:
        yield PlacedNode(node.name, node.operator, provider, runs, node.recurrent)
    elif not compiled:
        yield PlacedNode(node.name, node.operator, provider, runs, node.recurrent or None)
    else:
        for name, operator in compiled[node.part].nodes:
            yield PlacedNode(name, operator, provider, runs, node.recurrent or operator in RECURRENT_OPERATORS)


def _doubted(node: PlacedNode) -> PlacedNode:
    """A node of a profile that was cut off, which may have lost the loop around it."""
    return replace(node, recurrent=node.recurrent or None)
