"""What an export costs by what its model weighs: seconds and peak memory of each target, as a command of its own.

    python -m benchmarks.cost [--sizes MB ...] [--targets NAME ...] [--kinds NAME ...]

The weights are float32. A model of kind `embedding` has most of them in its table and its last layer, one of kind
`recurrent` in its LSTMs. Beside the targets stand Keras' own exports, to a SavedModel and, by tf2onnx, to ONNX, which
prove nothing. Peak memory is that of the process; artifacts are run in others.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SIZES = (0.01, 1.0, 10.0, 100.0, 366.0, 1000.0)
KINDS = ("embedding", "recurrent")
TARGETS = ("onnx", "saved-model", "numpy", "tflite", "c")
PEERS = {"keras saved-model": "tf_saved_model", "keras onnx": "onnx"}
# Keras exports to ONNX only what was called.
_PEER = """
import sys, keras, numpy
model = keras.models.load_model(sys.argv[1])
model(numpy.ones((2, 3), "int32"))
model.export(sys.argv[2], format=sys.argv[3])
"""
_TIMESTEPS = 6  # of TFLite, which wants a length
_FLOAT = 4
_MIB, _KIB = 1e6, 1024


@dataclass(frozen=True)
class Cost:
    """Of one process.

    Attributes:
        wall: seconds.
        cpu: seconds of all its threads and children.
        peak: MB that it held at most.
        failed: the last line that it said; empty where it ended well.
    """

    wall: float
    cpu: float
    peak: float
    failed: str = ""


@dataclass(frozen=True)
class Line:
    """A cost as a line over the size of the weights: what is there in any case, and what each MB adds."""

    fixed: float
    each: float


def line(sizes: Sequence[float], costs: Sequence[float]) -> Line:
    """The line nearest to these points, by least squares of the relative distance: the small ones count, too."""
    weight = 1 / np.asarray(costs)
    columns = np.stack([np.ones(len(sizes)), np.asarray(sizes)], axis=1) * weight[:, None]
    (fixed, each), *_ = np.linalg.lstsq(columns, np.ones(len(sizes)), rcond=None)
    return Line(float(fixed), float(each))


def shape_of(kind: str, size: float) -> tuple[int, int, int]:
    """(words, width, units) of a text model whose weights take about so many MB.

    It has `words * width + 4 * units * (width + 3 * units) + units * words` weights.
    """
    count = size * _MIB / _FLOAT
    if kind == "recurrent":
        units = max(2, int((count / 14) ** 0.5))
        return 40, max(2, units // 2), units
    units = max(2, int((count / 400) ** 0.5))
    width = max(2, units // 2)
    return max(10, int((count - 4 * units * (width + 3 * units)) / (width + units))), width, units


def build(kind: str, size: float, path: Path) -> float:
    """Save a model; its weights in MB."""
    import keras

    words, width, units = shape_of(kind, size)
    keras.utils.set_random_seed(17)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((None,), dtype="int32", name="ids"),
            layers.Embedding(words, width),
            layers.LSTM(units, return_sequences=True, bias_initializer="random_normal"),
            layers.LSTM(units, bias_initializer="random_normal"),
            layers.Dense(words, bias_initializer="random_normal", name="scores"),
        ]
    )
    model.save(path)
    return sum(int(np.prod(weight.shape)) for weight in model.weights) * _FLOAT / _MIB


def measured(command: Sequence[str]) -> Cost:
    """Run a process to its end."""
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=said, stderr=said, cwd=Path(__file__).parent.parent)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        lines = said.read().strip().splitlines() or [""]
    failed = lines[-1] if process.returncode else ""
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _KIB / _MIB, failed)


def command_of(what: str, model: Path, folder: Path) -> list[str]:
    """The command of a target, or of one of Keras' own exports."""
    if what in PEERS:
        return [sys.executable, "-c", _PEER, str(model), str(folder / "peer.onnx"), PEERS[what]]
    suffix = {"onnx": ".onnx", "numpy": ".py", "tflite": ".tflite", "saved-model": "", "c": ".c"}[what]
    options = ["--timesteps", str(_TIMESTEPS)] if what == "tflite" else []
    return [sys.executable, "-m", "rnnexport", what, str(model), "-o", str(folder / f"made{suffix}"), *options]


def table(kinds: Sequence[str], sizes: Sequence[float], names: Sequence[str], show: Callable[[str], None]) -> None:
    """Measure each, and show a row of each and a line of each name."""
    for kind in kinds:
        found: dict[str, list[tuple[float, Cost]]] = {name: [] for name in names}
        for size in sizes:
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                weights = build(kind, size, folder / "model.keras")
                for name in names:
                    cost = measured(command_of(name, folder / "model.keras", folder))
                    show(_row(kind, weights, name, cost))
                    if not cost.failed:
                        found[name].append((weights, cost))
        for name, points in found.items():
            if len(points) > 1:
                show(_fit(kind, name, points))


def _row(kind: str, weights: float, name: str, cost: Cost) -> str:
    told = cost.failed or f"{cost.wall:7.1f} s {cost.cpu:7.1f} s CPU {cost.peak:8.0f} MB"
    return f"{kind:<10} {weights:8.2f} MB  {name:<18} {told}"


def _fit(kind: str, name: str, points: Sequence[tuple[float, Cost]]) -> str:
    weights = [weight for weight, _ in points]
    seconds, memory = (
        line(weights, values) for values in zip(*((one.cpu, one.peak) for _, one in points), strict=True)
    )
    return (
        f"{kind:<10} {name:<18} {seconds.fixed:6.1f} s + {seconds.each:.3f} s a MB; "
        f"{memory.fixed:6.0f} MB + {memory.each:.1f} MB a MB"
    )


def main(given: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser("python -m benchmarks.cost", description="Measure what an export costs.")
    parser.add_argument("--sizes", type=float, nargs="+", default=SIZES, metavar="MB", help="of the weights")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS, help="of models")
    names = (*TARGETS, *PEERS)
    parser.add_argument("--targets", nargs="+", default=names, choices=names, help="what is measured")
    arguments = parser.parse_args(given)
    table(arguments.kinds, arguments.sizes, arguments.targets, lambda text: print(text, flush=True))


if __name__ == "__main__":
    main()
