"""A traced model to a C program, its header, and the archive beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rnnexport.artifact.goldens import Arrays
from rnnexport.conversion.convert import require_converted
from rnnexport.conversion.forms import require_numbers
from rnnexport.core.lowering import LoweringDecision
from rnnexport.source.trace import Graphs
from rnnexport.targets.base import ExportOptions
from rnnexport.targets.c.files import write
from rnnexport.targets.c.source import Source


def export(graphs: Graphs, feeds: Sequence[Arrays], path: Path, options: ExportOptions) -> tuple[LoweringDecision, ...]:
    """Write a model as the program at `path`, without a proof.

    The program is named after its file. Of a stream the graph of whole sequences is left out: the program takes
    chunks of any length.

    Raises:
        ConversionError: an operator has no C form, or a size is known from data alone; names the op and the layer.
        OSError: it can't be written.
    """
    require_numbers(graphs.main)
    found = require_converted(graphs)
    source = Source.of(found, path.stem, options.c)
    write(path, source.text(found.weights), source)
    return ()
