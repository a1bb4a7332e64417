"""docs/numpy.md: its code is that of the sample and of the generated program, its Python runs, its figures are true."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

import rnnexport
from samples.catalog import SAMPLES, SAMPLES_BY_NAME
from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("numpy_page")
PAGE = (ROOT / "docs" / "numpy.md").read_text()
SCRIPT = (ROOT / "samples" / "hand_written_gru.py").read_text()
GOLDEN = (ROOT / "tests" / "emit" / "numpy" / "golden" / "stateful_gru.py").read_text()
# Larger than any rounding, smaller than any mistake that the page tells of.
ROUNDING = 1e-5


def marked(name):
    """The block of code below a mark of the page."""
    return re.search(rf"^<!-- {name} -->\n```\w+\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[1]


def definition(text, start):
    """A function or class of a file, from its first line on."""
    return re.search(rf"^{re.escape(start)}.*?\n(?=\n\n)", text, re.DOTALL | re.MULTILINE)[0]


def test_the_cell_of_the_page_is_the_generated_one():
    assert marked("generated cell") == definition(GOLDEN, "def gru_cell(")


def test_the_class_of_the_page_is_that_of_the_sample():
    parts = [definition(SCRIPT, "def hard_sigmoid(x)"), definition(SCRIPT, "class HandWrittenGRU:")]
    assert marked("hand-written class") == "\n\n".join(parts)
    assert marked("mended line") == definition(SCRIPT, "class Mended(")


def test_the_one_line_is_all_that_was_mended():
    wrong, right = definition(SCRIPT, "class HandWrittenGRU:"), definition(SCRIPT, "class Mended(")
    assert wrong.splitlines()[-2:] == ["    def update(self, z, n):", "        return (1 - z) * self.h + z * n"]
    assert right.splitlines()[-2:] == ["    def update(self, z, n):", "        return z * self.h + (1 - z) * n"]
    assert right.count("def ") == 1


@pytest.mark.long
def test_the_figures_of_the_page_are_those_that_the_sample_prints(python_process):
    done = python_process("-m", "samples.hand_written_gru")
    assert done.returncode == 0, done.stderr
    found, told = (figures(text) for text in (done.stdout, marked("printed")))
    assert list(found) == list(told)
    for name, numbers in found.items():
        for number, printed in zip(numbers, told[name], strict=True):
            if max(number, printed) > ROUNDING:
                assert number == pytest.approx(printed, rel=0.05), name
    wrong, mended, gates, reset, *programs = found.values()
    assert wrong[0] > 1e-2
    assert wrong[2] > 0.1
    assert gates[0] > 1e-3
    assert (reset[0] < ROUNDING, reset[1] > 0.1) == (True, True)
    assert len(programs) == 2
    assert max(*mended, *(number for program in programs for number in program)) < 2e-6


def figures(text):
    """The rows of what the sample prints, less the first."""
    rows = [re.split(r"\s{2,}|\s+(?=\d\.\de)", line.strip()) for line in text.splitlines()[1:]]
    return {name: [float(number) for number in numbers] for name, *numbers in rows}


def test_the_python_of_the_page_gives_what_keras_gives(saved, tmp_path, monkeypatch):
    code = rnnexport.LoadOptions([str(SAMPLES_BY_NAME["stateful_gru"].path)])
    rnnexport.export(saved("stateful_gru"), "numpy", tmp_path / "stateful_gru.py", loading=code, verify=False)
    code = rnnexport.LoadOptions([str(SAMPLES_BY_NAME["cgru_no_bias"].path)])
    (tmp_path / "programs").mkdir()
    to = tmp_path / "programs" / "cgru_no_bias.py"
    rnnexport.export(saved("cgru_no_bias"), "numpy", to, loading=code, stream="dynamic", verify=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # and back again, with what the page appends
    one, stream = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    told = {}
    try:
        exec(one, told)
        model = SAMPLES_BY_NAME["stateful_gru"].build()
        wanted = [np.asarray(model(step.astype("float32"))) for step in told["x"]]
        np.testing.assert_allclose(told["y"], wanted, atol=1e-6)
        np.testing.assert_allclose(told["truth"], wanted, atol=1e-6)
        assert told["truth"][0].dtype == np.float64
        exec(stream, told)
        model, x = SAMPLES_BY_NAME["cgru_no_bias"].build(), told["x"].astype("float32")
        np.testing.assert_allclose(told["y"], np.asarray(model(x)), atol=1e-6)
        np.testing.assert_allclose(told["more"][0], told["y"][0], atol=1e-6)
        whole = np.asarray(model(np.concatenate([x, x], axis=1)))
        np.testing.assert_allclose(told["more"][1], whole[1, 9:], atol=1e-6)
    finally:
        for name in ("stateful_gru", "cgru_no_bias"):
            sys.modules.pop(name, None)


def test_the_speed_table_has_every_sample():
    table = PAGE.partition("<!-- speed table -->\n")[2].partition("<!-- end of speed table -->")[0]
    rows = [line.split("|")[1].strip(" `") for line in table.splitlines()[2:]]
    assert rows == [sample.name for sample in SAMPLES]
