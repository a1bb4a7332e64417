"""TFLite: unrolled, built-in operators only, run by LiteRT."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from rnnexport.proof import Proof
from rnnexport.signature import argument_name
from rnnexport.targets.base import Runner
from rnnexport.versions import installed

if TYPE_CHECKING:
    from rnnexport.source.trace import TracedModel


class TFLite:
    """See `Target`."""

    name = "tflite"
    suffix = ".tflite"
    layout = ()
    opsets = None
    unrolled = True
    providers = ("cpu",)

    def recognises(self, path: Path) -> bool:
        return path.suffix == self.suffix and path.is_file()

    def input_name(self, keras_name: str) -> str:
        return argument_name(keras_name)

    def export(self, traced: TracedModel, proof: Proof, path: Path, opset: int) -> None:
        from rnnexport.targets.tflite.export import export

        export(traced, proof, path)

    def read_proof(self, path: Path) -> Proof | None:
        from rnnexport.targets.tflite.metadata import read

        return read(path)

    def runner(self, path: Path, provider: str) -> AbstractContextManager[Runner]:
        from rnnexport.targets.tflite.runner import open_runner

        return open_runner(path)

    def unused(self, provider: str, placement: Mapping[str, int]) -> bool:
        return False

    def operators(self, path: Path) -> Mapping[str, int]:
        from rnnexport.targets.tflite.metadata import operators

        return operators(path)

    def versions(self) -> Mapping[str, str]:
        return installed("tensorflow")


TARGET = TFLite()
