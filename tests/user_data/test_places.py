"""Data wherever they are and in every format: the same calls as from one `.npz` beside."""

from __future__ import annotations

import socket
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rnnexport.core.errors import ProviderError, UsageError
from rnnexport.core.signature import Signature, TensorSpec
from rnnexport.core.user_data import Shard, UserData
from rnnexport.user_data.rows import open_data

SIGNATURE = Signature(
    (TensorSpec("x", "float32", ("batch", "time", 4)), TensorSpec("ids", "int32", ("batch", "time"), high=9)),
    (TensorSpec("y", "float32", ("batch", 2)),),
)
AUDIO = Signature((TensorSpec("x", "float32", ("batch", "time", 1)),), (TensorSpec("y", "float32", ("batch", 2)),))
RNG = np.random.default_rng(0)
ROWS = 70
X, IDS = RNG.standard_normal((ROWS, 5, 4)), RNG.integers(0, 9, (ROWS, 5))
Y = RNG.standard_normal((ROWS, 2)).astype("float32")


def table():
    """With nested lists, lists of a fixed size, and a column that no model knows."""
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(Y.ravel()), 2)
    return pa.table({"text": ["a"] * ROWS, "x": X.tolist(), "tokens": IDS.tolist(), "y": fixed})


def parquet(path):
    pq.write_table(table(), path, row_group_size=13)


def arrow_file(path):
    with pa.ipc.new_file(path, table().schema) as writer:
        writer.write_table(table(), max_chunksize=11)


def arrow_stream(path):
    with pa.ipc.new_stream(path, table().schema) as writer:
        writer.write_table(table(), max_chunksize=50)


def npz(path):
    np.savez_compressed(path, x=X, tokens=IDS, y=Y)


FORMATS = {"d.parquet": parquet, "d.arrow": arrow_file, "d.ipc": arrow_stream, "d.npz": npz}
COLUMNS = {"ids": "tokens"}


def calls(place, signature=SIGNATURE, *, outputs=True, **options):
    return list(open_data(UserData(str(place), **options), signature, needs_outputs=outputs))


def together(found, name):
    return np.concatenate([{**call.feed, **call.outputs}[name] for call in found])


def check(found):
    assert [len(call.feed["x"]) for call in found] == [32, 32, 6]
    for name, wanted in (("x", X), ("ids", IDS), ("y", Y)):
        np.testing.assert_array_equal(together(found, name), wanted.astype("int32" if name == "ids" else "float32"))
        assert together(found, name).dtype == ("int32" if name == "ids" else "float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("data")
    for name, write in FORMATS.items():
        write(made / name)
    np.save(made / "x.npy", X)
    return made


@pytest.fixture(scope="module", params=["whole", "ranges"])
def server(request, folder):
    """A server of files: Python's own, which gives them from the start alone, or one that knows ranges."""
    handler = partial({"whole": Quiet, "ranges": Ranges}[request.param], directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


class Ranges(Quiet):
    def do_GET(self):
        data = open(self.translate_path(self.path), "rb").read()  # noqa: SIM115, PTH123
        wanted = self.headers.get("Range")
        start, stop = 0, len(data)
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1 if last else stop, stop)
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[start:stop])


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_calls_wherever_it_is(name, folder, server):
    memory = fsspec.filesystem("memory")
    memory.pipe(f"/bucket/{name}", (folder / name).read_bytes())
    for place in (folder / name, f"file://{folder / name}", f"memory://bucket/{name}", f"{server}/{name}"):
        check(calls(place, columns=COLUMNS))


@pytest.mark.parametrize("name", FORMATS)
def test_shards_have_each_call_once_in_order_and_the_same_as_the_whole(name, folder):
    whole = calls(folder / name, columns=COLUMNS)
    for count in (2, 3, 5):
        parts = [calls(folder / name, columns=COLUMNS, shard=Shard(at, count)) for at in range(1, count + 1)]
        check([call for part in parts for call in part])
        assert [call.piece for part in parts for call in part] == [call.piece for call in whole]
    one, other = (
        open_data(UserData(str(folder / name), COLUMNS, Shard(at, 2)), SIGNATURE, needs_outputs=True) for at in (1, 2)
    )
    assert (one.fingerprint, one.count, one.pieces) == (other.fingerprint, ROWS, 3)


def test_globs_and_folders_are_read_in_the_order_of_their_names(tmp_path):
    memory = fsspec.filesystem("memory")
    for at, name in enumerate(("b", "a")):
        np.savez(tmp_path / f"{name}.npz", x=X[at : at + 1], ids=IDS[at : at + 1])
        memory.pipe(f"/many/{name}.npz", (tmp_path / f"{name}.npz").read_bytes())
    (tmp_path / "notes.txt").write_text("not data")
    memory.pipe("/many/notes.txt", b"not data")
    wanted = np.concatenate([X[1:2], X[:1]]).astype("float32")
    for place in (tmp_path, tmp_path / "*.npz", f"{tmp_path}/**/*.npz", "memory://many", "memory://many/*.npz"):
        np.testing.assert_array_equal(together(calls(place, outputs=False), "x"), wanted)
    assert UserData("s3://bucket/many/").name == "many"


def test_a_lone_array_is_that_of_the_one_input(folder):
    signature = Signature(SIGNATURE.inputs[:1], ())
    np.testing.assert_array_equal(together(calls(folder / "x.npy", signature), "x"), X.astype("float32"))
    part = calls(folder / "x.npy", signature, shard=Shard(2, 2))
    np.testing.assert_array_equal(together(part, "x"), X[32:].astype("float32"))
    with pytest.raises(UsageError, match=r"x\.npy has no ids, but x"):
        calls(folder / "x.npy", outputs=False)


def test_rows_of_different_lengths_share_a_call_where_they_follow_each_other(tmp_path):
    """Audio is a list of numbers for one feature a timestep."""
    lengths = [7, 7, 3, 3, 3, 7]
    rows = [RNG.standard_normal(length).astype("float32") for length in lengths]
    pq.write_table(pa.table({"audio": [row.tolist() for row in rows]}), tmp_path / "d.parquet")
    found = calls(tmp_path / "d.parquet", AUDIO, outputs=False, columns={"x": "audio"})
    assert [call.feed["x"].shape for call in found] == [(2, 7, 1), (3, 3, 1), (1, 7, 1)]
    np.testing.assert_array_equal(np.concatenate([call.feed["x"].ravel() for call in found]), np.concatenate(rows))
    fixed = Signature((TensorSpec("x", "float32", (3, "time", 1)),), ())
    with pytest.raises(UsageError, match="rows of different lengths among 3 of one call"):
        calls(tmp_path / "d.parquet", fixed, outputs=False, columns={"x": "audio"})


def test_tensors_of_a_fixed_shape_and_dictionaries(tmp_path):
    kind = pa.fixed_shape_tensor(pa.float32(), (5, 4))
    storage = pa.FixedSizeListArray.from_arrays(pa.array(X.astype("float32").ravel()), 20)
    columns = {"x": pa.ExtensionArray.from_storage(kind, storage), "ids": pa.array(IDS.astype("int32").tolist())}
    with pa.ipc.new_file(tmp_path / "d.arrow", pa.schema([(n, c.type) for n, c in columns.items()])) as writer:
        writer.write_table(pa.table(columns))
    found = calls(tmp_path / "d.arrow", outputs=False)
    np.testing.assert_array_equal(together(found, "x"), X.astype("float32"))


@pytest.mark.parametrize("name", [*FORMATS, "x.npy"])
def test_a_file_that_was_cut_is_refused(name, folder, tmp_path):
    """At every place of its end, and where a message of a stream ends."""
    data = (folder / name).read_bytes()
    signature = Signature(SIGNATURE.inputs[:1], ()) if name == "x.npy" else SIGNATURE
    for cut in (1, 8, len(data) // 3, len(data) - 20):
        (tmp_path / name).write_bytes(data[:-cut])
        with pytest.raises(UsageError, match=r"can't be read"):
            calls(tmp_path / name, signature, columns={} if name == "x.npy" else COLUMNS)


@pytest.mark.parametrize(
    ("column", "values", "told"),
    [
        ("other", [[[1.0] * 4]], "has no x, but other, ids"),
        ("x", [[1.0] * 4], r"has x of the shape \(1, any\)"),
        ("x", [[[1.0] * 3]], r"has x of the shape \(1, 1, 3\)"),
        ("x", [[[1.0] * 4, [1.0] * 3]], "lists of different lengths within one row"),
        ("x", [[[1.0, 1.0, 1.0, None]]], "has nulls in x"),
        ("x", [None], "has nulls in x|has x of the shape"),
        ("x", [[[1.0] * 4] * 2], "has time 2 and 1"),
        ("x", [[["a"] * 4]], "has x of the dtype <U"),
        ("x", [[[float("nan")] * 4]], "has NaN in x"),
    ],
)
def test_tables_that_do_not_fit_are_refused(column, values, told, tmp_path):
    pq.write_table(pa.table({column: values, "ids": [[1]]}), tmp_path / "d.parquet")
    with pytest.raises(UsageError, match=told):
        calls(tmp_path / "d.parquet", outputs=False)


def test_names_of_columns_that_there_are_not(folder):
    with pytest.raises(UsageError, match=r"--columns for z; expected names of x, ids, y"):
        calls(folder / "d.parquet", columns={"z": "x"})
    with pytest.raises(UsageError, match=r"has no sound, but text, x, tokens, y"):
        calls(folder / "d.parquet", columns={"x": "sound", "ids": "tokens"})


def test_kinds_are_not_mixed_and_nothing_is_told(folder, tmp_path):
    with pytest.raises(UsageError, match=r"files that end in \.arrow, \.ipc, \.npy, \.npz, \.parquet"):
        calls(folder)
    with pytest.raises(UsageError, match=r"no \.npz, .* in"):
        calls(tmp_path / "*.npz")
    (tmp_path / "d.csv").write_text("1")
    with pytest.raises(UsageError, match=r"files that end in \.csv"):
        calls(tmp_path / "d.csv")


def test_an_address_that_does_not_answer_is_told_in_one_line(server):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{free.getsockname()[1]}/d.npz"
    for place in (closed, f"{server}/none.npz", "memory://nowhere/d.npz", "memory://nowhere/*.npz"):
        with pytest.raises(UsageError, match=r"can't be reached|no file|no \.npz"):
            calls(place)
    with pytest.raises((UsageError, ProviderError), match="nosuch"):
        calls("nosuch://bucket/d.npz")
