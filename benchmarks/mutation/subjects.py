"""What is mutated: artifacts of the samples and of models of our own, in every form their recurrences can have.

Building, exporting and running the source take seconds each, so they are kept between runs, in a folder that is named
after the sources that made them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import rnnexport
from rnnexport.errors import ConversionError
from rnnexport.goldens import Golden, from_bytes, to_bytes
from rnnexport.lowered import LoweringRequest
from rnnexport.proof import Proof
from rnnexport.publish import staged
from rnnexport.reference.certainty import narrowest
from rnnexport.reference.conditioning import Conditioning
from rnnexport.reference.described import describe_with_truth
from rnnexport.reference.float64 import exact
from rnnexport.signature import Boundary, Signature
from rnnexport.source.model import SourceModel
from rnnexport.targets.registry import target
from rnnexport.verification.feeds import feeds, wanted
from rnnexport.versions import installed
from samples.catalog import SAMPLES_BY_NAME

# Loops stay loops, become Scans, or what is fastest: the operators, as far as the recurrences have that form.
FORMS = ("auto", "scan", "loop")
# The feeds inside an artifact are those of seed 0, and `verify --source` takes those of seed 1.
FIRST_SEED = 100
_ROOT = Path(__file__).parent.parent.parent
_SOURCES = ("rnnexport", "samples", "benchmarks/mutation/own_models.py", "benchmarks/mutation/subjects.py")


@dataclass(frozen=True, eq=False)
class Artifact:
    """One verified artifact.

    Attributes:
        subject: the name of the model.
        form: what was asked of its recurrences, one of `FORMS`.
        path: the ONNX file.
    """

    subject: str
    form: str
    path: Path

    @property
    def name(self) -> str:
        """Of the model and the form."""
        return f"{self.subject}.{self.form}"

    @cached_property
    def proof(self) -> Proof:
        """The proof inside."""
        proof = target("onnx").read_proof(self.path)
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


def prepare(name: str, folder: Path, seeds: int) -> list[Artifact]:
    """The artifacts of one subject, exported where the folder has them not; those that differ in form alone.

    Args:
        name: one of `names()`.
        folder: a subfolder of it is used, named after the sources.
        seeds: how many fresh verifications there are to be.
    """
    home = folder / _digest() / name
    artifacts = [Artifact(name, form, home / f"{form}.onnx") for form in FORMS]
    if not all((home / f"seed_{seed}.npz").exists() for seed in range(seeds)) or not (home / "done").exists():
        home.mkdir(parents=True, exist_ok=True)
        source = rnnexport.load(_build(name))
        _export(source, artifacts)
        for seed, goldens in enumerate(_fresh(source, seeds)):
            with staged(home / f"seed_{seed}.npz") as path:
                path.write_bytes(to_bytes(goldens))
        (home / "done").touch()
    return [artifact for artifact in artifacts if artifact.path.exists()]


def _build(name: str) -> Any:
    from benchmarks.mutation.own_models import MODELS

    build: Callable[[], Any] = SAMPLES_BY_NAME[name].build if name in SAMPLES_BY_NAME else MODELS[name]
    return build()


def _export(source: SourceModel, artifacts: Sequence[Artifact]) -> None:
    """Export every form that is there, each once."""
    seen: set[tuple[str, ...]] = set()
    for artifact in artifacts:
        try:
            exported = rnnexport.export(source, "onnx", artifact.path, lowering=LoweringRequest(artifact.form))
        except ConversionError:
            continue  # this form is not proven of all its recurrences
        chosen = tuple(item.chosen for item in exported.lowering)
        if chosen in seen:
            artifact.path.unlink()
        seen.add(chosen)


def _fresh(source: SourceModel, seeds: int) -> Iterator[tuple[Golden, ...]]:
    """For each seed the calls of a verification, run by eager Keras and in float64, with what rounding does to them."""
    described = describe_with_truth(source, Boundary(), FIRST_SEED)
    run = exact(described.traced, described.no_truth)
    conditioning = Conditioning(run, described.signature, narrowest(source))
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        yield tuple(map(conditioning.with_spread, _calls(source, described.signature, seed, run.run)))
    if run.no_truth:
        raise AssertionError(f"{source.name} has no float64 truth: {run.no_truth}")


def _calls(
    source: SourceModel, signature: Signature, seed: int, truth: Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
) -> Iterator[Golden]:
    from rnnexport.source.reference import reference

    count = 0
    for feed in feeds(signature, seed):
        try:
            expected = reference(source, signature, feed.arrays)
        except ConversionError:
            continue  # a length that the source itself can't run
        yield Golden(feed.label, feed.arrays, expected, truth(feed.arrays, expected))
        count += 1
        if count == wanted(signature):
            return


def _digest() -> str:
    """Of everything that the artifacts and the truth depend on."""
    digest = hashlib.sha256(repr(sorted(installed("tensorflow", "keras", "tf_keras", "tf2onnx").items())).encode())
    for root in _SOURCES:
        path = _ROOT / root
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(file.relative_to(_ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]
