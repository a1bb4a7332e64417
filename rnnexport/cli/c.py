"""`rnnexport c`."""

import click

from rnnexport.cli.grouping import OptionGroup
from rnnexport.cli.options import FORM
from rnnexport.cli.quantization import quantize_options
from rnnexport.cli.single import export_command
from rnnexport.core.forms import CForm


def _form(math: str, deterministic: bool, max_bytes: int | None, weights: str) -> CForm:
    return CForm(math == "libm", deterministic, max_bytes, weights == "beside")


_OPTIONS = (
    click.Option(
        ["--math"],
        type=click.Choice(("own", "libm")),
        default="own",
        show_default=True,
        help="Whose exp and tanh: the program's own, which are vectors, or the C library's.",
    ),
    click.Option(
        ["--deterministic"], is_flag=True, help="The same bits from every compiler and processor, a little slower."
    ),
    click.Option(
        ["--max-bytes"],
        type=click.IntRange(min=1),
        metavar="N",
        help="Refuse a model whose weights and constants take more, as the flash of a board.",
    ),
    click.Option(
        ["--weights"],
        type=click.Choice(("inside", "beside")),
        default="inside",
        show_default=True,
        help="Where the weights go: into the program, or into a file beside it, NAME.c.bin, which the caller maps.",
    ),
)

command = export_command(
    "c",
    """Export MODEL to a C99 program without an interpreter or an allocation, verify it, then put it in place.

    MODEL is a .keras or .h5 file, weights, a .json architecture or a SavedModel folder.

    Three files are written: NAME.c and NAME.h, which a firmware, a plug-in or a service compiles, and NAME.c.npz with
    the proof. NAME_run computes sequences of any length; with states, NAME_init begins a stream and NAME_step goes on
    by one timestep. One call is one row of a batch.

    -DNAME_SELF_TEST adds a main that computes what the model gave for an input and returns 0 or 1, for any board.

    Verifying compiles the program by CC, else by cc, gcc or clang, or by the ziglang package.

    \b
    Examples:
      rnnexport c model.keras -o model.c
      rnnexport c model.keras --stream 1 -o firmware
      rnnexport c model.keras --stream 1 --quantize int8 --max-loss 0.02 --calibrate recordings.npz
      cc -O2 -c model.c
    """,
    OptionGroup(FORM, _OPTIONS, "c", _form),
    quantize_options("c"),
    place="DIR|FILE.c",
)
