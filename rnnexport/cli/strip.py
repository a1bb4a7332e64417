"""`rnnexport strip`."""

from __future__ import annotations

from pathlib import Path

import click

from rnnexport.artifact.beside import ProofPlace
from rnnexport.cli import options
from rnnexport.cli.grouping import OptionGroup, grouped
from rnnexport.cli.session import session_of

_PATH = click.Path(path_type=Path)
_OUTPUT = click.Option(["-o", "--output"], type=_PATH, metavar="OUT", help="Where it goes (default: in its place).")


@grouped(
    "strip",
    OptionGroup(
        options.OUTPUT,
        (
            options.proof_option(
                "Where its goldens go: beside it in a file with .proof behind its name, nowhere, or inside again.",
                "beside",
            ),
            _OUTPUT,
        ),
    ),
    options.message_options(),
    arguments=[click.Argument(["artifact"], type=_PATH)],
)
@click.pass_context
def command(ctx: click.Context, artifact: Path, proof: ProofPlace, output: Path | None) -> None:
    """Take the goldens out of ARTIFACT: what computes stays as it is, with its signature, states and checksum.

    They go into a file beside it, where verify finds them: both have to be copied together then. Without that file it
    is verified with --source MODEL alone. Sign an artifact after it was stripped.

    \b
    Examples:
      rnnexport strip model.onnx
      rnnexport strip model.tflite --proof none -o app/assets/model.tflite
    """
    from rnnexport.api.reseal import strip

    session = session_of(ctx)
    done = strip(artifact, proof=proof, output=output)
    session.show(f"wrote {done}")
