"""The keywords of `verify`, here and on Ray, of `run` and of `compare`: stated once, and checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from rnnexport.api.expectations import require_harmless
from rnnexport.api.keywords import require_known
from rnnexport.artifact.beside import proof_file
from rnnexport.core.errors import UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.progress import Progress, silent
from rnnexport.core.signature import Boundary, Extent
from rnnexport.core.user_data import UserData, user_data
from rnnexport.isolation.limits import Limits
from rnnexport.targets.base import Target
from rnnexport.targets.registry import ALL_PROVIDERS, may_lie_beside, target_of
from rnnexport.verification.tolerance import Override
from rnnexport.verification.where import Where

_LOADING = LoadOptions()
_OVERRIDE = Override()
_LIMITS = Limits()


class CallKeywords(TypedDict, total=False):
    """How artifacts and models are called.

    Attributes:
        loading: of models, see `load`; its `allow_unsafe` is for artifacts that are programs, too.
        tf32: whether a GPU may round the operands of float32 products to 10 bits of mantissa.
        tolerance: what is not to be as each artifact was exported with; rtol 1e-5 and atol 2e-6 for other files.
        limits: of the process that each artifact is run in; None to run them in this one.
    """

    loading: LoadOptions
    tf32: bool
    tolerance: Override
    limits: Limits | None


class RunKeywords(CallKeywords, total=False):
    """How `run` and `compare` call what they are given, besides `CallKeywords`.

    Attributes:
        provider: the execution provider to run on, `cpu` or `cuda`.
    """

    provider: str


class VerifyKeywords(CallKeywords, total=False):
    """What `verify` is asked, besides `CallKeywords`.

    Attributes:
        source: the model to compare with, on fresh inputs; None for the goldens inside each artifact, which needs
            neither TensorFlow nor the source.
        data: inputs of the user's own to verify on besides: a file, a folder, a glob or an address of `.npz`, `.npy`,
            Parquet or Arrow files; as `UserData` with the names of columns, or a shard of them.
        providers: the execution providers to run on, such as `cpu` and `cuda`; `cpu` by default.
        placement: the share of the recurrent nodes that must run on the provider, from 0 to 1; None for any node.
        steps: how many timesteps of one sequence to follow each artifact along besides, call by call, beside `source`,
            which is needed; the artifacts have to be of stateful models, or streams.
        batch, timesteps: what somebody else fixed them to in an artifact without a provenance; `source` is run so.
        progress: is told what goes on, in a few words a step.
        record: whether the report says when, where and on which files it was made; it does by default.
    """

    source: Any
    data: str | Path | UserData | None
    providers: Sequence[str]
    placement: float | None
    steps: int | None
    batch: int | None
    timesteps: int | None
    progress: Progress
    record: bool


@dataclass(frozen=True, eq=False)
class Verification:
    """What `verify` is asked, checked: artifacts that are there, harmless or allowed, and where each is to run."""

    artifacts: tuple[tuple[Target, Path], ...]
    places: tuple[Where, ...]
    source: Any
    loading: LoadOptions
    data: UserData | None
    tolerance: Override
    steps: int | None
    sizes: Extent
    limits: Limits | None
    progress: Progress
    record: bool

    @classmethod
    def of(cls, artifacts: str | Path | Sequence[str | Path], given: VerifyKeywords) -> Verification:
        """What is asked of these artifacts. Files that belong to another of them are left out: `artifacts/*` has all.

        Raises:
            UsageError: a file is missing, is no artifact, or is a program that does more than compute; a provider that
                no target knows; an option that needs another.
            TypeError: a keyword that there is not.
        """
        require_known("verify", given, VerifyKeywords, "artifacts")
        limits, loading, providers = _limits(given), given.get("loading", _LOADING), given.get("providers", ("cpu",))
        _check(given, providers)
        paths = [Path(path) for path in ([artifacts] if isinstance(artifacts, str | Path) else artifacts)]
        beside = {file for path in paths for file in (*may_lie_beside(path), proof_file(path))}
        found = tuple((target_of(path), path) for path in paths if path not in beside)
        if not loading.allow_unsafe:
            for kind, path in found:
                require_harmless(kind, path)
        tf32, placement = given.get("tf32", False), given.get("placement")
        return cls(
            artifacts=found,
            places=tuple(Where(provider, tf32, placement, limits) for provider in providers),
            source=given.get("source"),
            loading=loading,
            data=user_data(given.get("data")),
            tolerance=given.get("tolerance", _OVERRIDE),
            steps=given.get("steps"),
            sizes=Extent(Boundary(given.get("batch"), given.get("timesteps"))),
            limits=limits,
            progress=given.get("progress", silent),
            record=given.get("record", True),
        )


@dataclass(frozen=True)
class Calling:
    """How `run` and `compare` call what they are given."""

    loading: LoadOptions
    where: Where
    tolerance: Override

    @classmethod
    def of(cls, function: str, given: RunKeywords, *others: str) -> Calling:
        """What the keywords of that function say; `others` are those it has besides. TypeError for an unknown one."""
        require_known(function, given, RunKeywords, *others)
        where = Where(given.get("provider", "cpu"), given.get("tf32", False), limits=_limits(given))
        return cls(given.get("loading", _LOADING), where, given.get("tolerance", _OVERRIDE))


def _limits(given: CallKeywords) -> Limits | None:
    return given.get("limits", _LIMITS)


def _check(given: VerifyKeywords, providers: Sequence[str]) -> None:
    """Refuse options that need others. Raises UsageError."""
    steps, size = given.get("steps"), given.get("batch") or given.get("timesteps")
    for provider in providers:
        if provider not in ALL_PROVIDERS:
            raise UsageError(f"provider {provider!r}", f"one of {', '.join(ALL_PROVIDERS)}", "change --provider")
    for option, value in (("--steps", steps), ("--batch or --timesteps", size)):
        if value is not None and given.get("source") is None:
            raise UsageError(f"{option} without --source", "the model to run so", "give --source MODEL")
    if steps is not None and steps < 1:
        raise UsageError(f"--steps {steps}", "a number above 0", "change it")
