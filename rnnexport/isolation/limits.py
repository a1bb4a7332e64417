"""What a process that runs an artifact may take.

A process that ends with its parent, however that ends.

How much memory a command may take, told by the command itself to the process that looks after it.

The parent knows the host alone. What a model file may need the child knows once it has looked at the file.
"""

from __future__ import annotations

import ctypes
import glob
import mmap
import os
import signal
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

GIGABYTE = 10**9
# Beside what the file itself needs: a runtime, its arenas, and the values of every step of a loop.
_LEAST_MEMORY = 4 * GIGABYTE
_TIMES_THE_FILE = 8
TIMEOUT = 600.0
_PR_SET_PDEATHSIG = 1
_BYTES = struct.Struct("<Q")


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


def end_with(parent: int) -> None:
    """Let the calling process be killed when its parent ends. On Linux alone; elsewhere nothing happens.

    Args:
        parent: its process id. A parent that is gone already, before this could be asked for, ends the process here.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


class Allowance:
    """Bytes of its own that a child may take. Made by the parent, before the fork.

    Args:
        most: to begin with.
    """

    _of_process: Allowance | None = None

    def __init__(self, most: int) -> None:
        self._shared = mmap.mmap(-1, _BYTES.size)
        self._shared[:] = _BYTES.pack(most)

    @property
    def bytes(self) -> int:
        """How many these are now."""
        return int(_BYTES.unpack(self._shared[:])[0])

    def hold(self) -> None:
        """Let this be what `lower` lowers: called by the child."""
        Allowance._of_process = self

    @classmethod
    def lower(cls, most: int) -> None:
        """Let no more than that be taken. Nothing happens where no other process looks after this one."""
        if (own := cls._of_process) is not None:
            own._shared[:] = _BYTES.pack(min(most, own.bytes))
