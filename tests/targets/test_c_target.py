"""C programs as artifacts: what is refused before anything is compiled, and what every compiler makes of one."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from rnnexport.artifact import archive
from rnnexport.artifact.goldens import Golden
from rnnexport.conversion.cleanup import infer_shapes
from rnnexport.core.errors import ConversionError, ProviderError, UsageError
from rnnexport.core.forms import CForm
from rnnexport.core.names import SourceNames
from rnnexport.ir.from_onnx import Converted
from rnnexport.targets.c import compiler, files
from rnnexport.targets.c.calling import CompiledModel
from rnnexport.targets.c.source import Source
from rnnexport.targets.c.testing import with_self_test
from rnnexport.targets.registry import target
from tests.emit.cprograms import OWN, QUICK, opened, save, written
from tests.emit.numpy.programs import signature_of
from tests.lowering.checking import JUDGED, feeds
from tests.lowering.grammar import generate
from tests.lowering.runtime import run

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
C = target("c")
CELL = generate(5)
BITS = ("-O0", "-O2", "-O3 -march=native", "-O2 -DCELL_NO_VECTORS", "-O2 -DCELL_NO_DISPATCH")


def source_of(form, name="cell"):
    """What the program of the cell is written of."""
    graph = ir.from_proto(copy.deepcopy(CELL.model))
    infer_shapes(graph)
    return Source.of(Converted(graph, signature_of(CELL.model), SourceNames(), {}), name, form)


def golden_of(cell, seed=1):
    """A golden of a cell, its outputs those of the untouched loop."""
    (feed, *_) = feeds(cell, JUDGED, seed)
    return Golden("", feed, run(cell.model, [feed], optimized=False)[0])


def self_testing(folder):
    """The program of the cell with its companions and a self-test, without a proof."""
    path, source = folder / "cell.c", source_of(OWN)
    files.write(path, source.text({}), source)
    files.beside(path).write_bytes(archive.to_bytes(with_self_test(path, [golden_of(CELL)], {})))
    return path


@pytest.fixture
def artifact(tmp_path):
    """A program with its companions, without a proof."""
    path, source = tmp_path / "cell.c", source_of(OWN)
    files.write(path, source.text({}), source)
    return path


def test_a_program_is_what_its_graph_is_written_as(artifact):
    C.check_code(artifact)
    assert C.recognises(artifact)
    assert [file.name for file in C.files(artifact)] == ["cell.c", "cell.h", "cell.c.npz"]


def test_a_program_is_checked_and_run_without_tensorflow(artifact):
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'keras', 'tf_keras', 'tf2onnx', 'onnxruntime'])); "
        "from pathlib import Path; from rnnexport.targets.registry import target; "
        "C, path = target('c'), Path(sys.argv[1]); C.check_code(path); "
        "print(len(C.runner(path, 'cpu').__enter__().inputs))"
    )
    done = subprocess.run([sys.executable, "-c", code, artifact], capture_output=True, text=True, check=False)
    assert (done.stderr, done.returncode) == ("", 0)
    assert int(done.stdout) == len(signature_of(CELL.model).all_inputs)


def test_another_weight_that_is_a_number_is_no_other_code(artifact):
    text = artifact.read_text()
    first = text.index("0x1.")
    artifact.write_text(text[:first] + "0x1.8p0f" + text[text.index(",", first) :])
    C.check_code(artifact)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    memcpy(", "    abort(); memcpy("),
        ("#include <string.h>", '#include "/etc/passwd"'),
        ("[PADDED(", "[2 + PADDED("),
        ("0x1.", "system(0)+0x1."),
        ("/* The model. */", "/* The model. */ __attribute__((constructor))"),
        ("t_2 < T", "t_2 <= T"),
    ],
)
def test_an_altered_program_is_refused_before_it_is_compiled(artifact, old, new):
    text = artifact.read_text()
    assert old in text
    artifact.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError, match="no program as rnnexport"):
        C.check_code(artifact)


def test_an_altered_header_is_refused(artifact):
    header = artifact.with_suffix(".h")
    header.write_text(header.read_text().replace("MAX_LENGTH 1048576", "MAX_LENGTH 10485760"))
    with pytest.raises(UsageError, match=r"cell\.h is no program .* line \d+"):
        C.check_code(artifact)


def test_an_archive_without_a_program_is_refused(artifact):
    files.beside(artifact).write_bytes(archive.to_bytes({}))
    with pytest.raises(UsageError, match="holds no program"):
        C.check_code(artifact)


def test_no_compiler_is_not_run(artifact, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(ProviderError, match="no-such-compiler can't be run"), C.runner(artifact, "cpu"):
        pass


def test_a_compiler_that_fails_is_told_by_its_first_line(artifact, monkeypatch):
    monkeypatch.setenv("CC", "cc -DCELL_LANES=1 -fno-such-flag")
    with pytest.raises(ProviderError, match=r"no-such-flag"), C.runner(artifact, "cpu"):
        pass


def test_the_compiler_and_its_flags_are_settings(artifact):
    with C.runner(artifact, "cpu") as runner:
        assert runner.settings["compiler"]
        assert "-std=c99" in runner.settings["flags"]
        assert "-Werror" in runner.settings["flags"]
        assert "warning" not in runner.settings


def test_a_compiler_that_warns_is_told_and_used(artifact, monkeypatch):
    monkeypatch.setenv("CC", "cc -Wconversion -Wsign-conversion -Wtraditional")
    with C.runner(artifact, "cpu") as runner:
        assert "-Werror" not in runner.settings["flags"]
        assert re.search(r" failed: \w+\.c:\d+:\d+: error: .*\[-Werror=", runner.settings["warning"])


def test_a_deterministic_program_gives_the_same_bits_however_it_is_compiled(tmp_path):
    text = written(CELL.model, "cell", CForm(deterministic=True))
    program, signature = save(text, tmp_path, "cell"), signature_of(CELL.model)
    (feed, *_) = feeds(CELL, JUDGED, 1)
    compilers = [name for name in ("gcc", "clang", "clang-14") if shutil.which(name)]
    found = []
    for name in compilers:
        for number, flags in enumerate(BITS):
            library = tmp_path / f"{name}_{number}.so"
            compiler.Compiler((name,), "").shared(program, library, flags.split())
            found.append(
                b"".join(array.tobytes() for array in CompiledModel(library, signature, "cell").run(feed).values())
            )
    assert len(set(found)) == 1


def test_vectors_and_plain_c_give_one_result(tmp_path):
    """Without contraction, which the flags of verifying leave out."""
    (feed, *_) = feeds(CELL, JUDGED, 1)
    (tmp_path / "plain").mkdir()
    fast = opened(CELL.model, tmp_path, "cell", ["-O2", "-ffp-contract=off"]).run(feed)
    plain = opened(CELL.model, tmp_path / "plain", "cell", [*QUICK, "-DCELL_NO_VECTORS"]).run(feed)
    for name, array in fast.items():
        np.testing.assert_array_equal(plain[name], array)


def test_a_length_beyond_the_largest_and_too_small_a_buffer_are_refused_and_nothing_is_written(tmp_path):
    """With the sanitizers: a read or a write past the end of an array ends the program."""
    program = save(written(CELL.model, "cell"), tmp_path, "cell")
    inputs = [spec.name for spec in signature_of(CELL.model).inputs]
    outputs = [spec.name for spec in signature_of(CELL.model).outputs]
    arrays = "\n".join(f"    float *{name} = calloc(CELL_{name.upper()}_SIZE(3), 4);" for name in [*inputs, *outputs])
    given = [*inputs, "{T}", *outputs, "work", "{size}"]
    call = f"cell_run({', '.join(given)})"
    main = tmp_path / "main.c"
    main.write_text(
        '#include <stdlib.h>\n#include "cell.h"\nint main(void) {\n'
        f"{arrays}\n    const size_t size = CELL_WORK_SIZE(3);\n    char *work = malloc(size);\n"
        f"    if ({call.format(T=0, size='size')} != CELL_BAD_LENGTH) return 1;\n"
        f"    if ({call.format(T='CELL_MAX_LENGTH + 1', size='size')} != CELL_BAD_LENGTH) return 2;\n"
        f"    if ({call.format(T=3, size='size - 1')} != CELL_SMALL_WORK) return 3;\n"
        f"    if ({call.format(T=3, size='size')} != CELL_OK) return 4;\n"
        "    return 0;\n}\n"
    )
    flags = ["-std=c99", "-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["cc", *flags, str(main), str(program), "-o", str(tmp_path / "main"), "-lm"]
    subprocess.run(command, check=True)
    done = subprocess.run([tmp_path / "main"], capture_output=True, check=False, env={"ASAN_OPTIONS": "detect_leaks=0"})
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.fixture
def tested(tmp_path):
    """The same with a self-test."""
    return self_testing(tmp_path)


def compiled_test(program, folder, *, command=("cc",), flags=()):
    """The self-test, compiled."""
    to = folder / "self_test"
    line = [*command, "-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic", "-DCELL_SELF_TEST", *flags]
    subprocess.run([*line, str(program), "-o", str(to), "-lm"], check=True)
    return to


def test_a_self_test_passes_and_is_part_of_what_is_checked(tested, tmp_path):
    C.check_code(tested)
    done = subprocess.run([compiled_test(tested, tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert re.fullmatch(r"cell: largest error \S+, 0 wrong\n", done.stdout)
    with C.runner(tested, "cpu") as runner:
        assert runner.outputs
    text = tested.read_text()
    tested.write_text(text.replace("return wrong != 0;", "return 0;"))
    with pytest.raises(UsageError, match="no program as rnnexport"):
        C.check_code(tested)


def test_a_self_test_of_other_weights_fails(tested, tmp_path):
    text = tested.read_text()
    start = text.index("static const float")
    first = text.index("0x1.", start)
    tested.write_text(text[:first] + "0x1.8p3f" + text[text.index(",", first) :])
    C.check_code(tested)
    done = subprocess.run([compiled_test(tested, tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert " 0 wrong" not in done.stdout


def test_weights_beyond_the_room_are_refused():
    CForm(max_bytes=100).require_room(100)
    with pytest.raises(UsageError, match="weights and constants of 101 bytes; expected at most the 100"):
        CForm(max_bytes=100).require_room(101)


@pytest.mark.parametrize(("file", "prefix"), [("int", "int_"), ("größe 2", "gro_e_2"), ("2nd-order", "n2nd_order")])
def test_a_name_that_is_no_name_in_c(file, prefix, tmp_path):
    program = save(written(CELL.model, file), tmp_path, file)
    assert f'#include "{file}.h"' in program.read_text()
    compiler.find().shared(program, tmp_path / "any.so", QUICK)
    assert CompiledModel(tmp_path / "any.so", signature_of(CELL.model), file).interface.name == prefix


def test_a_file_that_is_called_as_a_cell_in_it(tmp_path):
    """The public function of a step and that of the cell are two."""
    text = save(written(CELL.model, "m"), tmp_path, "m").read_text()
    (name,) = re.findall(r"#define (\w+)_step M_OF", text)
    program = save(written(CELL.model, name), tmp_path, name)
    assert f"void {name}_step_1(" in program.read_text()
    compiler.find().shared(program, tmp_path / "any.so", QUICK)


def test_inputs_whose_names_are_words_of_c(tmp_path):
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> g (float[2, 3] int, float[2, 3] state) => (float[2, 3] class)'
        "{ class = Sub(int, state) }"
    )
    one, other = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones((2, 3), np.float32)
    program = opened(model, tmp_path)
    found = program.run({"int": one, "state": other})
    np.testing.assert_array_equal(found["class"], one - other)
    assert [each.name for each in program.interface.inputs] == ["int_", "state_"]


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_cpp_includes_the_header_and_calls_the_program(artifact, tmp_path):
    library = compiler.Compiler(("cc",), "")
    library.run([*QUICK, "-c", str(artifact), "-o", str(tmp_path / "cell.o")])
    main = tmp_path / "main.cpp"
    main.write_text('#include "cell.h"\nint main() { return cell_work_size(3) == CELL_WORK_SIZE(3) ? 0 : 1; }\n')
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    to = tmp_path / "main"
    subprocess.run(["c++", *flags, str(main), str(tmp_path / "cell.o"), "-o", str(to), "-lm"], check=True)
    assert subprocess.run([to], check=False).returncode == 0


def test_cppcheck_has_nothing_to_say(tmp_path):
    if shutil.which("cppcheck") is None:
        pytest.skip("no cppcheck")
    program = save(written(CELL.model, "cell"), tmp_path, "cell")
    command = ["cppcheck", "--error-exitcode=1", "--enable=warning,performance,portability", "-q", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_libm_and_deterministic_do_not_go_together():
    with pytest.raises(UsageError, match="--deterministic with --math libm"):
        CForm(libm=True, deterministic=True)


def test_a_deterministic_program_has_no_functions_of_the_library(tmp_path):
    cells = (generate(seed) for seed in range(200))
    elu = next(cell for cell in cells if "expm1f" in written(cell.model).program)
    with pytest.raises(ConversionError, match="expm1f of the C library"):
        written(elu.model, form=CForm(deterministic=True))
