"""Running a model step by step: an artifact in its own runtime, with its states carried from call to call."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from rnnexport.artifact.provenance import require_unaltered
from rnnexport.core.errors import UsageError, in_python_words
from rnnexport.core.inputs import Tensors, selection
from rnnexport.core.signature import BATCH, Signature, time_axis
from rnnexport.targets.base import Repeatable, Runner
from rnnexport.targets.registry import target_of

Stepped = np.ndarray | dict[str, np.ndarray]


@in_python_words()
def open(path: str | Path, provider: str = "cpu", *, tf32: bool = False, allow_unsafe: bool = False) -> Stream:
    """An artifact, ready to be called, and stepped from its initial state. ONNX, TFLite and NumPy need no TensorFlow.

    One of NumPy is a program, which this runs, if it computes and does nothing else.

    Args:
        path: an artifact of rnnexport. One of a model with stateful layers, or a stream, carries its states from step
            to step; any other is called anew each time.
        provider: the execution provider, such as `cpu` or `cuda`.
        tf32: whether a GPU may round the operands of float32 products to 10 bits of mantissa.
        allow_unsafe: whether a program may do more than compute. Only for those that you trust.

    Raises:
        UsageError: nothing is at `path`, or no artifact of rnnexport, or one that was altered, that does more
            than compute, or that its runtime refuses; the format knows no such provider.
        ProviderError: the runtime or the provider is not on this host.
    """
    path = Path(path)
    kind = target_of(path)
    proof = kind.read_proof(path)
    if proof is None:
        raise UsageError(
            f"{path.name} does not say what its states are",
            "an artifact of rnnexport",
            f"export it by rnnexport {kind.name} MODEL",
        )
    require_unaltered(path.name, proof)
    if not allow_unsafe:
        kind.check_code(path)
    signature = proof.provenance.signature
    with ExitStack() as resources:
        runner = resources.enter_context(kind.runner(path, provider, tf32=tf32))
        if isinstance(runner, Repeatable):
            runner = runner.repeated()
        return Stream(signature, runner, resources.pop_all())


class Stream:
    """One batch of sequences on their way through a model. Made by `open`, closed by `close` or by `with`.

    It belongs to one thread at a time. Streams do not know of each other: open the artifact once for each thread.

    Attributes:
        signature: the inputs, outputs and states of a step.
    """

    def __init__(self, signature: Signature, runner: Runner, resources: ExitStack) -> None:
        self.signature = signature
        self._runner: Runner | None = runner
        self._resources = resources
        sequences = [spec.name for spec in signature.inputs if time_axis(spec, signature) == 1]
        self._inputs = Tensors(signature.inputs, "inputs", sequences)
        self._states = Tensors([state.input for state in signature.states], "states")
        self._carried = [(state.input.name, state.output.name) for state in signature.states]
        self._outputs = [spec.name for spec in signature.outputs]
        self._dim = signature.inputs[0].shape[0]
        self._fixed_batch = self._dim if isinstance(self._dim, int) else None
        self._batch: int | None = None
        self._state: dict[str, np.ndarray] = {}
        self.reset()

    def __repr__(self) -> str:
        given, got = (", ".join(map(str, specs)) for specs in (self.signature.inputs, self.signature.outputs))
        count = len(self._carried)
        carried = f", {count} state{'s'[: count > 1]} carried" if count else ""
        return f"<{type(self).__name__} of {given} to {got}{carried}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the runtime. The state can still be read; there are no steps any more."""
        self._runner = None
        self._resources.close()

    @property
    def batch(self) -> int | None:
        """How many rows are carried; None where the batch is open, until the first step tells."""
        return self._batch

    @property
    def state(self) -> Mapping[str, np.ndarray]:
        """The states by the names of their inputs, read-only; empty while `batch` is None. A step makes new arrays."""
        return {name: _read_only(array) for name, array in self._state.items()}

    def step(self, x: ArrayLike | Mapping[str, ArrayLike]) -> Stepped:
        """Go on by one chunk: one timestep or several, as the model allows.

        An array has the dtype of its input, or one that NumPy casts to it safely. Numbers in a list are rounded to it.

        Args:
            x: the input of a model with one, or the inputs by name.

        Returns:
            The output of a model with one, or the outputs by name.

        Raises:
            UsageError: an input is missing or is none of the model's; it has another dtype or shape; ids are outside
                the vocabulary; the batch is not that of the step before; the stream was closed. The state is as it
                was, also after what the runtime itself raises.
        """
        if self._runner is None:
            raise UsageError("a step of a stream that was closed", "an open one", "open the artifact again")
        feed, sizes = self._inputs.checked(x)
        batch = self._fixed_batch or sizes[BATCH]
        if self._batch is None:
            feed |= self.signature.fresh_states(batch)
        elif batch == self._batch or not self._carried:
            feed |= self._state
        else:
            raise UsageError(
                f"a step of {batch} rows after one of {self._batch}",
                f"the {self._batch} rows whose states are carried",
                "call reset() before another batch",
            )
        found = self._runner.run(feed)
        self._batch, self._state = batch, {before: found[after] for before, after in self._carried}
        return found[self._outputs[0]] if len(self._outputs) == 1 else {name: found[name] for name in self._outputs}

    def reset(self, rows: ArrayLike | None = None) -> None:
        """Back to the initial state.

        Args:
            rows: those that begin anew: a mask of the batch, or indices from 0; None for all, after which an open batch
                may be another one. Before the first step of an open batch all rows are new anyhow.

        Raises:
            UsageError: a mask of another length, an index outside the batch, or neither; a state whose rows are not
                those of the batch.
        """
        if rows is None:
            self._batch = self._fixed_batch
            self._state = {} if self._batch is None else self.signature.fresh_states(self._batch)
            return
        odd = next((one.input for one in self.signature.states if one.input.shape[0] != self._dim), None)
        if odd is not None:
            raise UsageError(
                f"reset of some rows, where {odd.name} has {odd.shape[0]} rows",
                "states with a row for each row of the batch",
                "reset all, or restore a snapshot",
            )
        chosen = selection(rows, self._batch)
        if self._batch is not None:
            fresh, state = self.signature.fresh_states(self._batch), self.snapshot()
            for name, array in state.items():
                array[chosen] = fresh[name][chosen]
            self._state = state

    def snapshot(self) -> dict[str, np.ndarray]:
        """A copy of the states by the names of their inputs, for `restore`; empty while `batch` is None."""
        return {name: array.copy() for name, array in self._state.items()}

    def restore(self, state: Mapping[str, ArrayLike]) -> None:
        """Go on from a snapshot: of this stream, or of another one of the model. An open batch becomes that of `state`.

        Raises:
            UsageError: a state is missing or is none of the model's, or has another dtype or shape.
        """
        if not state and self._fixed_batch is None:
            self.reset()
            return
        arrays, sizes = self._states.checked(state)
        self._batch = self._fixed_batch or sizes[BATCH]
        self._state = {name: array.copy() for name, array in arrays.items()}


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
