"""The command runs in a child of the process that was started, so that a crash of a library ends as one line.

TensorFlow, its converters and every runtime are C++: they end a process with a signal where Python would raise. The
parent imports none of them; it waits, hands signals on, and looks how much memory the child takes.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from rnnexport.artifact.atomic_write import held_folder
from rnnexport.core.errors import EXIT_CONVERSION
from rnnexport.isolation.limits import Allowance, end_with
from rnnexport.isolation.process import memory_of

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_OWN_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}
_LOOK = 0.2  # seconds between two looks
_PATIENCE = 10.0  # seconds that a child may take to end of its own accord
_IN_VAIN = "interrupted while a library computed"
# A system that is out of memory ends some process, and seldom says why.
_SHARE = 0.95


def supervised(run: Callable[[], int]) -> int:
    """Run a command in a child, and give its exit code; that of a model which can't be converted where it crashes."""
    if not sys.platform.startswith("linux"):
        return run()
    with ExitStack() as resources:
        folder = None
        with suppress(OSError):  # a host without a place for temporary files
            folder = resources.enter_context(held_folder(Path(tempfile.gettempdir()), "temporary"))
        return _in_child(run, folder)


def _in_child(run: Callable[[], int], temporary: Path | None) -> int:
    """See `supervised`.

    Args:
        run: the command.
        temporary: where all libraries, in C++ as in Python, put their temporary files, which a crash leaves there.
    """
    waited = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    parent, allowance = os.getpid(), Allowance(int(_host_memory() * _SHARE))
    child = os.fork()
    if child == 0:
        end_with(parent)
        allowance.hold()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if temporary is not None:
            tempfile.tempdir = os.environ["TMPDIR"] = str(temporary)
        return run()
    status, why, asked = _waited(child, waited, allowance)
    if not os.WIFSIGNALED(status):
        return os.waitstatus_to_exitcode(status)
    number = asked or signal.Signals(os.WTERMSIG(status))
    if number in _OWN_CODES and not asked:
        return _OWN_CODES[number]
    what = why or f"a library ended the process with signal {number.value} ({number.name})"
    with suppress(OSError):
        os.write(2, f"rnnexport: error: {what}; nothing was written; --debug shows what it printed\n".encode())
    return _OWN_CODES.get(number, EXIT_CONVERSION)


class _Asked:
    """Whether the child was asked to end: a library that computes does not let it hear of that."""

    def __init__(self, child: int) -> None:
        self.number: signal.Signals | None = None
        self._child, self._since = child, 0.0

    def __call__(self, number: int, frame: object = None) -> None:
        """Ask it."""
        del frame
        self.note(number)
        with suppress(ProcessLookupError):
            os.kill(self._child, number)

    def note(self, number: int) -> None:
        """It was asked: by the terminal, which asks both."""
        if self.number is None:
            self.number, self._since = signal.Signals(number), time.monotonic()

    @property
    def in_vain(self) -> bool:
        return self.number is not None and time.monotonic() - self._since > _PATIENCE


def _waited(child: int, waited: set[signal.Signals], allowance: Allowance) -> tuple[int, str, signal.Signals | None]:
    """The wait status of the child; why it was ended where it was, and by which signal in vain before."""
    host = allowance.bytes
    why, ask = "", _Asked(child)
    # Between two waits a signal goes to a thread of NumPy, which does not block it: its handler runs here then.
    for number in _PASSED_ON:
        signal.signal(number, ask)
    while True:
        told = signal.sigtimedwait(waited, _LOOK)
        if told is not None and told.si_signo in _PASSED_ON:
            (ask if told.si_code <= 0 else ask.note)(told.si_signo)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status, why, ask.number if why == _IN_VAIN else None
        if not why and memory_of(child) > (limit := allowance.bytes):
            which = "this host has" if limit == host else "a SavedModel of that size is given without --allow-unsafe"
            why = f"the command takes more memory than {which} ({limit / 10**9:.3g} GB)"
        elif not why and ask.in_vain:
            why = _IN_VAIN
        if why:
            os.kill(child, signal.SIGKILL)


def _host_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
