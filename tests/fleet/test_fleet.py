"""Fleets in processes and on a Ray cluster of two workers, one of which is killed in the middle."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

import rnnexport
from rnnexport.api.merge import merge, part_of
from rnnexport.core.errors import UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.user_data import Shard, UserData
from rnnexport.fleet.local import run_locally
from rnnexport.fleet.manifest import read_manifest
from rnnexport.fleet.on_ray import run_on_ray
from rnnexport.fleet.verifying import verify_on_ray
from rnnexport.report.json_view import to_json
from rnnexport.verification.report import Report
from tests.perturb import perturb
from tests.streams import with_random_weights

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("fleet")]
# Code of a model that kills the process which loads it, so often.
KILLER = """
import os, signal
from pathlib import Path
for at in range({times}):
    mark = Path(__file__ + f".killed{{at}}")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def fleet(tmp_path):
    """Four models: two that are right, one whose code kills its process, one that is damaged."""
    import keras

    for at, name in enumerate(("a", "b", "killing")):
        x = keras.Input((None, 2 + at))
        model = keras.Model(x, keras.layers.SimpleRNN(3, name="rnn")(x))
        with_random_weights(model, at)
        model.save(tmp_path / f"{name}.keras")
    (tmp_path / "damaged.keras").write_bytes((tmp_path / "a.keras").read_bytes()[:500])
    entries = [
        {"model": f"{name}.keras", "to": ["numpy"], "output": "out"} for name in ("a", "killing", "damaged", "b")
    ]
    entries[1]["custom_objects"] = ["killer.py"]
    (tmp_path / "m.json").write_text(json.dumps(entries))
    return tmp_path


@pytest.fixture(scope="module")
def ray_of_two():
    ray = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ""
    ray.shutdown()


def check(fleet, found):
    """Every model has an outcome; what is there is whole, and verifies; nothing else is there."""
    outcomes = dict(found)
    assert sorted(outcomes) == [0, 1, 2, 3]
    assert [outcomes[at].status for at in range(4)] == ["exported", "exported", "failed", "exported"]
    assert outcomes[2].exit_code == 3
    assert "damaged.keras" in outcomes[2].error
    names = {f"{name}{end}" for name in ("a", "killing", "b") for end in (".py", ".npz")}
    assert {path.name for path in (fleet / "out").iterdir()} == names
    assert rnnexport.verify([fleet / "out" / f"{name}.py" for name in ("a", "b", "killing")]).passed
    assert {file.name for made in outcomes[0].artifacts for file in made.files} == {"a.py", "a.npz"}


def test_processes_of_this_machine(fleet):
    (fleet / "killer.py").write_text(KILLER.format(times=1))
    check(fleet, run_locally(read_manifest(fleet / "m.json"), 2))


def test_a_model_that_kills_every_process_fails_alone(fleet, rnnexport_process):
    (fleet / "killer.py").write_text(KILLER.format(times=9))
    done = rnnexport_process("export-all", "m.json", "--workers", 2, "--json", "r.json", cwd=fleet)
    assert done.returncode == 3, done.stderr
    assert "4 models: 2 exported, 2 failed" in done.stdout
    report = json.loads((fleet / "r.json").read_text())
    assert report["counts"] == {"exported": 2, "failed": 2}
    assert report["models"][1]["error"].startswith("its process was ended by SIGKILL, 2 times")
    assert {path.name for path in (fleet / "out").iterdir()} == {"a.py", "a.npz", "b.py", "b.npz"}


def test_workers_of_ray(fleet, ray_of_two):
    (fleet / "killer.py").write_text(KILLER.format(times=1))
    check(fleet, run_on_ray(read_manifest(fleet / "m.json"), ray_of_two))


def test_ray_verifies_as_a_single_run_does_although_a_worker_is_killed(fleet, ray_of_two):
    """Beside a source whose code kills a worker, and by the data alone; of a right artifact and a wrong one."""
    (fleet / "quiet.py").write_text("")
    (fleet / "killer.py").write_text(KILLER.format(times=1))
    path = rnnexport.export(fleet / "a.keras", "onnx", fleet / "a.onnx").path
    paths = [path, perturb(path, fleet, 1e-2)]
    np.savez(fleet / "d.npz", **{_input(path): np.random.default_rng(1).standard_normal((150, 6, 2)).astype("float32")})
    options = {"source": fleet / "a.keras", "data": fleet / "d.npz", "record": False}
    whole = rnnexport.verify(paths, loading=LoadOptions([str(fleet / "quiet.py")]), **options)
    told = []
    found = verify_on_ray(
        ray_of_two, paths, loading=LoadOptions([str(fleet / "killer.py")]), progress=told.append, **options
    )
    assert (fleet / "killer.py.killed0").exists()
    assert [one.status for one in found.artifacts] == ["passed", "mismatch"]
    assert to_json(found) == to_json(Report(whole.artifacts))
    assert told[-1] == "8 of 8 units of 4 shards"
    np.savez(fleet / "n.npz", **{_input(path): np.full((40, 6, 2), np.nan, "float32")})
    with pytest.raises(UsageError, match="has NaN in"):
        verify_on_ray(ray_of_two, paths, **options | {"data": fleet / "n.npz"})
    with pytest.raises(UsageError, match="steps= without source="):
        verify_on_ray(ray_of_two, paths, steps=3)
    with pytest.raises(UsageError, match="no states to carry"):
        verify_on_ray(ray_of_two, paths, **options | {"steps": 3})


def test_ray_follows_long_sequences_and_takes_a_shard_of_the_data(fleet, ray_of_two):
    """As a single run does: with the first shard of all, and not with the second."""
    path = rnnexport.export(fleet / "a.keras", fleet / "a.onnx", stream="dynamic").path
    data = np.random.default_rng(1).standard_normal((150, 6, 2)).astype("float32")
    np.savez(fleet / "d.npz", **{_input(path): data})
    options = {"source": fleet / "a.keras", "steps": 40, "record": False}
    parts = {}
    for at in (1, 2):
        shard = UserData(str(fleet / "d.npz"), shard=Shard(at, 2))
        one = rnnexport.verify(path, **options, data=shard)
        found = verify_on_ray(ray_of_two, [path], **options, data=shard)
        assert to_json(found) == to_json(Report(one.artifacts))
        assert any("40 steps" in feed.label for feed in found.artifacts[0].feeds) == (at == 1)
        parts[f"{at}"] = part_of(found, Shard(at, 2))
    whole = rnnexport.verify(path, **options, data=fleet / "d.npz")
    assert to_json(merge(parts)) == to_json(Report(whole.artifacts))
    alone = verify_on_ray(ray_of_two, [path], **options)
    assert to_json(alone) == to_json(Report(rnnexport.verify(path, **options).artifacts))


def _input(path):
    from rnnexport.targets.registry import target

    return target("onnx").read_proof(path).provenance.signature.inputs[0].name
