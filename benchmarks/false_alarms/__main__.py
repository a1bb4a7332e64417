"""Export random right models to every target, and count those that are called wrong.

    python -m benchmarks.false_alarms [--models 300] [--seed 0] [--targets onnx,numpy,...] [--json FILE]

A run that was stopped goes on: models that FILE has are not judged again. Several hosts take a part each by `--seed`.
Exit code 1 where an artifact is a mismatch, something ends in no message, or more than a hundredth is refused. Every
mismatch is to be looked at: the model is right, so the artifact, the bound or the conversion is not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.false_alarms.judge import Answer, Judged, from_json, judge, to_json
from benchmarks.processes import finished
from rnnexport.artifact.atomic_write import staged
from rnnexport.targets.registry import TARGET_NAMES

_ANSWERS: tuple[Answer, ...] = ("verified", "mismatch", "refused", "crashed")
_REFUSED = 0.01


def main(arguments: Sequence[str]) -> int:
    """Run the bench; 0 where no alarm was false."""
    asked = _parser().parse_args(arguments)
    judged = _earlier(asked.json)
    done = {one.seed for one in judged}
    seeds = [seed for seed in range(asked.seed, asked.seed + asked.models) if seed not in done]
    work = partial(judge, targets=asked.targets.split(","))
    for _, one in finished(work, seeds, asked.jobs, each=20):
        judged.append(one)
        told = ", ".join(f"{verdict.target} {verdict.answer}" for verdict in one.verdicts)
        print(f"{len(judged)}: {one.seed} {told} ({one.seconds:.0f} s)", file=sys.stderr, flush=True)
        if asked.json is not None:
            with staged(asked.json) as path:
                path.write_text(json.dumps(to_json(sorted(judged, key=lambda one: one.seed)), indent=1) + "\n")
    show(judged)
    return int(failed(judged))


def failed(judged: Sequence[Judged]) -> bool:
    """Whether an alarm was false, or too much is refused."""
    answers = Counter(verdict.answer for one in judged for verdict in one.verdicts)
    return bool(answers["mismatch"] or answers["crashed"]) or answers["refused"] > _REFUSED * answers.total()


def show(judged: Sequence[Judged]) -> None:
    """A table of the targets, and below it everything that was not verified."""
    console = Console(highlight=False)
    verdicts = [verdict for one in judged for verdict in one.verdicts]
    table = Table("target", *_ANSWERS, title=f"{len(judged)} right models", title_justify="left")
    for name in dict.fromkeys(verdict.target for verdict in verdicts):
        counts = Counter(verdict.answer for verdict in verdicts if verdict.target == name)
        table.add_row(name, *(str(counts[answer]) for answer in _ANSWERS))
    console.print(table)
    for one in sorted(judged, key=lambda one: one.seed):
        for verdict in one.verdicts:
            if verdict.answer != "verified":
                told = f"{verdict.answer}  {one.seed}  {verdict.target}  {one.told}: {verdict.why}"
                console.print(told, markup=False, soft_wrap=True)


def _earlier(path: Path | None) -> list[Judged]:
    """What an earlier run wrote there."""
    if path is None or not path.exists():
        return []
    return from_json(json.loads(path.read_text()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.false_alarms", description=__doc__.partition("\n")[0])
    parser.add_argument("--models", type=int, default=300, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the first; each has the next one")
    parser.add_argument("--targets", default=",".join(TARGET_NAMES), metavar="NAMES", help="with commas between")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every verdict there too, as it comes")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
