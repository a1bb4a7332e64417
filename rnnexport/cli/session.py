"""What surrounds every command: one line for an error, a code for the shell, quiet libraries, progress.

TensorFlow and its converters write to file descriptor 2 from C++, past every Python setting. While a command runs
that descriptor leads into a file that nobody reads, unless `--debug`; our own lines go to a copy of the real one.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Any

import click
from rich.console import Console, RenderableType
from rich.text import Text

from rnnexport.artifact.atomic_write import writing
from rnnexport.cli.progress import ProgressLine
from rnnexport.core.errors import EXIT_USAGE, RnnExportError, in_a_command, one_line
from rnnexport.core.run_record import Watch

EXIT_FAULT = 5
_EXIT_INTERRUPTED = 130
_EXIT_TERMINATED = 143
_PIPE_WIDTH = 160
_TWICE = 0.5  # seconds within which two signals are one


class Session:
    """One run of a command.

    Attributes:
        err: where progress and errors go.
        line: where progress shows.
        debug: whether tracebacks and the libraries' own output are shown.
        watch: how long it takes.
        command: as it was typed.
    """

    def __init__(self, real_stderr: IO[str], debug: bool, stopper: _Stopper, command: Sequence[str]) -> None:
        # A pipe has no width; a table must not be folded to a guess of one.
        self._out = _Output(
            width=None if sys.stdout is not None and sys.stdout.isatty() else _PIPE_WIDTH, highlight=False
        )
        self.err = Console(file=real_stderr, soft_wrap=True, highlight=False)
        self.debug = debug
        self.line = ProgressLine(self.err)
        self.watch = Watch()
        self.command = tuple(command)
        self._stopper = stopper

    @staticmethod
    def run(command: click.Command, arguments: list[str] | None) -> int:
        """Run `command` and give its exit code. Every error becomes one line on stderr."""
        arguments = sys.argv[1:] if arguments is None else arguments
        debug = "--debug" in arguments
        if debug:
            logging.getLogger("rnnexport").setLevel(logging.DEBUG)
        with _Stopper().installed() as stopper, captured_stderr(show=debug) as real_stderr, in_a_command():
            session = Session(real_stderr, debug, stopper, ("rnnexport", *arguments))
            with _Told(session) as told:
                told.code = command.main(arguments, "rnnexport", standalone_mode=False, obj=session) or 0
        return told.code

    @property
    def loudness(self) -> int:
        """0; -1 with `-q`, 1 with `-v`."""
        return int(self.line.loud) - int(self.line.quiet)

    def plan(self, steps: int) -> None:
        """Say how many steps of `progress` there will be."""
        self.line.steps = steps

    def progress(self, message: str) -> None:
        """Say what goes on, before each step of the work."""
        if self._stopper.asked is not None:
            raise self._stopper.asked
        self.line(message)

    def write(self, text: str) -> None:
        """Print a text on stdout as it is, whatever `-q` says: it is what was asked for. Raises as `show`."""
        self._print(Text(text, no_wrap=True, overflow="ignore"), soft_wrap=True)

    def show(self, result: RenderableType) -> None:
        """Print a result on stdout, unless `-q` says that nobody reads it.

        Raises:
            UsageError: stdout can't be written. A pipe whose reader has gone is no error, nor is a closed stdout.
        """
        if self.loudness >= 0:
            self._print(result)

    def _print(self, result: RenderableType, *, soft_wrap: bool = False) -> None:
        if sys.stdout is None:
            return
        with writing(Path("/dev/stdout")):
            try:
                self._out.print(result, markup=False, soft_wrap=soft_wrap)
                sys.stdout.flush()
            except BrokenPipeError:
                _discard_stdout()
            except OSError:
                _discard_stdout()  # else Python tries once more at its end, and exits with a code of its own
                raise

    def warn(self, line: str) -> None:
        """Print what the user should know although the command goes on, on stderr."""
        self.line.stop()
        self.err.print(f"rnnexport: warning: {one_line(line)}", markup=False)

    def explain(self, error: BaseException) -> int:
        """Print an error as one line and give its exit code."""
        if self.debug and not isinstance(error, click.ClickException):
            self.err.print("".join(traceback.format_exception(error)), markup=False)
        if isinstance(error, _Terminated):
            return self._tell("terminated; no artifact was written", _EXIT_TERMINATED)
        if isinstance(error, KeyboardInterrupt | click.Abort):
            return self._tell("interrupted; no artifact was written", _EXIT_INTERRUPTED)
        if isinstance(error, RnnExportError):
            return self._tell(str(error), error.exit_code)
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            self.err.print(error.format_message(), markup=False)
            return error.exit_code
        if isinstance(error, click.ClickException):
            return self._tell(f"{one_line(error.format_message())} (see --help)", error.exit_code)
        if isinstance(error, SystemExit):
            return error.code if isinstance(error.code, int) else EXIT_FAULT
        if isinstance(error, MemoryError):
            return self._tell("out of memory; expected a host with more, or a smaller model", EXIT_USAGE)
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
        self._session.line.stop()
        if error is not None:
            self.code = self._session.explain(error)
        return True


class _Terminated(BaseException):
    """SIGTERM, as an exception so that clean-up runs."""


class _Stopper:
    """Raises on SIGTERM and Ctrl-C, and again at the next step where Python or a library swallowed it.

    One signal may come twice, from the terminal and from the parent: the second must not end what cleans up.
    """

    def __init__(self) -> None:
        self.asked: type[BaseException] | None = None
        self._last = -_TWICE

    @contextmanager
    def installed(self) -> Iterator[_Stopper]:
        """Inside this block signals are its. One that is ignored, as that of a job in the background, stays so."""
        numbers = [one for one in (signal.SIGTERM, signal.SIGINT) if signal.getsignal(one) != signal.SIG_IGN]
        before = {number: signal.signal(number, self) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def __call__(self, signal_number: int, frame: FrameType | None) -> None:
        again = time.monotonic() - self._last < _TWICE
        self._last = time.monotonic()
        self.asked = _Terminated if signal_number == signal.SIGTERM else KeyboardInterrupt
        if not again:
            raise self.asked


class _Output(Console):
    """Results. When the reader of a pipe has gone, the rest is not printed, and the exit code stays the verdict's."""

    def on_broken_pipe(self) -> None:
        _discard_stdout()


def _discard_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def captured_stderr(show: bool) -> Iterator[IO[str]]:
    """Give the real stderr, while descriptor 2 leads into a file that nobody reads, unless `show`."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if sys.stderr is None:  # closed by the caller: what can't be told is not told
        with Path(os.devnull).open("w") as nowhere:
            yield nowhere
        return
    if show:
        yield sys.stderr
        return
    sys.stderr.flush()
    real = os.fdopen(os.dup(2), "w", buffering=1, encoding=sys.stderr.encoding, errors="backslashreplace")
    with tempfile.TemporaryFile() as captured:
        os.dup2(captured.fileno(), 2)
        try:
            yield real
        finally:
            sys.stderr.flush()
            os.dup2(real.fileno(), 2)
            real.close()


def session_of(ctx: Any) -> Session:
    """The session that Click carries as its object."""
    found = ctx.obj
    assert isinstance(found, Session)
    return found
