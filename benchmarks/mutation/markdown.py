"""The table of `docs/verification.md`, from what `make mutation` wrote.

python -m benchmarks.mutation.markdown build/mutation/report.json
"""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def markdown(report: Mapping[str, Any]) -> str:
    """A line a kind of fault, a line for all, and the false alarms below it."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    artifacts: dict[str, set[str]] = defaultdict(set)
    for mutant in report["mutants"]:
        for row in (mutant["fault"], "all"):
            counts[row][mutant["answer"]] += 1
            artifacts[row].add(mutant["artifact"])
    lines = ["| fault | artifacts | mutants | caught | equal | missed |", "| --- | --- | --- | --- | --- | --- |"]
    for row in [*(name for name in counts if name != "all"), "all"]:
        found = counts[row]
        figures = (len(artifacts[row]), found.total(), found["caught"], found["equal"], found["missed"])
        lines.append(f"| {row} | {' | '.join(f'{figure:,}' for figure in figures)} |")
    calm = sum(artifact["calm"] for artifact in report["artifacts"])
    alarms = sum(len(artifact["alarms"]) for artifact in report["artifacts"])
    least = max(artifact["precision"] for artifact in report["artifacts"])
    lines += ["", f"{alarms} false alarms in {calm + alarms:,} verifications; the largest precision {least:.2f}."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(markdown(json.loads(Path(sys.argv[1]).read_text())))
