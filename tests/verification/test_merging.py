"""What shards say together is what a single run says, to the last digit; parts that are not of one run are refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rnnexport
from rnnexport.api.expectations import Requested, SourceTruth, expectation_of
from rnnexport.api.merge import ShardResult, merge, part_of
from rnnexport.artifact.goldens import digest_of
from rnnexport.core.errors import UsageError
from rnnexport.core.run_record import file_records
from rnnexport.core.user_data import Shard, UserData
from rnnexport.report.html import to_html
from rnnexport.report.json_view import to_json
from rnnexport.report.junit import to_junit
from rnnexport.targets.registry import target
from rnnexport.verification.report import Report
from rnnexport.verification.run_artifact import verify_artifact
from rnnexport.verification.tolerance import Override
from tests.perturb import perturb

GROUP = pytest.mark.xdist_group("lstm")
ONNX = target("onnx")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """75 rows of three lengths in three pieces, two of which have calls of two lengths."""
    path, rng = tmp_path_factory.mktemp("data") / "d.parquet", np.random.default_rng(4)
    rows = [rng.standard_normal(length).tolist() for length in np.repeat([3, 9, 30], 25)]
    pq.write_table(pa.table({"audio": rows}), path, row_group_size=40)
    return UserData(str(path), {"x": "audio"})


@pytest.fixture(scope="module")
def truth(saved):
    """The source, described once for all shards, as it is once a shard otherwise."""
    return SourceTruth(rnnexport.load(saved("lstm")), 1)


def run(paths, truth, data, override=None):
    asked = Requested(truth, data, override or Override())
    expectations = [expectation_of(ONNX, path, asked) for path in paths]
    found = [verify_artifact(ONNX, path, expectation) for path, expectation in zip(paths, expectations, strict=True)]
    report = Report(tuple(replace(one, files=file_records([path])) for one, path in zip(found, paths, strict=True)))
    return part_of(report, data.shard) if data.shard else report


def through_a_file(parts, folder):
    """The parts as they are read from files."""
    for at, part in enumerate(parts):
        (folder / f"{at}.json").write_text(part.to_json())
    return {f"{at}.json": ShardResult.from_file(folder / f"{at}.json") for at in range(len(parts))}


@GROUP
def test_shards_beside_a_source_say_what_a_single_run_says(exported, truth, recordings, tmp_path):
    """Of a right artifact, of a wrong one, and of one that only all values show; with more shards than pieces."""
    path, folders = exported("lstm")["onnx"].path, [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    paths = [path, *(perturb(path, folder, by) for folder, by in zip(folders, (1e-2, 4e-6), strict=True))]
    whole = run(paths, truth, recordings)
    assert [item.status for item in whole.artifacts] == ["passed", "mismatch", "mismatch"]
    assert [{p.kind for p in item.problems} for item in whole.artifacts] == [set(), set(), {"precision"}]
    for count, some in ((2, paths), (7, paths[:1])):
        parts = [run(some, truth, replace(recordings, shard=Shard(at, count))) for at in range(count, 0, -1)]
        assert sum(len(part.artifacts[0].feeds) for part in parts) == len(whole.artifacts[0].feeds) + count - 1
        merged = merge(through_a_file(parts, tmp_path))
        for view in (to_json, to_junit, to_html):
            assert view(merged) == view(Report(whole.artifacts[: len(some)]))


@GROUP
def test_the_source_is_run_once_for_all_artifacts_and_gives_the_same_again(truth, recordings, exported):
    path = exported("lstm")["onnx"].path
    expectation = expectation_of(ONNX, path, Requested(truth, recordings, Override(), shared=True))
    other = expectation_of(ONNX, path, Requested(truth, recordings, Override(), shared=True))
    assert expectation.data is other.data
    next(expectation.data())  # and leaves
    first, again = list(expectation.data()), list(expectation.data())
    for one, two in zip(first, again, strict=True):
        for part in ("feed", "expected", "truth", "spread"):
            mine, its = getattr(one, part), getattr(two, part)
            assert {name: digest_of(array) for name, array in mine.items()} == {n: digest_of(a) for n, a in its.items()}


@pytest.fixture(scope="module")
def with_outputs(exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    x = np.random.default_rng(0).standard_normal((70, 4, 1)).astype("float32")
    with ONNX.runner(exported("lstm")["onnx"].path, "cpu") as runner:
        np.savez(folder / "d.npz", x=x, **runner.run({"x": x}))
    return folder / "d.npz"


@GROUP
def test_on_the_command_line(exported, with_outputs, rnnexport_command, tmp_path):
    path = exported("lstm")["onnx"].path
    for at in (1, 2, 3):
        done = rnnexport_command(
            *("verify", path, "--data", with_outputs, "--shard", f"{at}/3", "--json", f"part{at}.json"), cwd=tmp_path
        )
        assert (done.returncode, done.stderr) == (0, "")
    rnnexport_command("verify", path, "--data", with_outputs, "--json", "whole.json", cwd=tmp_path)
    parts = [f"part{at}.json" for at in (3, 1, 2)]
    done = rnnexport_command("merge", *parts, "--json", "merged.json", "--html", "m.html", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "verified" in done.stdout
    merged, whole = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("merged", "whole"))
    assert merged.pop("run")["command"][1] == "merge"
    assert whole.pop("run")
    assert merged == whole
    for options, told in (
        (("merge", "part1.json", "part2.json"), "no part 3 of 3"),
        (("merge", *parts, "whole.json"), "whole.json is no part (another kind of file)"),
        (("merge", *parts, "part1.json"), "part1.json is given twice"),
        (("merge", *parts, "--json", "part1.json"), "which is an input"),
        (("merge", "none.json"), "no file none.json"),
        (("verify", path, "--shard", "1/3"), "--shard without --data"),
        (("verify", path, "--data", with_outputs, "--shard", "4/3"), "found '4/3', expected K/N"),
        (("verify", path, "--data", with_outputs, "--shard", "1/3", "--html", "a"), "--html with --shard"),
        (("verify", path, "--data", "http://127.0.0.1:9/d.npz", "--json", "b"), "http://127.0.0.1:9/d.npz can't be"),
        (("verify", path, "--data", with_outputs, "--columns", "x=sound", "--json", "b"), "d.npz has no sound"),
    ):
        done = rnnexport_command(*options, cwd=tmp_path)
        assert (done.returncode, told in done.stderr, done.stderr.count("\n")) == (2, True, 1), done.stderr
    assert not {"a", "b"} & {file.name for file in tmp_path.iterdir()}


@pytest.fixture(scope="module")
def parts(exported, with_outputs):
    paths = [exported("lstm")["onnx"].path]
    data = UserData(str(with_outputs))
    return {f"{at}.json": run(paths, None, replace(data, shard=Shard(at, 3))) for at in (1, 2, 3)}


@GROUP
def test_parts_that_are_not_of_one_run_are_refused(parts, exported, with_outputs, tmp_path):
    one, *_ = parts.values()
    (item,) = one.artifacts
    other = perturb(exported("lstm")["onnx"].path, tmp_path, 1e-2)
    shutil.copy(with_outputs, tmp_path / "other.npz")
    loose = Override(atol=1.0)
    data = UserData(str(with_outputs), shard=Shard(2, 3))
    for name, part, told in (
        ("4.json", replace(one, index=1), "1.json and 4.json are both shard 1/3"),
        ("4.json", replace(one, count=4), r"1.json is shard 1/3 and 4.json 1/4"),
        ("2.json", run([other], None, data), "2.json is of another"),
        ("2.json", run([other.parent / other.name], None, data), "2.json is of another"),
        ("2.json", run([exported("lstm")["onnx"].path], None, data, loose), "whose tolerances differs"),
        (
            "2.json",
            run([exported("lstm")["onnx"].path], None, replace(data, place=str(tmp_path / "other.npz"))),
            "whose data differs",
        ),
        ("2.json", replace(parts["2.json"], artifacts=(replace(item, provider="cuda"),)), "of other providers"),
        ("2.json", replace(parts["2.json"], artifacts=()), "of other providers"),
    ):
        with pytest.raises(UsageError, match=told):
            merge({**parts, name: part})
    with pytest.raises(UsageError, match="no parts"):
        merge({})


@GROUP
def test_a_part_that_was_cut_or_changed_is_told(parts, tmp_path):
    text, path = parts["1.json"].to_json(), tmp_path / "p.json"
    value = json.loads(text)
    assert all(one <= other for one, other in pairwise([value["index"], value["count"]]))
    for changed in (
        text[:-50],
        "",
        "[]",
        json.dumps(value | {"rnnexport": "0.0"}),
        json.dumps(value | {"format": "rnnexport part 0"}),
        json.dumps(value | {"index": 4}),
        json.dumps(value | {"index": "1"}),
        json.dumps({key: one for key, one in value.items() if key != "artifacts"}),
    ):
        path.write_text(changed)
        with pytest.raises(UsageError, match=r"p\.json is no part|--shard 4/3"):
            ShardResult.from_file(path)


@GROUP
def test_one_shard_that_fails_or_is_not_run_makes_the_verdict(parts):
    first, second, third = parts.values()
    (item,) = second.artifacts
    for change, status in (
        ({"status": "mismatch", "feeds": ()}, "mismatch"),
        ({"status": "not run", "feeds": ()}, "not run"),
    ):
        changed = replace(second, artifacts=(replace(item, **change),))
        report = merge({"1": first, "2": changed, "3": third})
        assert report.artifacts[0].status == status
        assert report.artifacts[0].artifact == item.artifact
