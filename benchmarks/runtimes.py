"""What runtimes that load ONNX make of recurrences, in the usual form and in the portable one.

    python -m benchmarks.runtimes

prints the table of docs/runtimes.md. Each model is exported twice, and each file verified by its goldens in ONNX
Runtime, tract, OpenVINO and the npm packages of ONNX Runtime, which NODE_PATH has to say the place of. Takes minutes.
"""

from __future__ import annotations

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

import rnnexport
from rnnexport.core.lowering import LoweringRequest
from rnnexport.verification.report import ArtifactReport
from samples.catalog import SAMPLES_BY_NAME

RUNTIMES = ("cpu", "tract", "openvino", "onnxruntime-node", "onnxruntime-web")
FORMS = {"usual": LoweringRequest(), "portable": LoweringRequest(portable=True)}
FEATURES = 3


def _model(build: Callable[[Any], Any], inputs: Any = None) -> Callable[[], Any]:
    """A model of Keras, of one sequence, with random weights and biases."""

    def made() -> Any:
        x = keras.Input((None, FEATURES)) if inputs is None else inputs()
        model = keras.Model(x, build(x))
        rng = np.random.default_rng(5)
        model.set_weights([rng.uniform(-0.7, 0.7, weight.shape) for weight in model.get_weights()])
        return model

    return made


def _ids() -> Any:
    return keras.Input((None,), dtype="int32")


_LAYERS = keras.layers
MODELS: Mapping[str, Callable[[], Any]] = {
    "LSTM": _model(lambda x: _LAYERS.LSTM(4, return_sequences=True)(x)),
    "GRU": _model(lambda x: _LAYERS.GRU(4)(x)),
    "GRU, reset before": _model(lambda x: _LAYERS.GRU(4, reset_after=False)(x)),
    "LSTM, backwards": _model(lambda x: _LAYERS.LSTM(4, return_sequences=True, go_backwards=True)(x)),
    "LSTM, both ways": _model(lambda x: _LAYERS.Bidirectional(_LAYERS.LSTM(4, return_sequences=True))(x)),
    "LSTM, masked": _model(lambda x: _LAYERS.LSTM(4)(_LAYERS.Embedding(9, 3, mask_zero=True)(x)), _ids),
    "GRU, masked": _model(lambda x: _LAYERS.GRU(4, return_sequences=True)(_LAYERS.Masking()(x))),
    "LSTM, softsign": _model(lambda x: _LAYERS.LSTM(4, activation="softsign")(x)),
    "LSTM and a Dense of each step": _model(lambda x: _LAYERS.Dense(2)(_LAYERS.LSTM(4, return_sequences=True)(x))),
    "S-LSTM": SAMPLES_BY_NAME["s_lstm"].build,
    "GRU of several outputs": SAMPLES_BY_NAME["multi_output_gru"].build,
    "attention decoder": SAMPLES_BY_NAME["attention_decoder"].build,
    "3-D convolutional GRU": SAMPLES_BY_NAME["conv3d_gru"].build,
    "three stateful GRUs, one step": SAMPLES_BY_NAME["stateful_gru"].build,
}


def verdict(report: ArtifactReport) -> str:
    """What a runtime makes of a file, in a few words."""
    if report.status == "passed":
        return "right"
    if report.status == "not run":
        return "refused"
    if not report.feeds:
        return "**ends its process**"
    return f"**off by {report.max_abs:.0e}**"


def runtime(report: ArtifactReport) -> str:
    """What ran it, with its version."""
    told = report.settings.get("runtime", f"onnxruntime {version('onnxruntime')}")
    return told.partition(",")[0]


def rows(folder: Path) -> tuple[list[str], list[str]]:
    """(heads, lines): the names of the runtimes, and a line of the table for each model and form."""
    heads, lines = list(RUNTIMES), []
    for name, build in MODELS.items():
        for form, request in FORMS.items():
            exported = rnnexport.export(build(), "onnx", folder / "m.onnx", lowering=request)
            chosen = ", ".join(dict.fromkeys(one.chosen for one in exported.lowering))
            reports = [rnnexport.verify(exported.path, providers=[one]).artifacts[0] for one in RUNTIMES]
            heads = [
                runtime(report) if report.status != "not run" else head
                for head, report in zip(heads, reports, strict=True)
            ]
            lines.append(f"| {name} | {form}: {chosen} | {' | '.join(map(verdict, reports))} |")
            print(lines[-1], file=sys.stderr)
    return heads, lines


def table(heads: list[str], lines: list[str]) -> str:
    """As Markdown."""
    return "\n".join([f"| model | form | {' | '.join(heads)} |", "| --- " * (2 + len(heads)) + "|", *lines])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(table(*rows(Path(folder))))
