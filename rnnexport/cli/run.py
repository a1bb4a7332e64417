"""`rnnexport run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rnnexport.artifact.atomic_write import check_destination, staged, writing
from rnnexport.cli import options
from rnnexport.cli.grouping import OptionGroup, grouped
from rnnexport.cli.session import Session, session_of
from rnnexport.core.errors import EXIT_MISMATCH, EXIT_PASSED, UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.isolation.limits import Limits
from rnnexport.verification.tolerance import Override

if TYPE_CHECKING:
    from rnnexport.api.run import Ran

_PATH = click.Path(path_type=Path)
_SOURCE = click.Option(["--source"], type=_PATH, metavar="MODEL", help="Compare what comes out with this model.")
_OUTPUT = click.Option(["-o", "--output"], type=_PATH, metavar="OUT.npz", help="Where the outputs go, by name.")


@grouped(
    "run",
    OptionGroup(options.INPUT, (_SOURCE,)),
    options.loading_options(),
    options.place_options(),
    options.tolerance_options(),
    options.limit_options(),
    OptionGroup(options.OUTPUT, (_OUTPUT,)),
    options.message_options(),
    arguments=[click.Argument(["artifact"], type=_PATH), click.Argument(["inputs"], type=_PATH)],
)
@click.pass_context
def command(
    ctx: click.Context,
    artifact: Path,
    inputs: Path,
    source: Path | None,
    loading: LoadOptions,
    provider: str,
    tf32: bool,
    tolerance: Override,
    limits: Limits,
    output: Path | None,
) -> int:
    """Run ARTIFACT on the arrays of INPUTS, an .npz that holds each input by its name; an .npy for a lone input.

    ARTIFACT is an ONNX, TFLite, NumPy or C file or a SavedModel folder, of rnnexport or of anybody, or a model. Rows
    are run in blocks where the batch is fixed, streams chunk by chunk. States start from their initial value unless
    INPUTS has them; what they are afterwards is among the outputs. With --source, what comes out is compared with the
    model: exit code 1 where it is different.

    \b
    Examples:
      rnnexport run model.onnx inputs.npz -o outputs.npz
      rnnexport run model.tflite recording.npy --source model.keras --custom-objects cells.py
    """
    if output is not None:
        _check_output(output, [artifact, inputs, *([source] if source else [])])
    from rnnexport.api.run import run

    session = session_of(ctx)
    session.progress(f"running {artifact.name}")
    ran = run(
        artifact,
        inputs,
        source=source,
        loading=loading,
        provider=provider,
        tf32=tf32,
        tolerance=tolerance,
        limits=limits,
    )
    session.line.stop()
    _show(session, ran, output)
    return EXIT_PASSED if ran.passed else EXIT_MISMATCH


def _check_output(output: Path, inputs: list[Path]) -> None:
    if output.suffix != ".npz":
        raise UsageError(f"output {output.name}", "a name that ends in .npz", "change -o")
    if output.resolve() in [path.resolve() for path in inputs]:
        raise UsageError(f"-o {output}, which is an input", "another file", "change -o")
    check_destination(output)


def _show(session: Session, ran: Ran, output: Path | None) -> None:
    import numpy as np

    from rnnexport.report.text import arrays_table, compared_table

    session.show(arrays_table(ran.outputs))
    if ran.compared:
        session.show(compared_table(ran.compared))
    if output is not None:
        with writing(output), staged(output) as place, place.open("wb") as stream:
            np.savez(stream, **dict(ran.outputs))  # type: ignore[arg-type]
        session.show(f"wrote {output}")
