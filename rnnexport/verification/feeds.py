"""Inputs to verify with, for any signature, from a fixed generator.

What they are chosen to reveal:

- batch and length differ from each other in every feed, so that a swapped or hard-coded axis shows in the shape;
- length 1, odd lengths, one above 100, and lengths no tracer saw; sequences that may differ in length do;
- a batch of 33, of which a converter that keeps some rows alone leaves most out: rows of several scales, some of one
  sign throughout, so that what adds up goes far either way;
- rows and timesteps are all different, so that a permutation shows in the values;
- the first and the last id of each vocabulary;
- padding behind, before, in the middle of and all over a row, where the model has a mask;
- large values, up to thousands, saturate gates and pass bounds; tiny ones leave gates at their bias;
- states start at their recorded initial value, then at random ones, large ones, and where the call before left them;
- a sequence longer than a tracer looks at shows how errors grow.

Every feed has a generator of its own, `numpy.random.default_rng([seed, index])`, so that one can be made without the
others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from rnnexport.core.signature import BATCH, TIME, Signature
from rnnexport.verification.domain import EVERYWHERE, Domain, is_real, padded, values, with_ends, with_peak

WANTED = 7  # feeds of a verification, besides those of `beside` and chunks
_WANTED_FIXED = 10  # the same where no size is open: a call has fewer values then, and costs less
_WANTED_LONG = 4  # the same where a fixed length makes a call costly, and of many values
_LONG_FROM = 257  # timesteps
REQUIRED = 3  # those without which there is none

# (batch, timesteps, scale, whether states start at their initial value). A source that can't run one of the first seven
# (for it needs longer sequences, say) runs one of the rest in its place.
_PLAN = (
    (4, 5, 1.0, True),
    (7, 1, 1.0, False),
    (5, 9, 1.0, False),
    (3, 12, 6.0, False),
    (2, 3, 0.01, True),
    (1, 7, 2.0, False),
    (6, 4, 2.0, False),
    (4, 10, 6.0, True),
    (3, 24, 1.0, False),
    (2, 41, 3.0, False),
    (1, 53, 6.0, False),
)
PLANNED = len(_PLAN)
# What no model is verified without, where it takes such sizes and values.
LONG, WIDE, TINY, LARGE, HUGE = range(PLANNED, PLANNED + 5)
_BESIDE = (
    (2, 103, 1.0, False),
    (33, 2, 1.0, False),
    (3, 2, 1e-6, True),
    (2, 4, 30.0, False),
    (3, 2, 1e3, False),
)
# What they are where no input is a real number, so that scales say nothing: more sequences, longer than two timesteps.
_BESIDE_IDS = {TINY: (11, 4), LARGE: (8, 9), HUGE: (12, 6)}
# Of single feeds, how large states are: large ones show little beside inputs that saturate every gate. The largest of
# each row is at least as large as the second number.
_STATES = {6: (8.0, 25.0)}
# Of the rows of the wide feed: what is wrong at one timestep for one sign of a gate shows in some of them.
_ROWS = (1.0, 3.0, 0.3, 6.0)
# At these a source may be too uncertain of its own values to say anything.
DARING = (LONG, LARGE, HUGE)
_SEQUENCE_RANK = 3
_CHUNK = HUGE + 1  # the index of the first chunk
# Three chunks of one sequence: the first from the initial state, the others from where the one before ended.
_CHUNKS = ((2, 3, 1.0, True), (2, 1, 1.0, False), (2, 4, 1.0, False))
_STEPS = 1000  # stands for an index that is none of them
_STEP_ROWS = 3  # of a long sequence, where the batch is open
_SPARES = (2, 3, 4, 6, 7, 8, 9, 10, 11, 13)
_OTHER_SIZES = (9, 12, 7, 10, 8)


@dataclass(frozen=True, eq=False)
class Feed:
    """One call.

    Attributes:
        label: for the report.
        arrays: by input name, states included; without them where it carries.
        index: its place in the plan.
        carries: whether its states are those that came out of the call before it.
        domain: what bounds its values besides the signature.
    """

    label: str
    arrays: Mapping[str, np.ndarray]
    index: int = 0
    carries: bool = False
    domain: Domain = EVERYWHERE


def feeds(signature: Signature, seed: int = 0) -> Iterator[Feed]:
    """Feeds of different sizes where the signature leaves sizes open: more than are wanted, best first."""
    for index in range(PLANNED):
        yield feed_at(signature, seed, index)


def wanted(signature: Signature) -> int:
    """How many of `feeds` a verification takes."""
    if is_long(signature):
        return _WANTED_LONG
    return WANTED if signature.dynamic_dims else _WANTED_FIXED


def is_long(signature: Signature) -> bool:
    """Whether every feed has many timesteps, for the length of a sequence is fixed."""
    fixed = [spec.shape[1] for spec in signature.inputs if len(spec.shape) == _SEQUENCE_RANK]
    return any(isinstance(size, int) and size >= _LONG_FROM for size in fixed)


def beside(signature: Signature) -> tuple[int, ...]:
    """The indices of the feeds that a verification takes besides: long where the length is open, and so on."""
    dims = signature.dynamic_dims
    taken = {LONG: TIME in dims, WIDE: BATCH in dims, TINY: True, LARGE: True, HUGE: True}
    return tuple(index for index, takes in taken.items() if takes)


def chunks(signature: Signature, seed: int = 0, domain: Domain = EVERYWHERE) -> tuple[Feed, ...]:
    """A sequence in pieces, each but the first carrying the state of the one before; none without states."""
    if not signature.states:
        return ()
    return tuple(feed_at(signature, seed, _CHUNK + at, domain) for at in range(len(_CHUNKS)))


def feed_at(signature: Signature, seed: int, index: int, domain: Domain = EVERYWHERE) -> Feed:
    """The feed of that place in the plan, inside `domain`. IndexError where there is none."""
    batch, timesteps, scale, fresh = (*_PLAN, *_BESIDE, *_CHUNKS)[index]
    if index in _BESIDE_IDS and not any(is_real(spec) for spec in signature.inputs):
        batch, timesteps = _BESIDE_IDS[index]
    carries = index > _CHUNK
    rng = np.random.default_rng([seed, index])
    sizes = sizes_of(signature, index % PLANNED, batch, timesteps + domain.longer)
    padding = 0 if index >= _CHUNK else index  # a chunk is part of a sequence
    scales = _ROWS if index == WIDE else scale
    arrays = {
        spec.name: with_ends(rng, padded(values(rng, spec, sizes, scales, domain), spec, padding, domain), spec, domain)
        for spec in signature.inputs
    }
    for state in signature.states:
        usual, peak = _STATES.get(index, (0.5 * max(1.0, scale**0.5), 0.0))
        random = with_peak(values(rng, state.input, sizes, usual, domain), state.input, peak, domain)
        if not carries:
            arrays[state.input.name] = state.start(sizes[BATCH]) if fresh else random
    start = " from the initial state" if signature.states and fresh else ""
    start = " going on from the call before" if carries else start
    told = " padded" if padding and any(spec.mask is not None for spec in signature.inputs) else ""
    told += f" ({domain})" if domain != EVERYWHERE else ""
    size = f"scales {min(_ROWS):g} to {max(_ROWS):g}" if index == WIDE else f"scale {scale:g}"
    return Feed(f"{_sizes_text(signature, sizes)}{size}{told}{start}", arrays, index, carries, domain)


def step_feed(signature: Signature, seed: int, call: int, domain: Domain = EVERYWHERE) -> dict[str, np.ndarray]:
    """The inputs of one call of a long sequence, without states: one timestep where the length is open.

    Args:
        signature: of the model.
        seed: of the generator.
        call: which one, from 0.
        domain: what bounds its values.
    """
    rng = np.random.default_rng([seed, _STEPS, call])
    sizes = sizes_of(signature, 0, _STEP_ROWS, 1)
    sizes |= {dim: 1 for dim in sizes if dim == TIME or dim.endswith(f"_{TIME}")}
    return {spec.name: values(rng, spec, sizes, 1.0, domain) for spec in signature.inputs}


def sequence_feed(signature: Signature, seed: int, steps: int, domain: Domain = EVERYWHERE) -> dict[str, np.ndarray]:
    """The inputs of one call of so many timesteps, where the length is open, without states, inside `domain`."""
    rng = np.random.default_rng([seed, _STEPS])
    sizes = sizes_of(signature, 0, _STEP_ROWS, steps)
    return {spec.name: padded(values(rng, spec, sizes, 1.0, domain), spec, 1, domain) for spec in signature.inputs}


def rounded(feed: Feed, eps: float, seed: int = 0) -> Feed:
    """The feed with every real value moved by a relative `eps`, up or down: what rounding does to inputs."""
    rng = np.random.default_rng(seed)

    def moved(array: np.ndarray) -> np.ndarray:
        if not np.issubdtype(array.dtype, np.floating) or np.all(array == np.round(array)):
            return array  # ids and padding stay what they are
        shifted = array * (1 + eps * rng.choice([-1.0, 1.0], array.shape))
        return np.where(array == np.round(array), array, shifted).astype(array.dtype)

    return replace(feed, arrays={name: moved(array) for name, array in feed.arrays.items()})


def sizes_of(signature: Signature, index: int, batch: int, timesteps: int) -> dict[str, int]:
    """A size for every dynamic dimension. A planned size that meets a fixed one of the other axis makes way."""
    lengths, batches = _fixed(signature, 1), _fixed(signature, 0)
    if batch in lengths:
        spares = (*_SPARES[index % len(_SPARES) :], *_SPARES) if batch <= _SPARES[-1] else range(batch + 1, 2 * batch)
        batch = next(spare for spare in spares if spare not in lengths and spare != timesteps)
    if timesteps in batches:
        timesteps += 1
    others = [dim for dim in signature.dynamic_dims if dim not in (BATCH, TIME)]
    sizes = {dim: _OTHER_SIZES[(index + shift) % len(_OTHER_SIZES)] for shift, dim in enumerate(others)}
    # The lengths of further sequences: near the first one's, and never the batch.
    second = [dim for dim in others if dim.endswith(f"_{TIME}")]
    sizes |= {dim: timesteps + (2 + shift if timesteps + 2 + shift != batch else 7) for shift, dim in enumerate(second)}
    return {BATCH: batch, TIME: timesteps} | sizes


def _fixed(signature: Signature, axis: int) -> set[int]:
    """Every size that an input fixes on that axis."""
    shapes = [spec.shape for spec in signature.inputs if len(spec.shape) > axis]
    return {dim for shape in shapes if isinstance(dim := shape[axis], int)}


def _sizes_text(signature: Signature, sizes: Mapping[str, int]) -> str:
    shown = {dim: sizes[dim] for dim in signature.dynamic_dims}
    return "".join(f"{dim} {size}, " for dim, size in shown.items())
