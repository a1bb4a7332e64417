"""The files of a C program: NAME.c, NAME.h, and NAME.c.npz with what it was written of and its proof.

Weights may lie in a fourth one, NAME.c.bin. Its name is kept inside, so that it goes by that whatever the others are
called.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from rnnexport.artifact import archive
from rnnexport.core.errors import ForeignCode, UsageError, reason, require_path
from rnnexport.emit.c.module import Text
from rnnexport.targets.c.source import Source

GRAPH, DETAILS = "rnnexport_graph", "rnnexport_program"
HEADER, BESIDE, WEIGHTS = ".h", ".c.npz", ".bin"


def beside(program: Path) -> Path:
    """The archive beside a program."""
    return program.with_suffix(BESIDE)


def write(path: Path, text: Text, source: Source) -> None:
    """Write a program with its companions, without a proof.

    Raises:
        OSError: it can't be written.
    """
    path.write_bytes(text.program.encode())
    path.with_suffix(HEADER).write_bytes(text.header.encode())
    if source.weights:
        path.with_name(source.weights).write_bytes(text.weights)
    entries = {
        archive.entry_name(GRAPH): to_entry(source.graph),
        archive.entry_name(DETAILS): to_entry(source.to_json().encode()),
    }
    beside(path).write_bytes(archive.to_bytes(entries))


def to_entry(blob: bytes) -> bytes:
    """Bytes as an entry of the archive."""
    return archive.to_entry(np.frombuffer(blob, np.uint8))


def read_text(path: Path) -> bytes:
    """A file of a program as it is. UsageError where it can't be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read {path}: {error.strerror}", "a readable file", "check its rights") from error


def read_source(path: Path) -> Source:
    """What the program at `path` was written of.

    Raises:
        UsageError: it is not there, or damaged.
    """
    return source_in(path, archive.read(beside(path)))


def source_in(path: Path, entries: archive.Entries) -> Source:
    """The same, from the entries of the archive beside it."""
    held = beside(path)
    if any(archive.entry_name(name) not in entries for name in (GRAPH, DETAILS)):
        raise UsageError(f"{held.name} holds no program", "the archive of a C program", "export the model again")
    graph, details = (archive.from_entry(held, entries[archive.entry_name(name)]) for name in (GRAPH, DETAILS))
    with ForeignCode(partial(_damaged, held)):
        return Source.from_json(graph, details)


def weights_file(path: Path, source: Source) -> Path | None:
    """The file of the weights of the program at `path`; None where they stand in it."""
    return path.with_name(source.weights) if source.weights else None


def read_weights(path: Path, source: Source) -> bytes:
    """What is in it; empty where there is none. UsageError where it can't be read."""
    file = weights_file(path, source)
    if file is None:
        return b""
    require_path(file, f"the weights of {path.name}, beside it")
    return read_text(file)


def _damaged(path: Path, error: BaseException) -> UsageError:
    return UsageError(f"{path.name} is damaged ({reason(error)})", "a whole archive", "copy or export it again")
