"""The whole job: load, describe, trace, export, verify. The Python API, and all the command line calls."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnexport.errors import ProviderError, UsageError
from rnnexport.loading import Loading
from rnnexport.lowered import Lowered, LoweringRequest
from rnnexport.orders import Exported, Options, Order, Progress, file_name, fill
from rnnexport.proof import Golden
from rnnexport.publish import check_destination, made_folder
from rnnexport.signature import Boundary, Length, Signature
from rnnexport.targets.base import ExportOptions, Target
from rnnexport.targets.registry import ALL_PROVIDERS, target, target_of
from rnnexport.truth import Described, describe_with_truth
from rnnexport.verification.compare import Tolerance
from rnnexport.verification.judge import not_run, verify_artifact
from rnnexport.verification.report import ArtifactReport, Report

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel

DEFAULT_OPSET = 17
_LOADING = Loading()
_LOWERING = LoweringRequest()
_SOURCE_FEEDS_SEED = 1  # verify --source must not use the very inputs that the artifact carries


def load(model: Any, loading: Loading = _LOADING) -> SourceModel:
    """Load a model file, or wrap a live Keras model, for `export` and `verify`. Loads TensorFlow.

    Args:
        model: the path of a model file, weights, an architecture or a SavedModel, a live model of Keras 3 or tf_keras,
            or what `load` returned.
        loading: what the user says about it, the model's own code before all.

    Raises:
        UsageError: there is no such file, or no such module.
        ConversionError: the file is no Keras model, is damaged, names a class that is not known, or does not tell what
            its numbers mean.
    """
    _require_tensorflow()
    from rnnexport.source.load import load_source
    from rnnexport.source.model import SourceModel

    return model if isinstance(model, SourceModel) else load_source(model, loading)


def export(
    model: Any,
    to: str = "onnx",
    output: str | Path | None = None,
    *,
    loading: Loading = _LOADING,
    opset: int = DEFAULT_OPSET,
    lowering: LoweringRequest = _LOWERING,
    batch: Length = None,
    timesteps: Length = None,
    verify: bool = True,
    tolerance: Tolerance | None = None,
    progress: Progress = lambda message: None,
) -> Exported:
    """Convert a model to one target, verify the artifact, and only then put it in place.

    Args:
        model: see `load`.
        to: `onnx`, `tflite` or `saved-model`.
        output: where the artifact goes; by default into the working directory, named after the model.
        loading: see `load`.
        opset: of the ONNX file.
        lowering: the form that each recurrence of an ONNX file is to have, and what it is to be fast on.
        batch: the batch size to fix, `dynamic`, or None for what the model says.
        timesteps: the same for the length. TFLite needs a fixed one.
        verify: False to put the artifact in place unverified.
        tolerance: of the verification; None for the default one, widened where the source itself is less certain.
        progress: is told what goes on, in a few words a step.

    Raises:
        UsageError, ConversionError, MismatchError, ProviderError: see the classes; nothing was written.
    """
    kind, options = target(to), Options(ExportOptions(opset, lowering), tolerance, verify)
    _check_opset([kind], opset)
    destination = None if output is None else Path(output)
    if destination is not None:
        check_destination(destination, kind.layout)
    progress("loading")
    source = load(model, loading)
    order = Order(kind, destination or Path(file_name(kind, source)), Boundary(batch, timesteps))
    return fill(source, [order], options, progress)[0]


def export_all(
    model: Any,
    to: Iterable[str],
    folder: str | Path,
    *,
    loading: Loading = _LOADING,
    opset: int = DEFAULT_OPSET,
    lowering: LoweringRequest = _LOWERING,
    batch: Length = None,
    timesteps: Length = None,
    tflite_timesteps: int | None = None,
    verify: bool = True,
    tolerance: Tolerance | None = None,
    progress: Progress = lambda message: None,
) -> tuple[Exported, ...]:
    """Convert a model to several targets, with one load, and one trace for all targets that can share it.

    The artifacts are named after the model, and put in place when all are verified: if one fails, nothing is
    written. Arguments and errors are those of `export`, and:

    Args:
        folder: where the artifacts go; it is made where it is missing.
        tflite_timesteps: the length TFLite is fixed to, where `timesteps` leaves it dynamic for the others.
    """
    kinds = [target(name) for name in dict.fromkeys(to)]
    options = Options(ExportOptions(opset, lowering), tolerance, verify)
    if not kinds:
        raise UsageError("no target", "at least one", "give --to")
    _check_opset(kinds, opset)
    general = Boundary(batch, timesteps)
    fixed = Boundary(batch, tflite_timesteps) if tflite_timesteps is not None else general
    progress("loading")
    source = load(model, loading)
    orders = [
        Order(kind, Path(folder) / file_name(kind, source), fixed if kind.unrolled else general) for kind in kinds
    ]
    with made_folder(Path(folder)):
        return fill(source, orders, options, progress)


def verify(
    artifacts: str | Path | Sequence[str | Path],
    *,
    source: Any = None,
    loading: Loading = _LOADING,
    providers: Sequence[str] = ("cpu",),
    tolerance: Tolerance | None = None,
    progress: Progress = lambda message: None,
) -> Report:
    """Run artifacts in their own runtimes and compare them with what their source gave.

    Args:
        artifacts: one path or several.
        source: the model to compare with, on fresh inputs; None for the goldens inside each artifact, which needs
            neither TensorFlow nor the source.
        loading: see `load`.
        providers: the execution providers to run on, such as `cpu` and `cuda`.
        tolerance: None for the one each artifact was exported with.

    Raises:
        UsageError: a file is missing, is no artifact, or has no goldens and no source was given; a provider that no
            target knows.
        ConversionError, ProviderError: the source can't be loaded; see `load`.
    """
    paths = [Path(path) for path in ([artifacts] if isinstance(artifacts, str | Path) else artifacts)]
    for provider in providers:
        if provider not in ALL_PROVIDERS:
            raise UsageError(f"provider {provider!r}", f"one of {', '.join(ALL_PROVIDERS)}", "change --provider")
    kinds = [target_of(path) for path in paths]
    loaded = None if source is None else load(source, loading)
    # All of them before the first runs: a file that can't be read must not hide the verdict on another.
    label = "goldens" if loaded is None else f"source {loaded.name}"
    # Artifacts of one boundary share the truth that the source gives there.
    truth = (
        None if loaded is None else cache(lambda boundary: describe_with_truth(loaded, boundary, _SOURCE_FEEDS_SEED))
    )
    claims = [_claim(kind, path, label, truth) for kind, path in zip(kinds, paths, strict=True)]
    found = []
    for kind, path, claim in zip(kinds, paths, claims, strict=True):
        for provider in providers:
            progress(f"verifying {path.name} on {provider}")
            found.append(_verdict(kind, path, claim, provider, tolerance))
    return Report(tuple(found))


@dataclass(frozen=True, eq=False)
class _Claim:
    """What an artifact has to show, and who says so."""

    signature: Signature
    goldens: Sequence[Golden]
    tolerance: Tolerance
    truth: str
    computed_in: Mapping[str, tuple[str, ...]]
    lowering: tuple[Lowered, ...]


def _verdict(
    kind: Target, path: Path, claim: _Claim | ProviderError, provider: str, tolerance: Tolerance | None
) -> ArtifactReport:
    if isinstance(claim, ProviderError):
        return not_run(kind, path, provider, "goldens", tolerance or Tolerance(), str(claim))
    report = verify_artifact(
        kind,
        path,
        claim.signature,
        claim.goldens,
        provider=provider,
        tolerance=tolerance or claim.tolerance,
        truth=claim.truth,
    )
    return replace(report, computed_in=claim.computed_in, lowering=claim.lowering)


def _claim(
    kind: Target, path: Path, label: str, truth: Callable[[Boundary], Described] | None
) -> _Claim | ProviderError:
    """The artifact's own goldens, or a source run on fresh feeds at the recorded sizes.

    An artifact that this host can't even read is not run, which must not keep others from running.
    """
    try:
        proof = kind.read_proof(path)
    except ProviderError as error:
        return error
    recorded = Tolerance() if proof is None else Tolerance(**proof.provenance.tolerance)
    if truth is not None:
        options = {} if proof is None else proof.provenance.options
        boundary = Boundary(options.get("batch"), options.get("timesteps"))
        described = truth(boundary)
        tolerance = described.tolerance if proof is None else recorded
        computed_in = {} if proof is None else proof.provenance.computed_in
        lowering = () if proof is None else proof.provenance.lowering
        return _Claim(described.signature, described.goldens, tolerance, label, computed_in, lowering)
    if proof is None:
        raise UsageError(f"{path.name} carries no goldens", "an artifact of rnnexport, or --source", "give --source")
    known = proof.provenance
    return _Claim(known.signature, proof.goldens, recorded, label, known.computed_in, known.lowering)


def _check_opset(kinds: Sequence[Target], opset: int) -> None:
    for kind in kinds:
        if kind.opsets is not None and opset not in kind.opsets:
            allowed = f"{kind.opsets.start} to {kind.opsets.stop - 1}"
            raise UsageError(f"--opset {opset} for {kind.name}", allowed, "choose one of these")


def _require_tensorflow() -> None:
    if find_spec("tensorflow") is None:
        raise ProviderError("tensorflow is not installed", "it, to load a model", "pip install 'rnnexport[convert]'")
