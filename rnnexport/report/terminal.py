"""Names and sentences from elsewhere, made fit for a terminal."""

from __future__ import annotations

from rich.text import Text

from rnnexport.report.words import harmless

_ONE_LINE = str.maketrans("\n\t", "  ")


def said(text: str, style: str = "") -> Text:
    """`text` as it is: no markup, nothing that a terminal obeys, on one line."""
    return Text(harmless(text).translate(_ONE_LINE), style, overflow="fold")
