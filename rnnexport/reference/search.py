"""Feeds that a model itself asks for: inputs on both sides of every place where it chooses by comparing numbers.

1. The goldens are looked at, the fewest timesteps first, until both sides of each branch were seen.
2. For what was not, many rows at growing scales are tried at once, and the smallest that reach a side are kept.
3. For what is left, rows that came nearest follow the gradient of their distance, as far as a straight line would need.
4. Where no row reaches a branch, the nearest one of ordinary size is kept: a bound that is moved shows there.

Rows of inputs to look for the other side of a branch among: constant, random and lopsided ones at growing scales.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.core.coverage import Coverage
from rnnexport.core.signature import BATCH, Signature, TensorSpec, timesteps
from rnnexport.verification.domain import Domain, is_real, values, with_ends
from rnnexport.verification.feeds import sizes_of

if TYPE_CHECKING:
    from rnnexport.source.branches import Kind, Observer, Site
    from rnnexport.source.trace import TracedModel

_MOST_STEPS = 48  # timesteps of goldens that are looked at, beside the first two
_MOST_CHOSEN = 8  # rows
_CLIMBED = 2  # sides that are followed by gradient
_CLIMB = 6  # steps of each
_ORDINARY = 100.0  # what no value is larger than, of a row that is kept for being near
ABOVE, BELOW = 1, -1
KINDS: tuple[Kind, ...] = ("branch", "curve", "gate")  # what matters most first
Side = tuple["Site", int]
_TIMESTEPS = 16  # where the length is open
_SCALES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 1e4)  # the smallest first: it is where a source is most certain
_PATTERNS = 4
ROWS = len(_SCALES) * _PATTERNS
_LARGEST = 1 << 22  # values of all rows together
_MOST_CALLS = 8  # where the batch is fixed


@dataclass(eq=False)
class Sides:
    """The sides of branches that were seen, and all branches that were.

    Attributes:
        sites: every site that the inputs have a part in, in the order of computation.
        reached: those of their sides that some feed was on.
    """

    sites: dict[Site, None] = field(default_factory=dict)
    reached: set[Side] = field(default_factory=set)

    def see(self, margins: Iterable[tuple[Site, np.ndarray]]) -> None:
        """Take note of what was observed of one feed."""
        for site, margin in margins:
            self.sites.setdefault(site)
            self.reached |= {(site, side) for side in (ABOVE, BELOW) if np.any(side * margin > 0)}

    def missing(self, kind: Kind) -> list[Side]:
        """The sides of sites of that kind that no feed was on."""
        sides = [(site, side) for site in self.sites if site.kind == kind for side in (ABOVE, BELOW)]
        return [side for side in sides if side not in self.reached]

    def coverage(self, notes: tuple[str, ...]) -> Coverage:
        """What is told of it."""
        branches, gates = ([site for site in self.sites if site.kind == kind] for kind in ("branch", "gate"))
        saturated = 2 * len(gates) - len(self.missing("gate"))
        unreached = tuple(map(side_text, self.missing("branch")))
        return Coverage(notes, len(branches), unreached, gates=len(gates), saturated=saturated)


@dataclass(frozen=True, eq=False)
class BranchFeed:
    """A feed that a model asks for.

    Attributes:
        feed: the inputs.
        sides: what it reaches, and other feeds do not.
        near: what it comes nearest to, where none reaches it.
    """

    feed: Arrays
    sides: frozenset[Side]
    near: frozenset[Side] = frozenset()

    @property
    def label(self) -> str:
        """Of the feed, for reports."""
        first, *others = sorted(map(side_text, self.sides or self.near))
        return f"chosen {'for' if self.sides else 'near'} {first}" + (f" and {len(others)} more" if others else "")


def side_text(side: Side) -> str:
    """A side of a branch in words."""
    site, which = side
    if site.kind == "curve":
        return f"{site} far {'above' if which == ABOVE else 'below'} 0"
    if site.kind == "gate":
        return f"{site} saturated {'above' if which == ABOVE else 'below'}"
    return f"{site} {'above' if which == ABOVE else 'below'}"


def search(
    traced: TracedModel, goldens: Sequence[Golden], seed: int, domain: Domain
) -> tuple[Sequence[BranchFeed], Sides]:
    """Feeds that reach sides of branches which the goldens do not, and the sides that the goldens reach.

    Args:
        traced: the model.
        goldens: with whole feeds.
        seed: of candidates.
        domain: in which the source is finite.

    Raises:
        NotObservedError: an operator can't be run by itself.
    """
    from rnnexport.source.branches import Observer

    observer, sides = Observer(traced), Sides()
    _look(observer, sides, goldens, traced.signature)
    return _searched(observer, sides, traced.signature, seed, domain), sides


def observed(observer: Observer, feed: Arrays) -> list[tuple[Site, np.ndarray]]:
    """Each site, as often as it is computed, and how far its number is above the bound."""
    found: list[tuple[Site, np.ndarray]] = []
    observer.run(feed, lambda site, margin: found.append((site, margin.numpy())))
    return found


def _look(observer: Observer, sides: Sides, goldens: Sequence[Golden], signature: Signature) -> None:
    """Large feeds of few steps say most, so they come first."""
    own = [golden for golden in goldens if not golden.carries]
    steps = 0
    for count, golden in enumerate(sorted(own, key=lambda one: (timesteps(one.feed, signature), -_size(one.feed)))):
        steps += timesteps(golden.feed, signature)
        if count >= 2 and (steps > _MOST_STEPS or not sides.missing("branch")):
            return
        sides.see(observed(observer, golden.feed))


def _searched(
    observer: Observer, sides: Sides, signature: Signature, seed: int, domain: Domain
) -> Sequence[BranchFeed]:
    wanted = [side for kind in KINDS for side in sides.missing(kind)]
    rows: list[BranchFeed] = []
    nearest: dict[Side, Reached] = {}
    ordinary: dict[Side, Reached] = {}
    for feed in candidates(signature, seed, domain) if wanted else ():
        best = _best_rows(observed(observer, feed), len(next(iter(feed.values()))))
        is_ordinary = np.array([_size(row) <= _ORDINARY for row in cut(feed, 1)])
        for side in wanted:
            # The first row on that side is that of the smallest scale.
            margins = best.get(side, np.array([-np.inf]))
            at = int(np.argmax(margins > 0)) if np.any(margins > 0) else int(np.argmax(margins))
            _keep_nearest(nearest, side, feed, margins, at)
            _keep_nearest(ordinary, side, feed, margins, int(np.argmax(np.where(is_ordinary, margins, -np.inf))))
            if margins[at] > 0:
                row = nearest[side].row
                rows.append(BranchFeed(row, frozenset(one for one in wanted if one in best and best[one][at] > 0)))
        wanted = [side for side in wanted if not any(side in row.sides for row in rows)]
    left = [side for side in wanted if side[0].kind == "branch"]
    for side in [side for side in left if side in nearest][:_CLIMBED]:
        climbed = _climb(observer, side, nearest[side].row, signature, domain)
        rows += [] if climbed is None else [BranchFeed(climbed, frozenset([side]))]
    near = {side: ordinary[side].row for side in left if side in ordinary}
    return _feeds(rows, signature) + _near(near, frozenset().union(*(row.sides for row in rows)), signature)


@dataclass(frozen=True, eq=False)
class Reached:
    """How far a row comes on a side; below 0 where it is not there."""

    margin: float
    row: Arrays


def _keep_nearest(nearest: dict[Side, Reached], side: Side, feed: Arrays, margins: np.ndarray, at: int) -> None:
    if margins[at] > (nearest[side].margin if side in nearest else -np.inf):
        nearest[side] = Reached(float(margins[at]), {name: array[at : at + 1] for name, array in feed.items()})


def _near(rows: Mapping[Side, Arrays], reached: frozenset[Side], signature: Signature) -> list[BranchFeed]:
    """Feeds of the rows that come nearest to sides that are not reached, each row once."""
    sides: dict[bytes, list[Side]] = {}
    for side, row in rows.items():
        if side not in reached:
            sides.setdefault(b"".join(array.tobytes() for array in row.values()), []).append(side)
    kept = [BranchFeed(rows[each[0]], frozenset(), frozenset(each)) for each in list(sides.values())[:_MOST_CHOSEN]]
    return _in_batches(kept, signature)


def _feeds(rows: Sequence[BranchFeed], signature: Signature) -> list[BranchFeed]:
    """Rows that each reach what those before do not, put together in feeds of the batch."""
    kept: list[BranchFeed] = []
    for row in sorted(rows, key=lambda one: min(KINDS.index(site.kind) for site, _ in one.sides)):
        if len(kept) < _MOST_CHOSEN and not row.sides <= frozenset().union(*(one.sides for one in kept)):
            kept.append(row)
    return _in_batches(kept, signature)


def _in_batches(rows: Sequence[BranchFeed], signature: Signature) -> list[BranchFeed]:
    batch = signature.inputs[0].shape[0]
    size = batch if isinstance(batch, int) else max(1, len(rows))
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    return [
        BranchFeed(
            next(cut(joined([one.feed for one in part]), size)),
            frozenset().union(*(one.sides for one in part)),
            frozenset().union(*(one.near for one in part)),
        )
        for part in parts
    ]


def _best_rows(margins: Iterable[tuple[Site, np.ndarray]], rows: int) -> dict[Side, np.ndarray]:
    """How far each row comes at most on each side, over all times that it is computed."""
    best: dict[Side, np.ndarray] = {}
    for site, margin in margins:
        if margin.ndim == 0 or len(margin) != rows:
            continue
        flat = margin.reshape(rows, -1)
        for side in (ABOVE, BELOW):
            reach = np.nan_to_num((side * flat).max(axis=1, initial=-np.inf), nan=-np.inf)
            best[site, side] = np.maximum(best[site, side], reach) if (site, side) in best else reach
    return best


def _climb(observer: Observer, side: Side, row: Arrays, signature: Signature, domain: Domain) -> Arrays | None:
    """The row moved along the gradient until it is on that side; None where it does not get there."""
    from rnnexport.source.branches import climb

    specs = {spec.name: spec for spec in signature.all_inputs}
    real = [name for name, spec in specs.items() if is_real(spec) and spec.columns is None]
    batch = signature.inputs[0].shape[0]
    feed = {name: np.repeat(array, batch if isinstance(batch, int) else 1, axis=0) for name, array in row.items()}
    before = -np.inf
    for step in range(_CLIMB):
        reach, slopes = climb(observer, feed, real, *side)
        if reach > 0:
            return {name: array[:1] for name, array in feed.items()}
        # What is bounded comes no nearer.
        if not any(np.any(slope) for slope in slopes.values()) or (step > 1 and reach < 0.9 * before):
            return None
        before = reach
        # As far as a straight line needs and a bit, but not past ten times what is large here.
        needed = -1.2 * reach / max(sum(float(np.abs(slope).sum()) for slope in slopes.values()), 1e-30)
        for name, slope in slopes.items():
            length = min(needed, 10 * max(1.0, float(np.abs(feed[name]).max())))
            feed[name] = inside(feed[name] + length * np.sign(slope), specs[name], domain)
    return None


def _size(feed: Arrays) -> float:
    return max(
        (float(np.abs(array).max(initial=0.0)) for array in feed.values() if array.dtype.kind == "f"), default=0.0
    )


def candidates(signature: Signature, seed: int, domain: Domain) -> list[Arrays]:
    """Feeds whose rows differ in scale and pattern, the smallest scales first; none where rows can't be told apart."""
    first = signature.inputs[0].shape[:1]
    if any(spec.shape[:1] != first for spec in signature.all_inputs) or not first:
        return []
    rng = np.random.default_rng([seed, ROWS])
    sizes = sizes_of(signature, 0, ROWS, _TIMESTEPS + domain.longer) | {BATCH: ROWS}
    # As many rows as there are candidates, whatever the batch is fixed to.
    free = {spec.name: replace(spec, shape=(BATCH, *spec.shape[1:])) for spec in signature.all_inputs}
    made = {name: values(rng, spec, sizes, 1.0, domain) for name, spec in free.items()}
    if sum(array.size for array in made.values()) > _LARGEST:
        return []
    states = {state.input.name for state in signature.states}
    side_text = {
        spec.name: with_ends(
            rng, _patterned(rng, made[spec.name], spec, domain, state=spec.name in states), spec, domain
        )
        for spec in signature.all_inputs
    }
    batch = first[0] if isinstance(first[0], int) else ROWS
    return list(cut(side_text, batch))[:: max(1, ROWS // batch // _MOST_CALLS)]


def cut(rows: Arrays, batch: int) -> Iterator[Arrays]:
    """The rows in feeds of `batch` rows; the last one is filled up with its own last row."""
    count = len(next(iter(rows.values())))
    for start in range(0, count, batch):
        at = np.minimum(np.arange(start, start + batch), count - 1)
        yield {name: array[at] for name, array in rows.items()}


def joined(feeds: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """The rows of all feeds."""
    return {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}


def inside(array: np.ndarray, spec: TensorSpec, domain: Domain) -> np.ndarray:
    """Real values moved into what the signature and the domain allow."""
    if domain.positive:
        array = np.abs(array)
    if domain.most is not None:
        array = np.clip(array, -domain.most, domain.most)
    if spec.range is not None:
        array = np.clip(array, *spec.range)
    return array.astype(spec.dtype)


def _patterned(
    rng: np.random.Generator, array: np.ndarray, spec: TensorSpec, domain: Domain, *, state: bool
) -> np.ndarray:
    """Row by row: all values the same, all the opposite, random ones, one column alone; at each scale in turn."""
    if not is_real(spec):
        return array
    scales = np.repeat(_SCALES, _PATTERNS).reshape(-1, *[1] * (array.ndim - 1))
    scales = np.sqrt(scales) * 0.5 if state else scales
    found = array.astype(np.float64)
    found[0::_PATTERNS] = 1.0
    found[1::_PATTERNS] = -1.0
    lopsided = found[3::_PATTERNS] * 0.01
    if array.ndim > 1:
        for row in lopsided:
            row[..., rng.integers(array.shape[-1])] *= 100
    found[3::_PATTERNS] = lopsided
    real = inside(found * scales, spec, domain)
    if spec.columns is None:
        return real
    real[..., list(spec.columns)] = array[..., list(spec.columns)]
    return real
