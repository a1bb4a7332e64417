"""`rnnexport verify`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import click

from rnnexport.artifact.beside import proof_file
from rnnexport.cli import options
from rnnexport.cli.checks import check_reports, on_option
from rnnexport.cli.data import data_group
from rnnexport.cli.grouping import OptionGroup, grouped
from rnnexport.cli.session import session_of
from rnnexport.cli.sign import Trust, trust_options
from rnnexport.cli.views import check_part, finished, show_report
from rnnexport.core.errors import require_path
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.user_data import UserData
from rnnexport.isolation.limits import Limits
from rnnexport.targets.registry import may_lie_beside
from rnnexport.verification.report import Report
from rnnexport.verification.tolerance import Override

_SOURCE = click.Option(
    ["--source"], type=click.Path(path_type=Path), metavar="MODEL", help="Compare with this model instead."
)

_SIZES = tuple(
    click.Option(
        [name],
        type=click.IntRange(min=1),
        metavar="N",
        help=f"With --source, for a file of somebody else: the {what} that it is fixed to.",
    )
    for name, what in (("--batch", "batch size"), ("--timesteps", "length"))
)


@grouped(
    "verify",
    OptionGroup(options.INPUT, (_SOURCE,)),
    options.loading_options(),
    OptionGroup(options.SHAPE, _SIZES),
    options.provider_options(),
    OptionGroup(options.FORM, (on_option(),)),
    data_group(
        options.VERIFICATION, "Verify on these too, by name; without --source they must hold the outputs as well"
    ),
    options.steps_options(),
    options.tolerance_options(),
    options.limit_options(),
    options.report_options(),
    trust_options(),
    options.message_options(),
    arguments=[click.Argument(["artifacts"], nargs=-1, required=True, type=click.Path(path_type=Path))],
)
@click.pass_context
def command(
    ctx: click.Context,
    artifacts: tuple[Path, ...],
    source: Path | None,
    loading: LoadOptions,
    batch: int | None,
    timesteps: int | None,
    data: UserData | None,
    steps: int | None,
    providers: tuple[str, ...],
    on: str | None,
    placement: float | None,
    tf32: bool,
    tolerance: Override,
    limits: Limits,
    reports: Mapping[str, Path],
    trust: Trust,
) -> int:
    """Run ARTIFACTS in their own runtimes and compare them with what their source gave.

    Without --source that is the goldens each artifact carries: a copied file is enough, and no TensorFlow is needed
    (but for a SavedModel, which TensorFlow runs). With --source the model is run on inputs that no artifact carries.

    An artifact of NumPy, model.py beside model.npz, is a program, which verifying runs. One that was altered, or that
    would do more than compute, is refused before it runs, with --source too; --allow-unsafe lets it run. So is one of
    C, model.c beside model.h and model.c.npz: it is compiled only if it is what rnnexport writes of the graph in it.

    Each artifact is run in a process of its own: one that crashes, or takes more than --memory or --timeout, is a
    mismatch, and the others are verified.

    \b
    Examples:
      rnnexport verify model.onnx model.tflite --json report.json --junit report.xml --html report.html
      rnnexport verify model.onnx --provider cpu --provider cuda --require-placement
      rnnexport verify model.onnx --source model.keras --custom-objects cells.py --data recordings/
      rnnexport verify model.onnx --atol logits:1e-4
      rnnexport verify stateful.onnx --source stateful.keras --steps 10000 --html drift.html
    """
    session = session_of(ctx)
    session.plan(len(artifacts) * len(providers) + (source is not None))
    inputs = [*artifacts, *([source] if source else []), *([Path(data.place)] if data and data.is_here else [])]
    _check(inputs, artifacts, reports, trust, data)
    before = trust.check(artifacts)
    report = _verification(on)(
        list(artifacts),
        source=source,
        loading=loading,
        data=data,
        steps=steps,
        batch=batch,
        timesteps=timesteps,
        providers=providers,
        tf32=tf32,
        placement=None if placement is None else placement / 100,
        tolerance=tolerance,
        limits=limits,
        progress=session.progress,
        record=bool(reports or trust.attest),
    )
    report = finished(session, report)
    trust.write(report, before)
    return show_report(session, report, reports, data.shard if data else None)


def _verification(on: str | None) -> Callable[..., Report]:
    """What verifies, here or on a cluster; imported when it is called for."""
    if on is not None:
        from rnnexport.fleet.verifying import verify_on_ray

        return partial(verify_on_ray, on)
    from rnnexport.api.verify import verify

    return verify


def _check(
    inputs: Sequence[Path], artifacts: Sequence[Path], reports: Mapping[str, Path], trust: Trust, data: UserData | None
) -> None:
    """Refuse what could only fail after all the work."""
    for path in inputs:
        require_path(path, "an artifact, a model or data")
    written = {**reports, **({"attest": trust.attest} if trust.attest else {})}
    check_reports(
        written, inputs, [beside for path in artifacts for beside in (*may_lie_beside(path), proof_file(path))]
    )
    if data and data.shard:
        check_part(reports, trust)
