"""Each kind of fault of `make mutation`, on small models: it changes the graph, and verification catches it."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
import pytest

import rnnexport
from benchmarks.mutation.change import Change
from benchmarks.mutation.changes import changes_of
from benchmarks.mutation.faults import FAULTS
from benchmarks.mutation.faults.products import rounded
from benchmarks.mutation.judge import Judged, Verdict, copied_to, drawn, write
from benchmarks.mutation.results import from_json, to_json
from benchmarks.mutation.subjects import Artifact
from benchmarks.mutation.truth import Figures, figures, run_all
from benchmarks.mutation.view import copied, mutants
from rnnexport.api.expectations import Requested, expectation_of
from rnnexport.artifact.goldens import Golden
from rnnexport.targets.registry import target
from rnnexport.verification.run_artifact import verify_artifact
from rnnexport.verification.tolerance import Override, Tolerance

EVERY_RECURRENCE = {
    "weight off by 1e-3",
    "gates permuted",
    "kernel transposed",
    "bias dropped",
    "state not carried",
    "state not reset",
    "reversal lost",
    "off by one step",
    "batch baked in",
    "time baked in",
    "float16 weights",
    "another activation",
    "TF32 products",
    "steps past a number",
    "rows past a number",
    "inputs clipped",
}
# The kinds that apply to each artifact.
NATIVE = EVERY_RECURRENCE | {"reset before/after", "hard_sigmoid of the other Keras", "slope forgotten"}
MIXED = EVERY_RECURRENCE | {
    "reset before/after",
    "mask ignored",
    "outputs swapped",
    "inputs swapped",
    "parts swapped",
    "slope forgotten",
    "epsilon of a norm",
    "embedding moved",
    "kernel flipped",
    "softmax axis",
    "initial state dropped",
    "row of an embedding",
}
# Which of its places are reached depends on values: see the test of its own.
BY_VALUES = {"branch off"}
# Those of artifacts of other formats: sums and tanh are operators there, and so is what each of them does with a bias.
OTHERS = {
    "numpy": {"weight off by 1e-3", "float16 weights", "sign of a sum"},
    "tflite": {"weight off by 1e-3", "float16 weights", "another activation"},
    "saved-model": {"weight off by 1e-3", "float16 weights", "sign of a sum", "another activation"},
    "c": {"weight off by 1e-3", "float16 weights", "sign of a sum", "gates permuted", "state not carried"},
}
# What a form has besides: the 1 of `1 - z` is a number in the step of a Loop.
BESIDES = {"scan": set(), "loop": {"constant off by 1%"}}
# Every other one of the first: of the weights that is the largest of each constant, which can't be lost in rounding.
FIRST = 3


def mixed():
    """Padded ids read backwards, a norm, a slope; a convolution, an initial state, a softmax; pairs of one shape."""
    import keras

    ids = keras.Input((None,), dtype="int32", name="ids")
    a, b = keras.Input((None, 3), name="a"), keras.Input((None, 3), name="b")
    y = keras.layers.Embedding(9, 3, mask_zero=True)(ids)
    y = keras.layers.GRU(4, return_sequences=True, go_backwards=True)(y)
    y = keras.layers.LayerNormalization(epsilon=1e-3)(y)
    first = keras.layers.LeakyReLU(negative_slope=0.3, name="first")(y)
    x = keras.layers.Conv1D(2, 3, padding="same")(keras.layers.Subtract()([a, b]))
    start = keras.layers.Dense(4)(keras.layers.GlobalMaxPooling1D()(a))
    x = keras.layers.Concatenate()([x, b])
    x = keras.layers.SimpleRNN(4, return_sequences=True)(x, initial_state=start)
    second = keras.layers.Softmax(name="second")(x)
    model = keras.Model([ids, a, b], [first, second])
    rng = np.random.default_rng(3)
    model.set_weights([rng.uniform(-0.7, 0.7, weight.shape) for weight in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def of_form(tmp_path_factory):
    """The artifact of `mixed` in one form."""
    source, done = None, {}

    def export(form):
        nonlocal source
        source = source or rnnexport.load(mixed())
        if form not in done:
            path = tmp_path_factory.mktemp("mixed") / f"{form}.onnx"
            done[form] = rnnexport.export(source, "onnx", path, lowering=rnnexport.LoweringRequest(form)).path
        return done[form]

    return export


def check(path, kinds, folder):
    """Every kind that is said to apply does, and changes the graph and nothing else; each fault that shows is caught.

    A state that nothing reads may be lost: then the mutant gives the very values of the original.
    """
    model, kind, file = onnx.load(path), target("onnx"), folder / "mutant.onnx"
    before, caught = copied(model), set()
    calls = [golden for golden in kind.read_proof(path).goldens if not golden.carries]
    original = run_all(kind, path, calls)
    for name, fault in ((name, fault) for name, fault in FAULTS.items() if name not in BY_VALUES):
        for mutant in islice(mutants(model, fault), 0, FIRST, 2):
            assert mutant.model.graph != model.graph, (name, mutant.where)
            assert mutant.model.metadata_props == model.metadata_props
            write(mutant.model, file)
            (report,) = rnnexport.verify(file).artifacts
            caught |= {name} if report.status == "mismatch" else set()
            assert report.status == "mismatch" or same(run_all(kind, file, calls), original), (name, mutant.where)
    assert caught == kinds
    assert model == before
    write(model, file)
    assert rnnexport.verify(file).passed


@pytest.mark.xdist_group("cgru_fused_reset_after")
@pytest.mark.parametrize("name", OTHERS)
def test_faults_of_other_formats_are_caught(name, exported, tmp_path):
    path, kind = exported("cgru_fused_reset_after")[name].path, target(name)
    expectation = expectation_of(kind, path, Requested(None, None, Override()))
    calls = [golden for golden in expectation.goldens if not golden.carries][:3]
    original, before = run_all(kind, path, calls), [file.read_bytes() for file in files(kind, path)]
    by_kind = {}
    for change in changes_of(name, path):
        by_kind.setdefault(change.fault, []).append(change)
    caught = set()
    for fault, changes in by_kind.items():
        for change in changes[:FIRST:2]:
            mutant = copied_to(tmp_path, kind, path)
            change.apply(mutant)
            report = verify_artifact(kind, mutant, expectation)
            caught |= {fault} if report.status == "mismatch" else set()
            assert report.status == "mismatch" or same(run_all(kind, mutant, calls), original), change.where
    assert caught >= OTHERS[name]
    assert [file.read_bytes() for file in files(kind, path)] == before


def files(kind, path):
    """Every file of an artifact."""
    return [
        file
        for one in kind.files(path)
        for file in (sorted(one.rglob("*.*")) if one.is_dir() else [one])
        if file.is_file()
    ]


def same(some, others):
    return all(np.array_equal(one[name], other[name]) for one, other in zip(some, others, strict=True) for name in one)


@pytest.mark.xdist_group("cgru_fused_reset_after")
def test_faults_of_an_operator_are_caught(exported, tmp_path):
    check(exported("cgru_fused_reset_after")["onnx"].path, NATIVE, tmp_path)


@pytest.mark.xdist_group("mutation")
@pytest.mark.long
@pytest.mark.parametrize("form", ["scan", "loop"])
def test_faults_of_loops_and_of_what_is_around_are_caught(form, of_form, tmp_path):
    check(of_form(form), MIXED | BESIDES[form], tmp_path)


@pytest.mark.long
@pytest.mark.xdist_group("mutation")
def test_a_branch_that_is_off_is_caught_where_values_reach_it(of_form, tmp_path):
    path, kind, file = of_form("scan"), target("onnx"), tmp_path / "mutant.onnx"
    calls = [golden for golden in kind.read_proof(path).goldens if not golden.carries]
    original, caught = run_all(kind, path, calls), []
    for mutant in mutants(onnx.load(path), FAULTS["branch off"]):
        write(mutant.model, file)
        (report,) = rnnexport.verify(file).artifacts
        if report.status == "mismatch":
            caught.append(mutant.where)
        else:
            assert same(run_all(kind, file, calls), original), mutant.where
    assert {where.partition(" ")[0] for where in caught} >= {"Sigmoid", "Tanh"}


def test_every_kind_is_tried():
    assert set(FAULTS) == NATIVE | MIXED | BESIDES["loop"] | BY_VALUES


def test_an_output_that_another_node_reads_is_cut_for_the_caller_alone():
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[batch, time, 3] x) => '
        "(float[batch, time, 3] y, float[batch, time, 3] z) { y = Relu(x) z = Neg(y) }"
    )
    x = np.random.default_rng(4).standard_normal((2, 40, 3)).astype("float32")
    cut = {
        mutant.where.split()[0]: onnx.reference.ReferenceEvaluator(mutant.model).run(None, {"x": x})
        for mutant in mutants(model, FAULTS["steps past a number"])
        if "33" in mutant.where
    }
    y = np.maximum(x, 0)
    kept = np.arange(40)[:, None] < 33
    np.testing.assert_array_equal(cut["y"], [np.where(kept, y, 0), -y])
    np.testing.assert_array_equal(cut["z"], [y, np.where(kept, -y, 0)])


def test_tf32_keeps_ten_bits_after_the_point():
    random = np.random.default_rng(0).standard_normal(1000).astype("float32") * np.float32(1e-3)
    bits = rounded(random).view(np.uint32)
    assert not (bits & 0x1FFF).any()
    relative = np.abs(rounded(random).astype(float) - random) / np.abs(random)
    assert 2**-13 < relative.max() <= 2**-11


def calls(count):
    """Calls of one kind, whose source is off by rounding alone."""
    rng = np.random.default_rng(1)
    made = []
    for _ in range(count):
        truth = rng.standard_normal((4, 50))
        made.append(Golden("a kind", {}, {"y": truth.astype("float32")}, {"y": truth}))
    return [(golden,) for golden in made]


@pytest.mark.parametrize(
    ("spread", "equal"),
    [(0.0, True), (2e-8, True), (1e-7, False), (1e-3, False)],
)
def test_a_mutant_is_equal_where_its_error_is_that_of_rounding(spread, equal):
    fresh = calls(20)
    rng = np.random.default_rng(2)
    original = [dict(golden.expected) for (golden,) in fresh]
    mutant = [
        {"y": (golden.truth["y"] + spread * rng.standard_normal(golden.truth["y"].shape)).astype("float32")}
        for (golden,) in fresh
    ]
    found = figures(fresh, original, mutant, Tolerance(rtol=0, atol=1e-6))
    assert found.equal == equal
    assert found.source == found.original
    assert found.output == "y"
    if spread > 1e-7:
        assert found.mutant == pytest.approx(spread, rel=0.05)
        assert found.change == pytest.approx(found.mutant / 1e-6 * 3.6, rel=0.3)


def test_a_change_in_one_value_of_thousands_is_told():
    fresh = calls(20)
    original = [dict(golden.expected) for (golden,) in fresh]
    mutant = [{"y": run["y"].copy()} for run in original]
    mutant[7]["y"][2, 3] += 1e-4
    assert not figures(fresh, original, mutant, Tolerance()).equal
    assert figures(fresh, original, original, Tolerance()).equal


def test_what_was_written_is_read_again_so_that_a_run_goes_on():
    found = Figures("y", "a feed", 3e-7, 1e-7, 1e-7, 1.1e-7, 0.3)
    verdicts = (
        Verdict("m.auto", "bias dropped", "b", "caught", "3 of 4 values off"),
        Verdict("m.auto", "weight off by 1e-3", "w [3]", "missed", "passed", found, 1.2),
    )
    done = {
        "m": [Judged("m.auto", verdicts, 2, (), 1.1), Judged("m.loop", (), 1, ("seed 0: y is off",), 2.5)],
        "n": [],
    }
    assert from_json(json.loads(json.dumps(to_json(done)))) == done


def test_so_many_of_each_kind_are_drawn_the_same_ones_each_time():
    artifact = Artifact("m", "auto", Path("m.onnx"))
    found = [Change(fault, str(at), lambda path: None) for at in range(40) for fault in ("one kind", "another")]
    some = list(drawn(artifact, found, 3))
    assert [one.fault for one in some] == ["one kind"] * 3 + ["another"] * 3
    assert some == list(drawn(artifact, found, 3))
    assert [one.where for one in some[:3]] != [one.where for one in some[3:]]
    assert list(drawn(artifact, found, None)) == found
    assert len(list(drawn(artifact, found, 50))) == 80
