"""A traced model to a NumPy program and the archive of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rnnexport.artifact.goldens import Arrays
from rnnexport.conversion.convert import require_converted
from rnnexport.core.lowering import LoweringDecision
from rnnexport.emit.numpy.program import write_module
from rnnexport.source.trace import Graphs
from rnnexport.targets.base import ExportOptions
from rnnexport.targets.numpy.program import write


def export(graphs: Graphs, feeds: Sequence[Arrays], path: Path, options: ExportOptions) -> tuple[LoweringDecision, ...]:
    """Write a model as the program at `path` and the archive beside it, without a proof.

    It has one form, whatever the options, and does not know its own file name: both files may be renamed alike. Of a
    stream the graph of whole sequences is left out: the program takes chunks of any length, a whole sequence among
    them.

    Raises:
        ConversionError: an operator has no NumPy form; names the op and the layer.
        OSError: it can't be written.
    """
    module = write_module(require_converted(graphs).program, graphs.main.name)
    write(path, module.text, module.arrays)
    return ()
