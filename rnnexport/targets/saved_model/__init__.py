"""TensorFlow SavedModel: one signature, `serving_default`, with constant weights."""

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


class SavedModel:
    """See `Target`."""

    name = "saved-model"
    suffix = "_saved_model"
    layout = ("saved_model.pb", "variables", "assets", "assets.extra", "fingerprint.pb")
    opsets = None
    unrolled = False
    providers = ("cpu",)

    def recognises(self, path: Path) -> bool:
        return (path / self.layout[0]).is_file()

    def input_name(self, keras_name: str) -> str:
        return argument_name(keras_name)

    def export(self, traced: TracedModel, proof: Proof, path: Path, opset: int) -> None:
        from rnnexport.targets.saved_model.export import export

        export(traced, proof, path)

    def read_proof(self, path: Path) -> Proof | None:
        from rnnexport.targets.saved_model.assets import read

        return read(path)

    def runner(self, path: Path, provider: str) -> AbstractContextManager[Runner]:
        from rnnexport.targets.saved_model.runner import open_runner

        return open_runner(path)

    def unused(self, provider: str, placement: Mapping[str, int]) -> bool:
        return False

    def operators(self, path: Path) -> Mapping[str, int]:
        from rnnexport.targets.saved_model.assets import operators

        return operators(path)

    def versions(self) -> Mapping[str, str]:
        return installed("tensorflow")


TARGET = SavedModel()
