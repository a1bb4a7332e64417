"""Export the operators that Keras is traced to, run them at their edges, and compare with TensorFlow.

    python -m benchmarks.edges [--operator NAME]... [--column NAME]... [--markdown FILE]

Exit code 1 where an artifact is wrong and no word in `benchmarks.edges.words` says why.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.edges.artifacts import COLUMNS
from benchmarks.edges.cases import cases
from benchmarks.edges.table import Cell, faults, markdown, measured
from benchmarks.edges.values import inputs
from rnnexport.artifact.atomic_write import staged


def main(arguments: Sequence[str]) -> int:
    """Run the benchmark; 0 where no cell is wrong without a word."""
    asked = _parser().parse_args(arguments)
    operators = [case for case in cases() if not asked.operator or case.name in asked.operator]
    columns = [column for column in COLUMNS if not asked.column or column.title in asked.column]
    with _quiet_converters():
        cells = list(measured(columns, operators, inputs()))
    table = "\n".join(markdown(cells)) + "\n"
    if asked.markdown is None:
        print(table)
    else:
        with staged(asked.markdown) as path:
            path.write_text(table)
    for line in (*_refusals(cells), *faults(cells)):
        print(line, file=sys.stderr)
    return int(bool(faults(cells)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks.edges", description=__doc__.partition("\n")[0])
    parser.add_argument("--operator", action="append", metavar="NAME", help="may be repeated; all by default")
    parser.add_argument(
        "--column", action="append", choices=[column.title for column in COLUMNS], metavar="NAME", help="the same"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    return parser


def _refusals(cells: Sequence[Cell]) -> Iterator[str]:
    for cell in cells:
        if cell.refused:
            yield f"{cell.case.name} refused in {cell.column.title}: {cell.refused}"


@contextmanager
def _quiet_converters() -> Iterator[None]:
    """A block without what the TFLite converter prints about each operator that it has not."""
    sys.stderr.flush()
    saved = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
