"""The programs of the samples: what they compute, how they are laid out, and that they stay as they were to be read."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rnnexport.api.export import load
from rnnexport.conversion.convert import converted
from rnnexport.core.signature import Boundary
from rnnexport.emit.numpy.loading import opened
from rnnexport.emit.numpy.program import write_module
from rnnexport.source.describe import describe
from rnnexport.source.trace import trace
from samples.catalog import SAMPLES, SAMPLES_BY_NAME

pytestmark = pytest.mark.xdist_group("programs")
GOLDEN = Path(__file__).parent / "golden"
# Those that are kept to be read: built-in and custom cells of both Kerases, states, attention, several outputs.
KEPT = ("stateful_gru", "cgru_fused_reset_after", "lstm", "s_lstm", "attention_decoder", "multi_output_gru")
ROOT = Path(__file__).parents[3]


def traced_sample(name):
    """A sample whose layers are counted from the first, whatever was built in this process before."""
    import keras
    import tf_keras

    keras.utils.clear_session(free_memory=False)
    tf_keras.backend.reset_uids()
    source = load(SAMPLES_BY_NAME[name].build())
    return trace(source, describe(source, Boundary()), unroll=False)


class Written:
    """A sample, traced, and its program."""

    def __init__(self, name):
        self.traced = traced_sample(name)
        self.signature = self.traced.signature
        self.program = write_module(converted(self.traced).program, name)

    def feed(self, batch, time, seed):
        rng = np.random.default_rng(seed)
        sizes = {"batch": batch, "time": time}
        return {
            spec.name: rng.normal(size=[sizes.get(dim, dim) for dim in spec.shape]).astype(spec.dtype)
            for spec in self.signature.all_inputs
        }

    def called(self, feed, dtype=np.float32):
        """The outputs and the states after, by the names of the signature."""
        model = opened(self.program.text, self.program.arrays, dtype)
        inputs = [feed[spec.name] for spec in self.signature.inputs]
        outputs, states = model.step(*inputs, {name: feed[name] for name in model.STATES})
        return outputs | {state.output.name: states[state.input.name] for state in self.signature.states}


@pytest.fixture(scope="module")
def written():
    made = {}
    return lambda name: made.get(name) or made.setdefault(name, Written(name))


@pytest.mark.parametrize("name", [sample.name for sample in SAMPLES])
def test_the_program_gives_what_the_graph_gives(written, name):
    sample = written(name)
    for batch, time in ((3, 7), (2, 1)):
        feed = sample.feed(batch, time, seed=time)
        wanted = sample.traced.run(feed)
        found = sample.called(feed)
        assert list(found) == list(wanted)
        for key, right in wanted.items():
            assert found[key].dtype == right.dtype
            np.testing.assert_allclose(found[key], right, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("name", KEPT)
def test_the_program_reads_as_it_was_kept(written, name):
    kept = GOLDEN / f"{name}.py"
    assert versionless(written(name).program.text) == kept.read_text(), (
        f"look whether it still reads well, then run: python {Path(__file__).relative_to(ROOT)}"
    )


def test_programs_are_laid_out_and_clean(written, tmp_path):
    for sample in SAMPLES:
        (tmp_path / f"{sample.name}.py").write_text(written(sample.name).program.text)
    ruff = [sys.executable, "-m", "ruff"]
    config = ["--no-cache", "--config", str(ROOT / "pyproject.toml")]
    laid_out = subprocess.run([*ruff, "format", "--diff", *config, tmp_path], capture_output=True, text=True)
    assert laid_out.returncode == 0, laid_out.stdout
    # As in samples: what is a few lines long needs no annotations.
    clean = subprocess.run([*ruff, "check", "--ignore", "ANN", *config, tmp_path], capture_output=True, text=True)
    assert clean.returncode == 0, clean.stdout


def test_the_seed_gru_is_its_equations(written):
    cell = re.search(r"def gru_cell\(.*?\n\n\n", written("stateful_gru").program.text, re.DOTALL)[0]
    lines = [line.split("  #")[0].strip() for line in cell.splitlines()]
    assert "z = np.clip(0.2 * (x_z + recurrent_z) + 0.5, 0, 1)" in lines
    assert "r = np.clip(0.2 * (x_r + recurrent_r) + 0.5, 0, 1)" in lines
    assert "recurrent_n = (r * h) @ recurrent_kernel_n" in lines
    assert "n = np.tanh(x_n + recurrent_n)" in lines
    assert "h = z * h + (1 - z) * n" in lines


@pytest.mark.parametrize("name", [sample.name for sample in SAMPLES])
def test_no_value_is_called_by_a_number_alone(written, name):
    text = written(name).program.text
    assert not re.search(r"\b_t\d+_\b|\btmp_?\d|\bvalue_\d", text)
    assert len(re.findall(r"for t in range\(T\)", text)) == ("scan(" in text)


def test_layers_of_one_equation_share_one_function(written):
    text = written("stateful_gru").program.text
    assert text.count("def gru_cell") == 1
    assert '"""One timestep of gru_layer_0, gru_layer_1 and gru_layer_2."""' in text


def test_the_archive_is_by_layer_and_name(written):
    arrays = written("stateful_gru").program.arrays
    layers = [f"gru_layer_{index}/{name}" for index in range(3) for name in ("bias", "kernel", "recurrent_kernel")]
    assert list(arrays) == [*layers, "output_node/bias", "output_node/kernel"]
    assert arrays["gru_layer_0/kernel"].shape == (4, 192)


def test_two_programs_of_a_model_are_equal(written):
    once = written("attention_decoder").program
    again = write_module(converted(traced_sample("attention_decoder")).program, "attention_decoder")
    assert again.text == once.text
    assert list(again.arrays) == list(once.arrays)
    assert all(np.array_equal(again.arrays[name], once.arrays[name]) for name in again.arrays)


class TestTheClass:
    """Of a program: what it is called with, and what it keeps."""

    @pytest.fixture
    def model(self, written):
        program = written("stateful_gru").program
        return opened(program.text, program.arrays)

    @pytest.fixture
    def x(self):
        return np.random.default_rng(5).normal(size=(4, 1, 1, 4)).astype(np.float32)

    def test_a_call_goes_on_from_the_last(self, model, x):
        state = model.initial_state()
        for chunk in x:
            outputs, state = model.step(chunk, state)
            assert np.array_equal(model(chunk), outputs["output_node"])
        assert not np.array_equal(model(x[0]), model(x[0]))

    def test_step_changes_nothing(self, model, x):
        states = {name: np.full((1, 64), 0.25, np.float32) for name in model.STATES}
        before = {name: array.copy() for name, array in states.items()}
        given = x[0].copy()
        first, _ = model.step(x[0], states)
        second, _ = model.step(x[0], states)
        assert np.array_equal(first["output_node"], second["output_node"])
        assert all(np.array_equal(states[name], before[name]) for name in states)
        assert np.array_equal(x[0], given)
        assert model.states is None

    def test_reset_forgets(self, model, x):
        first = model(x[0])
        assert not np.array_equal(model(x[0]), first)
        model.reset()
        assert np.array_equal(model(x[0]), first)

    def test_reset_of_rows_forgets_these(self, model, x):
        first = model(x[0])
        model.reset([])
        assert not np.array_equal(model(x[0]), first)
        model.reset([0])
        assert np.array_equal(model(x[0]), first)

    def test_the_dtype_is_that_of_all_numbers(self, written, x):
        program = written("stateful_gru").program
        model = opened(program.text, program.arrays, np.float64)
        assert model(x[0]).dtype == np.float64
        assert {array.dtype.name for array in model.states.values()} == {"float64"}

    @pytest.mark.parametrize(
        ("shape", "found"), [((1, 1, 5), "(1, 1, 5)"), ((1, 4), "(1, 4)"), ((2, 1, 4), "(2, 1, 4)")]
    )
    def test_another_shape_is_refused(self, model, shape, found):
        with pytest.raises(ValueError, match=re.escape(f"input_node has the shape {found}, not (1, 1, 4)")):
            model.step(np.zeros(shape), model.initial_state())

    def test_another_batch_is_refused(self, model):
        with pytest.raises(ValueError, match="the batch is 1, not 3"):
            model.initial_state(3)


def versionless(text):
    return re.sub(r"(written by rnnexport) \S+\.$", r"\1.", text, count=1, flags=re.MULTILINE)


if __name__ == "__main__":
    for kept in KEPT:
        (GOLDEN / f"{kept}.py").write_text(versionless(Written(kept).program.text))
