"""Options that several commands share, in the groups of their help."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from rnnexport.artifact.beside import PLACES, ProofPlace
from rnnexport.cli.data import data_of, data_options
from rnnexport.cli.grouping import OptionGroup
from rnnexport.cli.session import Session
from rnnexport.core.forms import FORM_CHOICES as TFLITE_FORMS
from rnnexport.core.forms import MOST_UNROLLED, RUNTIMES, TFLiteForm
from rnnexport.core.load_options import KERAS_API_CHOICES, WEIGHTS_BY, LoadOptions
from rnnexport.core.lowering import FORM_CHOICES, PROVIDER_CHOICES, LoweringRequest
from rnnexport.core.signature import Length
from rnnexport.isolation.limits import GIGABYTE, TIMEOUT, Limits
from rnnexport.targets.base import DEFAULT_OPSET
from rnnexport.targets.registry import ALL_PROVIDERS, OPSETS
from rnnexport.verification.tolerance import Override, Tolerance

if TYPE_CHECKING:
    from rnnexport.api.keywords import Checks, Shape

Ranges = dict[str, tuple[float, float]]
# A part of a tolerance: for all outputs, and for some by name.
Bounds = tuple[float | None, dict[str, float]]
INPUT, SHAPE, FORM, VERIFICATION, OUTPUT = "Input", "Shape", "Form", "Verification", "Output"
_DEFAULT = Tolerance()
_PATH = click.Path(path_type=Path)
_TUNE = re.compile(r"([1-9][0-9]{0,8})x([1-9][0-9]{0,8})")


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


def _positive(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise click.BadParameter(f"found {value}, expected a number above 0", ctx, param)
    return value


def _sizes(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """BATCHxTIMESTEPS as two numbers."""
    if value is None:
        return None
    found = _TUNE.fullmatch(value)
    if found is None:
        raise click.BadParameter(f"found {value!r}, expected batch and timesteps, such as 32x100", ctx, param)
    return int(found[1]), int(found[2])


def _ranges(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> Ranges:
    """`NAME:LOW:HIGH`; a name may hold colons."""
    found: Ranges = {}
    for text in value:
        name, *bounds = text.rsplit(":", 2)
        try:
            low, high = map(float, bounds)
        except ValueError:
            raise click.BadParameter(f"found {text!r}, expected NAME:LOW:HIGH", ctx, param) from None
        found[name] = low, high
    return found


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


def model_argument() -> click.Argument:
    """MODEL."""
    return click.Argument(["model"], type=_PATH)


def loading_options() -> OptionGroup:
    """How a model is loaded."""
    options = (
        click.Option(
            ["--custom-objects"],
            multiple=True,
            metavar="FILE.py|MODULE[:NAME]",
            help="Where the model's own layers, cells and functions are defined; may be repeated.",
        ),
        click.Option(
            ["--keras-api"],
            type=click.Choice(KERAS_API_CHOICES),
            default="auto",
            show_default=True,
            help="Whose numbers the file has: keras is Keras 3, tf_keras Keras 1 and 2.",
        ),
        click.Option(
            ["--builder"],
            metavar="MODULE:FUNCTION",
            help="For weights alone: code that makes their model; FILE.py:FUNCTION too.",
        ),
        click.Option(
            ["--architecture"],
            metavar="FILE.json",
            type=_PATH,
            help="For weights alone: what model.to_json() gave (default: the .json of their name beside them).",
        ),
        click.Option(
            ["--weights-by"],
            type=click.Choice(WEIGHTS_BY),
            default="auto",
            show_default=True,
            help="For weights alone: how their layers and the model's are paired.",
        ),
        click.Option(
            ["--allow-unsafe"],
            is_flag=True,
            help="Let a file in that runs code of its own (a Lambda, an altered program). Only for files you trust.",
        ),
    )
    return OptionGroup(INPUT, options, "loading", LoadOptions)


def shape_options() -> OptionGroup:
    """What a call of the artifact takes."""
    options = (
        click.Option(
            ["--batch"],
            callback=_length,
            metavar="N|dynamic",
            help="Fix the batch size; by default what the model says.",
        ),
        click.Option(
            ["--timesteps"],
            callback=_length,
            metavar="N|dynamic",
            help="Fix the length; by default what the model says.",
        ),
        click.Option(
            ["--stream"],
            callback=_length,
            is_flag=False,
            flag_value="dynamic",
            metavar="[STEPS]",
            help="Export a stream: chunks of any length (of one step in TFLite), or of STEPS, with every state as "
            "input and output.",
        ),
        click.Option(
            ["--cast"],
            type=click.Choice(["float32"]),
            metavar="float32",
            help="Make the artifact compute in float32 whatever the model computes in; it is compared with the model "
            "as it is.",
        ),
        *(
            click.Option(
                [f"--{kind}-names"],
                multiple=True,
                callback=_new_names,
                metavar="[OLD=]NEW",
                help=f"What an {kind} is called in the artifact (OLD: its Keras name, not needed for a lone one); may "
                "be repeated.",
            )
            for kind in ("input", "output")
        ),
    )
    return OptionGroup(SHAPE, options, "shape", _shape)


def _shape(
    batch: Length,
    timesteps: Length,
    stream: Length,
    cast: Literal["float32"] | None,
    input_names: Mapping[str, str],
    output_names: Mapping[str, str],
) -> Shape:
    return {
        "batch": batch,
        "timesteps": timesteps,
        "stream": stream,
        "cast": cast,
        "input_names": input_names,
        "output_names": output_names,
    }


def _new_names(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> Mapping[str, str]:
    """`OLD=NEW` or `NEW`, commas between several; a Keras name may hold an equals sign, a new one may not."""
    found: dict[str, str] = {}
    for text in (part for given in value for part in given.split(",")):
        old, _, new = text.rpartition("=")
        if not new or old in found:
            raise click.BadParameter(f"found {text!r}, expected OLD=NEW, each name once", ctx, param)
        found[old] = new
    return found


def opset_options() -> OptionGroup:
    """The opset of an ONNX file."""
    option = click.Option(
        ["--opset"],
        default=DEFAULT_OPSET,
        show_default=True,
        help=f"Opset of the ONNX file, {OPSETS[0]} to {OPSETS[-1]}.",
    )
    return OptionGroup(FORM, (option,))


def lowering_options(*, form: bool) -> OptionGroup:
    """What the recurrences of an ONNX file are to be fast on and, with `form`, which form they are to have."""
    which = click.Option(
        ["--lowering", "form"],
        type=click.Choice(FORM_CHOICES),
        default="auto",
        show_default=True,
        help="The form of every recurrence in the ONNX file: native is LSTM, GRU or RNN, unroll needs a fixed length; "
        "auto takes the fastest that is shown to be equal.",
    )
    options = (
        *((which,) if form else ()),
        click.Option(
            ["--for", "provider"],
            type=click.Choice(PROVIDER_CHOICES),
            default="cpu",
            show_default=True,
            help="The execution provider of ONNX Runtime that the recurrences are to be fast on.",
        ),
        click.Option(
            ["--for-batch", "at_batch"],  # `batch` is that of the shape
            type=click.IntRange(min=1),
            help="The batch that recurrences are to be fast at, where it is open (default: 1 and many alike).",
        ),
        click.Option(
            ["--portable"],
            is_flag=True,
            help="Use only what runtimes besides ONNX Runtime compute, too: no reversed operator, no sequence_lens, "
            "default activations, explicit initial states.",
        ),
        click.Option(
            ["--tune"],
            metavar="BxT",
            callback=_sizes,
            help="Measure the forms of each recurrence here, at this batch and length (32x100), and take the fastest.",
        ),
    )
    return OptionGroup(FORM, options, "request", _lowering)


def _lowering(
    provider: str, at_batch: int | None, portable: bool, tune: tuple[int, int] | None, form: str = "auto"
) -> LoweringRequest:
    return LoweringRequest(form, provider, tune, portable=portable, batch=at_batch)


def tflite_options(*, runtime: bool) -> OptionGroup:
    """How the recurrences of a TFLite file are written and, with `runtime`, what is to run it."""
    form = click.Option(
        ["--form", "tflite_form"],
        type=click.Choice(TFLITE_FORMS),
        default="auto",
        show_default=True,
        help="How recurrences are written in TFLite: unroll is step by step, for a fixed length; rolled is a loop, for "
        "any; fused is LiteRT's operator for each LSTM, for a fixed batch, whose states the caller resets before each "
        f"call; auto unrolls up to {MOST_UNROLLED} steps of small layers.",
    )
    which = click.Option(
        ["--for", "runtime"],
        type=click.Choice(RUNTIMES),
        default="litert",
        show_default=True,
        help="What it is to run in; tflm is TensorFlow Lite Micro, which takes fixed sizes, and verifies it.",
    )
    return OptionGroup(FORM, (form, which) if runtime else (form,), "tflite", _tflite)


def _tflite(tflite_form: str, runtime: str = "litert") -> TFLiteForm:
    return TFLiteForm(tflite_form, runtime)


def export_data_options() -> OptionGroup:
    """What inputs the model will be given."""
    options = (
        *data_options("Verify on these inputs too, by name; some of them are kept in the file"),
        click.Option(
            ["--range", "ranges"],
            multiple=True,
            callback=_ranges,
            metavar="NAME:LOW:HIGH",
            help="Verify on values of that input or state from LOW to HIGH alone, now and later; may be repeated.",
        ),
        click.Option(
            ["--verify/--no-verify"],
            default=True,
            help="Verify the artifact before it is put in place (default: verify).",
        ),
        proof_option(
            "Where the inputs and outputs go that the artifact can be verified with: inside, in a file beside it with "
            ".proof behind its name, or nowhere (default: inside; none with --no-verify, which spares the work)."
        ),
    )
    return OptionGroup(VERIFICATION, options, "checks", _checks)


def _checks(
    data: str | None, columns: Mapping[str, str], ranges: Ranges, verify: bool, proof: ProofPlace | None
) -> Checks:
    return {"data": data_of(data, columns), "ranges": ranges, "verify": verify, "proof": proof}


def proof_option(text: str, default: ProofPlace | None = None) -> click.Option:
    """Where the goldens go; `text` is its help."""
    return click.Option(["--proof"], type=click.Choice(PLACES), default=default, help=text)


def tolerance_options() -> OptionGroup:
    """What a value may be off."""
    text = "part of |found - wanted| <= atol + rtol |wanted|, of one output or of all; may be repeated (default: "
    options = tuple(
        click.Option(
            [name],
            multiple=True,
            metavar="[OUTPUT:]NUMBER",
            callback=_bounds,
            help=f"{kind} {text}{usual:g}, more where the model is less certain).",
        )
        for name, kind, usual in (("--rtol", "Relative", _DEFAULT.rtol), ("--atol", "Absolute", _DEFAULT.atol))
    )
    return OptionGroup(VERIFICATION, options, "tolerance", _tolerance)


def _tolerance(rtol: Bounds, atol: Bounds) -> Override:
    return Override(rtol[0], atol[0], rtol[1], atol[1])


def steps_options() -> OptionGroup:
    """How long an artifact is followed."""
    options = (
        click.Option(
            ["--steps"],
            type=click.IntRange(min=1),
            metavar="N",
            help="Follow the artifact over N timesteps besides, its states carried, beside those of --source; reports "
            "the drift.",
        ),
    )
    return OptionGroup(VERIFICATION, options)


def provider_options() -> OptionGroup:
    """Where an artifact is run."""
    options = (
        click.Option(
            ["--provider", "providers"],
            multiple=True,
            type=click.Choice(ALL_PROVIDERS),
            metavar="PROVIDER",
            default=("cpu",),
            show_default=True,
            help="The execution provider to run on; may be repeated. One that is not on this host is not run: exit "
            "code 4.",
        ),
        click.Option(
            ["--require-placement", "placement"],
            metavar="[PERCENT]",
            type=click.FloatRange(0, 100),
            callback=_number,
            is_flag=False,
            flag_value=100.0,
            help="Count a run on a provider only where that share of the recurrent nodes ran there (alone: all of "
            "them).",
        ),
        click.Option(
            ["--tf32"], is_flag=True, help="Let a GPU round float32 products to 10 bits of mantissa; off by default."
        ),
    )
    return OptionGroup(FORM, options)


def place_options() -> OptionGroup:
    """Where something is run once."""
    provider = click.Option(
        ["--provider"],
        type=click.Choice(ALL_PROVIDERS),
        metavar="PROVIDER",
        default="cpu",
        show_default=True,
        help="The execution provider to run on.",
    )
    tf32 = click.Option(["--tf32"], is_flag=True, help="Let a GPU round float32 products to 10 bits of mantissa.")
    return OptionGroup(FORM, (provider, tf32))


def limit_options() -> OptionGroup:
    """The limits of the processes that run artifacts."""
    options = (
        click.Option(
            ["--memory"],
            type=float,
            callback=_positive,
            metavar="GB",
            help="What a process that runs an artifact may take (default: 4, and eight times the artifact).",
        ),
        click.Option(
            ["--timeout"],
            type=float,
            callback=_positive,
            default=TIMEOUT,
            metavar="SECONDS",
            help=f"How long loading an artifact, or one call of it, may take (default: {TIMEOUT:g}).",
        ),
    )
    return OptionGroup(VERIFICATION, options, "limits", _limits)


def _limits(memory: float | None, timeout: float) -> Limits:
    return Limits(None if memory is None else int(memory * GIGABYTE), timeout)


_REPORTS = {"json": "JSON", "junit": "JUnit XML", "html": "one HTML page"}


def report_options(*kinds: str) -> OptionGroup:
    """The views of a report that are written to files; all of them, or those of the names given."""
    options = tuple(
        click.Option(
            [f"--{kind}"], type=_PATH, metavar="FILE", help=f"Write a report as {_REPORTS[kind]}; - is standard output."
        )
        for kind in kinds or _REPORTS
    )
    return OptionGroup(OUTPUT, options, "reports", _reports)


def _reports(json: Path | None = None, junit: Path | None = None, html: Path | None = None) -> Mapping[str, Path]:
    return {kind: file for kind, file in (("json", json), ("junit", junit), ("html", html)) if file is not None}


def _loudness(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Make the session of the command louder, or quieter; there is none while a shell completes."""
    if not value or not isinstance(ctx.obj, Session):
        return
    line = ctx.obj.line
    line.loud, line.quiet = line.loud or param.name == "verbose", line.quiet or param.name == "quiet"
    if line.loud and line.quiet:
        raise click.UsageError("-q and -v; expected one of them", ctx)


def message_options() -> OptionGroup:
    """How much is printed. It is the session's to know, and no command's."""
    options = (
        click.Option(
            ["-q", "--quiet"],
            is_flag=True,
            expose_value=False,
            callback=_loudness,
            help="Print nothing but errors and warnings; the exit code says the rest.",
        ),
        click.Option(
            ["-v", "--verbose"],
            is_flag=True,
            expose_value=False,
            callback=_loudness,
            help="Print more: each step with its time, predicted times of recurrences.",
        ),
        click.Option(["--debug"], is_flag=True, expose_value=False, help="Show tracebacks and library output."),
    )
    return OptionGroup(OUTPUT, options)
