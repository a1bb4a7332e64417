"""What tests share: models that are saved once, artifacts that are exported once, the command line in a process."""

from __future__ import annotations

import gc
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from rnnexport.api.export import export_all
from rnnexport.api.jobs import Exported
from rnnexport.core.load_options import LoadOptions
from rnnexport.targets.registry import TARGET_NAMES
from samples.catalog import SAMPLES_BY_NAME
from tests.warm import Warm

ROOT = Path(__file__).parent.parent
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests of a module in one process, if they do not say otherwise: they share what its fixtures make."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(str(item.path.relative_to(ROOT))))
    # What is imported by now stays: to look through all of it again and again takes a twentieth of the time.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


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
                loading=LoadOptions([str(sample.path)]),
                tflite_timesteps=sample.timesteps,
            )
            done[name] = dict(zip(TARGET_NAMES, artifacts, strict=True))
        return done[name]

    return export


def without_slow_steps(
    done: subprocess.CompletedProcess[str], arguments: Sequence[object]
) -> subprocess.CompletedProcess[str]:
    """What a command said on a host that is fast: a log names steps that took ten seconds."""
    if "-v" not in arguments:
        done.stderr = re.sub(r"(?m)^(\[\d+/\d+\] )?\w.* \((\d+ min )?[\d.]+ s\)\n", "", done.stderr)
    return done


@pytest.fixture(scope="session")
def rnnexport_process() -> Run:
    """Run `rnnexport`, the script that pip installs, in a process that starts from nothing, as a user's does."""

    def run(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("rnnexport")), *map(str, arguments)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        return without_slow_steps(done, arguments)

    return run


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Processes that need not import TensorFlow; their server starts when first asked."""
    with Warm.serving() as server:
        yield server


@pytest.fixture(scope="session")
def python_process(warm: Warm) -> Run:
    """Run this Python with arguments in a warm process, in `cwd`; its output is captured."""

    def run(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return without_slow_steps(warm.run([sys.executable, *map(str, arguments)], cwd, environment), arguments)

    return run


@pytest.fixture(scope="session")
def rnnexport_command(python_process: Run) -> Run:
    """Run `rnnexport` with arguments in a warm process, in `cwd`; its output is captured."""

    def run(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        return python_process("-m", "rnnexport", *arguments, cwd=cwd)

    return run
