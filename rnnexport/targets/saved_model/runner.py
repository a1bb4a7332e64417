"""A SavedModel in TensorFlow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from rnnexport.core.errors import ProviderError, UsageError
from rnnexport.core.signature import TEXT, argument_name, as_text
from rnnexport.targets.base import SIGNATURE, STEP, RuntimeTensor


class SavedModelRunner:
    """See `Runner`."""

    ordered = False
    settings: Mapping[str, str] = MappingProxyType({})

    def __init__(self, loaded: Any, entry: str, tf: Any) -> None:
        self._loaded = loaded  # its variables live as long as it does
        self._function = function = loaded.signatures[entry]
        self._tf = tf
        self.entries = tuple(loaded.signatures)
        self.inputs = tuple(
            _runtime_tensor(name, spec) for name, spec in function.structured_input_signature[1].items()
        )
        self.outputs = tuple(_runtime_tensor(name, spec) for name, spec in function.structured_outputs.items())

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        # Left to itself TensorFlow takes a GPU where there is one, and computes in TF32 there.
        with self._tf.device("CPU:0"):
            outputs = self._function(**{argument_name(name): self._tf.constant(array) for name, array in feed.items()})
        return {name: as_text(np.asarray(tensor.numpy())) for name, tensor in outputs.items()}

    def at(self, entry: str) -> SavedModelRunner:
        return SavedModelRunner(self._loaded, entry, self._tf)

    def placement(self) -> None:
        return None


@contextmanager
def open_runner(path: Path, provider: str, tf32: bool = False) -> Iterator[SavedModelRunner]:
    """Load the SavedModel and run it on the CPU, the one `provider` of this target, which has no TF32.

    Raises:
        ProviderError: TensorFlow is not installed.
        UsageError: TensorFlow refuses the folder, or it has neither a signature `step` nor `serving_default`.
    """
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        raise ProviderError(
            "tensorflow is not installed", "TensorFlow, to run a SavedModel", "pip install 'rnnexport[convert]'"
        ) from error
    try:
        loaded = tf.saved_model.load(str(path))
    except (OSError, tf.errors.OpError, ValueError, KeyError) as error:
        raise UsageError(f"TensorFlow refuses {path.name}: {error}", "a whole SavedModel", "export it again") from error
    entry = STEP if STEP in loaded.signatures else SIGNATURE
    if entry not in loaded.signatures:
        raise UsageError(f"no signature {entry} in {path.name}", "an artifact of rnnexport", "export it again")
    yield SavedModelRunner(loaded, entry, tf)


def _runtime_tensor(name: str, spec: Any) -> RuntimeTensor:
    return RuntimeTensor(name, TEXT if spec.dtype.name == "string" else spec.dtype.name, tuple(spec.shape))
