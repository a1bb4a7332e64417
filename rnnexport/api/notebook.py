"""What a notebook shows of a report."""

from __future__ import annotations

from html import escape

from rnnexport.verification.report import Report

_HEIGHT = 480  # pixels


class ShownReport(Report):
    """A report that a notebook shows as the page that `--html` writes, in a frame of its own."""

    def _repr_html_(self) -> str:
        """Raises UsageError where jinja2 is not installed."""
        from rnnexport.report.html import to_html

        frame = 'style="width:100%;border:0" sandbox'
        return f'<iframe {frame} height="{_HEIGHT}" srcdoc="{escape(to_html(self), quote=True)}"></iframe>'
