from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from rnnexport.artifact import goldens
from rnnexport.artifact.goldens import LIMIT, Golden, Recipe, digest_of, from_bytes, slim, spread, to_bytes

RNG = np.random.default_rng(0)


def golden(output=(2, 5, 3), feed=(2, 5, 4)) -> Golden:
    expected = RNG.standard_normal(output).astype("float32")
    return Golden(
        "feed, scale 1",
        {"x": RNG.standard_normal(feed).astype("float32"), "a/b": RNG.integers(0, 9, (2, 5)).astype("int32")},
        {"y": expected, "count": np.array([3, 4])},
        {"y": expected + RNG.standard_normal(output) * 1e-8},
        recipe=Recipe(0, 4, domain={"most": 0.9, "longer": 64}),
        carries=True,
    )


def test_small_goldens_come_back_as_they_were():
    first = golden()
    (second,) = from_bytes(to_bytes([slim(first)]))
    assert (second.label, second.recipe, second.carries, second.kept) == (first.label, first.recipe, True, {})
    for side in ("feed", "expected"):
        assert dict(getattr(second, side)).keys() == dict(getattr(first, side)).keys()
        for name, array in getattr(first, side).items():
            assert getattr(second, side)[name].dtype == array.dtype
            np.testing.assert_array_equal(getattr(second, side)[name], array)
    np.testing.assert_allclose(second.truth["y"], first.truth["y"], rtol=0, atol=5e-15)
    assert second.truth["y"].dtype == np.float64
    assert set(second.truth) == {"y"}


def test_a_large_output_is_sampled_with_a_digest_of_the_whole():
    first = golden(output=(4, 50, 40))
    (second,) = from_bytes(to_bytes([slim(first)]))
    kept = second.kept["y"]
    assert kept.shape == (4, 50, 40)
    assert kept.digest == digest_of(first.expected["y"])
    np.testing.assert_array_equal(second.expected["y"], first.expected["y"].reshape(-1)[kept.indices])
    np.testing.assert_allclose(second.truth["y"], first.truth["y"].reshape(-1)[kept.indices], rtol=0, atol=5e-15)
    assert len(kept.indices) <= LIMIT + 2


def test_a_large_input_is_not_kept_but_its_digest_is():
    first = golden(feed=(4, 50, 40))
    (second,) = from_bytes(to_bytes([slim(first)]))
    assert set(second.feed) == {"a/b"}
    assert second.recipe == Recipe(0, 4, {"x": digest_of(first.feed["x"])}, {"most": 0.9, "longer": 64})


def test_goldens_of_a_large_model_stay_small():
    large = [slim(golden(output=(8, 100, 256), feed=(8, 100, 128))) for _ in range(8)]
    assert len(to_bytes(large)) < 8 * 9 * LIMIT


@pytest.mark.parametrize("shape", [(8, 100, 256), (5, 64, 4096), (7, 4099, 1), (3, 4, 5, 6, 64)])
def test_places_are_spread_over_every_axis(shape):
    indices = spread(int(np.prod(shape)))
    assert (np.diff(indices) > 0).all()
    assert (indices[0], indices[-1]) == (0, np.prod(shape) - 1)
    for size, places in zip(shape, np.unravel_index(indices, shape), strict=True):
        assert len(np.unique(places)) >= min(size, LIMIT) * 0.6


def test_digests_tell_dtype_shape_and_values():
    array = np.arange(6, dtype="float32")
    others = [array.astype("float64"), array.reshape(2, 3), array + 1, array[::-1]]
    assert len({digest_of(other) for other in [array, *others]}) == 5
    assert digest_of(np.asfortranarray(array.reshape(2, 3))) == digest_of(array.reshape(2, 3))


def test_bytes_are_the_same_each_time():
    one = golden()
    assert to_bytes([one]) == to_bytes([one])


def test_a_sample_of_another_size_than_its_shape_says_is_damage():
    data = to_bytes([slim(golden(output=(4, 50, 40)))])
    with np.load(io.BytesIO(data)) as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["0/expected/y"] = arrays["0/expected/y"][:-1]
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    with pytest.raises(ValueError, match="values, not"):
        from_bytes(buffer.getvalue())


def test_pickles_are_not_read():
    buffer = io.BytesIO(to_bytes([golden()]))
    hostile = io.BytesIO()
    np.save(hostile, np.array([{"code": 1}], object), allow_pickle=True)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("0/feed/evil.npy", hostile.getvalue())
    with pytest.raises(ValueError, match="allow_pickle"):
        from_bytes(buffer.getvalue())


def test_what_is_told_of_a_golden_is_json():
    with np.load(io.BytesIO(to_bytes([slim(golden())]))) as archive:
        (told,) = json.loads(str(archive["about"]))["goldens"]
    assert told["recipe"] == {
        "seed": 0,
        "index": 4,
        "digests": {},
        "domain": {"most": 0.9, "longer": 64},
    }


def test_a_spread_is_kept_in_few_bits_and_never_too_small():
    spread = np.array([0.0, 1e-30, 3.3e-7, 1.0, 2.0**-22, 1e5, np.inf, 3.4e38])
    value = np.arange(8, dtype="float32")
    golden = Golden("feed", {"x": value}, {"y": value}, {"y": value.astype(float)}, spread={"y": spread})
    (back,) = from_bytes(to_bytes([golden]))
    kept = back.spread["y"]
    assert np.all((kept >= spread) & (kept[:-2] <= spread[:-2] * 1.01).all())
    assert (kept[0], kept[3], kept[6]) == (0.0, 1.0, np.inf)


def test_a_spread_of_a_large_output_is_that_of_the_values_that_are_kept():
    value = np.random.default_rng(3).standard_normal((50, 100)).astype("float32")
    small = slim(Golden("feed", {}, {"y": value}, {"y": value.astype(float)}, spread={"y": np.abs(value) * 1e-7}))
    (back,) = from_bytes(to_bytes([small]))
    np.testing.assert_allclose(back.spread["y"], np.abs(back.expected["y"]) * 1e-7, rtol=0.01)


@pytest.mark.parametrize(("limit", "count", "size"), [("_MOST_BYTES", 3, 2**20), ("_MOST_ARRAYS", 301, 0)])
def test_goldens_that_would_fill_the_memory_are_not_unpacked(limit, count, size, monkeypatch):
    monkeypatch.setattr(goldens, limit, 300 if not size else 2**21)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(count):
            archive.writestr(f"{index}.npy", bytes(size))
    with pytest.raises(ValueError, match=f"goldens of {count} arrays and {count * size} bytes"):
        from_bytes(held.getvalue())
