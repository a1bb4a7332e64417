"""`rnnexport compare`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from rnnexport.cli import options
from rnnexport.cli.checks import check_reports
from rnnexport.cli.grouping import OptionGroup, grouped
from rnnexport.cli.session import session_of
from rnnexport.cli.views import show_report
from rnnexport.core.errors import require_path
from rnnexport.core.load_options import LoadOptions
from rnnexport.isolation.limits import Limits
from rnnexport.verification.tolerance import Override

_PATH = click.Path(path_type=Path)


def _names(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, str]:
    """`NAME=NAME`; the last `=` divides."""
    found = {}
    for text in value:
        one, equals, other = text.rpartition("=")
        if not (one and equals and other):
            raise click.BadParameter(f"found {text!r}, expected NAME_IN_A=NAME_IN_B", ctx, param)
        found[one] = other
    return found


_MAP = click.Option(
    ["--map", "names"],
    multiple=True,
    callback=_names,
    metavar="NAME_A=NAME_B",
    help="An input or output of A and what it is called in B; may be repeated. A lone one needs none.",
)
_DATA = click.Option(
    ["--data"], type=_PATH, metavar="FILE.npz|FOLDER", help="Compare on these inputs, by the names of A."
)
_DIMS = click.Option(["--dims"], is_flag=True, help="Compare the names of open dimensions, too.")


@grouped(
    "compare",
    options.loading_options(),
    options.place_options(),
    OptionGroup(options.VERIFICATION, (_MAP, _DATA, _DIMS)),
    options.tolerance_options(),
    options.limit_options(),
    options.report_options(),
    options.message_options(),
    arguments=[click.Argument(["a"], type=_PATH), click.Argument(["b"], type=_PATH)],
)
@click.pass_context
def command(
    ctx: click.Context,
    a: Path,
    b: Path,
    loading: LoadOptions,
    provider: str,
    tf32: bool,
    names: dict[str, str],
    data: Path | None,
    dims: bool,
    tolerance: Override,
    limits: Limits,
    reports: Mapping[str, Path],
) -> int:
    """Call A and B on the same inputs, and compare what B gives with what A gives.

    Each is an artifact, of rnnexport or of anybody, or a model. Inputs are made for what both take, or are those of
    --data. A value passes by the tolerance alone. Exit code 1 where one does not.

    \b
    Examples:
      rnnexport compare model.onnx model.tflite
      rnnexport compare model.keras theirs.onnx --map tags=output_0 --atol 1e-4
    """
    for path in (a, b):
        require_path(path, "an artifact or a model")
    check_reports(reports, [a, b])
    from rnnexport.api.compare import compare

    session = session_of(ctx)
    report = compare(
        a,
        b,
        names=names,
        data=data,
        dims=dims,
        loading=loading,
        provider=provider,
        tf32=tf32,
        tolerance=tolerance,
        limits=limits,
        progress=session.progress,
    )
    return show_report(session, report, reports)
