"""Models in a repository, served in miniature: sequences that come interleaved give what each gives alone."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc

import rnnexport
from rnnexport.core.signature import Signature
from rnnexport.triton.repository import write_repository
from rnnexport.triton.serving import Serving
from tests.triton.test_triton import CHUNK, START_A, fixed, graph, put, steps
from tests.triton.triton_server import Server, client_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "triton.md").read_text()
GROUP = pytest.mark.xdist_group("triton")


def fresh(rows: int) -> dict[str, np.ndarray]:
    """The states of CHUNK at the start, of a fixed batch in each row from another value."""
    return {
        "state_a_00": START_A * np.arange(1, rows + 1, dtype="float32")[:, None],
        "state_b/gru_00": np.zeros((rows, 2), "float32"),
    }


@pytest.mark.parametrize(("signature", "rows"), [(CHUNK, 1), (fixed(CHUNK, 4), 4)], ids=["open batch", "fixed batch"])
def test_interleaved_sequences_each_carry_their_own_states(signature: Signature, rows, tmp_path):
    write_repository(put(tmp_path / "m.onnx", graph(signature), signature), tmp_path / "repo", serving=Serving())
    server, rng = Server(tmp_path / "repo"), np.random.default_rng(0)
    carried: dict[int, dict[str, np.ndarray]] = {}
    for call in range(60):
        sequence = int(rng.integers(1, 5))
        start = sequence not in carried or call % 17 == 0  # also in the middle: a reset
        if start:
            carried[sequence] = fresh(rows)
        x = rng.standard_normal((rows, int(rng.integers(1, 6)), 3)).astype("float32")
        wanted = steps({"x": x, **carried[sequence]})
        found = server.infer("m", {"x": x}, sequence, start)
        assert set(found) == {"y"}
        np.testing.assert_allclose(found["y"], wanted["y"], rtol=1e-5, atol=1e-6)
        carried[sequence] = {
            "state_a_00": wanted["next_state_a_00"],
            "state_b/gru_00": wanted["next_state_b/gru_00"],
        }


def of_page(language: str) -> str:
    """The first block of the page in that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory, rnnexport_command, saved):
    """A folder in which the commands of the page ran."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "samples").symlink_to(ROOT / "samples")
    (folder / "cgru_no_bias.keras").symlink_to(saved("cgru_no_bias"))
    saving, *commands = map(shlex.split, of_page("bash").splitlines())
    assert saving == ["python", "samples/cgru_cell.py", "."]  # what `saved` did
    for program, *arguments in commands:
        assert program == "rnnexport"
        done = rnnexport_command(*arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.long
@GROUP
def test_the_configuration_of_the_page_is_what_its_commands_write(served):
    shown = PAGE.partition("<!-- config -->\n```\n")[2].partition("```\n<!-- end of config -->")[0]
    head, _, body = (served / "repository" / "denoiser" / "config.pbtxt").read_text().partition("\n")
    assert head.startswith("# Written by rnnexport triton")
    assert shown == body


@GROUP
def test_the_client_of_the_page_gets_what_the_whole_recording_gives(served, monkeypatch):
    monkeypatch.setattr(tritonclient.grpc, "InferenceServerClient", client_of(Server(served / "repository")))
    namespace: dict[str, np.ndarray] = {}
    exec(compile(of_page("python"), "triton.md", "exec"), namespace)
    with rnnexport.runtime.open(served / "denoiser.onnx") as stream:
        whole = stream.step(namespace["recording"])
    assert whole.shape == (1, 30, 3)
    np.testing.assert_allclose(namespace["readout"], whole, rtol=1e-5, atol=2e-6)
    assert np.abs(whole[:, 8:] - _from_fresh(served, namespace["recording"][:, 8:])).max() > 1e-2


def _from_fresh(served: Path, x: np.ndarray) -> np.ndarray:
    """What a server would give that forgets the states before the third chunk."""
    with rnnexport.runtime.open(served / "denoiser.onnx") as stream:
        return stream.step(x)


@GROUP
def test_the_command_needs_no_tensorflow_and_says_how_it_is_served(served):
    blocked = "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'tf_keras', 'tf2onnx', 'grpc'])); "
    code = blocked + "from rnnexport.cli import main; main(sys.argv[1:])"
    arguments = ["triton", "denoiser.onnx", "-o", "other", "--name", "d", "--strategy", "direct", "--max-batch", "9"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *arguments, *more]
        environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
        return subprocess.run(command, cwd=served, env=environment, capture_output=True, text=True, check=False)

    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "wrote other/d, version 1: sequences, direct, up to 9 a run; 1 state, from zeros\n"
    done = run("--version", "2")
    assert done.stdout.splitlines()[1] == "  kept version 1"
    done = run("--max-sequences", "3")
    assert (done.returncode, done.stdout) == (2, "")
    assert "error: --max-sequences 3 with --strategy direct; expected" in done.stderr
    assert not (served / "other" / "d" / "3").exists()
