"""The grammar itself, with nothing of the lowering: its labels are true, its models valid, its kinds all there."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

from tests.lowering.checking import JUDGED, difference, feeds
from tests.lowering.equations import simulate
from tests.lowering.grammar import FAMILIES, generate
from tests.lowering.runtime import run

SEEDS = range(300)
NATIVE = ("LSTM", "GRU", "RNN")
# No equation of the cell that they look like gives their states, or what sets them apart is an output of its own.
NO_EQUATION = (
    "LSTM masked in one state",
    "RNN but it reads the state before last too",
    "LSTM but every carry is an output",
)


@pytest.fixture(scope="module")
def cells():
    return [generate(seed) for seed in SEEDS]


def test_native_cells_compute_their_equation(cells):
    for cell in cells:
        if cell.family in NATIVE:
            for feed, found in zip(feeds(cell, JUDGED, 1), loop_outputs(cell), strict=True):
                wanted = simulate(cell, feed)
                for name, value in found.items():
                    assert not difference(value, wanted[name].astype(np.float32)), f"{cell}: {name}"


def test_lookalikes_do_not_compute_the_equation_of_what_they_look_like(cells):
    for cell in cells:
        if cell.family == "look-alike" and cell.kind not in NO_EQUATION:
            differences = [
                np.abs(value - simulate(cell, feed)[name]).max()
                for feed, found in zip(feeds(cell, JUDGED, 1), loop_outputs(cell), strict=True)
                for name, value in found.items()
            ]
            assert max(differences) > 0.01, cell


def test_free_cells_run_and_stay_finite(cells):
    for cell in cells:
        if cell.family == "free":
            for found in loop_outputs(cell):
                assert all(np.isfinite(value).all() for value in found.values()), cell


def loop_outputs(cell):
    return run(cell.model, feeds(cell, JUDGED, 1), optimized=False)


def test_models_are_valid_and_hold_one_loop(cells):
    for cell in cells:
        onnx.checker.check_model(cell.model, full_check=True)
        assert [node.op_type for node in cell.model.graph.node].count("Loop") == 1, cell


def test_a_seed_gives_the_same_cell_again(cells):
    for cell in cells[:50]:
        assert generate(cell.seed).model == cell.model
        assert str(generate(cell.seed)) == str(cell)


def test_every_kind_occurs(cells):
    occurring = {(cell.family, cell.kind) for cell in cells}
    assert occurring == {(family, kind) for family, kinds in FAMILIES.items() for kind in kinds}


def test_labels_occur_in_good_numbers(cells):
    counts = Counter(cell.label for cell in cells)
    assert counts == {"LSTM": 60, "GRU": 60, "RNN": 60, None: 60, "any": 60}


def test_every_spelling_occurs(cells):
    described = "\n".join(map(str, cells))
    for spelling in (
        "fused[",
        "parts",
        "separate",
        "Gemm",
        "concat(",
        "slices",
        "kernel turned in the body",
        "kernel turned outside",
        "bias in two",
        "bias after the split",
        "n-ary Sum",
        "lerp",
        "multiplied out",
        "sigmoid as a reciprocal",
        *(f"hard_sigmoid as {spelling}" for spelling in ("op", "keras 2", "max of min", "keras 3", "relu6")),
        "diagonal",
        "flipped",
        "forget bias",
        "peepholes",
        "in one state",
        "Where",
        "masked",
        *(f"weights {way}" for way in ("carried", "captured", "inside", "mixed")),
        *(f"from {how}" for how in ("zero", "constant", "input")),
        "backwards",
        "time-major",
        "opset 13",
    ):
        assert spelling in described, spelling


def test_dimensions_and_weights_hide_no_permutation(cells):
    """Features and units differ, and no two weights of a cell are the same."""
    for cell in cells:
        if cell.family in NATIVE:
            core = getattr(cell.cell, "cell", cell.cell)
            gates = core.gates.values() if hasattr(core, "gates") else [core.gate]
            assert core.features != gates_width(core), cell
            weights = np.concatenate([kernel.ravel() for gate in gates for kernel in gate.kernels.values()])
            assert len(np.unique(weights)) == weights.size, cell
            assert all(np.abs(gate.bias).min() > 0.05 for gate in gates if gate.bias is not None), cell


def gates_width(core):
    return next(iter(core.states.values()))[0]
