"""`rnnexport tflite`."""

import click

from rnnexport.cli.grouping import OptionGroup
from rnnexport.cli.options import FORM
from rnnexport.cli.quantization import quantize_options
from rnnexport.cli.single import export_command
from rnnexport.core.forms import FORM_CHOICES, MOST_UNROLLED, RUNTIMES, TFLiteForm

_OPTIONS = (
    click.Option(
        ["--form"],
        type=click.Choice(FORM_CHOICES),
        default="auto",
        show_default=True,
        help="How recurrences are written: unroll is step by step, for a fixed length; rolled is a loop, for any; "
        "fused is LiteRT's operator for each LSTM, for a fixed batch, whose states the caller resets before each call; "
        f"auto unrolls up to {MOST_UNROLLED} steps.",
    ),
    click.Option(
        ["--for", "runtime"],
        type=click.Choice(RUNTIMES),
        default="litert",
        show_default=True,
        help="What it is to run in; tflm is TensorFlow Lite Micro, which takes fixed sizes, and verifies it.",
    ),
)

command = export_command(
    "tflite",
    """Export MODEL to TFLite, verify the file, then put it in place.

    MODEL is a .keras or .h5 file, weights, a .json architecture or a SavedModel folder.

    Recurrent layers are unrolled where sequences are short, which needs a fixed length: give --timesteps unless the
    model has one. With --form rolled they are loops, and the length may be open. Only built-in operators are used, so
    that the file runs wherever LiteRT does.

    \b
    Examples:
      rnnexport tflite model.keras --timesteps 50 --batch 1 -o model.tflite
      rnnexport tflite model.keras --form rolled
      rnnexport tflite model.keras --form fused --batch 1
    """,
    OptionGroup(FORM, _OPTIONS, "tflite", TFLiteForm),
    quantize_options("tflite"),
)
