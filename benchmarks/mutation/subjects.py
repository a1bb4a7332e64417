"""What is mutated: artifacts of the samples and of models of our own, in every form their recurrences can have.

ONNX files of whole sequences and of streams, TFLite files, SavedModels, NumPy and C programs. Building, exporting and
running the source take seconds each, so they are kept between runs, in a folder that is named after the sources that
made them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

import rnnexport
from rnnexport.artifact.atomic_write import staged
from rnnexport.artifact.goldens import Golden, from_bytes, to_bytes
from rnnexport.artifact.provenance import Proof
from rnnexport.core.errors import ConversionError
from rnnexport.core.lowering import LoweringRequest
from rnnexport.core.progress import silent
from rnnexport.core.signature import Boundary, Extent, Signature
from rnnexport.core.versions import installed
from rnnexport.reference.certainty import narrowest
from rnnexport.reference.conditioning import Conditioning
from rnnexport.reference.describe import describe_with_truth
from rnnexport.reference.float64 import Float64Run
from rnnexport.reference.stream_equivalence import streamed
from rnnexport.source.model import SourceModel
from rnnexport.targets.base import Target
from rnnexport.targets.registry import TARGET_NAMES, target
from rnnexport.verification.feeds import PLANNED, beside, feed_at, wanted
from samples.catalog import SAMPLES_BY_NAME

# Loops stay loops, become Scans, or what is fastest: the operators, as far as the recurrences have that form.
FORMS = ("auto", "scan", "loop")
# The other artifacts, by form: the target, and what is asked of their sizes.
OTHERS: Mapping[str, tuple[str, str]] = {
    "stream": ("onnx", "stream"),
    **{name: (name, "fixed" if target(name).unrolled else "whole") for name in TARGET_NAMES if name != "onnx"},
}
_STEPS = 5  # of what is fixed for TFLite, where the sample has no length of its own
# The feeds inside an artifact are those of seed 0, and `verify --source` takes those of seed 1.
FIRST_SEED = 100
_ROOT = Path(__file__).parent.parent.parent
_SOURCES = ("rnnexport", "samples", "benchmarks/mutation/own_models.py", "benchmarks/mutation/subjects.py")


@dataclass(frozen=True, eq=False)
class Artifact:
    """One verified artifact.

    Attributes:
        subject: the name of the model.
        form: what was asked of its recurrences, one of `FORMS`, or one of `OTHERS`.
        path: of its file or folder. Beside it lie the fresh calls for artifacts of its sizes.
    """

    subject: str
    form: str
    path: Path

    @property
    def target(self) -> Target:
        """Its format."""
        return target(OTHERS[self.form][0] if self.form in OTHERS else "onnx")

    @property
    def name(self) -> str:
        """Of the model and the form."""
        return f"{self.subject}.{self.form}"

    @cached_property
    def proof(self) -> Proof:
        """The proof inside."""
        proof = self.target.read_proof(self.path)
        assert proof is not None
        return proof

    @cached_property
    def fresh(self) -> list[tuple[Golden, ...]]:
        """Fresh calls, of each seed those of a verification: what went in, what the source gave, the float64 truth."""
        files = sorted(self.path.parent.glob("seed_*.npz"))
        return [from_bytes(file.read_bytes()) for file in files]


def names() -> list[str]:
    """All subjects: the samples, then the models of our own."""
    from benchmarks.mutation.own_models import MODELS

    return [*SAMPLES_BY_NAME, *MODELS]


def prepare(name: str, folder: Path, seeds: int, forms: Sequence[str] = (*FORMS, *OTHERS)) -> list[Artifact]:
    """The artifacts of one subject, exported where the folder has them not; those that differ in form alone.

    Args:
        name: one of `names()`.
        folder: a subfolder of it is used, named after the sources.
        seeds: how many fresh verifications there are to be.
        forms: those that are wanted.
    """
    home = folder / _digest() / name
    found: list[Artifact] = []
    source: SourceModel | None = None
    for sizes in ("whole", "stream", "fixed"):
        wanted_here = [form for form in forms if _sizes_of(form) == sizes]
        place = home / sizes
        artifacts = [Artifact(name, form, place / _file_name(form)) for form in wanted_here]
        missing = [one for one in artifacts if not (place / f"{one.form}.done").exists()]
        if missing or (artifacts and not all((place / f"seed_{seed}.npz").exists() for seed in range(seeds))):
            source = source or rnnexport.load(_build(name))
            _make(source, name, missing, place, sizes, seeds)
        found += [artifact for artifact in artifacts if artifact.path.exists()]
    return found


def _sizes_of(form: str) -> str:
    return OTHERS[form][1] if form in OTHERS else "whole"


def _file_name(form: str) -> str:
    return f"as_{form}{target(OTHERS[form][0] if form in OTHERS else 'onnx').suffix}"


def _make(source: SourceModel, name: str, artifacts: Sequence[Artifact], place: Path, sizes: str, seeds: int) -> None:
    """Export artifacts of one kind of sizes, and run the source on fresh calls of these sizes."""
    place.mkdir(parents=True, exist_ok=True)
    extent = _extent(name, source, sizes)
    made = _export(source, artifacts, extent)
    if made:
        model = source if extent.stream is None else streamed(source, None, silent)
        for seed, goldens in enumerate(_fresh(model, extent.called, seeds)):
            with staged(place / f"seed_{seed}.npz") as path:
                path.write_bytes(to_bytes(goldens))
    for artifact in artifacts:
        (place / f"{artifact.form}.done").touch()


def _extent(name: str, source: SourceModel, sizes: str) -> Extent:
    if sizes == "stream":
        return Extent(Boundary(), "dynamic")
    opened = any(len(tensor.shape) > 1 and tensor.shape[1] is None for tensor in source.api.inputs(source.model))
    steps = SAMPLES_BY_NAME[name].timesteps if name in SAMPLES_BY_NAME else _STEPS
    return Extent(Boundary(timesteps=steps if sizes == "fixed" and opened else None))


def _build(name: str) -> Any:
    from benchmarks.mutation.own_models import MODELS

    build: Callable[[], Any] = SAMPLES_BY_NAME[name].build if name in SAMPLES_BY_NAME else MODELS[name]
    return build()


def _export(source: SourceModel, artifacts: Sequence[Artifact], extent: Extent) -> int:
    """Export every form that is there, each once, for `judge` to verify. Returns how many there are."""
    seen: set[tuple[str, ...]] = set()
    for artifact in artifacts:
        boundary = extent.boundary
        options = {"timesteps": boundary.timesteps, "batch": boundary.batch, "stream": extent.stream}
        if artifact.form in FORMS:
            options["lowering"] = LoweringRequest(artifact.form)
        try:
            exported = rnnexport.export(
                source, artifact.target.name, artifact.path, verify=False, proof="inside", **options
            )
        except ConversionError:
            continue  # this form is not proven of all its recurrences, or the model is none that can be streamed
        chosen = (_sizes_of(artifact.form), *(item.chosen for item in exported.lowering))
        if artifact.form in FORMS and chosen in seen:
            artifact.path.unlink()
        seen.add(chosen)
    return sum(artifact.path.exists() for artifact in artifacts)


def _fresh(source: SourceModel, boundary: Boundary, seeds: int) -> list[tuple[Golden, ...]]:
    """For each seed the calls of a verification, run by eager Keras and in float64, with what rounding does to them.

    Those that say something of the source for every seed: calls of one place are of one kind.
    """
    described = describe_with_truth(source, boundary, FIRST_SEED)
    run = Float64Run(described.traced, described.no_truth)
    signature = described.signature
    conditioning = Conditioning(run, signature, narrowest(source, None))
    found = [_calls(source, signature, FIRST_SEED + at, run.truth) for at in range(seeds)]
    if run.no_truth:
        raise AssertionError(f"{source.name} has no float64 truth: {run.no_truth}")
    shared = [index for index in found[0] if all(index in one for one in found)]
    planned = [index for index in shared if index < PLANNED][: wanted(signature)]
    kept = planned + [index for index in shared if index >= PLANNED]
    return [conditioning.with_spreads([one[index] for index in kept]) for one in found]


def _calls(
    source: SourceModel, signature: Signature, seed: int, truth: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
) -> dict[int, Golden]:
    """By their place in the plan the calls of a verification, long, wide and large ones among them."""
    from rnnexport.source.eager import reference

    found: dict[int, Golden] = {}
    for index in (*range(PLANNED), *beside(signature)):
        feed = feed_at(signature, seed, index)
        try:
            expected = reference(source, signature, feed.arrays)
        except ConversionError:
            continue  # a length that the source itself can't run
        exactly = truth(feed.arrays, expected)
        if all(np.isfinite(array).all() for array in (*expected.values(), *exactly.values())):
            found[index] = Golden(feed.label, feed.arrays, expected, exactly)
    return found


def _digest() -> str:
    """Of everything that the artifacts and the truth depend on."""
    digest = hashlib.sha256(repr(sorted(installed("tensorflow", "keras", "tf_keras", "tf2onnx").items())).encode())
    for root in _SOURCES:
        path = _ROOT / root
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(file.relative_to(_ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
