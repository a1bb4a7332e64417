"""ONNX: tf2onnx for the graph, onnx_ir for names and metadata, ONNX Runtime to run it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from rnnexport.proof import Proof
from rnnexport.targets.base import Runner
from rnnexport.targets.onnx.providers import PROVIDERS
from rnnexport.versions import installed

if TYPE_CHECKING:
    from rnnexport.source.trace import TracedModel

OPSETS = range(13, 19)  # what tf2onnx writes


class Onnx:
    """See `Target`. Imports are inside the methods, so that verifying needs no converter and no TensorFlow."""

    name = "onnx"
    suffix = ".onnx"
    layout = ()
    opsets = OPSETS
    unrolled = False
    providers = tuple(PROVIDERS)

    def recognises(self, path: Path) -> bool:
        return path.suffix == self.suffix and path.is_file()

    def input_name(self, keras_name: str) -> str:
        return keras_name

    def export(self, traced: TracedModel, proof: Proof, path: Path, opset: int) -> None:
        from rnnexport.targets.onnx.export import export

        export(traced, proof, path, opset)

    def read_proof(self, path: Path) -> Proof | None:
        from rnnexport.targets.onnx.metadata import read

        return read(path)

    def runner(self, path: Path, provider: str) -> AbstractContextManager[Runner]:
        from rnnexport.targets.onnx.runner import open_runner

        return open_runner(path, provider)

    def unused(self, provider: str, placement: Mapping[str, int]) -> bool:
        return PROVIDERS[provider] not in placement

    def operators(self, path: Path) -> Mapping[str, int]:
        from rnnexport.targets.onnx.metadata import operators

        return operators(path)

    def versions(self) -> Mapping[str, str]:
        return installed("tf2onnx", "onnx", "onnx-ir")


TARGET = Onnx()
