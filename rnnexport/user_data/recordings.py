"""Recordings that are longer than a call: cut into chunks, the states carried from one to the next.

A model that takes chunks of a fixed length and has states is called chunk by chunk; the end of a recording, where it
fills no chunk, is filled up with its last timestep. A stream of any length takes up to `CHUNK` timesteps at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.core.errors import UsageError
from rnnexport.core.signature import TIME, Signature, TensorSpec

CHUNK = 256


def may_be_longer(spec: TensorSpec, signature: Signature) -> bool:
    """Whether a tensor whose length the model fixes may be longer in the data: it is a sequence, and states go on."""
    states = {one.name for state in signature.states for one in (state.input, state.output)}
    is_sequence = len(spec.shape) > 2 or (len(spec.shape) == 2 and np.dtype(spec.dtype).kind in "iu")
    return bool(states) and spec.name not in states and is_sequence and isinstance(spec.shape[1], int)


def chunk_of(feed: Arrays, signature: Signature, *, stream: bool) -> int:
    """The timesteps of a call on that recording; 0 where it is fed at once.

    Args:
        feed: the whole recording.
        signature: of a call.
        stream: whether chunks of any lengths are shown to give what the whole gives.

    Raises:
        UsageError: its inputs differ in length.
    """
    fixed = {spec.name: spec for spec in signature.inputs if may_be_longer(spec, signature)}
    lengths = {name: feed[name].shape[1] for name in fixed}
    if any(length != fixed[name].shape[1] for name, length in lengths.items()):
        sizes = {int(spec.shape[1]) for spec in fixed.values()}
        if len(sizes) > 1 or len({*lengths.values()}) > 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise UsageError(f"a recording of the lengths {told}", "one length for all inputs", "change the data")
        return sizes.pop()
    longest = max((feed[spec.name].shape[1] for spec in signature.inputs if _is_open(spec)), default=0)
    return CHUNK if stream and longest > CHUNK else 0


def cut(feed: Arrays, signature: Signature, chunk: int) -> Iterator[dict[str, np.ndarray]]:
    """The inputs of each call, without states, `chunk` timesteps each. What is no sequence is given whole to all."""
    sequences = [spec.name for spec in signature.inputs if _is_open(spec) or may_be_longer(spec, signature)]
    fill = not any(_is_open(spec) for spec in signature.inputs)
    steps = max(feed[name].shape[1] for name in sequences)
    for start in range(0, steps, chunk):
        yield {
            spec.name: _piece(feed[spec.name], start, chunk, fill) if spec.name in sequences else feed[spec.name]
            for spec in signature.inputs
        }


def recorded_golden(feed: Arrays, outputs: Arrays, signature: Signature, chunk: int) -> Golden:
    """What the data themselves expect of a recording, fed in chunks of that many timesteps, or at once for 0.

    Raises:
        UsageError: its end would have to be filled up, of which they say nothing.
    """
    for spec in signature.inputs:
        if chunk and may_be_longer(spec, signature) and feed[spec.name].shape[1] % chunk:
            raise UsageError(
                f"a recording of {feed[spec.name].shape[1]} timesteps with outputs of its own",
                f"a multiple of {chunk}, the length of a call",
                "cut it, or leave out the outputs and give --source MODEL",
            )
    return Golden("data", feed, outputs, chunk=chunk)


def joined(pieces: Sequence[Arrays], whole: Arrays) -> dict[str, np.ndarray]:
    """The outputs of all chunks as those of the whole: laid behind each other where the whole is that long, else last.

    Args:
        pieces: what came out of each chunk.
        whole: what should come out.
    """
    last = pieces[-1]
    return {name: _laid([piece[name] for piece in pieces], whole.get(name)) for name in last}


def _laid(parts: Sequence[np.ndarray], whole: np.ndarray | None) -> np.ndarray:
    timed = whole is not None and whole.ndim > 1 and all(part.ndim == whole.ndim for part in parts)
    if timed and whole is not None and whole.shape[1] == sum(part.shape[1] for part in parts):
        return np.concatenate(parts, axis=1)
    return parts[-1]


def _piece(array: np.ndarray, start: int, chunk: int, fill: bool) -> np.ndarray:
    part = array[:, start : start + chunk]
    lacking = chunk - part.shape[1]
    return np.concatenate([part, np.repeat(part[:, -1:], lacking, axis=1)], axis=1) if fill and lacking else part


def _is_open(spec: TensorSpec) -> bool:
    size = spec.shape[1] if len(spec.shape) > 1 else 0
    return isinstance(size, str) and (size == TIME or size.endswith(f"_{TIME}"))
