"""The user's own data beside a source: what each call of them must give, and a few calls to keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.core.signature import BATCH, Signature
from rnnexport.reference.conditioning import Conditioning, with_luck

if TYPE_CHECKING:
    from rnnexport.reference.describe import Described
    from rnnexport.source.model import SourceModel
    from rnnexport.verification.user_data import Rows

_KEPT = 3  # calls
_LARGEST = 1 << 16  # values of one call that is kept


def goldens_of(source: SourceModel, described: Described, calls: Iterable[tuple[Arrays, Arrays]]) -> Iterator[Golden]:
    """What the source gives for each call, and what the data themselves expect.

    Args:
        source: the model.
        described: its boundary, and what it gives.
        calls: inputs, and the outputs that come with them, if any.
    """
    from rnnexport.reference.certainty import narrowest
    from rnnexport.reference.float64 import Exact
    from rnnexport.source.eager import reference

    run = Exact(described.traced, described.no_truth)
    conditioning = Conditioning(run, described.signature, narrowest(source))
    for feed, given in calls:
        expected = reference(source, described.signature, feed)
        golden = conditioning.with_spread(Golden("data", feed, expected, run.truth(feed, expected)))
        golden = with_luck(golden, described.tolerance)
        yield golden
        if given:  # the data say what they expect, too
            wanted = {name: given.get(name, array) for name, array in expected.items()}
            yield replace(golden, expected=wanted, truth={})


def kept(source: SourceModel, described: Described, rows: Rows, name: str) -> tuple[Golden, ...]:
    """Goldens of the first, the middle and the last call of the data, of fewer rows where they are large.

    Args:
        source, described: see `goldens_of`.
        rows: the data.
        name: of the file.
    """
    calls = sum(-(-file.rows // file.batch) for file in rows.files)
    places = {0, calls // 2, calls - 1}
    chosen = [_cut(feed, rows.signature) for at, (feed, _) in enumerate(rows) if at in places][:_KEPT]
    goldens = goldens_of(source, described, ((feed, {}) for feed in chosen))
    return tuple(replace(golden, label=f"data of {name}, {at}") for at, golden in enumerate(goldens, 1))


def _cut(feed: Arrays, signature: Signature) -> Arrays:
    """As many rows of a call as are small together, where the batch is open."""
    by_row = [spec.name for spec in signature.all_inputs if spec.shape[:1] == (BATCH,)]
    if not by_row:
        return feed
    count = len(feed[by_row[0]])
    size = max(1, sum(feed[name].size for name in by_row) // count)
    most = max(1, _LARGEST // size)
    return {name: array[:most] if name in by_row else array for name, array in feed.items()}
