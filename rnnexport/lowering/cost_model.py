"""Which of the proven forms is the fastest: a model of what a step costs, or a measurement on this host.

The model, in microseconds a step on one core, calibrated with `python -m benchmarks.forms` (ONNX Runtime 1.31 on an
x86 server core; only the ratios matter):

    Scan, Loop   a share for each operator + matrix products / rate + elements * operators
    native       a share for the step + matrix products / rate + elements * gates * what an activation costs

A product with one row reads its matrix from memory and runs at a third of the rate of one with many. The kernel of
RNN computes its activations one by one, ten times as slowly as those of LSTM and GRU, which use vectors. A native
operator may have more gates than the cell: then it loses at large sizes what it gains at small ones.

Where the batch is dynamic, a form must be good for a single sequence and for a batch: the one with the smallest
worst ratio to the fastest, among those that are never predicted to be slower than the Loop. Where that one is far
from the fastest at one of both, there are two, and the batch decides between them.

Choosing by measurement: the proven forms of a recurrence timed on this host, at one size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from rnnexport.core.signature import BATCH
from rnnexport.ir.recurrence import Recurrence
from rnnexport.ir.terms import LEAVES, Term, below
from rnnexport.lowering.cells import DEFAULT_ACTIVATIONS, Cell
from rnnexport.lowering.differential_check import Feed

# The batches to be fast at where the batch is dynamic.
BATCHES = (1, 32)
_OPERATOR = {"scan": 0.65, "loop": 0.9, "unroll": 0.65}
# A file grows with every step: more than these are unrolled only where that is asked for, or measured to be best.
MOST_UNROLLED_UNASKED = 16
_STEP = 0.4
_CALL = {"native": 8.0, "scan": 20.0, "unroll": 0.0, "loop": 25.0}
_RATE_OF_ONE, _RATE_OF_MANY, _MANY = 8_500.0, 25_000.0, 32
_ELEMENT = 0.0003
# Rows of a sequence that are gathered: for each step, and for each number.
_MOVED_STEP, _MOVED = 0.25, 0.0006
_ACTIVATION = {"LSTM": 0.002, "GRU": 0.002, "RNN": 0.02}
# A form that is predicted to be slower than the Loop by more than this is not chosen.
_SLACK = 1.05
# A linear recurrence is faster in chunks from so many steps on, and up to so many numbers in a state: behind that its
# chunks are in no cache.
CHUNKED_FROM, CHUNKED_TO = 64, 128
# Two forms are worth their weights where the better one of both gains so much.
_GAIN = 1.25
# Seconds that one call of each model takes on the feed, the models interleaved; the median.
Measure = Callable[[Sequence[ir.Model], Feed], list[float]]


@dataclass(frozen=True)
class Work:
    """What one step does.

    Attributes:
        operators: how many.
        products: multiplications of matrix products, for each row of the batch.
        width: the lanes of the widest state.
    """

    operators: int
    products: int
    width: int


def work_of(recurrence: Recurrence) -> Work:
    """The work of a step of a Loop or Scan."""
    inside = [term for term in below(recurrence.roots) if term.op not in LEAVES and (term.of_state or term.of_step)]
    calls = {term.call: term for term in inside}
    width = max((state.before.width or 1 for state in recurrence.states), default=1)
    return Work(len(calls), sum(map(_products, calls.values())), width)


def _products(term: Term) -> int:
    if term.op not in ("MatMul", "Gemm") or term.operands[1].shape is None:
        return 0
    size = 1
    for dim in term.operands[1].shape:
        size *= dim or 1
    return size


def work_cost(form: str, work: Work, batch: int) -> float:
    """Microseconds a step of a form that is made of operators."""
    each = _OPERATOR[form] + _ELEMENT * batch * work.width
    return max(work.operators, 1) * each + batch * work.products / _rate(batch)


def overhead(form: str, steps: int | None) -> float:
    """Microseconds a step for what a form costs once a call; nothing to speak of where the length is dynamic."""
    return _CALL[form] / steps if steps else 0.0


def native_cost(cell: Cell, batch: int, *, masked: bool) -> float:
    """Microseconds a step of the native operator, and of moving the steps that a mask leaves out."""
    size, gates = cell.hidden.lanes.width, len(cell.gates)
    moved = _MOVED_STEP + 2 * size * batch * _MOVED if masked else 0.0
    return _STEP + moved + batch * gates * size * (size / _rate(batch) + _ACTIVATION[cell.op])


def _rate(batch: int) -> float:
    return _RATE_OF_ONE + (_RATE_OF_MANY - _RATE_OF_ONE) * min(1.0, (batch - 1) / (_MANY - 1))


def why_off_cuda(cell: Cell) -> str:
    """Why ONNX Runtime's CUDA kernels do not take the cell; empty where they do."""
    if tuple(function.name for function in cell.functions) != DEFAULT_ACTIVATIONS[cell.op]:
        return "its activations are not the defaults"
    if any(gate.peephole.any() for gate in cell.gates):
        return "it has peepholes"
    if cell.op == "GRU" and not cell.reset_after:
        return "its reset is before the matrix"
    return ""


@dataclass(frozen=True)
class Choice:
    """A form, and why.

    Attributes:
        form: its name.
        why: in words.
        other: the form that takes its place behind a batch of `most`; empty where one form is for all.
        most: the largest batch that `form` is for.
    """

    form: str
    why: str
    other: str = ""
    most: int = 0


def choose(costs: Mapping[str, Mapping[int, float]], provider: str, off_cuda: str) -> Choice:
    """The form that is best at the batches.

    Args:
        costs: microseconds a step, by form and batch; `loop` is among the forms.
        provider: the execution provider to be fast on.
        off_cuda: why the native form does not run on a GPU; empty where it does.
    """
    if provider == "cuda":
        return _for_cuda(list(costs), off_cuda)
    batches = list(next(iter(costs.values())))
    loop = costs["loop"]
    allowed = {form: cost for form, cost in costs.items() if all(cost[at] <= _SLACK * loop[at] for at in batches)}
    fastest = {at: min(cost[at] for cost in allowed.values()) for at in batches}
    form = min(allowed, key=lambda name: max(allowed[name][at] / fastest[at] for at in batches))
    return Choice(form, _told(form, costs, batches))


def split(choice: Choice, costs: Mapping[str, Mapping[int, float]]) -> Choice:
    """The native operator for one side of some batch and a Scan for the other, where that gains enough on `choice`."""
    if not {"native", "scan"} <= set(costs) or set(costs["native"]) != set(BATCHES) or choice.form == "loop":
        return choice
    low, high = BATCHES
    small, large = (min(("native", "scan"), key=lambda form: costs[form][at]) for at in BATCHES)
    gain = max(costs[choice.form][at] / costs[form][at] for at, form in ((low, small), (high, large)))
    if small == large or gain < _GAIN:
        return choice
    # Both grow about evenly: they cost the same where the line between the two differences is 0.
    first, last = (costs[large][at] - costs[small][at] for at in BATCHES)
    most = low + int((high - low) * first / (first - last))
    return Choice(
        small, f"up to a batch of {most}, {large} behind it: {_told(small, costs, list(BATCHES))}", large, most
    )


def in_chunks(choice: Choice) -> Choice:
    """A Scan that is in chunks where that is faster."""
    sizes = f"in chunks from {CHUNKED_FROM} steps on where a state has at most {CHUNKED_TO} numbers"
    return Choice(choice.form, f"{choice.why}, {sizes}", "chunked")


def _for_cuda(forms: list[str], off_cuda: str) -> Choice:
    """On a GPU what is launched is the time: one kernel for all steps where there is one, else few operators a step."""
    if "native" in forms and not off_cuda:
        return Choice("native", "the CUDA kernel takes it")
    best = next(form for form in ("scan", "unroll", "loop") if form in forms)
    return Choice(best, f"the CUDA kernel does not take it: {off_cuda}" if off_cuda else "it has no native form")


def _told(form: str, costs: Mapping[str, Mapping[int, float]], batches: list[int]) -> str:
    def numbers(name: str) -> str:
        return "/".join(f"{costs[name][at]:.3g}" for at in batches)

    others = ", ".join(f"{name} {numbers(name)}" for name in costs if name != form)
    at = " and ".join(map(str, batches))
    return f"predicted {numbers(form)} us a step at batch {at} ({others})"


def resized(model: ir.Model, feed: Feed, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """The feed at another batch and length, its values repeated, so that ids stay in their vocabulary.

    What the model fixes stays as it is.
    """
    batch, steps = size
    found = {}
    for value in model.graph.inputs:
        wanted = [dim if isinstance(dim, int) else batch if dim == BATCH else steps for dim in _dims(value)]
        found[str(value.name)] = np.resize(feed[str(value.name)], wanted)
    return found


def _dims(value: ir.Value) -> list[int | str | None]:
    return [dim.value if isinstance(dim, ir.SymbolicDim) else dim for dim in value.shape or ()]


def size_text(model: ir.Model, size: tuple[int, int]) -> str:
    """The size that is measured, in words: what the model fixes can't be chosen."""
    names = {dim for value in model.graph.inputs for dim in _dims(value) if not isinstance(dim, int)}
    parts = [
        f"batch {size[0]}" if BATCH in names else "the model's own batch",
        f"length {size[1]}" if names - {BATCH} else "its own length",
    ]
    return " and ".join(parts)


def measured(models: Mapping[str, ir.Model], feed: Feed, at: str, measure: Measure) -> Choice:
    """The fastest of the models, by measurement; `at` tells the size in words."""
    seconds = dict(zip(models, measure(list(models.values()), feed), strict=True))
    best = min(seconds, key=lambda name: seconds[name])
    others = ", ".join(f"{name} {1e6 * value:.0f}" for name, value in seconds.items() if name != best)
    return Choice(best, f"measured at {at}: {1e6 * seconds[best]:.0f} us ({others})")
