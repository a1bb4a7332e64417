"""What a model file or an artifact is, as one frozen value."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rnnexport.api.export import export, load
from rnnexport.artifact.provenance import Proof
from rnnexport.core.errors import ProviderError, UsageError, in_python_words, require_path
from rnnexport.core.forms import TFLiteForm
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.lowering import LoweringDecision, LoweringRequest
from rnnexport.core.progress import Progress, quiet, silent
from rnnexport.core.run_record import Parameters, bytes_in_words, size_of
from rnnexport.core.signature import BATCH, Boundary, Signature
from rnnexport.targets.registry import companions_of, target_of

if TYPE_CHECKING:
    from rnnexport.source.files import SourceFile

_LOADING = LoadOptions()
_LOWERING = LoweringRequest()
_KINDS = {
    ".keras": "Keras model (.keras)",
    ".h5": "Keras model (.h5)",
    "weights": "weights of a Keras model",
    "architecture": "architecture of a Keras model",
    "saved-model": "SavedModel",
}


@dataclass(frozen=True)
class LayerFacts:
    """A layer or a cell of a model.

    Attributes:
        kind: its class.
        name: empty where it has none.
        outputs: the shapes of what it gives, None being open; empty where that is not known, as in a file alone.
        parameters: all that it holds; None where that is not known.
    """

    kind: str
    name: str
    outputs: tuple[tuple[int | None, ...], ...] = ()
    parameters: Parameters | None = None


@dataclass(frozen=True, eq=False)
class Inspection:
    """Facts about one file.

    Attributes:
        facts: what there is to say in one line each, by label.
        layers: for a model file, the layers and cells that it names.
        weights: for weights, (layer, shapes in words).
        signature: what goes in and out; None where it is not known.
        operators: for an artifact, how often each operator occurs.
        lowering: for an artifact, what became of each recurrence.
        parameters: how many, and what they take; None where that is not known.
        loadable: whether the model can be loaded: it is no artifact, and no weights whose architecture is not known.
    """

    facts: Mapping[str, str]
    layers: Sequence[LayerFacts] = ()
    weights: Sequence[tuple[str, str]] = ()
    signature: Signature | None = None
    operators: Mapping[str, int] = field(default_factory=dict)
    lowering: tuple[LoweringDecision, ...] = ()
    parameters: Parameters | None = None
    loadable: bool = False


@in_python_words()
@quiet()
def inspect(path: str | Path, loading: LoadOptions = _LOADING) -> Inspection:
    """What a model file or an artifact is: facts, layers, inputs, outputs, states, operators and recurrences.

    Args:
        path: of the file or folder.
        loading: see `rnnexport.load`.

    Raises:
        RnnExportError: see `inspect_file`; a model that can be loaded is, for its signature, see `rnnexport.load`.
    """
    found = inspect_file(Path(path), loading)
    return inspect_model(found, Path(path), loading) if found.loadable else found


def inspect_file(path: Path, loading: LoadOptions = _LOADING) -> Inspection:
    """Look at an artifact, or at a model file without loading it. Needs no TensorFlow.

    Raises:
        UsageError: there is no file, or it is damaged.
        ConversionError: it is neither an artifact nor a Keras model.
    """
    if _carries_proof(path):
        return _artifact(path)
    from rnnexport.source.files import identify

    file = identify(path, loading)
    loadable = bool(file.config or loading.builder or file.program)
    weights = (
        []
        if loadable or file.stored is None
        else [(layer.name, " ".join(map(str, layer.shapes))) for layer in file.stored.layers]
    )
    layers = [LayerFacts(kind, name) for kind, name in file.layers()]
    parameters = _stored(file)
    facts = _with_parameters(_model_facts(file, loading), parameters)
    return Inspection(facts, layers, weights, parameters=parameters, loadable=loadable)


def inspect_model(found: Inspection, path: Path, loading: LoadOptions = _LOADING) -> Inspection:
    """Load a model file and add to what it says of itself: its signature, and what its layers give. Loads TensorFlow.

    Raises:
        RnnExportError: see `rnnexport.load`.
    """
    source = load(path, loading)
    from rnnexport.source.describe import describe

    sizes = source.layer_sizes()
    layers = [LayerFacts(one.kind, one.name, *sizes.get(one.name, ())) for one in found.layers]
    parameters = source.parameters
    facts = _with_parameters(found.facts, parameters)
    return replace(found, facts=facts, layers=layers, signature=describe(source, Boundary()), parameters=parameters)


def inspect_lowering(
    path: Path,
    loading: LoadOptions = _LOADING,
    request: LoweringRequest = _LOWERING,
    progress: Progress = silent,
) -> tuple[LoweringDecision, ...]:
    """What would become of each recurrence of a model file in an ONNX artifact. Loads TensorFlow, and keeps nothing.

    Raises:
        RnnExportError: see `rnnexport.export`.
    """
    with tempfile.TemporaryDirectory() as folder:
        exported = export(
            path,
            "onnx",
            Path(folder) / "model.onnx",
            loading=loading,
            lowering=request,
            verify=False,
            progress=progress,
        )
    return exported.lowering


def inspect_tflite(path: Path, loading: LoadOptions = _LOADING) -> tuple[LoweringDecision, ...]:
    """What would become of each recurrence of a model file in a TFLite artifact, of batch 1 where that is open.

    Raises:
        RnnExportError: see `rnnexport.export`.
    """
    from rnnexport.source.describe import describe
    from rnnexport.source.footprint import longest_of, recurrent_bytes
    from rnnexport.source.trace import Graphs, trace
    from rnnexport.targets.tflite.fusing import possible
    from rnnexport.targets.tflite.recurrences import choices

    source = load(path, loading)
    boundary = Boundary()
    if BATCH in describe(source, boundary).dynamic_dims:
        boundary = Boundary(batch=1)
    traced = trace(source, describe(source, boundary), unroll=False)
    form = TFLiteForm().chosen(longest_of(source, boundary), recurrent_bytes(source))
    return choices(traced, form, possible(Graphs(traced)).why_not)


def inspect_program(path: Path, loading: LoadOptions = _LOADING) -> str:
    """A model file as the program that its artifacts are written of, as text. Loads TensorFlow, and keeps nothing.

    Raises:
        RnnExportError: see `rnnexport.export`.
    """
    from rnnexport.conversion.convert import converted
    from rnnexport.ir.program import printed
    from rnnexport.source.describe import describe
    from rnnexport.source.trace import trace

    source = load(path, loading)
    return printed(converted(trace(source, describe(source, Boundary()), unroll=False)).program)


def _carries_proof(path: Path) -> bool:
    """Whether a target knows the file; a SavedModel that rnnexport did not write is a model."""
    try:
        kind = target_of(path)
    except UsageError:
        require_path(path, "a model or an artifact")
        if companions_of(path):  # one file of an artifact without the others is no model
            raise
        return False
    return not path.is_dir() or kind.read_proof(path) is not None


def _stored(file: SourceFile) -> Parameters | None:
    """The parameters that a file holds; None for a program, for an archive without any, and without h5py."""
    if file.program is not None:
        return None
    from rnnexport.source.stored import stored_weights

    try:
        stored = file.stored or stored_weights(file.weights)
    except ProviderError:
        return None
    return None if stored is None else stored.parameters


def _with_parameters(facts: Mapping[str, str], parameters: Parameters | None) -> dict[str, str]:
    return {**facts} if parameters is None else {**facts, "parameters": str(parameters)}


def _model_facts(file: SourceFile, loading: LoadOptions) -> dict[str, str]:
    facts = {"file": f"{file.path.name}, {_KINDS[file.container]}, {bytes_in_words(size_of([file.path]))}"}
    if file.architecture is not None:
        facts["with"] = file.weights.name if file.container == "architecture" else file.architecture.name
    if file.program is not None:
        kind = "Keras 2, as a program" if file.program.keras else "a TensorFlow program"
        return facts | {
            "written by": f"TensorFlow {file.program.tensorflow_version}, {kind}",
            "loaded by": "tf.saved_model, run through its signature serving_default",
            "signatures": ", ".join(file.program.signatures),
            "sha256": file.sha256,
        }
    facts["written by"] = str(file.origin)
    return facts | _loaded_by(file, loading) | {"sha256": file.sha256}


def _loaded_by(file: SourceFile, loading: LoadOptions) -> dict[str, str]:
    """Which Keras will load it, why, and what that means for the numbers."""
    from rnnexport.source.configs import choose_api
    from rnnexport.source.semantics import interpret

    if loading.builder:
        return {"loaded by": f"the Keras of --builder {loading.builder}, whose code decides what the weights mean"}
    if not file.config:
        return {"loaded by": "nothing yet: give --architecture model.json, or --builder module:function"}
    api, why = choose_api(file.origin, loading.keras_api, file.path.name)
    notes = interpret(file.config, file.origin, file.stored, api, file.path.name).notes
    return {"loaded by": f"{api}, {why}"} | {f"semantics {at}": note for at, note in enumerate(notes, 1)}


def _artifact(path: Path) -> Inspection:
    kind = target_of(path)
    proof = kind.read_proof(path)
    size = bytes_in_words(size_of(kind.every_file(path)))
    facts = {"file": f"{path.name}, {kind.name} artifact, {size}"} | ({} if proof is None else _facts(proof))
    if kind.opsets is not None:
        facts |= {label: text for label, text in kind.facts(path).items() if text}
    if proof is None:
        facts["provenance"] = "none: it was not made by rnnexport"
        return Inspection(facts, operators=kind.operators(path))
    told = proof.provenance
    parameters = Parameters.from_record(told.source)
    return Inspection(
        _with_parameters(facts, parameters),
        signature=told.signature,
        operators=kind.operators(path),
        lowering=told.lowering,
        parameters=parameters,
    )


def _facts(proof: Proof) -> dict[str, str]:
    provenance = proof.provenance
    digest = provenance.source["sha256"]
    facts = {
        "source": f"{provenance.source['name']}, {f'sha256 {digest}' if digest else 'a live model'}",
        "written by": f"{provenance.source['writer']}, loaded by {provenance.keras_api}",
        "options": _listed(provenance.options),
        "made with": _listed(provenance.versions),
        "computes in": "; ".join(f"{dtype}: {', '.join(names)}" for dtype, names in provenance.computed_in.items()),
        "seal": "broken: the file was altered after it was exported" if proof.altered else "whole",
        "goldens": _goldens(proof),
    }
    facts |= {f"changed, {label}": text for label, text in provenance.changed.items()}
    return facts | {f"semantics {at}": note for at, note in enumerate(provenance.semantics, 1)}


def _goldens(proof: Proof) -> str:
    if not proof.goldens:
        return "none: it is verified with its source"
    place = f" {proof.place}" if proof.place == "beside" else ""
    return f"{len(proof.goldens)} feeds{place}, tolerance {_listed(proof.provenance.tolerance)}"


def _listed(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_word(value)}" for name, value in sorted(values.items()) if value is not None)


def _word(value: object) -> object:
    return " ".join(f"{old}={new}" for old, new in value.items()) if isinstance(value, dict) else value
