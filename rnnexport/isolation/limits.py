"""What a process that runs an artifact may take."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from pathlib import Path

GIGABYTE = 10**9
# Beside what the file itself needs: a runtime, its arenas, and the values of every step of a loop.
_LEAST_MEMORY = 4 * GIGABYTE
_TIMES_THE_FILE = 8
TIMEOUT = 600.0


@dataclass(frozen=True)
class Limits:
    """What a process that runs an artifact may take.

    Attributes:
        memory: in bytes, of its own (anonymous) memory; None for 4 GB and eight times the artifact.
        timeout: in seconds, of loading the artifact and of each of its calls.
    """

    memory: int | None = None
    timeout: float = TIMEOUT

    def memory_for(self, path: Path) -> int:
        """The bytes that a process with the artifact at `path` may take."""
        if self.memory is not None:
            return self.memory
        places = path.rglob("*") if path.is_dir() else path.parent.glob(f"{glob.escape(path.name)}*")
        files = [file for file in places if file.is_file()]
        return _LEAST_MEMORY + _TIMES_THE_FILE * sum(file.stat().st_size for file in files)
