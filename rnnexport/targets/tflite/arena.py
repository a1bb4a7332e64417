"""The least arena that TensorFlow Lite Micro starts a file in, found by trying, in forks of a process of their own.

What it says that it allocated is less: its plan of the memory is made in the arena as well, and given back. In an arena
that is far too small its allocator ends the process (seen with tflite-micro 0.dev20261023182759).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rnnexport.core.errors import ProviderError, one_line

GRAIN = 256  # bytes, how exactly it is found
_CODE = f"""
import os, sys
from pathlib import Path
from tflite_micro import runtime
data, few, many = Path(sys.argv[1]).read_bytes(), 0, int(sys.argv[2])
while many - few > 1:
    middle = (few + many) // 2
    child = os.fork()
    if not child:
        try:
            runtime.Interpreter.from_bytes(data, arena_size=middle * {GRAIN})
        except RuntimeError:
            os._exit(1)
        os._exit(0)
    few, many = (few, middle) if os.waitpid(child, 0)[1] == 0 else (middle, many)
print(many)
"""


def least_arena(path: Path, enough: int) -> int:
    """Bytes, a multiple of 256.

    Args:
        path: of a file that starts in `enough` bytes.
        enough: at most so many are needed.

    Raises:
        ProviderError: no process of its own can be had.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", _CODE, str(path), str(-(-enough // GRAIN))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
    )
    if done.returncode:
        raise ProviderError(
            f"{path.name} can't be tried in arenas of TensorFlow Lite Micro: {one_line(done.stderr[-200:], 200)}",
            "a process that may fork",
            "run it on another host, or with --provider cpu",
        )
    return int(done.stdout) * GRAIN
