"""Whether what ran counts as a run on the execution provider that was asked for."""

from __future__ import annotations

from dataclasses import replace

from rnnexport.core.placement import Placement
from rnnexport.verification.report import ArtifactReport, Problem

_TOLD = 5  # nodes named in a line


def placed(report: ArtifactReport, provider: str, least: float | None) -> ArtifactReport:
    """The report, `not run` where it passed and the nodes ran elsewhere: no verdict on the provider that was asked for.

    A mismatch stays one, wherever it was computed.

    Args:
        report: of the artifact.
        provider: that it was to run on.
        least: the share of the recurrent nodes that have to run on it, from 0 to 1; None for any node at all.
    """
    problem = _elsewhere(report.placement, provider, least)
    if report.status != "passed" or not problem:
        return report
    return replace(report, status="not run", problems=(Problem("placement", problem),))


def _elsewhere(placement: Placement | None, provider: str, least: float | None) -> str:
    """Why what ran does not count as a run on the provider; empty where it does."""
    if placement is None:
        return ""
    if not placement.counts().get(provider):
        told = ", ".join(f"{name} {count}" for name, count in placement.counts().items())
        return f"no node ran on {provider}: {told}"
    if least is None:
        return ""
    if placement.opaque:
        told = ", ".join(node.name for node in placement.opaque)
        return f"it can't be told whether recurrent nodes ran on {provider}: it compiled {told}"
    recurrent = placement.recurrent_share(provider)
    share, kind = (placement.share(provider), "nodes") if recurrent is None else (recurrent, "recurrent nodes")
    if share >= least:
        return ""
    nodes = placement.elsewhere(provider) if recurrent is None else placement.recurrent
    others = [f"{node.name} ({node.operator}) on {node.provider}" for node in nodes if node.provider != provider]
    told = ", ".join(others[:_TOLD]) + (f" and {len(others) - _TOLD} more" if len(others) > _TOLD else "")
    return f"{share:.0%} of the {kind} ran on {provider}, not {least:.0%}: {told}"
