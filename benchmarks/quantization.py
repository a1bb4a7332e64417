"""What quantised artifacts lose and take, beside what the quantisers of ONNX Runtime and TensorFlow make by hand.

    python -m benchmarks.quantization [--model NAME ...] [--units N ...] [--target NAME ...] [--quick]
    python -m benchmarks.quantization --units 32 --markdown docs/quantization.md

Loss is the largest error over the range of the output, on sequences that nothing was calibrated on; size that of the
file without goldens; time the median call of one row, all files of a row taking turns. A peer that gives back what it
was given is marked: `onnxruntime.quantization` does so with a GRU, and says nothing. Those that are calibrated have the
same sequences for it. `ai-edge-quantizer` is among them where it is installed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from rich.console import Console
from rich.table import Table

import rnnexport
from benchmarks.support.page import placed
from benchmarks.timing import Budget, interleaved_medians
from rnnexport.artifact.atomic_write import staged
from rnnexport.core.forms import TFLiteForm
from rnnexport.core.quantization import FORMS, QuantizeRequest
from rnnexport.targets.c.quantized import constant_bytes
from rnnexport.targets.registry import target_of

FEATURES, STEPS, ROWS = 8, 20, 64
KINDS = ("GRU", "LSTM", "custom")
START, END = "<!-- peers -->\n", "<!-- end of peers -->\n"
_SAME_SIZE = 1.05  # times the size of ours: a peer's file of about that
_RECURRENT = frozenset({"GRU", "LSTM", "RNN"})
_EDGE = {"dynamic": "dynamic_wi8_afp32", "weights": "weight_only_wi8_afp32"}


@keras.saving.register_keras_serializable("benchmarks")
class Leaky(keras.layers.Layer):
    """A cell that no native operator is: h' = a h + (1 - a) tanh(x W + (h * h) R), `a` learnt."""

    def __init__(self, units: int, **options: Any) -> None:
        super().__init__(**options)
        self.units = self.state_size = self.output_size = units

    def build(self, shape: tuple[int, ...]) -> None:
        """Make the weights."""
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent", initializer="orthogonal")
        self.leak = self.add_weight(shape=(self.units,), name="leak", initializer="random_uniform")

    def call(self, x: Any, states: Any) -> Any:
        """One step."""
        (h,) = states
        kept = keras.ops.sigmoid(self.leak)
        h = kept * h + (1 - kept) * keras.ops.tanh(x @ self.kernel + (h * h) @ self.recurrent)
        return h, [h]


@dataclass(frozen=True)
class Made:
    """One file."""

    path: Path
    note: str = ""


@dataclass(frozen=True)
class Row:
    """The figures of one file; `seconds` of a call are 0 where none was timed."""

    name: str
    size: int
    loss: float
    note: str
    seconds: float = 0.0

    @property
    def is_peer(self) -> bool:
        """Whether it is another tool's."""
        return self.name != "float32" and not self.name.startswith("rnnexport")

    def best_peer(self, rows: Sequence[Row]) -> Row | None:
        """Of the files of other tools that are no larger than it that which loses least."""
        peers = [row for row in rows if row.is_peer and not row.note and row.size <= _SAME_SIZE * self.size]
        return min(peers, key=lambda row: row.loss, default=None)


def built(kind: str, units: int) -> Any:
    """The model: the recurrence, and a Dense."""
    keras.utils.set_random_seed(units)
    x = keras.Input((None, FEATURES), name="x")
    layer = (
        keras.layers.RNN(Leaky(units), return_sequences=True)
        if kind == "custom"
        else getattr(keras.layers, kind)(units, return_sequences=True, bias_initializer="random_normal")
    )
    return keras.Model(x, keras.layers.Dense(5, name="y")(layer(x)))


def sequences(seed: int) -> np.ndarray:
    """Walks, as sensors give them, (rows, steps, features)."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((ROWS, STEPS, FEATURES)).cumsum(axis=1) / 3).astype(np.float32)


def of_onnx(model: Any, folder: Path) -> Iterator[tuple[str, Made]]:
    """Ours in every form, and ONNX Runtime's quantiser on our float32 file."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    data = folder / "calibration.npz"
    np.savez(data, x=sequences(1))
    plain = folder / "float32.onnx"
    rnnexport.export(model, plain)
    yield "float32", Made(plain)
    for form in FORMS["onnx"]:
        path = folder / f"{form}.onnx"
        rnnexport.export(model, path, quantize=QuantizeRequest(form, data))
        yield f"rnnexport {form}", Made(path)
    bare = folder / "bare.onnx"
    rnnexport.export(model, bare, proof="none", verify=False)
    for name, options in {"": {}, ", per channel": {"per_channel": True}}.items():
        path = folder / f"peer{len(name)}.onnx"
        quantize_dynamic(bare, path, weight_type=QuantType.QInt8, **options)
        yield f"onnxruntime dynamic{name}", Made(path, _unchanged(path))


def of_tflite(model: Any, folder: Path) -> Iterator[tuple[str, Made]]:
    """Ours in every form, and TensorFlow's converter by hand on the same unrolled function."""
    data = folder / "calibration.npz"
    np.savez(data, x=sequences(1))
    plain = folder / "float32.tflite"
    unrolled = TFLiteForm("unroll")
    rnnexport.export(model, plain, timesteps=STEPS, tflite=unrolled)
    yield "float32", Made(plain)
    for form in FORMS["tflite"]:
        path = folder / f"{form}.tflite"
        request = QuantizeRequest(form, data, allow_partial=True)
        rnnexport.export(model, path, timesteps=STEPS, tflite=unrolled, quantize=request)
        yield f"rnnexport {form}", Made(path)
    for form in ("dynamic", "float16", "int8"):
        path = folder / f"peer_{form}.tflite"
        path.write_bytes(_by_hand(model, form))
        yield f"TFLiteConverter {form}", Made(path)
    if find_spec("ai_edge_quantizer") is not None:
        bare = folder / "bare.tflite"
        bare.write_bytes(_by_hand(model, "float32"))
        yield from _by_edge(bare, folder)


def of_c(model: Any, folder: Path) -> Iterator[tuple[str, Made]]:
    """Our program in float32 and in int8. No other tool writes one."""
    data = folder / "calibration.npz"
    np.savez(data, x=sequences(1))
    rnnexport.export(model, folder / "float32.c")
    yield "float32", Made(folder / "float32.c")
    rnnexport.export(model, folder / "int8.c", quantize=QuantizeRequest("int8", data))
    yield "rnnexport int8", Made(folder / "int8.c")


def _by_edge(plain: Path, folder: Path) -> Iterator[tuple[str, Made]]:
    """Google's quantiser on the converter's float32 file: it wants tensors of different names.

    Its calibrated form has inputs and outputs of int8, and is not compared.
    """
    from ai_edge_quantizer import quantizer, recipe

    for form, name in _EDGE.items():
        edge = quantizer.Quantizer(str(plain), getattr(recipe, name)())
        path = folder / f"edge_{form}.tflite"
        edge.quantize().export_model(str(path), overwrite=True)
        yield f"ai-edge-quantizer {form}", Made(path)


def _by_hand(model: Any, form: str) -> bytes:
    """As the guide has it: a concrete function, frozen and unrolled."""
    import tensorflow as tf

    fixed = keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config(_unrolled(layer.get_config()))
    )
    fixed.build((None, STEPS, FEATURES))
    fixed.set_weights(model.get_weights())
    function = tf.function(fixed).get_concrete_function(tf.TensorSpec((1, STEPS, FEATURES), tf.float32, "x"))
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    module = tf.Module()
    module.function = convert_variables_to_constants_v2(function)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures={"serving_default": module.function})
        return _converted(tf.lite.TFLiteConverter.from_saved_model(folder), form)


def _converted(converter: Any, form: str) -> bytes:
    import tensorflow as tf

    if form != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if form == "int8":
        rows = [{"x": row[np.newaxis]} for row in sequences(1)]
        converter.representative_dataset = lambda: iter(rows)
    found: bytes = converter.convert()
    return found


def _unrolled(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "unroll": True} if "unroll" in config else config


def _unchanged(path: Path) -> str:
    """What of a peer's file still is a float32 recurrence."""
    left = sorted({node.op_type for node in onnx.load(path).graph.node} & _RECURRENT)
    return f"{', '.join(left)} stays float32, without a word" if left else ""


def measured(made: Mapping[str, Made], model: Any, budget: Budget | None) -> list[Row]:
    """The figures of each file, with times where there is a budget for them."""
    x = sequences(2)
    wanted = np.asarray(model(x))
    with ExitStack() as stack:
        calls: dict[str, Callable[[], Any]] = {}
        rows: list[Row] = []
        for name, one in made.items():
            runner = stack.enter_context(target_of(one.path).runner(one.path, "cpu"))
            feed_name = runner.inputs[0].name.removeprefix("serving_default_").partition(":")[0]
            batch = runner.inputs[0].shape[0]
            pieces = [x[at : at + 1] for at in range(ROWS)] if isinstance(batch, int) else [x]
            found = np.concatenate([next(iter(runner.run({feed_name: piece}).values())) for piece in pieces])
            rows.append(Row(name, _size(one.path), float(np.abs(found - wanted).max() / np.ptp(wanted)), one.note))
            calls[name] = partial(runner.run, {feed_name: x[:1]})
        times = {} if budget is None else interleaved_medians(calls, budget)
    return [replace(row, seconds=times.get(row.name, 0.0)) for row in rows]


def table(title: str, rows: Sequence[Row]) -> Table:
    """The figures, for a terminal."""
    shown = Table("file", "size", "loss", "a call", "", title=title, title_justify="left")
    for row in rows:
        time = f"{row.seconds / rows[0].seconds:.2f}x" if row.seconds else ""
        shown.add_row(row.name, f"{row.size:,}", f"{row.loss:.2g}", time, row.note)
    return shown


def markdown(found: Mapping[str, Sequence[Row]]) -> str:
    """The table of docs/quantization.md: each of our files beside the best of another tool that is no larger."""
    lines = [
        "| model, file | size | loss | the best of others of that size | size | loss | ours / theirs |",
        "| --- | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for title, rows in found.items():
        for row in rows:
            if not row.name.startswith("rnnexport"):
                continue
            told = f"| {title}, {row.name.removeprefix('rnnexport ')} | {row.size / 1e3:.1f} KB | {row.loss:.2g} "
            peer = row.best_peer(rows)
            told += (
                "| none | | | |"
                if peer is None
                else (f"| {peer.name} | {peer.size / 1e3:.1f} KB | {peer.loss:.2g} | {row.loss / peer.loss:.2f} |")
            )
            lines.append(told)
    return "\n".join(lines)


def _size(path: Path) -> int:
    """Bytes of a file without goldens; of a C program those of its constants."""
    if path.suffix == ".c":
        return constant_bytes(path)
    proof, size = target_of(path).read_proof(path), path.stat().st_size
    if proof is None:
        return size
    provenance, goldens = proof.blobs()
    return size - len(provenance) - len(goldens) * (4 if path.suffix == ".onnx" else 3) // 3


def main() -> int:
    """Print a table for each model."""
    parser = argparse.ArgumentParser("python -m benchmarks.quantization", description=__doc__)
    parser.add_argument("--model", action="append", choices=KINDS)
    parser.add_argument("--units", action="append", type=int)
    parser.add_argument("--target", action="append", choices=list(FORMS))
    parser.add_argument("--quick", action="store_true", help="a tenth of the time for each row: rough figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="no times; into a page, between its marks")
    arguments = parser.parse_args()
    console = Console(width=120)
    budget = Budget(0.3, 0.003, 20, 3) if arguments.quick else Budget()
    makers = {"onnx": of_onnx, "tflite": of_tflite, "c": of_c}
    found: dict[str, Sequence[Row]] = {}
    for kind in arguments.model or KINDS:
        for units in arguments.units or (32, 256):
            model = built(kind, units)
            for to in arguments.target or makers:
                with tempfile.TemporaryDirectory() as folder:
                    made = dict(makers[to](model, Path(folder)))
                    rows = measured(made, model, None if arguments.markdown else budget)
                console.print(table(f"{kind} of {units} units, {STEPS} steps", rows))
                found[f"{kind}({units}), {to}"] = rows
    if arguments.markdown is not None:
        with staged(arguments.markdown) as path:
            path.write_text(placed(arguments.markdown.read_text(), f"{markdown(found)}\n", START, END))
    return 0


if __name__ == "__main__":
    sys.exit(main())
