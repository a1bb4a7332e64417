"""Reports as verification makes them, from arrays of a fixed generator: the values are measured, not made up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from rnnexport.artifact.goldens import Golden
from rnnexport.artifact.provenance import Provenance
from rnnexport.core.lowering import LoweringDecision
from rnnexport.core.placement import PlacedNode, Placement
from rnnexport.core.run_record import RunRecord
from rnnexport.core.signature import Signature, StateSpec, TensorSpec
from rnnexport.targets.base import Runner
from rnnexport.verification.compare import Wanted, compare_outputs, failed
from rnnexport.verification.entry_point import Entry
from rnnexport.verification.report import ArtifactReport, FeedReport, Located, Problem, Report
from rnnexport.verification.rollout import Steps, follow
from rnnexport.verification.tolerance import Override, Tolerance, Tolerances

SIZES = {"batch 3, length 5": (3, 5), "batch 2, length 1": (2, 1), "batch 4, length 40": (4, 40), "padding": (2, 11)}
HOSTILE = "a<b>&\"'\x00\x1b]0;x\x07\u202e\ud800]]>--><script>alert(1)</script>"
LOWERED = LoweringDecision(
    name="encoder/lstm",
    what="h, c of 16 units, forward, over time of x[batch, time, 8]: an LSTM with hard_sigmoid gates",
    chosen="native",
    why="the fastest of the proven forms on cpu: LSTM in 0.4 of the time of Scan",
    proven=("native", "scan", "loop"),
    refused={"unroll": "the length is dynamic"},
)
RUN = RunRecord(
    started="2026-11-30T09:00:00+00:00",
    seconds=4.25,
    host="builder-7",
    system="Linux-6.1-x86_64",
    python="3.11.7",
    versions={"onnxruntime": "1.31.1", "numpy": "2.4.6"},
    command=("rnnexport", "verify", "m.onnx"),
)
STATE = TensorSpec("state_gru_00", "float32", (1, 4))
SIGNATURE = Signature(
    inputs=(TensorSpec("ids", "int32", ("batch", "time"), high=50), TensorSpec("x", "float32", ("batch", "time", 8))),
    outputs=(
        TensorSpec("sequence", "float32", ("batch", "time", 6)),
        TensorSpec("logits", "float32", ("batch", 5)),
        TensorSpec("label", "int32", ("batch",)),
    ),
    states=(StateSpec("gru", STATE, replace(STATE, name="next_state_gru_00"), np.zeros((1, 4), "float32")),),
)
PROVENANCE = Provenance(
    target="onnx",
    source={"name": "model.keras", "sha256": "9f86d081884c7d659a2feaa0c55ad015" * 2, "writer": "Keras 3.15.1"},
    keras_api="keras",
    options={"opset": 21, "batch": None, "timesteps": None, "lowering": "auto"},
    versions={"tensorflow": "2.21.0", "keras": "3.15.1", "tf2onnx": "1.17.0", "onnx": "1.23.2", "numpy": "2.4.6"},
    signature=SIGNATURE,
    tolerance={"rtol": 1e-5, "atol": 2e-6},
    semantics=("reset_after is false, as the file says.",),
    computed_in={"float32": ("encoder", "head")},
    lowering=(LOWERED,),
)
LOCATED = Located(
    sentence="Recurrence encoder/lstm departs first: state h at timestep 3, unit 7, is 0.412 and not 0.127.",
    columns=("value", "found in", "largest error", "allowed", "first timestep"),
    rows=(
        ("embedding", "embedding/Gather", "0", "2e-06", "-"),
        ("encoder/lstm h", "encoder/lstm/while", "2.8e-01", "3.3e-06", "3"),
        ("sequence", "sequence", "2.8e-01", "3.3e-06", "3"),
    ),
)


def feeds(fault: float = 0.0, *, truth: bool = True, nan: bool = False, seed: int = 7) -> tuple[FeedReport, ...]:
    """Every feed compared: rounding that grows with time, and `fault` from timestep 3 on where it is not 0."""
    rng = np.random.default_rng(seed)
    return tuple(_feed(rng, label, *size, fault, truth, nan) for label, size in SIZES.items())


def _feed(
    rng: np.random.Generator, label: str, batch: int, steps: int, fault: float, truth: bool, nan: bool
) -> FeedReport:
    exact = np.tanh(rng.standard_normal((batch, steps, 6)))
    growth = np.sqrt(np.arange(1, steps + 1))[None, :, None] * 3e-8
    source = (exact + growth * rng.standard_normal(exact.shape)).astype("float32")
    found = (exact + growth * rng.standard_normal(exact.shape)).astype("float32")
    if fault:
        found[:, 3:, 2] += np.float32(fault)
    if nan:
        found[0, -1, 0] = np.nan
    head = np.linspace(-1, 1, 30).reshape(6, 5)
    labels = np.argmax(exact[:, -1] @ head, axis=-1).astype("int32")
    wanted = {
        "sequence": Wanted(source, exact if truth else None, time_axis=1),
        "logits": Wanted((source[:, -1] @ head.astype("float32")), exact[:, -1] @ head if truth else None),
        "label": Wanted(labels),
    }
    given = {"sequence": found, "logits": found[:, -1] @ head.astype("float32"), "label": labels}
    return FeedReport(label, compare_outputs(given, wanted, Tolerances().of))


def followed(seed: int, steps: int = 450) -> FeedReport:
    """A long sequence, a call a step, as it is measured: 3 steps a point."""
    outputs = (TensorSpec("sequence", "float32", ("batch", "time", 6)), TensorSpec("logits", "float32", ("batch", 5)))
    signature = Signature(SIGNATURE.inputs, outputs, SIGNATURE.states)
    rng = np.random.default_rng(seed)

    def near(truth: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: (one + 3e-8 * rng.standard_normal(one.shape)).astype("float32") for name, one in truth.items()}

    def exact() -> dict[str, np.ndarray]:
        values = np.tanh(rng.standard_normal((3, 1, 6)))
        return {"sequence": values, "logits": values[:, 0, :5], "next_state_gru_00": values[0, :, :4]}

    truths = [exact() for _ in range(steps)]
    calls = [Golden(f"call {at}", {}, near(truth), truth, carries=at > 0) for at, truth in enumerate(truths)]
    given = [near(truth) for truth in truths]
    given[200]["sequence"][1, 0, 2] += np.float32(1e-6)  # one error stands out
    entry = Entry(cast("Runner", _Given(iter(given))), signature, Tolerances())
    return follow(entry, Steps(steps, 1, lambda: calls))


@dataclass
class _Given:
    """A runner that gives what was made."""

    outputs: Iterator[dict[str, np.ndarray]]

    def run(self, feed: object) -> dict[str, np.ndarray]:
        return next(self.outputs)


PASSED = ArtifactReport(
    artifact="build/encoder.onnx",
    target="onnx",
    provider="cpu",
    status="passed",
    truth="goldens",
    tolerances=Tolerances(),
    feeds=feeds(),
    provenance=PROVENANCE,
)
TFLITE = replace(
    PASSED,
    artifact="build/encoder.tflite",
    target="tflite",
    feeds=feeds(truth=False, seed=8),
    no_truth="the cell is custom code, which has no float64 form",
    tolerances=Tolerances(Tolerance(2e-5, 4e-6), Override(atols={"logits": 1e-4})),
    provenance=replace(
        PROVENANCE, target="tflite", lowering=(), computed_in={"float16": ("head",), "float32": ("rnn",)}
    ),
)
FOLLOWED = replace(PASSED, artifact="build/stream.onnx", feeds=(*feeds(), followed(seed=11)))
WRONG = replace(
    PASSED,
    artifact="build/decoder.onnx",
    status="mismatch",
    feeds=feeds(0.285, seed=9),
    problems=(
        Problem(
            "precision", "output sequence is 961234.5 times as far from the float64 truth as its source is (at most 8)"
        ),
    ),
    located=LOCATED,
)
NAN = replace(PASSED, artifact="build/nan.onnx", status="mismatch", feeds=feeds(nan=True, seed=10))
BOUNDARY = replace(
    PASSED,
    artifact="build/boundary.onnx",
    status="mismatch",
    feeds=(),
    problems=(Problem("boundary", "outputs are ['logits', 'sequence'], not ['sequence', 'logits', 'label']"),),
)
RAISED = replace(
    PASSED,
    artifact="build/raised.onnx",
    status="mismatch",
    feeds=(
        FeedReport("batch 3, length 5", (failed("sequence", "the runtime raised Fail: a batch of 2 is baked in"),)),
    ),
)
NOT_RUN = ArtifactReport(
    artifact="build/encoder.onnx",
    target="onnx",
    provider="cuda",
    status="not run",
    truth="goldens",
    tolerances=Tolerances(),
    problems=(Problem("run", "no execution provider cuda on this host; expected one of cpu; install onnxruntime-gpu"),),
    settings={"tf32": "off"},
    provenance=PROVENANCE,
)
PLACED = replace(
    PASSED,
    provider="openvino",
    settings={"precision": "f32", "tf32": "off"},
    placement=Placement(
        (
            PlacedNode("encoder/lstm/LSTM", "LSTM", "openvino", 4, True),
            PlacedNode("decoder/while/body/MatMul", "MatMul", "cpu", 57, True),
            PlacedNode("head/MatMul", "MatMul", "openvino", 4, False),
            PlacedNode("head/Softmax", "Softmax", "cpu", 4, False),
        )
    ),
)
STRAYED = replace(
    PLACED,
    artifact="build/strayed.onnx",
    status="not run",
    problems=(
        Problem(
            "placement",
            "50% of the recurrent nodes ran on openvino, not 100%: decoder/while/body/MatMul (MatMul) on cpu",
        ),
    ),
)
GOOD = Report((PASSED, TFLITE))
LONG = Report((FOLLOWED,))
BAD = Report((PASSED, TFLITE, PLACED, WRONG, NAN, BOUNDARY, RAISED, NOT_RUN))
ABSENT = Report((PASSED, NOT_RUN))
EMPTY = Report(())
MANY = Report((*tuple(replace(PASSED, artifact=f"build/model_{k:02}.onnx") for k in range(49)), WRONG))


def hostile() -> Report:
    """Names that no page, no XML and no terminal should take at their word."""
    spec = replace(PROVENANCE, source={"name": HOSTILE}, semantics=(HOSTILE,), options={HOSTILE: HOSTILE})
    feed = FeedReport(HOSTILE, (failed(HOSTILE, HOSTILE),))
    located = Located(HOSTILE, (HOSTILE,), ((HOSTILE,),))
    one = replace(
        WRONG, artifact=HOSTILE, feeds=(feed,), problems=(Problem("values", HOSTILE),), located=located, provenance=spec
    )
    measured = tuple(
        replace(call, outputs=tuple(replace(output, name=HOSTILE) for output in call.outputs)) for call in WRONG.feeds
    )
    return Report(
        (one, replace(WRONG, feeds=measured), replace(NOT_RUN, artifact=HOSTILE, problems=(Problem("run", HOSTILE),)))
    )
