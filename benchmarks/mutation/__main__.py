"""Inject faults into verified artifacts, and see that verification catches every one, and raises no false alarm.

    python -m benchmarks.mutation [--json FILE] [--subject NAME]... [--form NAME]... [--fault NAME]... [--seeds 20]

Exit code 1 where a fault is missed or an alarm is false.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from benchmarks.mutation.judge import KINDS, Judged, judge_subject
from benchmarks.mutation.results import failed, show, to_json
from benchmarks.mutation.subjects import FORMS, OTHERS, names
from rnnexport.artifact.atomic_write import staged


def main(arguments: Sequence[str]) -> int:
    """Run the bench; 0 where nothing was missed and no alarm was false."""
    asked = _parser().parse_args(arguments)
    subjects = asked.subject or names()
    if unknown := sorted(set(subjects) - set(names())):
        sys.exit(f"no subject {', '.join(unknown)}; there are {', '.join(names())}")
    judged = list(_judged(subjects, asked.fault or KINDS, asked))
    show(judged, asked.missed)
    if asked.json is not None:
        with staged(asked.json) as path:
            path.write_text(json.dumps(to_json(judged), indent=1) + "\n")
    return int(failed(judged))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every verdict there too")
    parser.add_argument("--subject", action="append", metavar="NAME", help="may be repeated; all by default")
    parser.add_argument("--form", action="append", choices=(*FORMS, *OTHERS), metavar="NAME", help="the same")
    parser.add_argument("--fault", action="append", choices=KINDS, metavar="NAME", help="the same")
    parser.add_argument("--seeds", type=int, default=20, metavar="N", help="fresh verifications of each artifact")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes")
    parser.add_argument("--folder", type=Path, default=Path("build/mutation"), help="where exports are kept")
    parser.add_argument("--missed", type=int, default=50, metavar="N", help="list as many missed mutants")
    return parser


def _judged(subjects: Sequence[str], faults: Sequence[str], asked: argparse.Namespace) -> Iterator[Judged]:
    """All artifacts of all subjects, in the order of the subjects."""
    forms = asked.form or (*FORMS, *OTHERS)
    work = partial(judge_subject, faults=faults, folder=asked.folder, seeds=asked.seeds, forms=forms)
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    with ProcessPoolExecutor(asked.jobs, mp_context=context) as pool:
        waiting = {pool.submit(work, name): name for name in subjects}
        done: dict[str, list[Judged]] = {}
        for future in as_completed(waiting):
            done[waiting[future]] = future.result()
            told = ", ".join(f"{one.name} {len(one.verdicts)}" for one in future.result())
            print(f"{len(done)} of {len(subjects)}: {told}", file=sys.stderr, flush=True)
    for name in subjects:
        yield from done[name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
