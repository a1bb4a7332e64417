from __future__ import annotations

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from rnnexport.core.errors import UsageError
from rnnexport.core.signature import Signature, StateSpec, TensorSpec
from rnnexport.core.user_data import UserData
from rnnexport.user_data import rows as user_rows
from rnnexport.user_data.rows import ROWS

X = TensorSpec("x", "float32", ("batch", "time", 4))
IDS = TensorSpec("ids", "int32", ("batch", "time"), high=9)
Y = TensorSpec("y", "float32", ("batch", "time", 2))
SIGNATURE = Signature((X, IDS), (Y,))


def open_data(place, signature=None, *, needs_outputs=False, **options):
    return user_rows.open_data(UserData(str(place), **options), signature or SIGNATURE, needs_outputs=needs_outputs)


RNG = np.random.default_rng(0)


def arrays(rows=70, time=5):
    return {
        "x": RNG.standard_normal((rows, time, 4)),
        "ids": RNG.integers(0, 9, (rows, time)).astype("int32"),
        "y": RNG.standard_normal((rows, time, 2)).astype("float32"),
    }


def saved(path, **changes):
    np.savez(path, **{name: array for name, array in (arrays() | changes).items() if array is not None})
    return path


def test_rows_come_in_calls_in_order_with_the_dtypes_of_the_model(tmp_path):
    data = arrays()
    np.savez_compressed(tmp_path / "d.npz", **data)
    rows = open_data(tmp_path / "d.npz", SIGNATURE, needs_outputs=True)
    for _ in range(2):  # and again from the start
        calls = list(rows)
        assert [len(call.feed["x"]) for call in calls] == [ROWS, ROWS, 70 - 2 * ROWS]
        assert set(calls[0].feed) == {"x", "ids"}
        assert set(calls[0].outputs) == {"y"}
        for name, spec in (("x", X), ("ids", IDS)):
            joined = np.concatenate([call.feed[name] for call in calls])
            assert joined.dtype == spec.dtype
            np.testing.assert_array_equal(joined, data[name].astype(spec.dtype))
        np.testing.assert_array_equal(np.concatenate([call.outputs["y"] for call in calls]), data["y"])
    assert rows.count == 70


def test_a_folder_is_read_in_the_order_of_its_names_and_lengths_may_differ(tmp_path):
    for name, time in (("b", 3), ("a", 7)):
        np.savez(tmp_path / f"{name}.npz", **arrays(4, time))
    (tmp_path / "notes.txt").write_text("not data")
    rows = open_data(tmp_path, SIGNATURE, needs_outputs=True)
    assert [call.feed["x"].shape for call in rows] == [(4, 7, 4), (4, 3, 4)]
    assert rows.count == 8


def test_rows_that_lie_scattered_are_read_too(tmp_path):
    x = np.asfortranarray(RNG.standard_normal((70, 5, 4)))
    saved(tmp_path / "d.npz", x=x)
    calls = list(open_data(tmp_path / "d.npz", SIGNATURE, needs_outputs=True))
    np.testing.assert_array_equal(np.concatenate([call.feed["x"] for call in calls]), x.astype("float32"))


def test_states_start_where_the_data_say_or_at_their_initial_value(tmp_path):
    state = StateSpec(
        "gru", TensorSpec("s", "float32", (2, 3)), TensorSpec("n", "float32", (2, 3)), np.full((2, 3), 0.5, "float32")
    )
    signature = Signature((TensorSpec("x", "float32", (2, "time", 4)),), (), (state,))
    x, start = RNG.standard_normal((4, 5, 4)), RNG.standard_normal((4, 3))
    np.savez(tmp_path / "a.npz", x=x)
    np.savez(tmp_path / "b.npz", x=x, s=start)
    first, second, third, fourth = (call.feed for call in open_data(tmp_path, signature, needs_outputs=False))
    np.testing.assert_array_equal(first["s"], state.initial)
    np.testing.assert_array_equal(second["s"], state.initial)
    np.testing.assert_array_equal(third["s"], start[:2].astype("float32"))
    np.testing.assert_array_equal(fourth["s"], start[2:].astype("float32"))
    np.savez(tmp_path / "c.npz", x=x[:3])
    with pytest.raises(UsageError, match=r"c\.npz has 3 rows; expected a multiple of the fixed batch 2"):
        open_data(tmp_path, signature, needs_outputs=False)


def test_memory_does_not_grow_with_the_data(tmp_path):
    x = np.zeros((4000, 50, 4), "float32")
    np.savez_compressed(tmp_path / "d.npz", x=x, ids=np.zeros((4000, 50), "int32"))
    size = x.nbytes
    del x
    tracemalloc.start()
    for _ in open_data(tmp_path / "d.npz", SIGNATURE, needs_outputs=False):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < size / 4


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"y": None},
            r"d\.npz has no y, but x, ids; expected inputs, and outputs where no --source is given: x, ids, y",
        ),
        ({"x": None}, r"d\.npz has no x, but ids, y;"),
        ({"other": np.zeros(70)}, r"d\.npz has the arrays other; expected each once, of x, ids, y"),
        ({"x": np.zeros((70, 5))}, r"has x of the shape \(70, 5\); expected x: float32\[batch, time, 4\]"),
        ({"x": np.zeros((70, 5, 3))}, r"has x of the shape \(70, 5, 3\)"),
        ({"x": np.zeros((70, 6, 4))}, r"has time 6 and 5; expected one time"),
        ({"x": np.zeros((69, 5, 4))}, r"has rows: x 69, ids 70, y 70"),
        ({"ids": np.zeros((70, 5), "float32")}, r"has ids of the dtype float32; expected ids: int32"),
        ({"ids": np.full((70, 5), 9, "int32")}, r"has the id 9 in ids; expected ids from 0 to 8"),
        ({"ids": np.full((70, 5), -1, "int32")}, r"has the id -1 in ids"),
        ({"ids": np.full((70, 5), 2**32 + 5)}, r"has ids of the dtype int64|has numbers in ids that int32 has not"),
        ({"x": np.full((70, 5, 4), 1e300)}, r"has numbers in x that float32 has not"),
        ({"x": np.full((70, 5, 4), np.nan)}, r"d\.npz has NaN in x"),
        ({name: array[:0] for name, array in arrays().items()}, r"d\.npz has no rows"),
    ],
)
def test_data_that_do_not_fit_are_refused(tmp_path, changes, found):
    path = saved(tmp_path / "d.npz", **changes)
    with pytest.raises(UsageError, match=found):
        list(open_data(path, SIGNATURE, needs_outputs=True))


def test_pickles_damage_and_nothing_are_refused(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, allow_pickle=True, **arrays() | {"x": np.array([print] * 70, object)})
    with pytest.raises(UsageError, match=r"d\.npz holds Python objects in x"):
        open_data(path, SIGNATURE, needs_outputs=True)
    whole = saved(path).read_bytes()
    for data in (whole[:-100], whole[:5000], b"", b"text"):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=r"d\.npz can't be read"):
            open_data(path, SIGNATURE, needs_outputs=True)
    with pytest.raises(UsageError, match="no file"):
        open_data(tmp_path / "none", SIGNATURE, needs_outputs=True)
    path.unlink()
    with pytest.raises(UsageError, match=r"no \.npz, .* in"):
        open_data(tmp_path, SIGNATURE, needs_outputs=True)


def test_an_array_that_is_shorter_than_its_header_says_is_told(tmp_path):
    buffer, path = io.BytesIO(), tmp_path / "d.npz"
    np.save(buffer, arrays()["x"])
    saved(path, x=None)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x.npy", buffer.getvalue()[:-1000])
    with pytest.raises(UsageError, match="x ends at row 63"):
        list(open_data(path, SIGNATURE, needs_outputs=True))
