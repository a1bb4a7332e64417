"""Who is measured beside C programs: each makes a call of batch 1, on one thread, of a model at a size."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

import rnnexport
from benchmarks.c import timed
from benchmarks.c.timed import Call
from benchmarks.cells import Size
from benchmarks.host import one_thread_session
from benchmarks.subject import Subject
from rnnexport.core.signature import Boundary
from rnnexport.emit.c.interface import identifier
from rnnexport.emit.c.prelude import parts_for
from rnnexport.source.describe import describe
from rnnexport.targets.base import STEP
from rnnexport.targets.registry import target

PLAIN, NATIVE = ("-O2",), ("-O3", "-march=native")
EIGEN = Path("/usr/include/eigen3")
# Those that Eigen's kind of kernel is written for here.
STATIC_CELLS = {"gru": 3, "lstm": 4}


@dataclass(frozen=True)
class NotMeasured:
    """Why a candidate has nothing to measure here."""

    why: str


@dataclass(frozen=True)
class Candidate:
    """One column.

    Attributes:
        name: for the JSON.
        title: for the table.
        what: how it is run.
        make: makes the call. Raises whatever it raises.
    """

    name: str
    title: str
    what: str
    make: Callable[[Subject, Size], Call | NotMeasured]


# Attends over all steps, so that there is no stream of it.
_WHOLE = ("attention_decoder",)


def is_step(subject: Subject, size: Size) -> bool:
    """Whether what is measured is one step of a stream, its states carried."""
    return size.timesteps == 1 and subject.cell.name not in _WHOLE


def artifact(subject: Subject, size: Size, to: str) -> Path:
    """What rnnexport makes of the model for one row: of any length, or of one step of a stream; less the proof."""
    step = is_step(subject, size)
    path = subject.folder / f"{subject.cell.name}_{subject.units}{'_step' if step else ''}{target(to).suffix}"
    if not path.exists():
        sizes: dict[str, Any] = {"stream": 1} if step else {}
        rnnexport.export(subject.model, to, path, batch=1, verify=False, **sizes)
    return path


def _ours(flags: Sequence[str]) -> Callable[[Subject, Size], Call]:
    def make(subject: Subject, size: Size) -> Call:
        path = artifact(subject, size, "c")
        name, header = identifier(path.stem), path.with_suffix(".h").read_text()
        head, work = f'#include "{path.stem}.h"', ", work, work_size" if "void *work" in header else ""
        call = f"(void){name}_run(x, T, y{work})"
        if is_step(subject, size):
            # The states go on from call to call; the first one begins where the eager model does.
            head += f"\nstatic {name}_state state;\nstatic int begun;"
            call = f"if (!begun) {{ {name}_init(&state); begun = 1; }}\n        (void){name}_step(&state, x, y)"
        (x,), (y,) = subject.feed(size), subject.eager(size)
        return timed.of_program([path], ["cc", "-std=gnu99", *flags], head, call, x, y.shape, _work(path, name, size))

    return make


def _work(path: Path, name: str, size: Size) -> int:
    """Bytes of the caller's buffer, as the header says."""
    main = path.with_name(f"{path.stem}_work.c")
    length = f"{size.timesteps}" if f"{name}_work_size(size_t" in path.with_suffix(".h").read_text() else ""
    main.write_text(
        f'#include <stdio.h>\n#include "{path.stem}.h"\nint main(void) {{\n'
        f'    printf("%zu", {name}_work_size({length}));\n    return 0;\n}}\n'
    )
    subprocess.run(["cc", str(main), str(path), "-o", str(main.with_suffix("")), "-lm"], check=True)
    return int(subprocess.run([str(main.with_suffix(""))], capture_output=True, check=True).stdout)


def _session(file: Path, subject: Subject, size: Size) -> Call:
    """With inputs and outputs bound before: nothing is timed but the run. States are those of the first step."""
    session = one_thread_session(file)
    (x,), binding = subject.feed(size), session.io_binding()
    for each in session.get_inputs():
        shape = [at if isinstance(at, int) else 1 for at in each.shape]
        binding.bind_cpu_input(each.name, x if each.name.startswith("x") else np.zeros(shape, "float32"))
    for output in session.get_outputs():
        binding.bind_output(output.name)

    def run() -> Sequence[np.ndarray]:
        session.run_with_iobinding(binding)
        return list(binding.copy_outputs_to_cpu())[:1]

    return timed.of_python(run, lambda: session.run_with_iobinding(binding))


def _onnx(subject: Subject, size: Size) -> Call:
    step = is_step(subject, size)
    return _session(artifact(subject, size, "onnx") if step else subject.onnx_file("auto"), subject, size)


def _tf2onnx(subject: Subject, size: Size) -> Call:
    path = subject.folder / f"{subject.cell.name}_{subject.units}_tf2onnx.onnx"
    return _session(path if path.exists() else subject.tf2onnx_file, subject, size)


def _tflite(subject: Subject, size: Size) -> Call:
    if is_step(subject, size):
        return _tflite_step(subject, size)
    path = subject.folder / f"{subject.cell.name}_{size}.tflite"
    interpreter = Interpreter(str(path if path.exists() else subject.tflite_file(size)), num_threads=1)
    interpreter.allocate_tensors()
    (x,) = subject.feed(size)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    (output,) = interpreter.get_output_details()

    def run() -> list[np.ndarray]:
        interpreter.invoke()
        return [interpreter.get_tensor(output["index"])]

    return timed.of_python(run, interpreter.invoke)


def _tflite_step(subject: Subject, size: Size, *, called: bool = False) -> Call:
    path = artifact(subject, size, "tflite")
    runner = Interpreter(str(path), num_threads=1).get_signature_runner(STEP)
    (x,), proof = subject.feed(size), describe(subject.source, Boundary(1, 1))
    feed = {
        name: x if name.startswith("x") else np.zeros(detail["shape"], "float32")
        for name, detail in runner.get_input_details().items()
    }
    wanted = proof.outputs[0].name
    # The call of a signature sets every tensor anew; the run alone is what the other runtimes are timed by.
    alone = partial(runner._interpreter_wrapper.Invoke, runner._subgraph_index)
    return timed.of_python(lambda: [runner(**feed)[wanted]], None if called else alone)


def _emx(subject: Subject, size: Size) -> Call | NotMeasured:
    if find_spec("emx_onnx_cgen") is None:
        return NotMeasured("emx-onnx-cgen is not installed")
    model = subject.onnx_file("auto")
    path = subject.folder / f"{subject.cell.name}_{size}_emx.c"
    (x,), (y,) = subject.feed(size), subject.eager(size)
    sizes = [f"--input-dim={name}={number}" for name, number in (("batch", 1), ("time", size.timesteps))]
    options = ["--model-name", "model", "--large-weight-threshold", "0", *sizes]
    command = [sys.executable, "-m", "emx_onnx_cgen", "compile", *options, str(model), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not path.exists():
        return NotMeasured(f"emx-onnx-cgen refuses it: {(done.stderr or done.stdout).strip().splitlines()[-1][:160]}")
    head = "#include <stddef.h>\nvoid model(const void *x, void *y);"
    return timed.of_program([path], ["cc", "-std=gnu99", *NATIVE], head, "model(x, y)", x, y.shape)


def _eigen(subject: Subject, size: Size) -> Call | NotMeasured:
    gates = STATIC_CELLS.get(subject.cell.name)
    if gates is None or size.units > 64:
        return NotMeasured("the static kernels are those of GRU and LSTM up to 64 units")
    if not EIGEN.exists():
        return NotMeasured("no Eigen (libeigen3-dev)")
    (x,), (y,) = subject.feed(size), subject.eager(size)
    kernel, recurrent, bias = subject.model.get_weights()
    arrays = {"kernel": kernel, "recurrent": recurrent, "bias": np.atleast_2d(bias)[0]}
    if bias.ndim == 2:
        arrays["recurrent_bias"] = bias[1]
    path = subject.folder / f"{subject.cell.name}_{subject.units}_static.cpp"
    texts = [
        f"static const float {name}_[] = {{{', '.join(f'{float(item)!r}f' for item in array.ravel())}}};"
        for name, array in arrays.items()
    ]
    more = "recurrent_bias_" if bias.ndim == 2 else "nullptr"
    shape = f"{x.shape[2]}, {subject.units}"
    header = Path(__file__).with_name("static_cells.hpp")
    path.write_text(
        f'#include "{header}"\n' + "\n".join(texts) + "\n"
        f"void model(const float *x, size_t T, float *y) {{\n"
        f"    static const Weights<{shape}, {gates}> weights(kernel_, recurrent_, bias_, {more});\n"
        f"    {subject.cell.name}<{shape}>(weights, x, T, y);\n}}\n"
    )
    head = "#include <cstddef>\nvoid model(const float *x, size_t T, float *y);"
    command = ["c++", "-std=c++17", *NATIVE, "-DNDEBUG", f"-I{EIGEN}"]
    return timed.of_program([path], command, head, "model(x, T, y)", x, y.shape, language="cpp")


def _tflite_called(subject: Subject, size: Size) -> Call | NotMeasured:
    if not is_step(subject, size):
        return NotMeasured("the call from Python is measured at one step")
    return _tflite_step(subject, size, called=True)


CANDIDATES = (
    Candidate("plain", "ours, -O2", "the program of rnnexport, `cc -O2`, called from C", _ours(PLAIN)),
    Candidate("native", "ours, native", "the same, `cc -O3 -march=native`", _ours(NATIVE)),
    Candidate("onnx", "ONNX Runtime", "the ONNX file of rnnexport, inputs and outputs bound before", _onnx),
    Candidate("tflite", "TFLite", "the TFLite file of rnnexport, unrolled, the run alone", _tflite),
    Candidate("called", "TFLite, called", "the same called from Python: tensors set and read too", _tflite_called),
    Candidate("tf2onnx", "tf2onnx", "tf2onnx's file with its own rewriters, in ONNX Runtime likewise", _tf2onnx),
    Candidate("emx", "emx-onnx-cgen", "C of emx-onnx-cgen, of our ONNX file, `cc -O3 -march=native`", _emx),
    Candidate("eigen", "static Eigen", "the equations on fixed-size Eigen matrices, as RTNeural has them", _eigen),
)


def gemv(folder: Path, units: int) -> tuple[Call, int]:
    """Products of a vector and a matrix (U, 4U) of weights, by the loop of C programs at its best; how many products.

    It reads each weight once: no step can be faster than its products at this rate, from the same cache.
    """
    text, _ = parts_for("multiply")
    path = folder / f"gemv_{units}.c"
    path.write_text(
        "#include <stddef.h>\n#include <stdint.h>\n#include <string.h>\n"
        "#ifdef __AVX512F__\n#define LANES 16\n#else\n#define LANES 8\n#endif\n"
        "#define INLINE inline __attribute__((always_inline))\n"
        + text
        + f"void gemv(const float *x, float *y);\nstatic float w[{units * 4 * units + 16}];\n"
        f"void gemv(const float *x, float *y) {{ multiply(y, x, w, 1, {units}, {4 * units}); }}\n"
    )
    head = "#include <stddef.h>\nvoid gemv(const float *x, float *y);"
    x = np.random.default_rng(0).standard_normal((1, 1, units)).astype("float32")
    command = ["cc", "-std=gnu99", *NATIVE]
    return timed.of_program([path], command, head, "gemv(x, y)", x, [4 * units + 16]), 4 * units * units
