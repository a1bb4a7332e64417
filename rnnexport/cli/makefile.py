"""`rnnexport makefile`."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from rnnexport.artifact.atomic_write import writing
from rnnexport.cli.grouping import grouped

_MAKEFILE = Path(__file__).parents[1] / "rnnexport.mk"
_STDOUT = 1


@grouped("makefile")
def command() -> None:
    """Print the path of a makefile with rules for release jobs, to be included.

    It has pattern rules for GNU make: NAME.onnx, NAME.tflite and NAME_numpy.py from NAME.keras or NAME.h5, and
    ARTIFACT.verified from ARTIFACT, a report that is there only after a pass. The file itself says which variables it
    knows.

    \b
    Example, in a Makefile:
      include $(shell rnnexport makefile)
      release: model.onnx model.onnx.verified
    """
    # As bytes, at once and whole: a table's printer would fold a long path, and a path need not be text.
    with writing(Path("/dev/stdout")), suppress(BrokenPipeError):
        os.write(_STDOUT, os.fsencode(_MAKEFILE) + b"\n")
