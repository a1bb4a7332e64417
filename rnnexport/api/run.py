"""Running an artifact on one's own data: any number of whole sequences, whatever sizes the artifact fixes."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from rnnexport.api.callee import Callee, called
from rnnexport.api.judging import Calling, RunKeywords
from rnnexport.artifact.goldens import Arrays
from rnnexport.core.errors import ForeignCode, UsageError, in_python_words, reason, require_file, require_path
from rnnexport.core.inputs import Tensors
from rnnexport.core.progress import quiet
from rnnexport.core.signature import BATCH, Signature, TensorSpec, time_axis, timesteps
from rnnexport.verification.compare import Comparison, Wanted, compare_outputs
from rnnexport.verification.tolerance import Tolerance, Tolerances

_INPUTS = "an .npz of inputs by name"


@dataclass(frozen=True, eq=False)
class Ran:
    """What came out.

    Attributes:
        outputs: by name, the states after the last call included.
        compared: with what the source gave, an output each; nothing where there was no source.
    """

    outputs: Mapping[str, np.ndarray]
    compared: tuple[Comparison, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every output agrees with the source, where there is one."""
        return all(one.passed for one in self.compared)


@in_python_words()
@quiet()
def run(
    artifact: Any,
    inputs: str | Path | Mapping[str, Any],
    *,
    source: Any = None,
    **keywords: Unpack[RunKeywords],
) -> Ran:
    """Run an artifact, of rnnexport or of anybody, or a model.

    Rows are run in blocks of the batch where that is fixed, and a stream of fixed chunks goes through the sequence
    chunk by chunk. States start from their initial value unless they are among the inputs.

    Args:
        artifact: its path; or a model, see `load`.
        inputs: arrays by name, or the path of an `.npz` that holds them, or of an `.npy` for a lone input. Outputs
            that the file holds besides are left alone.
        source: the model to compare the outputs with, see `load`.
        keywords: see `RunKeywords` and `CallKeywords`.

    Raises:
        UsageError: the inputs are not those that it takes, or can't be read; see `verify` for the rest.
        ConversionError, ProviderError: a model can't be loaded; a runtime or provider is not on this host.
        TypeError: a keyword that there is not.
    """
    how = Calling.of("run", keywords, "artifact", "inputs", "source")
    if isinstance(inputs, str | Path):  # before the artifact is loaded, or a model
        require_file(Path(inputs), _INPUTS)
    if isinstance(source, str | Path):
        require_path(Path(source), "an artifact or a model")
    with called(artifact, how.loading, how.where) as callee:
        arrays = _fitting(_read(inputs, callee.signature), callee.signature)
        outputs = run_whole(callee, arrays)
    if source is None:
        return Ran(outputs)
    with called(source, how.loading, how.where, callee.names) as judge:
        judged = {spec.name: arrays[spec.name] for spec in judge.signature.inputs if spec.name in arrays}
        wanted = run_whole(judge, _fitting(judged, judge.signature))
    steps = {spec.name: time_axis(spec, callee.signature) for spec in callee.signature.outputs}
    length = timesteps(arrays, callee.signature)
    known = {
        name: Wanted(wanted[name], time_axis=axis, timesteps=length) for name, axis in steps.items() if name in wanted
    }
    bounds = Tolerances(Tolerance(), how.tolerance)
    return Ran(outputs, compare_outputs({name: outputs[name] for name in steps}, known, bounds.of))


def _read(inputs: str | Path | Mapping[str, Any], signature: Signature) -> dict[str, np.ndarray]:
    if not isinstance(inputs, str | Path):
        return {name: np.asarray(value) for name, value in inputs.items()}
    path = Path(inputs)
    with ForeignCode(partial(_unreadable, path)):
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {_lone(path, signature): found}
        with found as archive:
            return {name: archive[name] for name in archive.files}


def _lone(path: Path, signature: Signature) -> str:
    if len(signature.inputs) != 1:
        names = ", ".join(spec.name for spec in signature.inputs)
        raise UsageError(f"{path.name}, a single array", f"an .npz of {names}", "save them by np.savez")
    return signature.inputs[0].name


def _unreadable(path: Path, error: BaseException) -> UsageError:
    what = "no archive of arrays" if isinstance(error, zipfile.BadZipFile | ValueError) else reason(error)
    return UsageError(f"{path.name} can't be read: {what}", _INPUTS, "save it by np.savez")


def _fitting(given: Mapping[str, np.ndarray], signature: Signature) -> dict[str, np.ndarray]:
    """Inputs and states in the dtypes that the signature says. Floats are rounded to it, as Keras does."""
    states = [state.input for state in signature.states]
    known = {spec.name: spec for spec in (*signature.inputs, *states)}
    outputs = {spec.name for spec in signature.all_outputs}
    missing = [spec.name for spec in signature.inputs if spec.name not in given]
    extra = [name for name in given if name not in known and name not in outputs]
    if missing or extra:
        found = f"no array {', '.join(missing)}" if missing else f"the array {', '.join(extra)}"
        raise UsageError(found, f"inputs {', '.join(map(str, signature.inputs))}", "give each by its name")
    return {name: _cast(known[name], array) for name, array in given.items() if name in known}


def _cast(spec: TensorSpec, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "fiu" and np.can_cast(array.dtype, np.dtype(spec.dtype), "same_kind"):
        return array.astype(spec.dtype)
    return array


def run_whole(callee: Callee, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What comes out for these inputs, and states where these are given, in as many calls as the fixed sizes take.

    Raises:
        UsageError: names, dtypes, shapes, ids or numbers of rows do not fit.
    """
    signature = callee.signature
    blocks = [_block(callee, block) for block in _row_blocks(signature, arrays)]
    if len(blocks) == 1:
        return blocks[0]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _row_blocks(signature: Signature, arrays: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The rows in blocks of the batch that is fixed, or all together."""
    batch = signature.inputs[0].shape[:1]
    rows = {array.shape[0] for array in arrays.values() if array.ndim}
    if not batch or not isinstance(batch[0], int) or len(rows) != 1 or rows == {batch[0]}:
        yield dict(arrays)
        return
    (count,), size = rows, batch[0]
    if count % size or not count:
        raise UsageError(f"{count} rows", f"a multiple of {size}, the fixed batch", "change the number of rows")
    for start in range(0, count, size):
        yield {name: array[start : start + size] for name, array in arrays.items()}


def _block(callee: Callee, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """One block of rows, from its initial state, chunk by chunk."""
    signature = callee.signature
    sequences = [spec.name for spec in signature.inputs if time_axis(spec, signature) == 1]
    tensors = Tensors(signature.inputs, "inputs", sequences)
    pieces: list[Arrays] = []
    state = {state.input.name: arrays[state.input.name] for state in signature.states if state.input.name in arrays}
    for chunk in _chunks(signature, arrays):
        feed, sizes = tensors.checked(chunk)
        fresh = signature.fresh_states(sizes.get(BATCH, 0) or _rows(feed))
        pieces.append(callee.call({**feed, **fresh, **state}))
        state = dict(signature.carried(pieces[-1]))
    return _joined(signature, pieces)


def _rows(feed: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(feed.values())))


def _chunks(signature: Signature, arrays: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """The sequences in chunks of the length that a stream has; whole where there is none, or no state to carry."""
    inputs = {spec.name: arrays[spec.name] for spec in signature.inputs}
    fixed = {spec.name: spec.shape[1] for spec in signature.inputs if time_axis(spec, signature) == 1}
    sizes = {size for size in fixed.values() if isinstance(size, int)}
    lengths = {inputs[name].shape[1] for name in fixed if inputs[name].ndim > 1}
    if not signature.states or len(sizes) != 1 or len(lengths) != 1:
        yield inputs
        return
    (size,), (length,) = sizes, lengths
    if length % size:
        raise UsageError(f"{length} timesteps", f"a multiple of {size}, the length of a chunk", "cut or pad them")
    for start in range(0, length, size):
        yield {name: array[:, start : start + size] if name in fixed else array for name, array in inputs.items()}


def _joined(signature: Signature, pieces: list[Arrays]) -> dict[str, np.ndarray]:
    """Outputs of all timesteps one behind the other; of others, and of states, those of the last chunk."""
    last = dict(pieces[-1])
    if len(pieces) > 1:
        for spec in signature.outputs:
            if time_axis(spec, signature) == 1:
                last[spec.name] = np.concatenate([piece[spec.name] for piece in pieces], axis=1)
    return last
