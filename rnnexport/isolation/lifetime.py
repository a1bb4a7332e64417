"""A process that ends with its parent, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Let the calling process be killed when its parent ends. On Linux alone; elsewhere nothing happens.

    Args:
        parent: its process id. A parent that is gone already, before this could be asked for, ends the process here.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
