"""The keywords of `export` and `export_all`: stated once, for both, for the command line and for type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypedDict

from rnnexport.api.jobs import Options
from rnnexport.artifact.beside import PLACES, ProofPlace
from rnnexport.core.errors import UsageError, closest, did_you_mean
from rnnexport.core.forms import CForm, TFLiteForm
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.lowering import LoweringRequest
from rnnexport.core.names import Names, RequestedNames
from rnnexport.core.progress import Progress
from rnnexport.core.quantization import QuantizeRequest
from rnnexport.core.signature import Boundary, Extent, Length, Range
from rnnexport.core.user_data import UserData, user_data
from rnnexport.targets.base import DEFAULT_OPSET, ExportOptions
from rnnexport.verification.tolerance import Override

TargetName = Literal["onnx", "saved-model", "tflite", "numpy", "c"]
_LOADING = LoadOptions()


class Shape(TypedDict, total=False):
    """What a call of the artifact takes.

    Attributes:
        batch: the batch size to fix, `dynamic`, or None for what the model says.
        timesteps: the same for the length. TFLite needs a fixed one, unless its recurrences are rolled.
        stream: the steps of a chunk, or `dynamic` for any (one in TFLite), to export the model as a stream: called with
            a chunk and the states, it gives the steps of the chunk and the states to go on from. None for whole
            sequences.
        cast: `float32` for an artifact that takes, gives and computes float32, whatever float its source computes in.
        input_names, output_names: what inputs and outputs are called in the artifact, by their Keras names; or the one
            name of a lone input or output. States keep theirs. Other options, data and reports go by the new names.
    """

    batch: Length
    timesteps: Length
    stream: Length
    cast: Literal["float32"] | None
    input_names: RequestedNames
    output_names: RequestedNames


class Checks(TypedDict, total=False):
    """How the artifact is verified before it is put in place.

    Attributes:
        data: inputs of the user's own to verify on besides, see `verify`; some of them are kept in the artifact.
        ranges: the least and the largest value that an input will have, by its name. Others are not verified on, now
            and later: it is recorded.
        verify: False to put the artifact in place unverified.
        proof: where the goldens go: `inside` the artifact, `beside` it in a file with `.proof` behind its name, or
            `none`; by default inside where it is verified, and none, which spares the work, where it is not.
    """

    data: str | Path | UserData | None
    ranges: Mapping[str, tuple[float, float]]
    verify: bool
    proof: ProofPlace | None


class ExportKeywords(Shape, Checks, total=False):
    """All keywords of an export.

    Attributes:
        custom_objects: the model's own classes and functions by name, or the files and modules that define them.
        loading: what else there is to say about a file, see `LoadOptions`.
        opset: of the ONNX file; 17 by default.
        lowering: the form that each recurrence of an ONNX file is to have, and what it is to be fast on.
        c: how a C program is written.
        tflite: how the recurrences of a TFLite file are written: step by step, or as loops.
        quantize: a quantised artifact, and what it may lose; None for one that computes as its source does.
        tolerance: of the verification, where it is not to be the default one, widened where the source itself is less
            certain.
        progress: is called with a few words before each step; by default nothing is told but in a notebook, by a bar.
    """

    custom_objects: Mapping[str, object] | Sequence[str]
    loading: LoadOptions
    opset: int
    lowering: LoweringRequest
    c: CForm
    tflite: TFLiteForm
    quantize: QuantizeRequest | None
    tolerance: Override
    progress: Progress


def require_known(function: str, given: Mapping[str, object], keywords: type, *others: str) -> None:
    """Refuse a keyword that there is not.

    Args:
        function: that it is given to.
        given: all that are.
        keywords: a TypedDict of those that there are.
        others: parameters of the function besides.

    Raises:
        TypeError: as a function with these parameters would.
    """
    known = sorted({*keywords.__optional_keys__, *others})  # type: ignore[attr-defined]  # of every TypedDict
    for name in given:
        if name not in known:
            todo = did_you_mean(closest(name, known), f"known are {', '.join(known)}")
            raise TypeError(f"{function} got an unexpected keyword argument {name!r}; {todo}")


def loading_of(keywords: ExportKeywords) -> LoadOptions:
    """How the model is loaded. UsageError where its own code is given twice."""
    loading = keywords.get("loading", _LOADING)
    own = keywords.get("custom_objects", ())
    if own and loading.custom_objects:
        raise UsageError("custom_objects, and others in loading", "one of them", "drop one")
    return replace(loading, custom_objects=own) if own else loading


def extent_of(keywords: ExportKeywords) -> Extent:
    """What a call of the artifact takes."""
    ranges = tuple(Range(name, *bounds) for name, bounds in keywords.get("ranges", {}).items())
    names = Names.of(keywords.get("input_names", {}), keywords.get("output_names", {}))
    boundary = Boundary(keywords.get("batch"), keywords.get("timesteps"), ranges, names)
    return Extent(boundary, keywords.get("stream"), keywords.get("cast") or "")


def steps_of(keywords: Mapping[str, object], targets: int) -> int:
    """How many steps are told to `progress`.

    Load, run and trace the model; convert to and verify each target; more for a stream and for data.
    """
    more = 2 * (keywords.get("stream") is not None) + (keywords.get("data") is not None)
    more += 3 * targets * (keywords.get("quantize") is not None)
    return 3 + more + targets * (1 + bool(keywords.get("verify", True)))


def options_of(keywords: ExportKeywords) -> Options:
    """What all artifacts of one call have in common. UsageError where nothing would look at data."""
    options = Options(
        ExportOptions(
            keywords.get("opset", DEFAULT_OPSET),
            keywords.get("lowering", LoweringRequest()),
            keywords.get("c", CForm()),
            keywords.get("tflite", TFLiteForm()),
        ),
        keywords.get("tolerance", Override()),
        keywords.get("verify", True),
        user_data(keywords.get("data")),
        keywords.get("proof") or ("inside" if keywords.get("verify", True) else "none"),
    )
    options = replace(options, quantize=keywords.get("quantize"))
    if options.proof not in PLACES:
        raise UsageError(f"proof={options.proof!r}", f"one of {', '.join(PLACES)}", "change it")
    if options.data is not None and not options.has_goldens:
        raise UsageError("--data without a verification or goldens", "one of them", "leave --data out")
    return options
