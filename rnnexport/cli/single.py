"""The commands that export to one target: alike but for their words, and for the form of an ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from rnnexport.cli import options
from rnnexport.cli.checks import check_reports
from rnnexport.cli.grouping import GroupedCommand, OptionGroup, grouped
from rnnexport.core.forms import CForm, TFLiteForm
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.lowering import LoweringRequest
from rnnexport.core.quantization import QuantizeRequest
from rnnexport.targets.base import DEFAULT_OPSET
from rnnexport.verification.tolerance import Override

if TYPE_CHECKING:
    from rnnexport.api.keywords import Checks, Shape

_LOWERING = LoweringRequest()
_C = CForm()
_TFLITE = TFLiteForm()


def export_command(
    target: Literal["onnx", "saved-model", "tflite", "numpy", "c"], text: str, *form: OptionGroup, place: str = "OUT"
) -> GroupedCommand:
    """The command that exports a model to `target`.

    Args:
        target, text: its name, which the command has, and the help, an example in it.
        form: options that this target alone has.
        place: what `--output` takes, for the help.
    """

    @grouped(target, *_groups(form, place), arguments=[options.model_argument()], text=text)
    @click.pass_context
    def command(
        ctx: click.Context,
        model: Path,
        output: Path | None,
        loading: LoadOptions,
        shape: Shape,
        checks: Checks,
        tolerance: Override,
        reports: Mapping[str, Path],
        opset: int = DEFAULT_OPSET,
        request: LoweringRequest = _LOWERING,
        c: CForm = _C,
        tflite: TFLiteForm = _TFLITE,
        quantize: QuantizeRequest | None = None,
    ) -> None:
        from rnnexport.api import export as pipeline
        from rnnexport.api.keywords import steps_of
        from rnnexport.cli.outcome import print_exported
        from rnnexport.cli.session import session_of

        session = session_of(ctx)
        session.plan(steps_of({**shape, **checks, "quantize": quantize}, 1))
        check_reports(reports, [model, *([output] if output else [])])
        exported = pipeline.export(
            model,
            target,
            output,
            loading=loading,
            opset=opset,
            lowering=request,
            c=c,
            tflite=tflite,
            quantize=quantize,
            **shape,
            **checks,
            tolerance=tolerance,
            progress=session.progress,
        )
        print_exported(session, [exported], reports)

    return command


def _groups(form: tuple[OptionGroup, ...], place: str) -> tuple[OptionGroup, ...]:
    output = click.Option(
        ["-o", "--output"], metavar=place, type=click.Path(path_type=Path), help="Where the artifact goes."
    )
    return (
        options.loading_options(),
        options.shape_options(),
        *form,
        options.export_data_options(),
        options.tolerance_options(),
        OptionGroup(options.OUTPUT, (output,)),
        options.report_options("json"),
        options.message_options(),
    )
