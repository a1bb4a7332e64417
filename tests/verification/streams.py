"""A stream in NumPy and the ways to make it wrong: two layers, three states of one size that start at numbers of their
own. No two of batch, length, inputs and units are the same.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rnnexport.artifact.goldens import Golden, Recipe
from rnnexport.core.signature import Signature, StateSpec, TensorSpec
from rnnexport.targets.base import BATCH_ARGUMENT, INITIAL_STATE, SIGNATURE, STEP, Kernels, RuntimeTensor
from rnnexport.verification.feeds import chunks, feeds
from rnnexport.verification.run_artifact import Expectation, verify_artifact

I, H, K = 13, 15, 11  # noqa: E741
FIRST, RANDOM = "batch 4, time 5, scale 1 from the initial state", "batch 5, time 9, scale 1"
STATES = ("rnn_00", "lstm_00", "lstm_01")
BEFORE = {stem: f"state_{stem}" for stem in STATES}
AFTER = {stem: f"next_state_{stem}" for stem in STATES}
_RNG = np.random.default_rng(3)
START = {stem: (_RNG.standard_normal((1, H)) * 0.5).astype("float32") for stem in STATES}
WEIGHTS = {
    name: (_RNG.standard_normal(shape) / np.sqrt(shape[0])).astype("float32")
    for name, shape in {"W": (I, H), "U": (H, H), "V": (H, 4 * H), "R": (H, 4 * H), "O": (H, K)}.items()
}
BIASES = {name: _RNG.standard_normal(WEIGHTS[name].shape[1]).astype("float32") for name in ("U", "R", "O")}


def signature(batch="batch", time="time", start=None):
    """Of the chunks of the stream."""
    states = []
    for stem in STATES:
        layer, shape = stem.rpartition("_")[0], (batch, H)
        first = np.broadcast_to((start or START)[stem], (1 if batch == "batch" else batch, H))
        spec = TensorSpec(BEFORE[stem], "float32", shape)
        states.append(StateSpec(layer, spec, TensorSpec(AFTER[stem], "float32", shape), first))
    outputs = TensorSpec("y", "float32", (batch, time, H)), TensorSpec("last", "float32", (batch, K))
    return Signature((TensorSpec("x", "float32", (batch, time, I)),), outputs, tuple(states))


def whole(boundary):
    """The same of whole sequences: no states."""
    return Signature(boundary.inputs, boundary.outputs)


def _sigmoid(array):
    return 1 / (1 + np.exp(-array))


def right(feed):
    """A chunk: a simple layer under an LSTM; every output, and the states after it."""
    s_BH, h_BH, c_BH = (feed[BEFORE[stem]] for stem in STATES)
    steps = []
    for x_BI in np.moveaxis(feed["x"], 1, 0):
        s_BH = np.tanh(x_BI @ WEIGHTS["W"] + s_BH @ WEIGHTS["U"] + BIASES["U"])
        gates = s_BH @ WEIGHTS["V"] + h_BH @ WEIGHTS["R"] + BIASES["R"]
        i_BH, f_BH, g_BH, o_BH = np.split(gates, 4, axis=1)
        c_BH = _sigmoid(f_BH) * c_BH + _sigmoid(i_BH) * np.tanh(g_BH)
        h_BH = _sigmoid(o_BH) * np.tanh(c_BH)
        steps.append(h_BH)
    after = dict(zip(AFTER.values(), (s_BH, h_BH, c_BH), strict=True))
    return {"y": np.stack(steps, axis=1), "last": h_BH @ WEIGHTS["O"] + BIASES["O"], **after}


def fresh(rows):
    """The states of a sequence that begins."""
    return {BEFORE[stem]: np.repeat(START[stem], rows, axis=0) for stem in STATES}


def sequences(feed):
    """What `serving_default` of a stream does."""
    found = right({**feed, **fresh(len(feed["x"]))})
    return {name: found[name] for name in ("y", "last")}


def initial(feed):
    """What `initial_state` does where the batch is open."""
    return fresh(int(feed[BATCH_ARGUMENT]))


@dataclass
class Artifact:
    """A target and its runner in one: what each signature computes, the main one under the empty name."""

    boundary: Signature
    computes: dict
    boundaries: dict = field(default_factory=dict)
    name: str = "made-up"
    providers: tuple[str, ...] = ("cpu",)
    input_name: object = str
    ordered: bool = False
    settings: dict = field(default_factory=dict)

    def kernels(self, path):
        return Kernels()

    @property
    def entries(self):
        return tuple(name for name in self.computes if name)

    @property
    def inputs(self):
        return tuple(RuntimeTensor(one.name, one.dtype, one.shape) for one in self.boundary.all_inputs)

    @property
    def outputs(self):
        return tuple(RuntimeTensor(one.name, one.dtype, one.shape) for one in self.boundary.all_outputs)

    def at(self, entry):
        return replace(self, boundary=self.boundaries[entry], computes={"": self.computes[entry]})

    @contextmanager
    def runner(self, path, provider, *, tf32=False):
        yield self

    def run(self, feed):
        return self.computes[""]({name: np.asarray(array) for name, array in feed.items()})

    def placement(self):
        return None


def onnx_like(compute=right, **sizes):
    """An artifact of a format without signatures."""
    return Artifact(signature(**sizes), {"": compute})


def saved_model_like(stream=True, compute=right, **entries):
    """An artifact of a format with signatures; `entries` says what another one computes, None for one it has not."""
    boundary = signature()
    start = Signature((TensorSpec(BATCH_ARGUMENT, "int32", ()),), tuple(state.input for state in boundary.states))
    computes = {"": compute, STEP: compute, SIGNATURE: sequences if stream else compute, INITIAL_STATE: initial}
    computes = {name: entries.get(name, function) for name, function in computes.items()}
    known = {STEP: boundary, SIGNATURE: whole(boundary) if stream else boundary, INITIAL_STATE: start}
    return Artifact(boundary, {name: one for name, one in computes.items() if one is not None}, known)


def goldens(boundary, compute=right, count=7):
    """What the source gave, chunks that carry last."""
    made, before = [], {}
    for feed in [*list(feeds(boundary))[:count], *chunks(boundary)]:
        carried = {BEFORE[stem]: before[AFTER[stem]] for stem in STATES} if feed.carries else {}
        before = compute({**feed.arrays, **carried})
        made.append(Golden(feed.label, feed.arrays, before, recipe=Recipe(0, feed.index), carries=feed.carries))
    return made


def sequence_goldens(boundary, count=3):
    """What the source gave for whole sequences, from the signature of that name."""
    ones = list(feeds(whole(boundary)))[:count]
    return [Golden(one.label, one.arrays, sequences(one.arrays), entry=SIGNATURE) for one in ones]


def verified(artifact, calls=None, stream=True, **changes):
    """The report of an artifact: by default a stream, and its own goldens."""
    boundary = artifact.boundary
    shown = goldens(boundary) if calls is None else calls
    expectation = Expectation(boundary, shown, sequence=whole(boundary) if stream else None)
    return verify_artifact(artifact, Path("m"), replace(expectation, **changes))


def labels(report):
    """Of all calls."""
    return [feed.label for feed in report.feeds]


def wrong(report):
    """The outputs that fail, by the label of the call."""
    return {feed.label: {one.name for one in feed.outputs if not one.passed} for feed in report.feeds if feed.outputs}


def failing(report):
    """The labels of the calls that fail."""
    return [label for label, names in wrong(report).items() if names]


def problem(report, label):
    """The first problem of a call."""
    return next(one.problem for feed in report.feeds if feed.label == label for one in feed.outputs if not one.passed)
