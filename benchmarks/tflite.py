"""What each form of a TFLite file costs: to convert, to keep, to run; beside tf_keras' own fused file and onnx2tf's.

    python -m benchmarks.tflite [--cell NAME ...] [--steps N ...] [--units N] [--quick] [--json FILE] [--markdown FILE]

One layer at batch 1, with the same weights in every file. Each file is compared with the eager model first, on 5
calls: what is wrong has no time, and one of ours ends with exit code 1. Times are those of the processor, of which a
call takes one thread: hosts are shared. Conversion is the trace and the converter, without the proof. onnx2tf, which
makes a file of our ONNX, is there where it is installed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from time import process_time, process_time_ns
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

import rnnexport
from benchmarks.host import describe_host
from benchmarks.support.page import placed
from benchmarks.timing import Budget, interleaved_medians
from rnnexport.api.export import load
from rnnexport.cli.session import captured_stderr
from rnnexport.core.errors import ConversionError, one_line
from rnnexport.core.forms import FORMS, TFLiteForm
from rnnexport.core.signature import Boundary
from rnnexport.source.describe import describe
from rnnexport.source.trace import Graphs, trace
from rnnexport.targets.tflite.export import converted
from rnnexport.targets.tflite.runner import TFLiteRunner

FEATURES, CALLS, WRONG_FROM = 16, 5, 1e-4
THEIRS, THROUGH_ONNX = "tf_keras", "onnx2tf"
START, END = "<!-- forms -->\n", "<!-- end of forms -->\n"
COLUMNS = (
    *(
        "layer",
        "steps",
        "form",
        "conversion, s",
        "file, bytes (to weights)",
        "a call, us",
        "to tf_keras",
        "largest error",
    ),
)


@dataclass(frozen=True)
class Figure:
    """One form at one length.

    Attributes:
        convert: seconds of a processor that the conversion took.
        size: bytes of the file.
        error: the largest, over all calls.
        seconds: of a call; None where that is wrong.
    """

    convert: float
    size: int
    error: float
    seconds: float | None = None


@dataclass(frozen=True)
class Row:
    """One layer at one length.

    Attributes:
        layer: such as `LSTM(64)`.
        steps: of its sequence.
        weights: bytes of them.
        figures: by the form; a word where it has none.
    """

    layer: str
    steps: int
    weights: int
    figures: Mapping[str, Figure | str]

    def cells(self) -> Iterator[tuple[str, ...]]:
        """The text of each line of the table; what is the same in all is in the first."""
        theirs, same = self.figures[THEIRS], (self.layer, f"{self.steps:,}")
        for name, one in self.figures.items():
            if isinstance(one, str):
                yield (*same, name, one, "", "", "", "")
            else:
                size = f"{one.size:,} ({one.size / self.weights:.2f})"
                us = "wrong" if one.seconds is None else f"{one.seconds * 1e6:,.0f}"
                known = isinstance(theirs, Figure) and theirs.seconds and one.seconds
                ratio = f"{one.seconds / theirs.seconds:.2f}" if known else ""  # type: ignore[union-attr, operator]
                yield (*same, name, f"{one.convert:.1f}", size, us, ratio, f"{one.error:.0e}")
            same = ("", "")


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


def measured(cell: str, units: int, steps: int, budget: Budget) -> Row:
    """Each form of one layer at one length."""
    model = model_of(cell, units)
    x_N1TI = np.random.default_rng(2).standard_normal((CALLS, 1, steps, FEATURES)).astype(np.float32)
    wanted = [np.asarray(model(x)) for x in x_N1TI]
    makers = {THEIRS: partial(theirs, model, steps), THROUGH_ONNX: partial(through_onnx, model, steps)}
    makers |= {form: partial(ours, model, form, steps) for form in FORMS}
    found: dict[str, Figure | str] = {}
    calls: dict[str, Callable[[], Any]] = {}
    for name, make in makers.items():
        began = process_time()
        try:
            with captured_stderr(show=False):
                data = make()
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a peer's converter raises anything, or ends
            found[name] = "no form" if isinstance(error, ConversionError) else f"refused: {one_line(str(error), 70)}"
            continue
        seconds = process_time() - began
        call = opened(data, name)
        error = max(_error(call(x), one) for x, one in zip(x_N1TI, wanted, strict=True))
        found[name] = Figure(seconds, len(data), error)
        if error < WRONG_FROM:
            calls[name] = partial(call, x_N1TI[0])
    times = interleaved_medians(calls, budget)
    figures = {
        name: replace(one, seconds=times.get(name)) if isinstance(one, Figure) else one for name, one in found.items()
    }
    return Row(f"{cell}({units})", steps, 4 * model.count_params(), figures)


def _error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max()) if found.shape == wanted.shape else np.inf


def markdown(rows: Sequence[Row]) -> str:
    """A table with a line a form, layer and length."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *(cells for row in rows for cells in row.cells())]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, nargs="+", default=[20, 100, 1000])
    parser.add_argument("--units", type=int, default=64)
    parser.add_argument("--cell", nargs="+", default=["LSTM", "GRU"], choices=("LSTM", "GRU", "SimpleRNN"))
    parser.add_argument("--quick", action="store_true", help="measure for a moment")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file as well")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="and the table; into a page, between its marks")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 1 where a file of ours is wrong."""
    asked = _parser().parse_args(arguments)
    budget = Budget(0.2, rounds=3, clock=process_time_ns) if asked.quick else Budget(clock=process_time_ns)
    rows = [measured(cell, asked.units, steps, budget) for cell in asked.cell for steps in asked.steps]
    sys.stdout.write(markdown(rows))
    if asked.json is not None:
        _write(
            asked.json, json.dumps({"host": describe_host(), "rows": [asdict(row) for row in rows]}, indent=2) + "\n"
        )
    if asked.markdown is not None:
        page = asked.markdown.read_text() if asked.markdown.is_file() else ""
        _write(asked.markdown, placed(page, markdown(rows), START, END))
    made = [row.figures[form] for row in rows for form in FORMS]
    return int(any(isinstance(one, Figure) and one.error >= WRONG_FROM for one in made))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


if __name__ == "__main__":
    sys.exit(main())
