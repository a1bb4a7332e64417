"""What tests share: models that are saved once, artifacts that are exported once, the command line in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from rnnexport.loading import Loading
from rnnexport.orders import Exported
from rnnexport.pipeline import export_all
from rnnexport.targets.registry import TARGET_NAMES
from samples.catalog import SAMPLES_BY_NAME

ROOT = Path(__file__).parent.parent
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The `.keras` file of a sample, by name; saved when first asked for."""
    folder = tmp_path_factory.mktemp("models")

    def save(name: str) -> Path:
        path = folder / f"{name}.keras"
        if not path.exists():
            SAMPLES_BY_NAME[name].build().save(path)
        return path

    return save


@pytest.fixture(scope="session")
def exported(
    saved: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Exported]]:
    """The artifacts of a sample by target, loaded from its file, exported and verified when first asked for."""
    done: dict[str, dict[str, Exported]] = {}

    def export(name: str) -> dict[str, Exported]:
        if name not in done:
            sample = SAMPLES_BY_NAME[name]
            artifacts = export_all(
                saved(name),
                TARGET_NAMES,
                tmp_path_factory.mktemp(name),
                loading=Loading([str(sample.path)]),
                tflite_timesteps=sample.timesteps,
            )
            done[name] = dict(zip(TARGET_NAMES, artifacts, strict=True))
        return done[name]

    return export


@pytest.fixture(scope="session")
def rnnexport_command() -> Run:
    """Run `rnnexport` with arguments in a process of its own, in `cwd`; its output is captured."""

    def run(*arguments: object, cwd: Path = ROOT, **options: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "rnnexport", *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(  # type: ignore[call-overload]
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False, **options
        )

    return run
