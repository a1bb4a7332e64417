"""What surrounds every command: one line for an error, a code for the shell, quiet libraries, progress.

TensorFlow and its converters write to file descriptor 2 from C++, past every Python setting. While a command runs
that descriptor leads into a file, which is shown with `--debug` alone; our own lines go to a copy of the real one.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Any

import click
from rich.console import Console

from rnnexport.cli.progress import ProgressLine
from rnnexport.errors import RnnExportError, one_line

EXIT_FAULT = 5
_EXIT_INTERRUPTED = 130
_EXIT_TERMINATED = 143
_PIPE_WIDTH = 160


class Session:
    """One run of a command.

    Attributes:
        out: where results go.
        err: where progress and errors go.
        progress: the line that says what goes on.
        debug: whether tracebacks and the libraries' own output are shown.
    """

    def __init__(self, real_stderr: IO[str], debug: bool) -> None:
        # A pipe has no width; a table must not be folded to a guess of one.
        self.out = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)
        self.err = Console(file=real_stderr, soft_wrap=True, highlight=False)
        self.debug = debug
        self.progress = ProgressLine(self.err)

    @staticmethod
    def run(command: click.Command, arguments: list[str] | None) -> int:
        """Run `command` and give its exit code. Every error becomes one line on stderr."""
        arguments = sys.argv[1:] if arguments is None else arguments
        debug = "--debug" in arguments
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(_EXIT_TERMINATED))  # so that clean-up runs
        with captured_stderr(show=debug) as real_stderr:
            session = Session(real_stderr, debug)
            with _Told(session) as told:
                told.code = command.main(arguments, "rnnexport", standalone_mode=False, obj=session) or 0
        return told.code

    def explain(self, error: BaseException) -> int:
        """Print an error as one line and give its exit code."""
        if self.debug and not isinstance(error, SystemExit | click.ClickException):
            self.err.print("".join(traceback.format_exception(error)), markup=False)
        if isinstance(error, SystemExit):
            return error.code if isinstance(error.code, int) else EXIT_FAULT
        if isinstance(error, KeyboardInterrupt | click.Abort):
            return self._tell("interrupted; nothing was written", _EXIT_INTERRUPTED)
        if isinstance(error, RnnExportError):
            return self._tell(str(error), error.exit_code)
        if isinstance(error, click.ClickException):
            return self._tell(f"{one_line(error.format_message())} (see --help)", error.exit_code)
        fault = f"{type(error).__name__}: {error}"
        return self._tell(f"a fault of rnnexport, {one_line(fault)}; --debug shows where; please report it", EXIT_FAULT)

    def _tell(self, line: str, code: int) -> int:
        self.err.print(f"rnnexport: error: {line}", markup=False)
        return code


class _Told:
    """Around a command: ends every error, told in one line, and keeps the exit code."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.code = EXIT_FAULT

    def __enter__(self) -> _Told:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._session.progress.stop()
        if error is not None:
            self.code = self._session.explain(error)
        return True


@contextmanager
def captured_stderr(show: bool) -> Iterator[IO[str]]:
    """Give the real stderr, while descriptor 2 leads into a file that is printed in the end if `show`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    real = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield real
        finally:
            sys.stderr.flush()
            os.dup2(real.fileno(), 2)
            if show:
                captured.seek(0)
                real.write(captured.read().decode(errors="backslashreplace"))
            real.close()


def session_of(ctx: Any) -> Session:
    """The session that Click carries as its object."""
    found = ctx.obj
    assert isinstance(found, Session)
    return found
