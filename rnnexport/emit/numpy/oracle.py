"""The float64 truth of a model: its NumPy program, run in float64.

It has the model's weights and equations, and no rounding of its source: where Keras rounds to float32 or float16 after
every operation, this rounds to float64, and a number such as 0.2 is what the source says, not what float32 holds of it.
It shares no kernel with Keras nor with any runtime. So the two differ by what rounding does to the model, and how far
an artifact may be from either can be told from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from rnnexport.conversion.convert import conversion
from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.core.signature import Signature, TensorSpec
from rnnexport.emit.numpy.loading import Squares, Wide, opened, wide
from rnnexport.emit.numpy.program import write_module
from rnnexport.ir.from_onnx import Converted, NotConverted
from rnnexport.source.float64_safety import obstacle
from rnnexport.source.trace import TracedModel

_WIDE = dict.fromkeys(("float16", "bfloat16", "float32"), "float64") | {"complex64": "complex128"}


class Rounds(Protocol):
    """An arithmetic for a program."""

    def namespace(self) -> Any:
        """What stands for NumPy."""

    def array(self, values: np.ndarray, squares: Squares | None = None) -> np.ndarray:
        """The values as an array of that arithmetic; `squares` is a place for those of a weight."""


@dataclass(frozen=True)
class NoOracle:
    """There is no float64 truth of a model.

    Attributes:
        reason: why, as part of a sentence: `a number may equal a constant once it is rounded`.
    """

    reason: str


@dataclass(frozen=True, eq=False)
class Oracle:
    """A model in float64. Of its large weights it holds no copy in float64.

    Attributes:
        name: of the source, for messages.
        signature: what goes in and comes out, in the dtypes of the source.
    """

    name: str
    signature: Signature
    _program: Any
    _text: str
    _weights: Wide

    @property
    def nbytes(self) -> int:
        """The bytes of its weights, in the dtype of the source."""
        return self._weights.nbytes

    def rounding(self, rounds: Rounds) -> Oracle:
        """The same model in an arithmetic that rounds."""
        layers = self._weights.layers(rounds.array)
        return replace(self, _program=opened(self._text, layers, np.float64, rounds.namespace()))

    def run(self, feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The truth for one feed.

        Args:
            feed: an array of each input and state by its name, in the dtype of the signature.

        Returns:
            The outputs and the states after the call by name. What is of a floating dtype in the signature is float64
            here (complex is complex128); the rest has the dtype of the signature.

        Raises:
            ConversionError: the program can't run this feed, such as a length that the model does not take.
        """
        given = {spec.name: np.asarray(feed[spec.name]).astype(_wide(spec)) for spec in self.signature.all_inputs}
        inputs = [given[spec.name] for spec in self.signature.inputs]
        before = {state.input.name: given[state.input.name] for state in self.signature.states}
        with ForeignCode(self._not_run):
            outputs, after = self._program.step(*inputs, before)
        found = outputs | {state.output.name: after[state.input.name] for state in self.signature.states}
        return {spec.name: self._checked(spec, wide(found[spec.name])) for spec in self.signature.all_outputs}

    def _checked(self, spec: TensorSpec, found: Any) -> np.ndarray:
        """The array; a number that was rounded on its way is no truth."""
        array = np.asarray(found)
        wide = _wide(spec)
        if wide != spec.dtype and array.dtype != wide:
            raise ConversionError(
                f"the float64 program of {self.name} gives {spec.name} in {array.dtype}", wide, "report this model"
            )
        return array.astype(wide, casting="same_kind", copy=False)

    def _not_run(self, error: BaseException) -> ConversionError:
        return ConversionError(
            f"the float64 program of {self.name} raises {reason(error)}",
            "a program that runs in float64 as its source does in float32",
            "check that the model runs at this length; --debug shows the traceback",
        )


def oracle(traced: TracedModel, converted: Converted | NotConverted | None = None) -> Oracle | NoOracle:
    """The model in float64, or why there is none.

    Args:
        traced: the model as `trace` gives it with `unroll=False`; any batch and length that it takes can be run.
        converted: the model in ONNX, where that is there already.
    """
    if problem := obstacle(traced.graph_def()):
        return NoOracle(problem)
    try:
        # A fault of this package is no reason to refuse an artifact that needs no program: the report tells of it.
        with ForeignCode(_unwritten):
            found = converted or conversion(traced)
            if isinstance(found, NotConverted):
                return NoOracle(found.error.found)
            program = write_module(found.program, traced.name)
            weights = Wide(program.arrays)
            opened_program = opened(program.text, weights.layers(_as_it_is), np.float64)
    except ConversionError as error:
        return NoOracle(error.found)
    return Oracle(traced.name, traced.signature, opened_program, program.text, weights)


def _as_it_is(array: np.ndarray, squares: Squares) -> np.ndarray:
    return array


def _unwritten(error: BaseException) -> ConversionError:
    return ConversionError(f"writing the program failed with {reason(error)}", "a program", "report this model")


def _wide(spec: TensorSpec) -> str:
    return _WIDE.get(spec.dtype, spec.dtype)
