"""A traced model to a C program, its header, and the archive beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rnnexport.artifact.goldens import Arrays
from rnnexport.conversion.convert import require_converted
from rnnexport.conversion.forms import require_numbers
from rnnexport.core.lowering import LoweringDecision
from rnnexport.emit.c.module import text_of
from rnnexport.source.trace import Graphs
from rnnexport.targets.base import ExportOptions
from rnnexport.targets.c.files import WEIGHTS, write
from rnnexport.targets.c.rows import require_independent
from rnnexport.targets.c.source import Source


def export(graphs: Graphs, feeds: Sequence[Arrays], path: Path, options: ExportOptions) -> tuple[LoweringDecision, ...]:
    """Write a model as the program at `path`, without a proof.

    The program is named after its file. Of a stream the graph of whole sequences is left out: the program takes
    chunks of any length.

    Raises:
        ConversionError: an operator has no C form, or a size is known from data alone; names the op and the layer. Or
            the rows of a batch depend on each other.
        UsageError: its weights don't fit in `max_bytes`.
        OSError: it can't be written.
    """
    require_numbers(graphs.main)
    require_independent(graphs.main, feeds)
    found = require_converted(graphs)
    weights = path.name + WEIGHTS if options.c.weights_beside else ""
    source = Source.of(found, path.stem, replace(options.c, max_bytes=None), weights)
    parts = source.parts(found.weights)
    options.c.require_room(sum(array.nbytes for array, _ in parts.constants.values()))
    write(path, text_of(parts, source.form), source)
    return ()
