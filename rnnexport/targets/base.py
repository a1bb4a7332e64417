"""What a target and a runner are. Everything above this layer knows only these two."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from rnnexport.artifact.atomic_write import Extra, check_destination, staged
from rnnexport.artifact.beside import check_beside, has_goldens_beside, proof_file, write_beside
from rnnexport.artifact.goldens import Arrays
from rnnexport.artifact.provenance import Proof
from rnnexport.core.errors import UsageError
from rnnexport.core.forms import CForm, TFLiteForm
from rnnexport.core.lowering import LoweringDecision, LoweringRequest
from rnnexport.core.placement import Placement
from rnnexport.core.quantization import QuantizedPart
from rnnexport.core.signature import TensorSpec
from rnnexport.core.versions import installed

if TYPE_CHECKING:
    from rnnexport.artifact.layer_map import InnerValues
    from rnnexport.quantization.calibration import Saturation
    from rnnexport.source.trace import Graphs

DEFAULT_OPSET = 17
# The signatures of the formats that have signatures. The first two are one function but in a stream, where the first
# takes whole sequences and has no states.
SIGNATURE = "serving_default"
STEP = "step"
INITIAL_STATE = "initial_state"
# The one input of INITIAL_STATE, a number, where the batch is open; it has none where the batch is fixed.
BATCH_ARGUMENT = "batch"

# Of K products that are added to their bias in order a sum is off by the root of K / 3 rounding errors of the bias, and
# one of TensorFlow by a few: of 256 it may be twice as far off as rounding moves the value, which cancels a large bias
# now and then.
_MOST_SPREADS, _TERMS_ROOT = 2.0, 8.0
_APPROXIMATED = 1.0  # spreads, where `Target.kernel_errors` has an operator


class Runner(Protocol):
    """An artifact loaded by its own runtime, ready to be called.

    Attributes:
        inputs: what the runtime says goes in.
        outputs: the same for what comes out.
        ordered: whether the format keeps its tensors in an order, so that a changed order is a fault.
        settings: what the execution provider was told that changes numbers, in words, such as `{"tf32": "off"}`.
        entries: the signatures that the artifact has; none in a format without signatures. What runs is STEP where
            there are states, else SIGNATURE.
    """

    inputs: tuple[RuntimeTensor, ...]
    outputs: tuple[RuntimeTensor, ...]
    ordered: bool
    settings: Mapping[str, str]
    entries: tuple[str, ...]

    def at(self, entry: str) -> Runner:
        """Another signature of the same artifact, ready to be called. KeyError where it is none of `entries`."""

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Call the artifact once. Keys are Keras names, on both sides."""

    def placement(self) -> Placement | None:
        """Where the nodes ran that the first call ran.

        None before that call, and where the runtime was given the CPU and nothing else.
        """


@runtime_checkable
class Repeatable(Protocol):
    """A runner of a runtime that is faster where it knows that calls have the same shapes."""

    def repeated(self) -> Runner:
        """The same artifact, for such calls."""


@dataclass(frozen=True)
class Kernels:
    """How precise the kernels are that compute an artifact, beside those of other runtimes.

    Attributes:
        error: how many times as far off a value may be.
        spreads: how many times as far from the truth as rounding moves its values an output may be, whatever its source
            is; 0 where that says nothing.
    """

    error: float = 1.0
    spreads: float = 0.0


@dataclass(frozen=True)
class RuntimeTensor:
    """One input or output as the runtime reports it.

    Attributes:
        name: as the file has it.
        dtype: the NumPy name.
        shape: a dynamic dimension has its name, or None where the file has none for it.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def disagrees(self, spec: TensorSpec, *, may_be_open: bool) -> str | None:
        """What is wrong with this tensor against what it has to be, or None.

        Args:
            spec: what it has to be.
            may_be_open: whether the file may leave open what is fixed. An output may: TensorFlow forgets sizes behind
                a loop, and the shapes of all results are compared when the artifact runs.
        """
        if self.dtype != spec.dtype:
            return f"dtype {self.dtype}, not {spec.dtype}"
        if len(self.shape) != len(spec.shape):
            return f"rank {len(self.shape)}, not {len(spec.shape)}"
        for axis, (found, wanted) in enumerate(zip(self.shape, spec.shape, strict=True)):
            if found is None and (may_be_open or isinstance(wanted, str)):
                continue
            if found != wanted:
                return f"axis {axis} is {found}, not {wanted}"
        return None


_C = CForm()
_TFLITE = TFLiteForm()


@dataclass(frozen=True)
class ExportOptions:
    """What the user may ask of the form of an artifact. A format takes of it what it knows.

    Attributes:
        opset: the opset of an ONNX file.
        lowering: the form of each recurrence of an ONNX file.
        c: how a C program is written.
        tflite: how the recurrences of a TFLite file are written.
    """

    opset: int
    lowering: LoweringRequest
    c: CForm = _C
    tflite: TFLiteForm = _TFLITE

    def recorded(self) -> dict[str, int | str]:
        """As the provenance of an artifact says it."""
        asked: dict[str, int | str] = {
            "opset": self.opset,
            "lowering": self.lowering.form,
            "for": self.lowering.provider,
        }
        if self.lowering.portable:
            asked["portable"] = "yes"
        if self.lowering.batch is not None:
            asked["for batch"] = self.lowering.batch
        return asked | ({"tune": "x".join(map(str, self.lowering.tune))} if self.lowering.tune else {})


class Exporter(Protocol):
    """The module `export` of a format."""

    def export(
        self, graphs: Graphs, feeds: Sequence[Arrays], path: Path, options: ExportOptions
    ) -> tuple[LoweringDecision, ...]:
        """See `Target.export`."""
        ...


class SumsInOrder(Protocol):
    """The module `metadata` of a format whose runtime does that."""

    def longest_sum(self, path: Path) -> int:
        """How many products are added to one bias at most. Raises as `Target.operators`."""
        ...


class Metadata(Protocol):
    """The module `metadata` of a format."""

    def write(self, path: Path, proof: Proof) -> None:
        """See `Target.write_proof`."""
        ...

    def read(self, path: Path) -> Proof | None:
        """See `Target.read_proof`."""
        ...

    def facts(self, path: Path) -> Mapping[str, str]:
        """See `Target.facts`."""
        ...

    def operators(self, path: Path) -> Mapping[str, int]:
        """See `Target.operators`."""
        ...


class Owner(Protocol):
    """The module `metadata` of a format with companions."""

    def owns(self, path: Path) -> bool:
        """See `Target.owns`."""
        ...


class HoldsFiles(Protocol):
    """The module `metadata` of a format whose weights may lie in a file beside."""

    def external_files(self, path: Path) -> tuple[Path, ...]:
        """See `Target.external_files`."""
        ...

    def owns_weights(self, path: Path) -> bool:
        """Whether the file of weights that is named after `path` belongs to an artifact of rnnexport there."""
        ...


class HoldsCode(Protocol):
    """The module `allowed` of a format that is code."""

    def check_code(self, path: Path) -> None:
        """See `Target.check_code`."""
        ...


class Quantizer(Protocol):
    """Makes the quantised forms of one model."""

    def write(
        self, path: Path, form: str, calls: Sequence[Arrays], only: frozenset[str] | None = None
    ) -> tuple[tuple[QuantizedPart, ...], tuple[LoweringDecision, ...]]:
        """Write one form, without a proof, at `path`.

        Args:
            path: where it goes.
            form: one of `FORMS` of the format.
            calls: feeds that ranges are taken from, states included: each sequence from its initial states on.
            only: the operators, by name, that are quantised; None for all.

        Returns:
            What became of each weight, and of each recurrence. Raises as `Target.export`.
        """

    def calibrates(self, form: str) -> bool:
        """Whether that form depends on ranges that are taken from calls."""

    def separates(self, form: str) -> bool:
        """Whether one operator alone can be quantised in that form."""

    def saturation(self, form: str, calls: Sequence[Arrays]) -> Saturation | None:
        """How much of other calls lies outside of the ranges; None for a form that has none."""

    def size(self, path: Path) -> int | None:
        """The bytes of the artifact at `path` where it is used; None where those are the ones of its file."""


class Quantizes(Protocol):
    """The module `quantized` of a format with quantised forms."""

    def quantizer(self, graphs: Graphs, feeds: Sequence[Arrays], options: ExportOptions) -> Quantizer:
        """See `Target.quantizer`."""
        ...


class Opener(Protocol):
    """The module `runner` of a format."""

    def open_runner(self, path: Path, provider: str, tf32: bool = False) -> AbstractContextManager[Runner]:
        """See `Target.runner`."""
        ...


class Inspector(Protocol):
    """The module `values` of a format."""

    def inner_values(self, path: Path, feed: Arrays, provider: str = "cpu", *, tf32: bool = False) -> InnerValues:
        """See `Target.inner_values`."""
        ...


@dataclass(frozen=True)
class Target:
    """A format to export to.

    Its code is in a package of modules, imported when they are called for, so that verifying an artifact loads no
    converter: `export` is an `Exporter`, `metadata` a `Metadata`, `runner` an `Opener`, `values` an `Inspector`. The
    registry shows a type checker that they are.

    Attributes:
        name: the name on the command line.
        package: where its code is.
        suffix: what the name of an artifact ends in; of a folder, by default only.
        unrolled: whether recurrent layers are unrolled there, for which a length is fixed, unless a loop is asked for.
        writers: the distributions that write it, whose versions are recorded.
        input_name: the name that an input has in the artifact, where the format does not take every Keras name.
        layout: what a folder artifact may hold, first the file by which it is known; empty for a format of one file.
        opsets: those it can write; None for a format without opsets.
        providers: the execution providers it can run on.
        entries: whether it has signatures: `step` and `initial_state` beside `serving_default`.
        companions: what the names of the other files of an artifact end in, which lie beside it under its own name.
        reserved: the names, without suffix, that an artifact can't have.
        is_code: whether running an artifact executes what is in it, and not a runtime; its code is in `allowed.py`.
        weights_beside: what is added to the name of a large artifact for the file of its weights; empty for a format
            without.
        limited: whether an artifact holds less than 2 GiB of weights.
        runtimes: those of the modules that run an artifact that start no thread when they are imported.
        kernel_errors: how many times as far off as those of other runtimes the kernels of some operators are, by the
            name of the operator.
        sums_in_order: whether its runtime adds the products of a sum to its bias, one after the other.
    """

    name: str
    package: str
    suffix: str
    unrolled: bool
    writers: tuple[str, ...]
    input_name: Callable[[str], str]
    layout: tuple[str, ...] = ()
    opsets: range | None = None
    providers: tuple[str, ...] = ("cpu",)
    entries: bool = False
    companions: tuple[str, ...] = ()
    reserved: frozenset[str] = frozenset()
    is_code: bool = False
    weights_beside: str = ""
    limited: bool = False
    runtimes: tuple[str, ...] = ()
    kernel_errors: Mapping[str, float] = field(default_factory=dict)
    sums_in_order: bool = False

    def recognises(self, path: Path) -> bool:
        """Whether `path` is an artifact of this format, judged by its name and layout alone."""
        if self.layout:
            return (path / self.layout[0]).is_file()
        return path.suffix == self.suffix and all(file.is_file() for file in self.files(path))

    def files(self, path: Path) -> tuple[Path, ...]:
        """The artifact at `path`, and its companions."""
        return (path, *(path.with_suffix(suffix) for suffix in self.companions))

    def every_file(self, path: Path) -> tuple[Path, ...]:
        """The artifact at `path`, its companions, and the files beside it that hold weights. Raises as `read_proof`."""
        return (*self.files(path), *self.external_files(path))

    def kernels(self, path: Path) -> Kernels:
        """How precise those are that compute the artifact at `path`. Raises as `operators`."""
        if self.sums_in_order:
            holder: SumsInOrder = self._module("metadata")
            return Kernels(spreads=min(_MOST_SPREADS, math.sqrt(holder.longest_sum(path)) / _TERMS_ROOT))
        if not self.kernel_errors:
            return Kernels()
        error = max((self.kernel_errors.get(name, 1.0) for name in self.operators(path)), default=1.0)
        return Kernels(error, _APPROXIMATED if error > 1 else 0.0)

    def check_destination(self, path: Path) -> None:
        """Raise what `staged` would raise, at once, so that no minutes of work are spent before it.

        Raises:
            UsageError: nothing can be written there, or what stands there is not ours to replace.
        """
        check_destination(path, self.layout, self.companions, self.owns)
        check_beside(path)

    def staged(self, path: Path) -> AbstractContextManager[Path]:
        """A path to build the artifact at that goes to `path`, its goldens with it, see `atomic_write.staged`."""
        # Weights first: whose they are is told by the artifact and its goldens, while both are still there.
        weights = [Extra(self._weights_file, self._owns_weights, "weights")] if self.weights_beside else []
        goldens = Extra(proof_file, has_goldens_beside, "goldens")
        return staged(path, self.layout, self.companions, self.owns, [*weights, goldens])

    def _weights_file(self, path: Path) -> Path:
        return path.with_name(path.name + self.weights_beside)

    def owns(self, path: Path) -> bool:
        """Whether the files that stand at `path`, of a format with companions, are an artifact of rnnexport."""
        owner: Owner = self._module("metadata")
        return owner.owns(path)

    def _owns_weights(self, path: Path) -> bool:
        holder: HoldsFiles = self._module("metadata")
        return holder.owns_weights(path)

    def export(
        self, graphs: Graphs, feeds: Sequence[Arrays], path: Path, options: ExportOptions
    ) -> tuple[LoweringDecision, ...]:
        """Write the artifact, without a proof, at `path`.

        Args:
            graphs: of the model. A format without signatures has no place for that of whole sequences.
            feeds: inputs that forms of recurrences are compared on.
            path: where it goes.
            options: what the user asks.

        Returns:
            What became of each recurrence; nothing from a format that has one form for all.

        Raises:
            ConversionError: the model can't be converted with a guarantee; names the op and the layer.
            ProviderError: the runtime that checks the form of a recurrence is not installed.
            OSError: it can't be written.
        """
        exporter: Exporter = self._module("export")
        return exporter.export(graphs, feeds, path, options)

    def quantizer(self, graphs: Graphs, feeds: Sequence[Arrays], options: ExportOptions) -> Quantizer:
        """What makes the quantised forms of a model, of a format that has some; for its arguments see `export`."""
        quantizes: Quantizes = self._module("quantized")
        return quantizes.quantizer(graphs, feeds, options)

    def write_proof(self, path: Path, proof: Proof) -> None:
        """Put the proof into the artifact at `path`, its goldens inside, beside or nowhere, and seal it.

        Raises:
            OSError: it can't be written.
        """
        self._metadata().write(path, proof)
        write_beside(path, proof.golden_bytes if proof.place == "beside" else b"")

    def read_proof(self, path: Path) -> Proof | None:
        """The proof inside the artifact, or None where it has none. Needs no TensorFlow.

        Raises:
            UsageError: the file can't be read, or its proof is damaged.
            ProviderError: what reads the format is not installed.
        """
        return self._metadata().read(path)

    def facts(self, path: Path) -> Mapping[str, str]:
        """What there is to say of an artifact that some tool changed, by label. Raises as `read_proof`."""
        return self._metadata().facts(path)

    def external_files(self, path: Path) -> tuple[Path, ...]:
        """The files beside an artifact that hold weights of it, where a tool put some there. Raises as `read_proof`."""
        if not self.weights_beside:
            return ()
        holder: HoldsFiles = self._module("metadata")
        return holder.external_files(path)

    def check_code(self, path: Path) -> None:
        """Refuse an artifact that would do more than compute. Nothing of it runs.

        Raises:
            UsageError: names the line and what is there.
        """
        if self.is_code:
            code: HoldsCode = self._module("allowed")
            code.check_code(path)

    def operators(self, path: Path) -> Mapping[str, int]:
        """How often each operator occurs in the artifact, bodies of loops included. Raises as `read_proof`."""
        return self._metadata().operators(path)

    def inner_values(self, path: Path, feed: Arrays, provider: str = "cpu", *, tf32: bool = False) -> InnerValues:
        """Every floating-point value inside the artifact for one feed, in the order in which they are computed.

        Raises:
            UsageError: the file can't be read, or the runtime refuses it.
            ProviderError: the runtime or the provider is not on this host.
        """
        inspector: Inspector = self._module("values")
        return inspector.inner_values(path, feed, provider, tf32=tf32)

    def runner(self, path: Path, provider: str, *, tf32: bool = False) -> AbstractContextManager[Runner]:
        """The artifact in its own runtime, on `provider`.

        Args:
            path: the artifact.
            provider: one of `providers`.
            tf32: whether float32 products may be computed in TF32. It changes nothing on a provider that can't.

        Raises:
            ProviderError: the runtime or the provider is not on this host, or the provider can't start.
            UsageError: the runtime can't load the file; this format knows no such provider; TF32 is forbidden here.
        """
        if provider not in self.providers:
            raise UsageError(
                f"provider {provider!r} for {self.name}", f"one of {', '.join(self.providers)}", "change --provider"
            )
        opener: Opener = self._module("runner")
        return opener.open_runner(path, provider, tf32)

    def versions(self) -> Mapping[str, str]:
        """The versions of the packages that write this format."""
        return installed(*self.writers)

    def _metadata(self) -> Metadata:
        found: Metadata = self._module("metadata")
        return found

    def _module(self, name: str) -> Any:
        return import_module(f"{self.package}.{name}")
