"""What a notebook shows: a report as its page, and a bar while something is exported or verified."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape

from rnnexport.core.progress import Detail, Progress, in_notebook, silent
from rnnexport.core.run_record import seconds_in_words
from rnnexport.verification.report import Report

_HEIGHT = 480  # pixels


class ShownReport(Report):
    """A report that a notebook shows as the page that `--html` writes, in a frame of its own."""

    def _repr_html_(self) -> str:
        """Raises UsageError where jinja2 is not installed."""
        from rnnexport.report.html import to_html

        frame = 'style="width:100%;border:0" sandbox'
        return f'<iframe {frame} height="{_HEIGHT}" srcdoc="{escape(to_html(self), quote=True)}"></iframe>'


class Bar:
    """Progress as a bar of HTML, with what goes on and the time that has passed beside it.

    Args:
        show: shows HTML, in place of what it showed before.
        steps: how many there will be, as far as that is known.
    """

    def __init__(self, show: Callable[[str], object], steps: int) -> None:
        self._show, self._steps = show, steps
        self._done, self._begun = 0, time.monotonic()

    def __call__(self, message: str) -> None:
        self._done += not isinstance(message, Detail)
        self._draw(self._done - 1, message)

    def end(self) -> None:
        """A full bar: all is done."""
        self._draw(self._steps, "done")

    def _draw(self, done: int, message: str) -> None:
        steps = max(self._steps, done)
        told = f"{escape(message)}, {seconds_in_words(time.monotonic() - self._begun)}"
        self._show(f'<progress value="{done}" max="{steps}"></progress> {told}')


@contextmanager
def shown(progress: Progress | None, steps: int) -> Iterator[Progress]:
    """What is told of the work in the block: what the caller gave, in a notebook without that a bar, else nothing.

    Args:
        progress: of the caller; None for the usual.
        steps: how many there will be.
    """
    show = None if progress is not None else _cell()
    if show is None:
        yield progress or silent
        return
    bar = Bar(show, steps)
    yield bar
    bar.end()


def _cell() -> Callable[[str], object] | None:
    """What shows HTML below the cell that runs; None outside of a notebook."""
    if not in_notebook():
        return None
    from IPython.display import HTML, display

    handle = display(HTML(""), display_id=True)
    return lambda text: handle.update(HTML(text))
