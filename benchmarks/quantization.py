"""What quantised artifacts lose and take, beside what the quantisers of ONNX Runtime and TensorFlow make by hand.

    python -m benchmarks.quantization [--model NAME ...] [--units N ...] [--quick]

Loss is the largest error over the range of the output, on sequences that nothing was calibrated on; size that of the
file without goldens; time the median call of one row, all files of a row taking turns. A peer that gives back what it
was given is marked: `onnxruntime.quantization` does so with a GRU, and says nothing.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
from rich.console import Console
from rich.table import Table

import rnnexport
from benchmarks.timing import Budget, interleaved_medians
from rnnexport.core.forms import TFLiteForm
from rnnexport.core.quantization import FORMS, QuantizeRequest
from rnnexport.targets.c.quantized import constant_bytes
from rnnexport.targets.registry import target_of

FEATURES, STEPS, ROWS = 8, 20, 64
KINDS = ("GRU", "LSTM", "custom")
_RECURRENT = frozenset({"GRU", "LSTM", "RNN"})


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
    for name, options in {"": {}, ", per channel": {"per_channel": True}}.items():
        path = folder / f"peer{len(name)}.onnx"
        quantize_dynamic(plain, path, weight_type=QuantType.QInt8, **options)
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


def of_c(model: Any, folder: Path) -> Iterator[tuple[str, Made]]:
    """Our program in float32 and in int8. No other tool writes one."""
    data = folder / "calibration.npz"
    np.savez(data, x=sequences(1))
    rnnexport.export(model, folder / "float32.c")
    yield "float32", Made(folder / "float32.c")
    rnnexport.export(model, folder / "int8.c", quantize=QuantizeRequest("int8", data))
    yield "rnnexport int8", Made(folder / "int8.c")


def _by_hand(model: Any, form: str) -> bytes:
    """As the guide has it: a concrete function, frozen, unrolled, random normal inputs to calibrate on."""
    import tensorflow as tf

    fixed = keras.models.clone_model(
        model, clone_function=lambda layer: type(layer).from_config(_unrolled(layer.get_config()))
    )
    fixed.build((None, STEPS, FEATURES))
    fixed.set_weights(model.get_weights())
    function = tf.function(fixed).get_concrete_function(tf.TensorSpec((1, STEPS, FEATURES), tf.float32, "x"))
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    converter = tf.lite.TFLiteConverter.from_concrete_functions([convert_variables_to_constants_v2(function)])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if form == "int8":
        rng = np.random.default_rng(3)
        rows = [[rng.standard_normal((1, STEPS, FEATURES)).astype(np.float32)] for _ in range(ROWS)]
        converter.representative_dataset = lambda: iter(rows)
    found: bytes = converter.convert()
    return found


def _unrolled(config: dict[str, Any]) -> dict[str, Any]:
    return {**config, "unroll": True} if "unroll" in config else config


def _unchanged(path: Path) -> str:
    """What of a peer's file still is a float32 recurrence."""
    left = sorted({node.op_type for node in onnx.load(path).graph.node} & _RECURRENT)
    return f"{', '.join(left)} stays float32, without a word" if left else ""


def table(kind: str, units: int, made: Mapping[str, Made], model: Any, budget: Budget) -> Table:
    """The figures of each file."""
    x = sequences(2)
    wanted = np.asarray(model(x))
    rows = Table(
        "file", "size", "loss", "a call", "", title=f"{kind} of {units} units, {STEPS} steps", title_justify="left"
    )
    with ExitStack() as stack:
        calls: dict[str, Callable[[], Any]] = {}
        losses: dict[str, float] = {}
        for name, one in made.items():
            runner = stack.enter_context(target_of(one.path).runner(one.path, "cpu"))
            feed_name = runner.inputs[0].name.removeprefix("serving_default_").partition(":")[0]
            batch = runner.inputs[0].shape[0]
            pieces = [x[at : at + 1] for at in range(ROWS)] if isinstance(batch, int) else [x]
            found = np.concatenate([next(iter(runner.run({feed_name: piece}).values())) for piece in pieces])
            losses[name] = float(np.abs(found - wanted).max() / np.ptp(wanted))
            calls[name] = partial(runner.run, {feed_name: x[:1]})
        times = interleaved_medians(calls, budget)
    plain = times["float32"]
    for name, one in made.items():
        rows.add_row(name, f"{_size(one.path):,}", f"{losses[name]:.2g}", f"{times[name] / plain:.2f}x", one.note)
    return rows


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
    arguments = parser.parse_args()
    console = Console(width=120)
    budget = Budget(0.3, 0.003, 20, 3) if arguments.quick else Budget()
    makers = {"onnx": of_onnx, "tflite": of_tflite, "c": of_c}
    for kind in arguments.model or KINDS:
        for units in arguments.units or (32, 256):
            model = built(kind, units)
            for to in arguments.target or makers:
                with tempfile.TemporaryDirectory() as folder:
                    console.print(table(kind, units, dict(makers[to](model, Path(folder))), model, budget))
    return 0


if __name__ == "__main__":
    sys.exit(main())
