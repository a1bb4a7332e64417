"""What can be called by the names of its inputs: an artifact, of rnnexport or of anybody, or a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnexport.api.expectations import extent_of, require_harmless
from rnnexport.artifact.goldens import Arrays
from rnnexport.artifact.provenance import require_unaltered
from rnnexport.core.errors import ForeignCode, UsageError, reason, require_path
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.names import Names
from rnnexport.core.signature import BATCH, TIME, Boundary, Dim, Signature, TensorSpec
from rnnexport.isolation.runner import opened
from rnnexport.targets.base import Runner, RuntimeTensor, Target
from rnnexport.targets.registry import target_of
from rnnexport.verification.where import Where

if TYPE_CHECKING:
    from rnnexport.source.model import SourceModel


_NAMES = Names()


@dataclass(frozen=True, eq=False)
class Callee:
    """Something that can be called.

    Attributes:
        name: for messages.
        kind: the name of its target; `model` for a model.
        signature: what goes in and comes out. Of a file of somebody else, what its runtime says: without vocabularies
            and masks, and with states among the inputs and outputs.
        call: inputs by name to outputs by name, states of the signature included on both sides. Raises UsageError where
            it fails on them.
        shapes: of its inputs as the file has them, with its own names of open dimensions.
        names: those that it was exported under in place of those of its source.
    """

    name: str
    kind: str
    signature: Signature
    call: Callable[[Arrays], Arrays]
    shapes: Mapping[str, tuple[int | str | None, ...]] = field(default_factory=dict)
    names: Names = _NAMES


@contextmanager
def called(model: Any, loading: LoadOptions, where: Where, names: Names = _NAMES) -> Iterator[Callee]:
    """The artifact at a path, or the model at one or live, ready to be called.

    Args:
        model: the path, or the model.
        loading: of a model, see `load`.
        where: an artifact is run.
        names: that the inputs and outputs of a model are called by.

    Raises:
        UsageError: nothing is there, it was altered, or its runtime refuses it.
        ConversionError, ProviderError: the model can't be loaded, see `rnnexport.load`; or a runtime is missing.
    """
    kind = _artifact(model)
    if kind is None:
        yield _model(model, loading, names)
        return
    path = Path(model)
    if not loading.allow_unsafe:
        require_harmless(kind, path)
    proof = kind.read_proof(path)
    if proof is not None:
        require_unaltered(path.name, proof)
    # The runtime of a SavedModel is TensorFlow, which takes longer to start than a model to load.
    limits = None if "tensorflow" in kind.runtimes else where.limits
    with opened(kind, path, where.provider, where.tf32, limits) as runner:
        signature = _signature(runner) if proof is None else proof.provenance.signature
        shapes = {tensor.name: tensor.shape for tensor in runner.inputs}
        given = _NAMES if proof is None else extent_of(proof).boundary.names
        yield Callee(path.name, kind.name, signature, partial(_run, path.name, runner), shapes, given)


def _artifact(model: Any) -> Target | None:
    """The target of a path that is an artifact; None for a model. A SavedModel of somebody else is a model."""
    if not isinstance(model, str | Path):
        return None
    path = Path(model)
    require_path(path, "an artifact or a model")
    try:
        kind = target_of(path)
    except UsageError:
        return None
    return None if kind.layout and kind.read_proof(path) is None else kind


def _model(model: Any, loading: LoadOptions, names: Names) -> Callee:
    from rnnexport.api.export import load

    source = load(model, loading)
    from rnnexport.source.describe import describe

    signature = describe(source, Boundary(names=names))
    return Callee(source.name, "model", signature, partial(_eager, source, signature))


def _eager(source: SourceModel, signature: Signature, feed: Arrays) -> Arrays:
    from rnnexport.source.eager import reference

    with ForeignCode(partial(_failed, source.name)):
        return reference(source, signature, feed)


def _run(name: str, runner: Runner, feed: Arrays) -> Arrays:
    with ForeignCode(partial(_failed, name)):
        return runner.run(feed)


def _failed(name: str, error: BaseException) -> UsageError:
    return UsageError(f"{name} fails on these inputs ({reason(error)})", "inputs that it takes", "change the inputs")


def _signature(runner: Runner) -> Signature:
    return Signature(_specs(runner.inputs), _specs(runner.outputs))


def _specs(tensors: Sequence[RuntimeTensor]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(one.name, one.dtype, _dims(one)) for one in tensors)


def _dims(tensor: RuntimeTensor) -> tuple[Dim, ...]:
    """Dimensions under our names: what others call them says nothing of what they are."""
    names = {0: BATCH, 1: TIME} if len(tensor.shape) > 2 or tensor.dtype.startswith("int") else {0: BATCH}
    return tuple(
        size if isinstance(size, int) else names.get(axis, f"{tensor.name}_axis{axis}")
        for axis, size in enumerate(tensor.shape)
    )
