"""A source run in float64 by two readings of its graph, and whether that run can be the truth.

1. The NumPy program, made by the converter that artifacts are made by.
2. The traced graph in wide types, run by TensorFlow: it shares the trace with the first, and no converter.

Where they agree the first is the truth. Where they don't, the converter is at fault and the second is the truth, unless
eager Keras speaks for the first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rnnexport.artifact.goldens import Arrays, Golden
from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import Signature
from rnnexport.reference.certainty import beyond, largest_excess
from rnnexport.reference.witness import Allowed, where_numbers
from rnnexport.verification.tolerance import Tolerance

if TYPE_CHECKING:
    from rnnexport.emit.numpy.oracle import Oracle, Rounds
    from rnnexport.ir.from_onnx import Converted, NotConverted
    from rnnexport.source.double import Double
    from rnnexport.source.trace import TracedModel

# The share of values at which the source may be further from the truth than rounding was seen to move it.
_LUCK = 1e-3


class Float64Run:
    """A model in float64, or why there is none.

    Args:
        traced: the model; None where `no_truth` says why there is none.
        no_truth: why it has no float64 run.
        converted: the model in ONNX, where that is there already.

    Attributes:
        no_truth: why there is no float64 run, as part of a sentence; empty where there is one.
        no_witness: why that run is of one reading alone; empty where two agree, or there is none.
        fault: where they differ, and which operator makes it: the converter does not compute what the source does.
    """

    def __init__(
        self, traced: TracedModel | None, no_truth: str = "", converted: Converted | NotConverted | None = None
    ) -> None:
        self.no_truth = no_truth
        self.no_witness = ""
        self.fault = ""
        self._traced = traced
        self._program: Oracle | None = None
        self._graph: Double | None = None
        if traced is not None and not no_truth:
            self._open(traced, converted)

    def _open(self, traced: TracedModel, converted: Converted | NotConverted | None) -> None:
        from rnnexport.emit.numpy.oracle import NoOracle, oracle
        from rnnexport.source.double import NoDouble, double

        program, graph = oracle(traced, converted), double(traced)
        self._program = None if isinstance(program, NoOracle) else program
        self._graph = None if isinstance(graph, NoDouble) else graph
        self._lacking(*(one.reason for one in (program, graph) if isinstance(one, NoOracle | NoDouble)))

    def _lacking(self, *reasons: str) -> None:
        """A reading is missing, or is none any more."""
        told = "; ".join(dict.fromkeys(reasons))
        if self._program is None and self._graph is None:
            self.no_truth = self.no_truth or "; ".join(filter(None, (self.no_witness, told)))
            self.no_witness = ""
        else:
            self.no_witness = self.no_witness or told

    @property
    def nbytes(self) -> int:
        """The bytes of the weights of the program, in the dtype of the source; 0 where there is none."""
        return self._program.nbytes if self._program else 0

    def program(self) -> Float64Run:
        """The program alone; nothing where there is none."""
        run = Float64Run(None, self.no_truth or ("" if self._program else "there is no program"))
        run._program = self._program
        return run

    def rounding(self, rounds: Rounds) -> Float64Run:
        """The program alone, in an arithmetic that rounds; nothing where there is none."""
        run = self.program()
        run._program = self._program and self._program.rounding(rounds)
        return run

    def run(self, feed: Arrays, expected: Arrays) -> dict[str, np.ndarray]:
        """The outputs for `feed`, in float64 if they are real in `expected`; nothing where it can't be run."""
        outputs = self._agreed(feed, expected)
        if self.no_truth:
            return {}
        whole = {name: outputs[name] for name, array in expected.items() if array.dtype.kind in "biu"}
        floats = {name: array for name, array in expected.items() if is_real(array)}
        if any(outputs[name].shape != array.shape for name, array in floats.items()):
            self.no_truth = "outputs have other shapes in float64: one of them counts steps of a real number"
            return {}
        # Where the source is not finite its own value is all there is to compare with.
        return whole | {name: np.where(np.isfinite(array), outputs[name], array) for name, array in floats.items()}

    def truth(self, feed: Arrays, expected: Arrays) -> dict[str, np.ndarray]:
        """The float64 outputs for `feed` of those that are real in `expected`; nothing where it can't be run."""
        return {name: array for name, array in self.run(feed, expected).items() if is_real(expected[name])}

    def _agreed(self, feed: Arrays, expected: Arrays) -> Arrays:
        """What both readings give, or the one that is right."""
        found = self._of_program(feed)
        wanted = self._of_graph(feed)
        graph = self._graph
        if self._traced is None or graph is None or self._program is None:
            return wanted or found
        allowed = Allowed(self._traced, graph, feed, wanted)
        if not (where := allowed.disagreement(where_numbers(found, wanted, expected))):
            return found
        off, program_off = _off(expected, wanted), _off(expected, found)
        if off > max(1.0, program_off):
            self._graph = None
            self._lacking(f"the graph in float64 is {off:.1f} times the tolerance from eager Keras")
            return found
        from rnnexport.reference.culprit import culprit

        self.fault = f"{culprit(self._traced, graph, feed)}, in float64 {where}"
        self.no_witness = f"the converter is at fault at {self.fault}"
        self._program = None
        return wanted

    def _of_program(self, feed: Arrays) -> Arrays:
        try:
            return self._program.run(feed) if self._program else {}
        except ConversionError as error:
            self._program = None
            self._lacking(error.found)
            return {}

    def _of_graph(self, feed: Arrays) -> Arrays:
        try:
            return self._graph.run(feed) if self._graph else {}
        except ConversionError as error:
            self._graph = None
            self._lacking(error.found)
            return {}


def with_truth(goldens: tuple[Golden, ...], signature: Signature, run: Float64Run) -> tuple[Golden, ...]:
    """The goldens with their float64 truth; with none at all where one of them has none."""
    found: list[Golden] = []
    for golden in goldens:
        feed = dict(golden.feed)
        if golden.carries:
            # A chunk goes on from the float64 states: rounding is not carried into the truth.
            before = {**found[-1].expected, **found[-1].truth}
            feed |= signature.carried(before)
        found.append(replace(golden, truth=run.truth(feed, golden.expected)))
    return goldens if run.no_truth else tuple(found)


def is_real(array: np.ndarray) -> bool:
    """Whether an output has a truth that is nearer than the source's own value."""
    return np.issubdtype(array.dtype, np.floating)


def doubt(goldens: tuple[Golden, ...], tolerance: Tolerance) -> str:
    """Why the float64 run can't be the truth: what it reads was traced from the source, and may be something else."""
    pairs = [(golden.expected[name], array) for golden in goldens for name, array in golden.truth.items()]
    if any(np.any(np.isfinite(expected) & ~np.isfinite(array)) for expected, array in pairs):
        return "the float64 run gives no number where eager Keras gives one"
    off = [beyond(golden, tolerance) for golden in goldens if golden.truth]
    if sum(one.count for one in off) <= max(1.0, _LUCK * sum(array.size for _, array in pairs)):
        return ""  # a value on an edge may fall to one side in the source, and to the other in all other runs
    return f"the float64 run is {max(one.worst for one in off):.1f} times the tolerance from eager Keras"


def _off(expected: Arrays, found: Arrays) -> float:
    """How far a reading is from eager Keras, in units of the usual tolerance; infinite where it lacks a number."""
    floats = {name: array for name, array in expected.items() if is_real(array)}
    if any(
        found[name].shape != array.shape or np.any(np.isfinite(array) & ~np.isfinite(found[name]))
        for name, array in floats.items()
    ):
        return np.inf
    return largest_excess(floats, {name: found[name] for name in floats})
