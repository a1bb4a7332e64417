"""Inject faults into verified artifacts, and see that verification catches every one, and raises no false alarm.

    python -m benchmarks.mutation [--json FILE] [--subject NAME]... [--form NAME]... [--fault NAME]... [--seeds 20]

A run that was stopped goes on: subjects that FILE has are not judged again. All mutants of all subjects take many hours
of a core; `--at-most 2` judges so many of each kind of fault of each artifact, at random, the same ones each time.
Exit code 1 where a fault is missed or an alarm is false.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from benchmarks.mutation.judge import KINDS, Judged, judge_subject
from benchmarks.mutation.results import failed, from_json, show, to_json
from benchmarks.mutation.subjects import FORMS, OTHERS, names
from benchmarks.processes import finished
from rnnexport.artifact.atomic_write import staged


def main(arguments: Sequence[str]) -> int:
    """Run the bench; 0 where nothing was missed and no alarm was false."""
    asked = _parser().parse_args(arguments)
    subjects = asked.subject or names()
    if unknown := sorted(set(subjects) - set(names())):
        sys.exit(f"no subject {', '.join(unknown)}; there are {', '.join(names())}")
    done = _earlier(asked.json)
    for name, judged in _judged([one for one in subjects if one not in done], asked):
        done[name] = judged
        told = ", ".join(f"{one.name} {len(one.verdicts)}" for one in judged)
        print(f"{len(done)} of {len(subjects)}: {told}", file=sys.stderr, flush=True)
        if asked.json is not None:
            with staged(asked.json) as path:
                path.write_text(json.dumps(to_json(done), indent=1) + "\n")
    everything = [one for name in subjects for one in done[name]]
    show(everything, asked.missed)
    return int(failed(everything))


def _earlier(path: Path | None) -> dict[str, list[Judged]]:
    """What an earlier run wrote there, by subject."""
    return {} if path is None or not path.exists() else from_json(json.loads(path.read_text()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every verdict there too, as it comes")
    parser.add_argument("--subject", action="append", metavar="NAME", help="may be repeated; all by default")
    parser.add_argument("--form", action="append", choices=(*FORMS, *OTHERS), metavar="NAME", help="the same")
    parser.add_argument("--fault", action="append", choices=KINDS, metavar="NAME", help="the same")
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="fresh verifications of each artifact")
    parser.add_argument("--at-most", type=int, metavar="N", help="mutants of a kind of an artifact; all by default")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes")
    parser.add_argument("--folder", type=Path, default=Path("build/mutation"), help="where exports are kept")
    parser.add_argument("--missed", type=int, default=50, metavar="N", help="list as many missed mutants")
    return parser


def _judged(subjects: Sequence[str], asked: argparse.Namespace) -> Iterator[tuple[str, list[Judged]]]:
    """All artifacts of each subject, as it is done."""
    work = partial(
        judge_subject,
        faults=asked.fault or KINDS,
        folder=asked.folder,
        seeds=asked.seeds,
        forms=asked.form or (*FORMS, *OTHERS),
        at_most=asked.at_most,
    )
    yield from finished(work, subjects, asked.jobs, each=4)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
