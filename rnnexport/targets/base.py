"""What a target and a runner are. Everything above this layer knows only these two."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rnnexport.proof import Proof
from rnnexport.signature import TensorSpec

if TYPE_CHECKING:
    from rnnexport.source.trace import TracedModel

# The one signature of the formats that have signatures.
SIGNATURE = "serving_default"


class Runner(Protocol):
    """An artifact loaded by its own runtime, ready to be called.

    Attributes:
        inputs: what the runtime says goes in, dynamic dimensions as the file names them (`None` where it has no
            name for one).
        outputs: the same for what comes out.
        ordered: whether the format keeps its tensors in an order, so that a changed order is a fault.
    """

    inputs: tuple[RuntimeTensor, ...]
    outputs: tuple[RuntimeTensor, ...]
    ordered: bool

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Call the artifact once. Keys are Keras names, on both sides."""

    def placement(self) -> Mapping[str, int]:
        """How many nodes ran on each device so far, where the runtime tells; empty where there is only one."""


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


class Target(Protocol):
    """A format to export to.

    Attributes:
        name: the name on the command line.
        suffix: what the name of an artifact ends in; of a folder, by default only.
        layout: what a folder artifact may hold, first the file by which it is known; empty for a format of one file.
        opsets: those it can write; None for a format without opsets.
        unrolled: whether the format wants every recurrent layer unrolled, and so a fixed length.
        providers: the execution providers it can run on.
    """

    name: str
    suffix: str
    layout: tuple[str, ...]
    opsets: range | None
    unrolled: bool
    providers: tuple[str, ...]

    def recognises(self, path: Path) -> bool:
        """Whether `path` is an artifact of this format, judged by its name and marker alone."""

    def input_name(self, keras_name: str) -> str:
        """The name that an input has in the artifact, where the format does not take every Keras name."""

    def export(self, traced: TracedModel, proof: Proof, path: Path, opset: int) -> None:
        """Write the artifact, with its proof inside, at `path`.

        Raises:
            ConversionError: the model can't be converted with a guarantee; names the op and the layer.
        """

    def read_proof(self, path: Path) -> Proof | None:
        """The proof inside the artifact, or None where it has none. Needs no TensorFlow.

        Raises:
            UsageError: the file can't be read, or its proof is damaged.
        """

    def runner(self, path: Path, provider: str) -> AbstractContextManager[Runner]:
        """The artifact in its own runtime.

        Raises:
            ProviderError: the runtime or the provider is not on this host.
            UsageError: the runtime can't load the file.
        """

    def unused(self, provider: str, placement: Mapping[str, int]) -> bool:
        """Whether, by where nodes ran, none ran on the provider that was asked for."""

    def operators(self, path: Path) -> Mapping[str, int]:
        """How often each operator occurs in the artifact, bodies of loops included."""

    def versions(self) -> Mapping[str, str]:
        """The versions of the packages that write this format."""
