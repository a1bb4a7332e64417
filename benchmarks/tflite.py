"""What each form of a TFLite file costs: to convert, to keep, to run; beside tf_keras' own fused file and onnx2tf's.

    python -m benchmarks.tflite [--steps N ...] [--units N] [--cell NAME] [--quick] [--json FILE]

One layer at batch 1, with the same weights in every file. Each file is compared with the eager model first, on 5
calls: what is wrong has no time, and one of ours ends with exit code 1. Conversion is what the converter takes, without
the proof. onnx2tf, which makes a file of our ONNX, is there where it is installed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from rich.console import Console
from rich.table import Table

import rnnexport
from benchmarks.host import describe_host
from benchmarks.timing import Budget, interleaved_medians
from rnnexport.api.export import load
from rnnexport.cli.session import captured_stderr
from rnnexport.core.forms import FORMS, TFLiteForm
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.trace import Graphs, trace
from rnnexport.targets.tflite.export import converted
from rnnexport.targets.tflite.runner import TFLiteRunner

FEATURES, CALLS, WRONG_FROM = 16, 5, 1e-4
THEIRS, THROUGH_ONNX = "tf_keras", "onnx2tf"


@dataclass(frozen=True)
class Figure:
    """One form at one length: seconds of the conversion and of a call, bytes of the file, largest error."""

    convert: float
    size: int
    error: float
    seconds: float | None = None


def model_of(cell: str, units: int) -> Any:
    """A layer of tf_keras, the one Keras whose own file has the fused operator."""
    x = tf_keras.Input((None, FEATURES), batch_size=1, name="x")
    model = tf_keras.Model(x, getattr(tf_keras.layers, cell)(units, return_sequences=True, name="y")(x))
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(-0.3, 0.3, array.shape) for array in model.get_weights()])
    return model


def theirs(model: Any, steps: int) -> bytes:
    """What tf_keras and the converter make of it by themselves."""
    function = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec((1, steps, FEATURES), name="x"))
    module = tf.Module()
    module.model = model
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": function})
        data: bytes = tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    return data


def through_onnx(model: Any, steps: int) -> bytes:
    """What onnx2tf makes of the ONNX file of rnnexport. ImportError where it is not installed."""
    import onnx2tf

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.onnx"
        rnnexport.export(model, "onnx", path, timesteps=steps, verify=False)
        onnx2tf.convert(str(path), output_folder_path=folder, keep_shape_absolutely_input_names=["x"], non_verbose=True)
        return next(Path(folder).glob("*_float32.tflite")).read_bytes()


def ours(model: Any, form: str, steps: int) -> bytes:
    """A file of rnnexport, less the proof."""
    source = load(model)
    signature = describe(source, Boundary(1, steps))
    traced = trace(source, signature, unroll=False)
    return converted(Graphs(traced), TFLiteForm(form))[0]


def opened(data: bytes, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """A call of a file, from zero on."""
    from ai_edge_litert.interpreter import Interpreter

    if name == THROUGH_ONNX:  # which gives it no signature
        interpreter = Interpreter(model_content=data)
        interpreter.allocate_tensors()
        given, made = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

        def invoked(x_1TI: np.ndarray) -> np.ndarray:
            interpreter.reset_all_variables()
            interpreter.set_tensor(given, x_1TI)
            interpreter.invoke()
            result: np.ndarray = interpreter.get_tensor(made)
            return result

        return invoked
    holds_state = name in (THEIRS, "fused")
    runner = TFLiteRunner(partial(Interpreter, model_content=data), "serving_default", holds_state=holds_state)

    def call(x_1TI: np.ndarray) -> np.ndarray:
        (found,) = runner.run({"x": x_1TI}).values()
        return found

    return call


def measured(cell: str, units: int, steps: int, budget: Budget) -> dict[str, Figure | str]:
    """Each form at one length; a word where it has none."""
    model = model_of(cell, units)
    x_N1TI = np.random.default_rng(2).standard_normal((CALLS, 1, steps, FEATURES)).astype(np.float32)
    wanted = [np.asarray(model(x)) for x in x_N1TI]
    makers = {THEIRS: partial(theirs, model, steps), THROUGH_ONNX: partial(through_onnx, model, steps)}
    makers |= {form: partial(ours, model, form, steps) for form in FORMS}
    found: dict[str, Figure | str] = {}
    calls: dict[str, Callable[[], Any]] = {}
    for name, make in makers.items():
        began = perf_counter()
        try:
            with captured_stderr(show=False):
                data = make()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a peer's converter raises anything, or ends
            found[name] = str(error).partition("\n")[0][:60]
            continue
        seconds = perf_counter() - began
        call = opened(data, name)
        error = max(_error(call(x), one) for x, one in zip(x_N1TI, wanted, strict=True))
        found[name] = Figure(seconds, len(data), error)
        if error < WRONG_FROM:
            calls[name] = partial(call, x_N1TI[0])
    times = interleaved_medians(calls, budget)
    return {
        name: Figure(one.convert, one.size, one.error, times.get(name)) if isinstance(one, Figure) else one
        for name, one in found.items()
    }


def _error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max()) if found.shape == wanted.shape else np.inf


def table(rows: Mapping[int, Mapping[str, Figure | str]], title: str) -> Table:
    """A row a form and length; times beside that of the fused operator."""
    made = Table(title=title, title_justify="left")
    for column in ("steps", "form", "convert s", "bytes", "us a call", "to fused", "max error"):
        made.add_column(column, justify="left" if column == "form" else "right")
    for steps, figures in rows.items():
        fused = figures["fused"]
        for name, one in figures.items():
            if isinstance(one, str):
                made.add_row(str(steps), name, one)
                continue
            us = "wrong" if one.seconds is None else f"{one.seconds * 1e6:,.0f}"
            known = isinstance(fused, Figure) and fused.seconds is not None and one.seconds is not None
            ratio = f"{one.seconds / fused.seconds:.2f}" if known else ""  # type: ignore[union-attr, operator]
            made.add_row(str(steps), name, f"{one.convert:.1f}", f"{one.size:,}", us, ratio, f"{one.error:.0e}")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a file of ours is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 100, 1000])
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--cell", default="LSTM", choices=("LSTM", "GRU", "SimpleRNN"))
    parser.add_argument("--quick", action="store_true", help="measure for a moment")
    parser.add_argument("--json", type=Path, help="write the figures to a file as well")
    asked = parser.parse_args(arguments)
    budget = Budget(0.2, rounds=3) if asked.quick else Budget()
    rows = {steps: measured(asked.cell, asked.units, steps, budget) for steps in asked.steps}
    Console().print(table(rows, f"{asked.cell}({asked.units}), {FEATURES} features, batch 1"))
    if asked.json is not None:
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        value = {
            str(steps): {name: one if isinstance(one, str) else asdict(one) for name, one in figures.items()}
            for steps, figures in rows.items()
        }
        asked.json.write_text(json.dumps({"host": describe_host(), "rows": value}, indent=2) + "\n")
    made = [figures[form] for figures in rows.values() for form in FORMS]
    return int(any(isinstance(one, Figure) and one.error >= WRONG_FROM for one in made))


if __name__ == "__main__":
    sys.exit(main())
