"""The options of quantised artifacts, and the table of what was tried."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
from rich import box
from rich.console import RenderableType
from rich.table import Table

from rnnexport.cli.grouping import OptionGroup
from rnnexport.core.errors import UsageError
from rnnexport.core.quantization import FORM_CHOICES, FORMS, METRICS, REFUSED, QuantizeRequest
from rnnexport.core.run_record import bytes_in_words
from rnnexport.core.user_data import UserData
from rnnexport.quantization.choice import Quantized, Trial
from rnnexport.quantization.loss import Loss
from rnnexport.report.terminal import said

_TITLE = "Quantization"
_STEPS = (1, 10, 100, 1000, 10_000)  # at which a curve is told


def quantize_options(target: str | None = None) -> OptionGroup:
    """Those of a format with quantised forms; None for those of any."""
    forms = FORM_CHOICES if target is None else ("auto", *FORMS[target], *REFUSED.get(target, ()))
    options = (
        click.Option(
            ["--quantize"],
            type=click.Choice(forms),
            help="Make a quantised artifact of that form, which says what it loses; auto, which --max-loss alone is "
            "too, tries all from the smallest on and takes the first that holds.",
        ),
        click.Option(
            ["--max-loss"],
            type=float,
            metavar="LOSS",
            help="What an output may lose, in units of --metric; else nothing is written: exit code 1.",
        ),
        click.Option(
            ["--metric"],
            metavar=f"{'|'.join(METRICS)}|FILE.py:function",
            help="How a loss is measured: range is the largest error as a part of the output's range (default), rmse "
            "the usual one, cosine and top1 one less the likeness; a function is called with (wanted, found).",
        ),
        click.Option(
            ["--calibrate"],
            metavar="FILE|FOLDER|GLOB|ADDRESS",
            help="Sequences to take ranges from and to measure the loss on, as --data (default: generated ones).",
        ),
        click.Option(
            ["--allow-partial"],
            is_flag=True,
            help="Take an artifact some of whose weights stay float32, which is refused else: exit code 3.",
        ),
    )
    return OptionGroup(_TITLE, options, "quantize", _request)


def _request(
    quantize: str | None, max_loss: float | None, metric: str | None, calibrate: str | None, allow_partial: bool
) -> QuantizeRequest | None:
    """What the options say; None where none asks for a quantised artifact. UsageError for one that needs another."""
    if quantize is None and max_loss is None:
        others = {"--metric": metric, "--calibrate": calibrate, "--allow-partial": allow_partial}
        for option, value in others.items():
            if value:
                raise UsageError(f"{option} without --quantize or --max-loss", "one of them", "give --quantize FORM")
        return None
    data = None if calibrate is None else UserData(calibrate)
    return QuantizeRequest(quantize or "auto", data, max_loss, metric or "range", allow_partial)


def quantization_table(found: Quantized, title: str | None = None) -> RenderableType:
    """A line a form: its size, the time of a call, what it loses and where; the title where there are several."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    table.add_column("form", no_wrap=True)
    for title in ("size", "a call", f"loss ({found.metric})"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("at", overflow="fold")
    plain = found.trials[0]
    for trial in found.trials:
        taken = trial.form == found.chosen.form
        cells = (bytes_in_words(trial.size), _time(trial, plain), f"{trial.worst.value:.2g}", trial.worst.output)
        table.add_row(said(f"{trial.form}{' *' if taken else ''}"), *map(said, cells), style="bold" if taken else "")
    return table


def _time(trial: Trial, plain: Trial) -> str:
    """As a part of that of the float32 artifact, which says more than a number of this host."""
    if trial.seconds is None or not plain.seconds:
        return "-"
    return f"{trial.seconds / plain.seconds:.2f}x"


def quantization_lines(found: Quantized, path: Path) -> Iterator[str]:
    """What there is to tell below the table."""
    taken = found.chosen
    limit = "" if found.max_loss is None else f", at most {found.max_loss:g}"
    yield f"  quantised as {taken.form}: loses {taken.worst.value:.2g} ({found.metric}{limit}) at {taken.worst.output}"
    is_c = path.suffix == ".c"
    what = "of weights and constants" if is_c else "without what it is verified by, which --proof beside keeps apart"
    yield f"  {bytes_in_words(taken.size)} {what}"
    plain, *rest = (trial.size for trial in found.trials)
    than = f"than the float32 file of {bytes_in_words(plain)}"
    if min(rest) >= plain:
        yield f"  none is smaller {than}: its weights are too small to gain by it"
    elif taken.size >= plain:
        yield f"  larger {than}: the smaller forms lose too much"
    yield f"  {found.measured}"
    for loss in taken.losses:
        if curve := _curve(loss):
            yield f"  {loss.output} by step: {curve}"
    if found.alone:
        name, value = found.alone[0]
        yield f"  loses most: {name}, {value:.2g} where it alone is quantised"
    yield from (f"  {note}" for note in taken.notes)
    yield from (f"  {part}" for part in taken.parts if part.why)


def _curve(loss: Loss) -> str:
    """The largest error, as a part of the range, at some steps."""
    points = [(step, loss.at_step(step)) for step in _STEPS]
    told = [f"{value:.2g} at {step}" for step, value in points if value is not None]
    return ", ".join(told) if len(loss.curve) > 1 else ""
