"""C programs where they end up: on other processors, on a Cortex-M4 without a system, in WebAssembly, in CMake."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from rnnexport.artifact import archive
from rnnexport.core.forms import CForm
from rnnexport.targets.c import files
from tests.conftest import ROOT
from tests.emit.cprograms import save, written
from tests.emit.numpy.programs import signature_of
from tests.targets.test_c_target import CELL, self_testing, source_of

BOARDS = Path(__file__).parent / "boards"
M4 = (
    *("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    *("--specs=rdimon.specs", "-nostartfiles", "-T", str(BOARDS / "cortex_m4.ld"), str(BOARDS / "cortex_m4.c")),
)
QEMU_M4 = ("qemu-system-arm", "-M", "mps2-an386", "-cpu", "cortex-m4", "-nographic", "-semihosting-config")
# What compiles for a processor, and what runs it here.
PROCESSORS = {
    "cortex-m4": (M4, (*QEMU_M4, "enable=on,target=native", "-kernel")),
    "aarch64": (("aarch64-linux-gnu-gcc", "-static"), ("qemu-aarch64",)),
    "riscv64": (("riscv64-linux-gnu-gcc", "-static"), ("qemu-riscv64",)),
}
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror")


def ran(processor, sources, folder, *flags):
    """What a program prints on a processor, after it ended well."""
    command, start = PROCESSORS[processor]
    if not (shutil.which(command[0]) and shutil.which(start[0])):
        pytest.skip(f"no {command[0]}, or no {start[0]}")
    to = folder / processor
    subprocess.run([*command, *STRICT, *flags, *map(str, sources), "-o", str(to), "-lm"], check=True)
    done = subprocess.run([*start, str(to)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_self_test_passes_on_another_processor(processor, tmp_path):
    program = self_testing(tmp_path)
    said = ran(processor, [program], tmp_path, "-DCELL_SELF_TEST")
    assert re.fullmatch(r"cell: largest error \S+, 0 wrong\n", said)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_a_deterministic_program_gives_the_same_bits_on_other_processors(processor, tmp_path):
    program = save(written(CELL.model, "cell", CForm(deterministic=True)), tmp_path, "cell")
    signature = signature_of(CELL.model)
    rng = np.random.default_rng(3)
    feed = {
        spec.name: rng.standard_normal([5 if size == "time" else 1 if size == "batch" else size for size in spec.shape])
        for spec in signature.inputs
    }
    main = tmp_path / "main.c"
    main.write_text(_printing(signature, {name: array.astype("float32") for name, array in feed.items()}))
    here = tmp_path / "here"
    subprocess.run(["cc", "-std=c99", "-O2", str(main), str(program), "-o", str(here), "-lm"], check=True)
    wanted = subprocess.run([here], capture_output=True, text=True, check=True).stdout
    assert ran(processor, [main, program], tmp_path) == wanted != ""


def _printing(signature, feed):
    """A program that prints the bits of every output."""
    arrays = [
        f"static const float {name}[] = {{{', '.join(f'{float(item).hex()}f' for item in array.ravel())}}};"
        for name, array in feed.items()
    ]
    outputs = [spec.name for spec in signature.outputs]
    arrays += [f"static float {name}[CELL_{name.upper()}_SIZE(5)];" for name in outputs]
    shown = "\n".join(
        f"    for (size_t k = 0; k < sizeof {name} / 4; k++) {{\n"
        f'        memcpy(&bits, {name} + k, 4);\n        printf("%lx ", (unsigned long)bits);\n    }}'
        for name in outputs
    )
    given = ", ".join([*feed, "5", *outputs, "work", "sizeof work"])
    return (
        '#include <stdio.h>\n#include <string.h>\n#include "cell.h"\n' + "\n".join(arrays) + "\nint main(void) {\n"
        f"    static char work[CELL_WORK_SIZE(5)];\n    uint32_t bits;\n    const int code = cell_run({given});\n"
        f"{shown}\n    return code;\n}}\n"
    )


@pytest.mark.long
def test_the_self_test_passes_in_webassembly(tmp_path):
    """Zig builds the C library for it first, which takes minutes once."""
    if find_spec("ziglang") is None or find_spec("wasmtime") is None:
        pytest.skip("no ziglang, or no wasmtime")
    import wasmtime

    program, module = self_testing(tmp_path), tmp_path / "cell.wasm"
    command = [sys.executable, "-m", "ziglang", "cc", "--target=wasm32-wasi", "-msimd128", *STRICT, "-DCELL_SELF_TEST"]
    subprocess.run([*command, str(program), "-o", str(module)], check=True)
    engine = wasmtime.Engine()
    store, linker, wasi = wasmtime.Store(engine), wasmtime.Linker(engine), wasmtime.WasiConfig()
    wasi.stdout_file = str(tmp_path / "said")
    store.set_wasi(wasi)
    linker.define_wasi()
    instance = linker.instantiate(store, wasmtime.Module.from_file(engine, str(module)))
    instance.exports(store)["_start"](store)  # raises where the test fails
    assert re.fullmatch(r"cell: largest error \S+, 0 wrong\n", (tmp_path / "said").read_text())


def test_the_snippet_of_cmake_builds(tmp_path):
    if shutil.which("cmake") is None:
        pytest.skip("no cmake")
    page = (ROOT / "docs" / "c.md").read_text()
    (snippet,) = re.findall(r"^```cmake\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    source = source_of(CForm(), "model")
    files.write(tmp_path / "model.c", source.text({}), source)
    lists = tmp_path / "CMakeLists.txt"
    lists.write_text(f"cmake_minimum_required(VERSION 3.13)\nproject(firmware C)\n{snippet}")
    build = tmp_path / "build"
    for arguments in (["-S", str(tmp_path), "-B", str(build)], ["--build", str(build)]):
        subprocess.run(["cmake", *arguments], check=True, capture_output=True)
    assert (build / "libmodel.a").is_file()
    assert archive.read(files.beside(tmp_path / "model.c"))
