"""Goldens: inputs, and the outputs that an artifact must give for them. They ride inside the artifact, and stay small.

An array of up to `LIMIT` values is kept whole. Of a larger output that many values are kept, spread evenly over it,
with a digest of the whole. A larger input is not kept at all: it comes from a fixed generator, so that its place in
the plan of feeds and a digest say what it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rnnexport.artifact.layer_map import LayerMap

LIMIT = 4096
_ABOUT, _LAYER_MAP = "about", "trail/"
_INFINITE = 0x7F80  # the upper half of a float32 that is infinite
# No goldens come near: each array has up to `LIMIT` values.
_MOST_ARRAYS, _MOST_BYTES = 50_000, 1 << 28
_GOLDEN_RATIO = 0.6180339887498949
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class KeptValues:
    """Which values of an output are kept.

    Attributes:
        shape: of the whole output.
        digest: SHA-256 of its bytes in C order.
        indices: the places of the values that are kept, in C order.
    """

    shape: tuple[int, ...]
    digest: str
    indices: np.ndarray


@dataclass(frozen=True)
class Recipe:
    """How the inputs that are not kept are made again.

    Attributes:
        seed: of the generator of feeds.
        index: of the feed in its plan.
        digests: SHA-256 of the bytes of each input that is not kept, by name.
        domain: what bounded its values besides the signature, as plain values.
    """

    seed: int
    index: int
    digests: Mapping[str, str] = field(default_factory=dict)
    domain: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Golden:
    """One call.

    Attributes:
        label: of the feed, for reports.
        feed: the inputs by name, states included; without those that `recipe` makes, or `carries` brings.
        expected: what eager Keras gave, by output; the kept values in one row where `kept` has the output.
        truth: the same from an independent run in float64; empty where there was none.
        spread: how far rounding alone moves each value of `expected`, see `reference.conditioning`; empty where that is
            not known.
        kept: which values are kept, for each output that is too large to be kept whole.
        recipe: where the feed comes from; None for one that did not come from the generator.
        carries: whether the call goes on from the one before it: its states are those that came out there.
        entry: the signature of the artifact that is called; empty for the one that the provenance describes.
        before: how many timesteps of its sequence came in the calls before it. Neither this nor the next is kept.
        chunk: how many timesteps a call may have: the feed is fed in chunks, the states carried; 0 for at once.
    """

    label: str
    feed: Arrays
    expected: Arrays
    truth: Arrays = field(default_factory=dict)
    kept: Mapping[str, KeptValues] = field(default_factory=dict)
    recipe: Recipe | None = None
    carries: bool = False
    entry: str = ""
    spread: Arrays = field(default_factory=dict)
    before: int = 0
    chunk: int = 0


def slim(golden: Golden) -> Golden:
    """The golden without what is too large to ride in a file."""
    feed, recipe = dict(golden.feed), golden.recipe
    if recipe is not None:
        large = {name: digest_of(array) for name, array in feed.items() if array.size > LIMIT}
        recipe = replace(recipe, digests=large)
        feed = {name: array for name, array in feed.items() if name not in large}
    kept = {
        name: KeptValues(array.shape, digest_of(array), spread(array.size))
        for name, array in golden.expected.items()
        if array.size > LIMIT
    }
    expected = {name: _part(array, kept.get(name)) for name, array in golden.expected.items()}
    truth = {name: _part(array, kept.get(name)) for name, array in golden.truth.items()}
    moved = {name: _part(array, kept.get(name)) for name, array in golden.spread.items()}
    return replace(golden, feed=feed, expected=expected, truth=truth, kept=kept, recipe=recipe, spread=moved)


def spread(size: int, count: int = LIMIT) -> np.ndarray:
    """Up to `count` places of `size`, spread evenly and in step with no axis: multiples of the golden ratio."""
    places = (np.arange(count) * _GOLDEN_RATIO % 1.0 * size).astype(np.int64)
    return np.unique(np.concatenate([[0, size - 1], places]))


def digest_of(array: np.ndarray) -> str:
    """SHA-256 of the dtype, the shape and the values."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def to_bytes(goldens: Sequence[Golden], layer_map: LayerMap | None = None) -> bytes:
    """The goldens, and the layer map of one of them, as one compressed `.npz`: no pickles, no times."""
    about = {"goldens": [_about(one) for one in goldens], "trail": layer_map and layer_map.to_json()}
    arrays: dict[str, np.ndarray] = {_ABOUT: np.array(json.dumps(about, sort_keys=True))}
    arrays |= {f"{_LAYER_MAP}{name}": array for name, array in (layer_map.arrays() if layer_map else {}).items()}
    for index, golden in enumerate(goldens):
        arrays |= {f"{index}/feed/{name}": array for name, array in golden.feed.items()}
        arrays |= {f"{index}/expected/{name}": array for name, array in golden.expected.items()}
        # What is left of the truth is small, and so needs half the digits.
        arrays |= {f"{index}/rest/{name}": _rest(golden, name) for name in golden.truth}
        arrays |= {f"{index}/spread/{name}": _short(array) for name, array in golden.spread.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def from_bytes(data: bytes) -> tuple[Golden, ...]:
    """The goldens in what `to_bytes` gave. Raises what zipfile, json and NumPy raise where `data` is damaged."""
    about, arrays = _opened(data, layer_map=False)

    def part(prefix: str) -> dict[str, np.ndarray]:
        return {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}

    return tuple(
        _golden(told, part(f"{i}/feed/"), part(f"{i}/expected/"), part(f"{i}/rest/"), part(f"{i}/spread/"))
        for i, told in enumerate(about["goldens"])
    )


def layer_map_from_bytes(data: bytes) -> LayerMap | None:
    """The layer map in what `to_bytes` gave, which only a mismatch asks for. Raises as `from_bytes`."""
    from rnnexport.artifact.layer_map import read

    about, arrays = _opened(data, layer_map=True)
    if about["trail"] is None:
        return None
    layer_map = read(about["trail"], {key.removeprefix(_LAYER_MAP): array for key, array in arrays.items()})
    if layer_map.golden not in range(len(about["goldens"])):
        raise ValueError(f"a layer map on golden {layer_map.golden} of {len(about['goldens'])}")
    return layer_map


def _opened(data: bytes, *, layer_map: bool) -> tuple[Any, dict[str, np.ndarray]]:
    """What is told in the file, and the arrays of the layer map, or those of the goldens."""
    _check_totals(data)
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        wanted = [key for key in archive.files if key != _ABOUT and key.startswith(_LAYER_MAP) == layer_map]
        return json.loads(str(archive[_ABOUT])), {key: archive[key] for key in wanted}


def _check_totals(data: bytes) -> None:
    """Raise ValueError for an archive that takes far more memory or time than goldens do, before it is unpacked."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        sizes = [info.file_size for info in archive.infolist()]
    if len(sizes) > _MOST_ARRAYS or sum(sizes) > _MOST_BYTES:
        raise ValueError(f"goldens of {len(sizes)} arrays and {sum(sizes)} bytes")


def _about(golden: Golden) -> dict[str, Any]:
    recipe = golden.recipe
    return {
        "label": golden.label,
        "carries": golden.carries,
        "entry": golden.entry,
        "recipe": recipe
        and {
            "seed": recipe.seed,
            "index": recipe.index,
            "domain": dict(recipe.domain),
            "digests": dict(recipe.digests),
        },
        "kept": {name: {"shape": list(kept.shape), "digest": kept.digest} for name, kept in golden.kept.items()},
    }


def _golden(told: Mapping[str, Any], feed: Arrays, expected: Arrays, rest: Arrays, moved: Arrays) -> Golden:
    recipe = told["recipe"]
    kept = {}
    for name, value in told["kept"].items():
        shape = tuple(int(size) for size in value["shape"])
        kept[name] = KeptValues(shape, str(value["digest"]), spread(int(np.prod(shape, dtype=np.int64))))
        if expected[name].shape != kept[name].indices.shape:
            raise ValueError(f"{name} has {expected[name].shape} values, not {kept[name].indices.shape}")
    if any(array.shape != expected[name].shape for part in (rest, moved) for name, array in part.items()):
        raise ValueError("a truth of another shape than its output")
    return Golden(
        label=str(told["label"]),
        feed=feed,
        expected=expected,
        truth={name: expected[name].astype(np.float64) + array for name, array in rest.items()},
        kept=kept,
        recipe=recipe
        and Recipe(int(recipe["seed"]), int(recipe["index"]), dict(recipe["digests"]), dict(recipe["domain"])),
        carries=bool(told["carries"]),
        entry=str(told["entry"]),
        spread={name: _long(array) for name, array in moved.items()},
    )


def _part(array: np.ndarray, kept: KeptValues | None) -> np.ndarray:
    return array if kept is None else array.reshape(-1)[kept.indices]


def _rest(golden: Golden, name: str) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        rest = golden.truth[name] - golden.expected[name].astype(np.float64)
    return np.where(np.isfinite(rest), rest, 0.0).astype(np.float32)


def _short(spread: np.ndarray) -> np.ndarray:
    """Numbers of at least 0 in 16 bits, the upper half of a float32: never too small, nor a hundredth too large."""
    with np.errstate(over="ignore"):
        bits = spread.astype(np.float32).view(np.uint32).astype(np.uint64)
    short: np.ndarray = np.minimum((bits + 0xFFFF) >> 16, _INFINITE).astype(np.uint16)
    return short


def _long(short: np.ndarray) -> np.ndarray:
    """The inverse of `_short`. ValueError where it can't have given that."""
    if short.dtype != np.uint16 or np.any(short > _INFINITE):
        raise ValueError("a spread that is none")
    wide: np.ndarray = (short.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return wide
