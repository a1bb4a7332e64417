"""How much memory a command may take, told by the command itself to the process that looks after it.

The parent knows the host alone. What a model file may need the child knows once it has looked at the file.
"""

from __future__ import annotations

import mmap
import struct

_BYTES = struct.Struct("<Q")


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
