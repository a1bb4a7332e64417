"""Export a model of every layer of Keras and function of `keras.ops` to every target: the table of docs/support.md.

    python -m benchmarks.support [--family keras.ops] [--only NAME ...] [--json FILE [--resume]] [--markdown FILE]

A run that was stopped goes on with --resume, if the code is what it was: what is written comes from one state of it.
Exit code 1 where an artifact is wrong, or something ends in no message.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import rnnexport
from benchmarks.support.measure import Measured
from benchmarks.support.models import FAMILIES, Subject, kind_of, public
from benchmarks.support.page import exact_before, markdown, placed
from benchmarks.support.table import from_json, to_json, told
from benchmarks.support.together import MOST
from benchmarks.support.workers import measured
from rnnexport.artifact.atomic_write import staged
from rnnexport.targets.registry import TARGET_NAMES


def main(arguments: Sequence[str]) -> int:
    """Measure, and print the table; 0 where nothing is wrong."""
    asked = _parser().parse_args(arguments)
    found = _measured(asked) if asked.read is None else from_json(json.loads(asked.read.read_text())["found"])
    if asked.markdown is not None:
        before = asked.markdown.read_text() if asked.markdown.is_file() else ""
        _write(asked.markdown, placed(before, "\n".join(markdown(found)) + "\n"))
    print("\n".join(told(found)))
    return int(any(one.word in ("wrong", "crashed") for item in found for one in item.found.values()))


def _measured(asked: argparse.Namespace) -> list[Measured]:
    subjects = [
        Subject(family, name)
        for family in asked.family or FAMILIES
        for name, other in public(family).items()
        if not other and (not asked.only or name in asked.only)
    ]
    page = asked.markdown.read_text() if asked.markdown is not None and asked.markdown.is_file() else ""
    code, found = code_state(), _before(asked.json) if asked.resume else []
    left = [subject for subject in subjects if subject not in {one.subject for one in found}]
    total = len(found) + len(left)
    for one in measured(list(groups(left, page)), asked.targets.split(","), asked.jobs):
        found.append(one)
        words = ", ".join(f"{name} {what.word}" for name, what in one.found.items())
        line = f"{len(found)} of {total}: {one.subject.family}.{one.subject.name} {words} ({one.seconds:.1f} s)"
        print(line, file=sys.stderr, flush=True)
        values = {"code": code, "found": to_json(sorted(found, key=lambda one: one.subject))}
        _write(asked.json, json.dumps(values, indent=1) + "\n")
    return sorted(found, key=lambda one: one.subject)


def _before(path: Path | None) -> list[Measured]:
    """What a run that was stopped found. SystemExit where there is none of this code."""
    values = json.loads(path.read_text()) if path is not None and path.is_file() else {}
    if values.get("code") != code_state():
        sys.exit(f"{path} has no results of this code: leave --resume out")
    return from_json(values["found"])


def code_state() -> str:
    """A checksum of all Python files that an export and its measurement run through."""
    total = hashlib.sha256()
    for folder in (Path(rnnexport.__file__).parent, Path(__file__).parent):
        for path in sorted(folder.rglob("*.py")):
            total.update(path.read_bytes())
    return total.hexdigest()


def groups(subjects: Sequence[Subject], page: str) -> Iterator[tuple[Subject, ...]]:
    """Many at once of those that were exact everywhere when the page was written, and each of the others alone."""
    before = exact_before(page)
    known: dict[tuple[str, str], list[Subject]] = {}
    for subject in subjects:
        if subject in before:
            known.setdefault((subject.family, kind_of(subject)), []).append(subject)
    for alike in known.values():
        for at in range(0, len(alike), MOST):
            yield tuple(alike[at : at + MOST])
    yield from ((subject,) for subject in subjects if subject not in before)


def _write(path: Path | None, text: str) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged(path) as building:
            building.write_text(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.support", description=__doc__.partition("\n")[0])
    parser.add_argument("--family", action="append", choices=FAMILIES, help="that alone; may be repeated")
    parser.add_argument("--only", action="append", metavar="NAME", help="that alone; may be repeated")
    parser.add_argument("--targets", default=",".join(TARGET_NAMES), metavar="NAMES", help="with commas between")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every result there, as it comes")
    parser.add_argument("--resume", action="store_true", help="go on with what is in --json")
    parser.add_argument("--read", type=Path, metavar="FILE", help="results of --json, instead of measuring")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="write the tables there; into a page, between its marks"
    )
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
