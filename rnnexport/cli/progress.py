"""What goes on: a line that is renewed where a person watches; in a log a line a long step, with `-v` a line a step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from rnnexport.core.progress import Detail
from rnnexport.core.run_record import seconds_in_words

if TYPE_CHECKING:
    from rich.live import Live
    from rich.spinner import Spinner

_FRAMES = 8  # a second
_LONG = 10.0  # seconds: a log without a word for longer looks as if the job were stuck


class ProgressLine:
    """Call it with a message a step; each takes the place of the last. `stop` takes the line away.

    Attributes:
        steps: how many there will be, as far as that is known; 0 where it is not.
        loud: whether each step that is done stays as a line, on a terminal and elsewhere. In a log a step of ten
            seconds and more does so in any case.
        quiet: whether nothing is shown at all.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._spinner: Spinner | None = None
        self._message = ""
        self._done = 0
        self._begun = self._stepped = time.monotonic()
        self.steps = 0
        self.loud = False
        self.quiet = False

    def __call__(self, message: str) -> None:
        if self.quiet:
            return
        if not isinstance(message, Detail):
            self._finish()
            self._done += 1
            self._stepped = time.monotonic()
        self._message = message
        if self._console.is_terminal:
            self._show()

    def stop(self) -> None:
        """Before results are printed."""
        if self._live is not None:
            self._live.stop()  # it shows the last step once more, and takes it away
            self._live = None
        self._finish()

    def _finish(self) -> None:
        """The step before is done."""
        took = time.monotonic() - self._stepped
        stays = self.loud or (took >= _LONG and not self._console.is_terminal)
        if stays and self._message and not self.quiet:
            self._console.print(f"{self._place()}{self._message} ({seconds_in_words(took)})", markup=False)
        self._message = ""

    def _place(self) -> str:
        return f"[{self._done}/{max(self.steps, self._done)}] " if self.steps else ""

    def _show(self) -> None:
        from rich.live import Live
        from rich.spinner import Spinner

        if self._live is None:
            self._spinner = Spinner("dots")
            # Redirecting would bring the libraries' own chatter back to the terminal.
            self._live = Live(
                get_renderable=self._rendered,
                console=self._console,
                transient=True,
                refresh_per_second=_FRAMES,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _rendered(self) -> Spinner:
        assert self._spinner is not None, "made with the live display"
        elapsed = seconds_in_words(time.monotonic() - self._begun)
        self._spinner.text = Text(f"{self._place()}{self._message}, {elapsed}", overflow="ellipsis", no_wrap=True)
        return self._spinner
