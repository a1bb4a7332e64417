"""One line that says what goes on, where a person watches; nothing in a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from rich.live import Live


class ProgressLine:
    """Call it with a message a step; each takes the place of the last. `stop` takes the line away."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def __call__(self, message: str) -> None:
        if not self._console.is_terminal:
            return
        from rich.live import Live
        from rich.spinner import Spinner

        if self._live is None:
            # Redirecting would bring the libraries' own chatter back to the terminal.
            self._live = Live(console=self._console, transient=True, redirect_stdout=False, redirect_stderr=False)
            self._live.start()
        self._live.update(Spinner("dots", text=message))

    def stop(self) -> None:
        """Before results are printed."""
        if self._live is not None:
            self._live.stop()
            self._live = None
