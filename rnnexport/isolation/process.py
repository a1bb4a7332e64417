"""Workers as this process sees them: started, asked, watched, ended."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import rnnexport
from rnnexport.core.errors import CrashError
from rnnexport.isolation.limits import GIGABYTE
from rnnexport.isolation.wire import ClosedError, Message, TooLargeError, receive, send

# What a fork of this process would have half of: their threads are not forked with it.
_RUNTIMES = ("tensorflow", "onnxruntime", "ai_edge_litert", "keras", "tf_keras", "torch", "jax")
_CODE = "from rnnexport.isolation.fork_server import main; main({})"
_WATCH = 0.05  # seconds between two looks at a worker that computes
_ANSWER = 1 << 12
_PAGE = os.sysconf("SC_PAGE_SIZE")


class ForkServer:
    """See the package. There is one for this process, which ends with it."""

    _of_process: tuple[int, ForkServer] | None = None
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        if threading.active_count() == 1 and not any(map(sys.modules.get, _RUNTIMES)):
            self._fork(theirs)
        else:
            self._spawn(theirs)
        theirs.close()

    @classmethod
    def here(cls) -> ForkServer:
        """That of this process, made when first asked for: best before a runtime is loaded, which makes it quick."""
        with cls._lock:
            if cls._of_process is None or cls._of_process[0] != os.getpid():
                cls._of_process = os.getpid(), cls()
            return cls._of_process[1]

    def imports(self, modules: Iterable[str]) -> None:
        """Import modules there, so that no worker has to. This and the next raise CrashError where it ended."""
        self._ask({"imports": list(modules)})

    def born(self) -> tuple[int, socket.socket]:
        """A worker: its process id, and the socket it listens on."""
        ours, theirs = socket.socketpair()
        with theirs:
            return self._ask({"fork": True}, [theirs.fileno()])["id"], ours

    def ended(self, worker: int) -> int:
        """How a worker ended, which it has to: its wait status."""
        return int(self._ask({"wait": worker}).get("status", 0))

    def _ask(self, request: Mapping[str, Any], passed: Iterable[int] = ()) -> Any:
        with self._lock:
            answer = b""
            with suppress(ConnectionError):
                socket.send_fds(self._control, [json.dumps(request).encode()], list(passed))
                answer = self._control.recv(_ANSWER)
            if not answer:
                ForkServer._of_process = None  # the next one is another
                raise CrashError("the process that artifacts are run from ended", "it, alive", "run it again")
            return json.loads(answer)

    def _fork(self, theirs: socket.socket) -> None:
        if os.fork() == 0:
            from rnnexport.isolation.fork_server import main

            descriptor = theirs.detach()
            os.setsid()  # what a terminal sends to this process is not for workers
            # What this process holds open must not stay open when it is closed here.
            os.closerange(3, descriptor)
            os.closerange(descriptor + 1, os.sysconf("SC_OPEN_MAX"))
            try:
                main(descriptor)
            finally:
                os._exit(1)

    def _spawn(self, theirs: socket.socket) -> None:
        own = str(Path(rnnexport.__file__).parents[1])
        places = [own, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE.format(theirs.fileno())],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )


class Worker:
    """One artifact on one provider, in a process of its own.

    Args:
        label: what runs there, for messages: `model.onnx in ONNX Runtime`.
        modules: what it needs imported.
        memory: bytes that it may take.
        timeout: seconds that an answer may take.
    """

    def __init__(self, label: str, modules: Iterable[str], memory: int, timeout: float) -> None:
        self._label = label
        self._memory, self._timeout = memory, timeout
        self._fork_server = ForkServer.here()
        self._fork_server.imports(modules)
        self._id, self._channel = self._fork_server.born()
        self._channel.settimeout(timeout)
        self._over = ""

    def ask(self, told: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> Message:
        """The answer to a request.

        Raises:
            CrashError: the worker ended, or took more memory or time than it may; so does every request after it.
        """
        if self._over:
            raise self._error()
        end = time.monotonic() + self._timeout
        try:
            send(self._channel, told, arrays)
            return receive(self._channel, self._memory, lambda: self._watch(end))
        except ClosedError:
            self._end()
        except TimeoutError:
            self._end(f"takes longer than {self._timeout:g} s (--timeout)")
        except (MemoryError, TooLargeError):
            self._end(f"takes more than {self._memory / GIGABYTE:.3g} GB of memory (--memory)")
        raise self._error()

    def close(self) -> None:
        """End it."""
        if not self._over:
            self._end("was ended")

    def _watch(self, end: float) -> None:
        """Return when there is something to read.

        Raises:
            TimeoutError, MemoryError: the worker takes more than it may.
        """
        while not select.select([self._channel], [], [], _WATCH)[0]:
            if time.monotonic() > end:
                raise TimeoutError
            if memory_of(self._id) > self._memory:
                raise MemoryError

    def _end(self, why: str = "") -> None:
        """Make sure that it is gone; without a reason, of its own accord: how, the system says."""
        self._channel.close()
        if why:
            with suppress(ProcessLookupError):
                os.kill(self._id, signal.SIGKILL)
        with suppress(CrashError):  # and its workers with it
            status = self._fork_server.ended(self._id)
            self._over = why or _ending(status)
        self._over = self._over or why or "ended its process"

    def _error(self) -> CrashError:
        return CrashError(f"{self._label} {self._over}", "a result", "export it again, or raise the limit if it is one")


def _ending(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return f"ended its process with signal {number} ({signal.Signals(number).name})"
    return f"ended its process with exit code {os.waitstatus_to_exitcode(status)}"


def memory_of(process: int) -> int:
    """The bytes of memory that a process has for itself; 0 where the system does not tell (it is Linux that does)."""
    try:
        resident, shared = Path(f"/proc/{process}/statm").read_text().split()[1:3]
    except OSError:
        return 0
    return (int(resident) - int(shared)) * _PAGE
