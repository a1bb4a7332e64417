"""The support table of the README, as Markdown, from the report that the demo wrote.

python -m samples.support build/demo/report.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from rnnexport.targets.registry import TARGET_NAMES, model_name
from samples.catalog import SAMPLES

Verdicts = Mapping[tuple[str, str], str]


def verdicts_of(report: Mapping[str, object]) -> Verdicts:
    """(sample, target) to `passed`, `mismatch` or `not run`, from a JSON report."""
    artifacts = report["artifacts"]
    assert isinstance(artifacts, list)
    return {(model_name(item["artifact"], item["target"]), item["target"]): item["status"] for item in artifacts}


def markdown(verdicts: Verdicts) -> str:
    """A line a sample, a column a target. What was not verified says so."""
    lines = [
        f"| sample | what it is | {' | '.join(TARGET_NAMES)} |",
        f"| --- | --- | {' | '.join('---' for _ in TARGET_NAMES)} |",
    ]
    for sample in SAMPLES:
        cells = ["verified" if verdicts.get((sample.name, to)) == "passed" else "**no**" for to in TARGET_NAMES]
        lines.append(f"| [`{sample.name}`](samples/{sample.file}.py) | {sample.what} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(markdown(verdicts_of(json.loads(Path(sys.argv[1]).read_text()))), end="")
