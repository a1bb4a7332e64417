"""A C program with its weights in a file beside it: mapped by the caller, checked, sealed, verified like the rest."""

from __future__ import annotations

import shutil
import subprocess

import keras
import numpy as np
import pytest

import rnnexport
from rnnexport.core.errors import UsageError
from rnnexport.core.forms import CForm
from rnnexport.emit.c.weights import sums
from rnnexport.targets.c import compiler
from tests.streams import with_random_weights

FILES = {"m.c", "m.h", "m.c.npz", "m.c.bin"}
CALLER = """
#include "m.h"
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
    FILE *file = fopen("m.c.bin", "rb");
    char *weights = malloc(M_WEIGHTS_SIZE);
    static float x[M_X_SIZE(4)], y[M_Y_SIZE(4)];
    static char work[M_WORK_SIZE(4)];
    if (file == NULL || fread(weights, 1, M_WEIGHTS_SIZE, file) != M_WEIGHTS_SIZE) {
        return 9;
    }
    const int right = m_check(weights, M_WEIGHTS_SIZE), cut = m_check(weights, M_WEIGHTS_SIZE - 4);
    for (size_t at = 0; at < M_X_SIZE(4); at++) {
        x[at] = (float)at / 8;
    }
    const int ran = m_run(weights, x, 4, y, work, sizeof work);
    weights[5] ^= 1;
    printf("%d %d %d %d\\n", right, cut, ran, m_check(weights, M_WEIGHTS_SIZE));
    for (size_t at = 0; at < M_Y_SIZE(4); at++) {
        printf("%.9g\\n", y[at]);
    }
    fclose(file);
    free(weights);
    return 0;
}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model, and its program."""
    keras.utils.set_random_seed(3)
    x = keras.Input((None, 3), name="x")
    h = keras.layers.GRU(5, return_sequences=True, name="gru")(x)
    model = keras.Model(x, keras.layers.Dense(2, name="y")(h))
    with_random_weights(model, 1)
    folder = tmp_path_factory.mktemp("weights")
    done = rnnexport.export(model, folder / "m.c", c=CForm(weights_beside=True))
    return model, done.path


@pytest.fixture
def artifact(made, tmp_path):
    for file in made[1].parent.iterdir():
        shutil.copy(file, tmp_path)
    return tmp_path / "m.c"


def test_weights_are_in_a_file_of_their_own_and_it_is_a_part_of_the_artifact(made):
    _, path = made
    assert {file.name for file in path.parent.iterdir()} == FILES
    program = path.read_text()
    assert "gru_kernel[" not in program.replace("gru_kernel[PADDED", "gru_kernel[")
    assert "#define gru_kernel ((const float *)(const void *)(weights + " in program
    report = rnnexport.verify(path)
    assert report.passed
    assert {file.name for file in report.artifacts[0].files} == FILES
    assert rnnexport.verify(sorted(path.parent.iterdir())).passed  # what a shell makes of artifacts/*


def test_a_caller_in_c_reads_them_checks_them_and_gets_what_keras_gives(made, artifact):
    (artifact.parent / "caller.c").write_text(CALLER)
    binary = artifact.parent / "caller"
    flags = [*compiler.FLAGS, "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    compiler.find().run([*flags, str(artifact), str(artifact.parent / "caller.c"), "-o", str(binary), "-lm"])
    done = subprocess.run([str(binary)], cwd=artifact.parent, capture_output=True, text=True, check=False)
    codes, *numbers = done.stdout.splitlines()
    assert (done.returncode, codes) == (0, "0 3 0 3"), done.stderr
    wanted = made[0](np.arange(12, dtype="float32").reshape(1, 4, 3) / 8).numpy().ravel()
    np.testing.assert_allclose(np.array(numbers, float), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("damage", ["flipped", "cut", "longer", "missing", "padding"])
def test_weights_that_are_not_its_own_are_refused_before_it_is_compiled(artifact, damage, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    file = artifact.with_name("m.c.bin")
    data = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    else:
        at = {"flipped": 7, "padding": len(data) - 1}.get(damage)
        if at is not None:
            data[at] ^= 1
        file.write_bytes(data[:-64] if damage == "cut" else data + bytes(64) if damage == "longer" else data)
    wanted = r"no file .*m\.c\.bin; expected the weights of m\.c" if damage == "missing" else r"m\.c was altered"
    with pytest.raises(UsageError, match=wanted):
        rnnexport.verify(artifact)


def test_it_goes_to_another_place_whole_and_a_new_export_takes_its_file_away(made, artifact, tmp_path):
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    rnnexport.strip(artifact, output=moved / "n.c")
    assert {file.name for file in moved.iterdir()} == {"n.c", "n.h", "n.c.npz", "n.c.proof", "m.c.bin"}
    assert rnnexport.verify(moved / "n.c").passed
    rnnexport.export(made[0], artifact, verify=False)
    assert {"m.c", "m.h", "m.c.npz", "elsewhere"} == {file.name for file in tmp_path.iterdir()}


def test_a_file_of_somebody_else_stays(made, tmp_path):
    (tmp_path / "m.c.bin").write_text("mine")
    with pytest.raises(UsageError, match=r"m\.c\.bin, which rnnexport did not write; .*weights of m\.c go into it"):
        rnnexport.export(made[0], tmp_path / "m.c", verify=False, c=CForm(weights_beside=True))
    assert [file.name for file in tmp_path.iterdir()] == ["m.c.bin"]


def test_the_sums_tell_words_and_their_order():
    words = np.array([7, 2**32 - 1, 9], "<u4")
    first = 7 + 2**32 - 1 + 9
    assert sums(words.tobytes()) == (first, 3 * 7 + 2 * (2**32 - 1) + 9)
    assert sums(words[[1, 0, 2]].tobytes())[0] == first
    assert sums(words[[1, 0, 2]].tobytes()) != sums(words.tobytes())
