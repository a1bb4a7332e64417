"""Loading a file in a process of its own first, for a provider that may end the process it runs in.

A provider that crashes takes with it the verdicts on all other artifacts, and a release job sees no report at all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Seen: onnxruntime-openvino 1.24.1 ends with SIGSEGV while it loads a Loop.
FRAGILE = ("openvino",)
_CODE = """
import json, sys
import onnxruntime
path, chain = json.loads(sys.argv[1])
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
onnxruntime.InferenceSession(path, options, providers=[tuple(item) for item in chain], enable_fallback=0)
"""
# What Python ends with: without an error, and with one, which the session in this process will raise too.
_TOLD = (0, 1)


def crash(path: Path, chain: Sequence[tuple[str, Mapping[str, str]]]) -> str | None:
    """How the process that loads `path` ended, such as `SIGSEGV`; None where it did not crash.

    Args:
        path: the file.
        chain: the argument `providers` of the session.
    """
    argument = json.dumps([str(path), [(name, dict(options)) for name, options in chain]])
    done = subprocess.run(
        [sys.executable, "-P", "-c", _CODE, argument],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode in _TOLD:
        return None
    return signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode:#x}"
