"""Options that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from rnnexport.core.load_options import KERAS_API_CHOICES, WEIGHTS_BY, LoadOptions
from rnnexport.core.lowering import FORM_CHOICES, PROVIDER_CHOICES, LoweringRequest
from rnnexport.core.signature import Length
from rnnexport.targets.base import DEFAULT_OPSET
from rnnexport.targets.registry import ALL_PROVIDERS, OPSETS
from rnnexport.verification.tolerance import Override, Tolerance

Command = TypeVar("Command", bound=Callable[..., Any])
# A part of a tolerance: for all outputs, and for some by name.
Bounds = tuple[float | None, dict[str, float]]
_DEFAULT = Tolerance()


def _length(ctx: click.Context, param: click.Parameter, value: str | None) -> Length:
    """A number above 0, or `dynamic`."""
    if value is None or value == "dynamic":
        return value  # type: ignore[return-value]
    try:
        return int(value)
    except ValueError:
        # What stands behind an option that may have a value is taken for it.
        place = "; without a number it goes behind MODEL" if param.name == "stream" else ""
        raise click.BadParameter(f"found {value!r}, expected a number or 'dynamic'{place}", ctx, param) from None


def _number(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """NaN is between 0 and 100 to Click."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("found nan, expected a number from 0 to 100", ctx, param)
    return value


model_argument = click.argument("model", type=click.Path(path_type=Path))
opset_option = click.option(
    "--opset", default=DEFAULT_OPSET, show_default=True, help=f"Opset of the ONNX file, {OPSETS[0]} to {OPSETS[-1]}."
)
batch_option = click.option(
    "--batch", callback=_length, metavar="N|dynamic", help="Fix the batch size; by default what the model says."
)
timesteps_option = click.option(
    "--timesteps", callback=_length, metavar="N|dynamic", help="Fix the length; by default what the model says."
)
stream_option = click.option(
    "--stream",
    callback=_length,
    is_flag=False,
    flag_value="dynamic",
    metavar="[STEPS]",
    help="Export a stream: chunks of any length (of one step in TFLite), or of STEPS, with every state as input and "
    "output.",
)
cast_option = click.option(
    "--cast",
    type=click.Choice(["float32"]),
    metavar="float32",
    help="Make the artifact compute in float32 whatever the model computes in; it is compared with the model as it is.",
)
verify_option = click.option(
    "--verify/--no-verify", default=True, help="Verify the artifact before it is put in place (default: verify)."
)
provider_option = click.option(
    "--provider",
    "providers",
    multiple=True,
    type=click.Choice(ALL_PROVIDERS),
    metavar="PROVIDER",
    default=("cpu",),
    show_default=True,
    help="The execution provider to run on; may be repeated. One that is not on this host is not run: exit code 4.",
)
placement_option = click.option(
    "--require-placement",
    "placement",
    metavar="[PERCENT]",
    type=click.FloatRange(0, 100),
    callback=_number,
    is_flag=False,
    flag_value=100.0,
    help="Count a run on a provider only where that share of the recurrent nodes ran there (alone: all of them).",
)
tf32_option = click.option(
    "--tf32", is_flag=True, help="Let a GPU round float32 products to 10 bits of mantissa; off by default."
)
data_option = click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE.npz|FOLDER",
    help="Verify on these inputs too, by name; without --source the outputs must be in it as well.",
)
steps_option = click.option(
    "--steps",
    type=click.IntRange(min=1),
    metavar="N",
    help="Follow the artifact over N timesteps besides, its states carried, beside those of --source; tells the drift.",
)
_REPORTS = {"json": "JSON", "junit": "JUnit XML", "html": "one HTML page"}


def report_options(command: Command) -> Command:
    """`--json`, `--junit` and `--html`."""
    for name, kind in reversed(_REPORTS.items()):
        command = click.option(
            f"--{name}",
            f"{name}_file",
            type=click.Path(path_type=Path),
            metavar="FILE",
            help=f"Write a report as {kind}.",
        )(command)
    return command


debug_option = click.option("--debug", is_flag=True, expose_value=False, help="Show tracebacks and library output.")
_KEPT = "rnnexport"
_TUNE = re.compile(r"([1-9][0-9]{0,8})x([1-9][0-9]{0,8})")


def _kept(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """Keep what an option says where `loading_of` and `lowering_of` find it: no command has a use for it alone."""
    ctx.meta.setdefault(_KEPT, {})[param.name] = value
    return value


def _kept_sizes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """BATCHxTIMESTEPS as two numbers."""
    found = None if value is None else _TUNE.fullmatch(value)
    if value is not None and found is None:
        raise click.BadParameter(f"found {value!r}, expected batch and timesteps, such as 32x100", ctx, param)
    sizes = None if found is None else (int(found[1]), int(found[2]))
    _kept(ctx, param, sizes)
    return sizes


_LOADING_OPTIONS = (
    click.option(
        "--custom-objects",
        multiple=True,
        metavar="FILE.py|MODULE[:NAME]",
        expose_value=False,
        callback=_kept,
        help="Where the model's own layers, cells and functions are defined; may be repeated.",
    ),
    click.option(
        "--keras-api",
        type=click.Choice(KERAS_API_CHOICES),
        default="auto",
        show_default=True,
        expose_value=False,
        callback=_kept,
        help="Whose numbers the file has: keras is Keras 3, tf_keras Keras 1 and 2.",
    ),
    click.option(
        "--builder",
        metavar="MODULE:FUNCTION",
        expose_value=False,
        callback=_kept,
        help="For weights alone: code that makes their model; FILE.py:FUNCTION too.",
    ),
    click.option(
        "--architecture",
        metavar="FILE.json",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_kept,
        help="For weights alone: what model.to_json() gave (default: the .json of their name beside them).",
    ),
    click.option(
        "--weights-by",
        type=click.Choice(WEIGHTS_BY),
        default="auto",
        show_default=True,
        expose_value=False,
        callback=_kept,
        help="For weights alone: how their layers and the model's are paired.",
    ),
    click.option(
        "--allow-unsafe",
        is_flag=True,
        expose_value=False,
        callback=_kept,
        help="Let a file in that runs code of its own (a Lambda, an altered program). Only for files you trust.",
    ),
)


def loading_options(command: Command) -> Command:
    """The options that say how a model is loaded; `loading_of` gives what they say."""
    for option in reversed(_LOADING_OPTIONS):
        command = option(command)
    return command


def loading_of(ctx: click.Context) -> LoadOptions:
    """What the options of `loading_options` say."""
    said = ctx.meta[_KEPT]
    return LoadOptions(
        custom_objects=said["custom_objects"],
        keras_api=said["keras_api"],
        builder=said["builder"],
        architecture=said["architecture"],
        weights_by=said["weights_by"],
        allow_unsafe=said["allow_unsafe"],
    )


_SPEED_OPTIONS = (
    click.option(
        "--for",
        "provider",
        type=click.Choice(PROVIDER_CHOICES),
        default="cpu",
        show_default=True,
        expose_value=False,
        callback=_kept,
        help="The execution provider of ONNX Runtime that the recurrences are to be fast on.",
    ),
    click.option(
        "--tune",
        metavar="BxT",
        expose_value=False,
        callback=_kept_sizes,
        help="Measure the forms of each recurrence here, at this batch and length (32x100), and take the fastest.",
    ),
)
_FORM_OPTION = click.option(
    "--lowering",
    "form",
    type=click.Choice(FORM_CHOICES),
    default="auto",
    show_default=True,
    expose_value=False,
    callback=_kept,
    help="The form of every recurrence in the ONNX file: native is LSTM, GRU or RNN, unroll needs a fixed length; auto "
    "takes the fastest that is shown to be equal.",
)


def speed_options(command: Command) -> Command:
    """The options that say what recurrences are to be fast on; `lowering_of` gives what they say."""
    for option in reversed(_SPEED_OPTIONS):
        command = option(command)
    return command


def lowering_options(command: Command) -> Command:
    """Those of `speed_options`, and the one that says which form recurrences are to have."""
    return _FORM_OPTION(speed_options(command))


def lowering_of(ctx: click.Context) -> LoweringRequest:
    """What the options of `lowering_options` or `speed_options` say; the default where a command has none of them."""
    said = ctx.meta.get(_KEPT, {})
    return LoweringRequest(said.get("form", "auto"), said.get("provider", "cpu"), said.get("tune"))


def _bounds(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> Bounds:
    """`1e-4` for all outputs, `logits:1e-4` for one; the name may hold colons."""
    general, named = None, {}
    for value in values:
        name, colon, number = value.rpartition(":")
        try:
            bound = float(number)
        except ValueError:
            raise click.BadParameter(f"found {value!r}, expected a number, or OUTPUT:number", ctx, param) from None
        if colon and not name:
            raise click.BadParameter(f"found {value!r}, expected OUTPUT:number", ctx, param)
        if colon:
            named[name] = bound
        else:
            general = bound
    return general, named


def tolerance_options(command: Command) -> Command:
    """`--rtol` and `--atol`; `tolerance_of` gives what they say."""
    text = "part of |found - wanted| <= atol + rtol |wanted|, of one output or of all; may be repeated (default: "
    for name, kind, usual in (("--atol", "Absolute", _DEFAULT.atol), ("--rtol", "Relative", _DEFAULT.rtol)):
        command = click.option(
            name,
            multiple=True,
            metavar="[OUTPUT:]NUMBER",
            callback=_bounds,
            help=f"{kind} {text}{usual:g}, more where the model is less certain).",
        )(command)
    return command


def tolerance_of(rtol: Bounds, atol: Bounds) -> Override:
    """The tolerance that was asked for."""
    return Override(rtol[0], atol[0], rtol[1], atol[1])
