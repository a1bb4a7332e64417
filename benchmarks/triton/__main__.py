"""Streams of the samples through Triton Inference Server, beside what the artifacts give by themselves.

    pip download --no-deps nvidia-pytriton==0.7.0
    python -m benchmarks.triton nvidia_pytriton-0.7.0-*.whl

The wheel has the server for Linux on x86-64, without its backend for ONNX Runtime: `backend.c` and `runtime.py` stand
in for that, so that a C compiler is needed, and what is seen is Triton's own reading of the repository, its scheduling
and its states. Chunks of mixed lengths of several sequences are sent in turn; the last column is the largest absolute
difference from `rnnexport.runtime` on each sequence alone.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

import rnnexport
from benchmarks.triton.runtime import Runtime
from rnnexport.core.signature import TensorSpec
from rnnexport.triton.repository import write_repository
from rnnexport.triton.serving import Serving
from samples.catalog import SAMPLES_BY_NAME

HTTP, GRPC = 18000, 18001
SEQUENCES, CHUNKS, LONGEST = 6, 40, 5
# Sample, whether as a stream, how it is served. The third has a state that starts from one; the last a fixed batch.
CASES = (
    ("cgru_no_bias", True, Serving(max_queue_delay=2000)),
    ("cgru_no_bias", True, Serving(strategy="direct", max_batch=8, max_queue_delay=2000)),
    ("s_lstm_from_one", True, Serving(max_queue_delay=2000)),
    ("stateful_gru", False, Serving()),
)


def main(wheel: Path) -> None:
    """Print the table. SystemExit where the server does not start, or refuses a chunk."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifacts = {f"model_{at}": _artifact(folder, *case[:2]) for at, case in enumerate(CASES)}
        for model, (_, _, serving) in zip(artifacts, CASES, strict=True):
            write_repository(artifacts[model], folder / "repository", model, serving=serving)
        runtime = Runtime(folder / "socket")
        with _server(wheel, folder):
            print("| sample | strategy | largest run | difference |\n| --- | --- | --- | --- |")
            for model, (sample, _, serving) in zip(artifacts, CASES, strict=True):
                worst = _difference(model, artifacts[model])
                print(
                    f"| {sample} | {serving.strategy or 'oldest'} | {runtime.largest[model]} | {worst:.1e} |",
                    flush=True,
                )


def _artifact(folder: Path, sample: str, stream: bool) -> Path:
    output = folder / f"{sample}.onnx"
    if not output.exists():
        model = SAMPLES_BY_NAME[sample].build()
        rnnexport.export(model, to="onnx", output=output, stream="dynamic" if stream else None)
    return output


@contextmanager
def _server(wheel: Path, folder: Path) -> Iterator[None]:
    """The server of the wheel with the stand-in for its backend, until the block ends."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "wheel")
    backend = folder / "backends" / "onnxruntime"
    backend.mkdir(parents=True)
    source, library = Path(__file__).with_name("backend.c"), backend / "libtriton_onnxruntime.so"
    subprocess.run([shutil.which("cc") or "gcc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    program = folder / "wheel" / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    program.chmod(0o755)
    options = {
        "model-repository": folder / "repository",
        "backend-directory": folder / "backends",
        "http-port": HTTP,
        "grpc-port": GRPC,
        "http-address": "127.0.0.1",
        "grpc-address": "127.0.0.1",
        "allow-metrics": "false",
        "exit-timeout-secs": 1,
    }
    libraries = folder / "wheel" / "nvidia_pytriton.libs"
    environment = os.environ | {"LD_LIBRARY_PATH": str(libraries), "RNNEXPORT_RUNTIME": str(folder / "socket")}
    command = [program, *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait(process, folder / "server.log")
        yield
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path) -> None:
    client = triton.InferenceServerClient(f"localhost:{GRPC}")
    for _ in range(100):
        if process.poll() is not None:
            break
        try:
            if client.is_server_ready():
                return
        except InferenceServerException:
            pass
        time.sleep(0.2)
    raise SystemExit(f"the server is not ready:\n{log.read_text(errors='replace')}")


def _difference(model: str, artifact: Path) -> float:
    """The largest over all outputs of all chunks of all sequences."""
    client, rng = triton.InferenceServerClient(f"localhost:{GRPC}"), np.random.default_rng(0)
    answers: queue.Queue = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    streams = {sequence: rnnexport.runtime.open(artifact) for sequence in range(1, SEQUENCES + 1)}
    wanted = {}
    for at in range(CHUNKS):
        for sequence, stream in streams.items():
            feed = {spec.name: _numbers(spec, rng) for spec in stream.signature.inputs}
            found = stream.step(feed)
            wanted[f"{sequence} {at}"] = found if isinstance(found, dict) else {stream.signature.outputs[0].name: found}
            tensors = [_tensor(name, array) for name, array in feed.items()]
            client.async_stream_infer(
                model,
                tensors,
                request_id=f"{sequence} {at}",
                sequence_id=sequence,
                sequence_start=at == 0,
                sequence_end=at == CHUNKS - 1,
            )
    worst = 0.0
    for _ in range(len(wanted)):
        result, error = answers.get(timeout=60)
        if error:
            raise SystemExit(str(error))
        for name, array in wanted[result.get_response().id].items():
            worst = max(worst, float(np.abs(result.as_numpy(name) - array).max()))
    client.stop_stream()
    return worst


def _numbers(spec: TensorSpec, rng: np.random.Generator) -> np.ndarray:
    sizes = {"batch": 1, "time": int(rng.integers(1, LONGEST + 1))}
    return rng.standard_normal(spec.sized(sizes)).astype(spec.dtype)


def _tensor(name: str, array: np.ndarray) -> triton.InferInput:
    tensor = triton.InferInput(name, array.shape, "FP32")
    tensor.set_data_from_numpy(array)
    return tensor


if __name__ == "__main__":
    main(Path(sys.argv[1]))
