"""How verifying on data grows with the rows and with the workers of a Ray cluster on this machine.

    python -m benchmarks.scale [--rows 2048] [--workers 1 2]

A GRU of 32 units on sequences of 50 timesteps of 8 features, an ONNX file beside its source. Prints Markdown: seconds
and the peak memory of one process, and seconds by workers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

STEPS, FEATURES, UNITS = 50, 8, 32
_ONE = """
import json, resource, sys, time
import rnnexport
start = time.monotonic()
assert rnnexport.verify("m.onnx", source="m.keras", data=sys.argv[1]).passed
print(json.dumps([time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]))
"""


def prepared(folder: Path, rows: int) -> None:
    """The model, its artifact, and files of `rows` rows and of four times as many."""
    import keras

    import rnnexport

    keras.utils.set_random_seed(1)
    x = keras.Input((None, FEATURES), name="x")
    keras.Model(x, keras.layers.GRU(UNITS, return_sequences=True)(x)).save(folder / "m.keras")
    rnnexport.export(folder / "m.keras", "onnx", folder / "m.onnx")
    for name, count in (("one", rows), ("four", 4 * rows)):
        data = np.random.default_rng(0).standard_normal((count, STEPS, FEATURES)).astype("float32")
        np.savez(folder / f"{name}.npz", x=data)


def alone(folder: Path, name: str) -> tuple[float, float]:
    """Seconds and gigabytes of one process."""
    done = subprocess.run(
        [sys.executable, "-c", _ONE, f"{name}.npz"], cwd=folder, capture_output=True, text=True, check=True
    )
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    return seconds, memory


def on_ray(folder: Path, workers: int) -> float:
    """Seconds on a cluster that is up, of so many workers, which have loaded nothing yet."""
    import ray

    from rnnexport.fleet.verifying import verify_on_ray

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, configure_logging=False)
    start = time.monotonic()
    try:
        assert verify_on_ray("", [folder / "m.onnx"], source=folder / "m.keras", data=folder / "four.npz").passed
        return time.monotonic() - start
    finally:
        ray.shutdown()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder, options.rows)
        print("| rows | process | seconds | peak GB |\n| ---: | --- | ---: | ---: |")
        for file, count in (("one", options.rows), ("four", 4 * options.rows)):
            seconds, memory = alone(folder, file)
            print(f"| {count:,} | one | {seconds:.1f} | {memory:.2f} |", flush=True)
        for workers in options.workers:
            seconds = on_ray(folder, workers)
            print(f"| {4 * options.rows:,} | Ray, {workers} | {seconds:.1f} | |", flush=True)


if __name__ == "__main__":
    main()
