"""A fault is located where it was made: in made-up arrays, and in real artifacts one weight of which changed."""

from __future__ import annotations

import json
import math

import keras
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import rnnexport
from rnnexport.api.export import load
from rnnexport.artifact.layer_map import InnerValue, InnerValues, LayerValue, read
from rnnexport.core.load_options import LoadOptions
from rnnexport.core.lowering import LoweringRequest
from rnnexport.source.eager import layer_values
from rnnexport.targets.onnx.values import inner_values
from rnnexport.targets.registry import target
from rnnexport.verification.diagnosis.locate import locate
from rnnexport.verification.diagnosis.record import layer_map_of, sampled
from rnnexport.verification.diagnosis.search import search
from samples.catalog import SAMPLES_BY_NAME
from samples.cgru_cell import CGRUCell, with_random_weights
from tests.perturb import perturb
from tests.targets.test_values import INNER

BOUNDS = {"rtol": 1e-5, "atol": 2e-6}
SAMPLE = "cgru_fused_reset_after"
B, T, U = 3, 6, 5


def layer(name, array, time_axis=None, loop="", inputs=(), output="output"):
    return LayerValue(name, "Some", output, array, time_axis, loop, inputs)


def inner(**arrays):
    return InnerValues(tuple(InnerValue(name, array.astype(np.float32)) for name, array in arrays.items()))


def some(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def two_layers(first_shape=(B, T, U)):
    first, second = some(*first_shape), some(B, 4, seed=1)
    layers = [layer("first", first, 1), layer("second", second)]
    arrays = {"noise": some(*first_shape, seed=9), "one": np.moveaxis(first, 1, 0), "two": second[:, None]}
    return layers, arrays


def changed(arrays, name, index, amount):
    copy = {key: array.copy() for key, array in arrays.items()}
    copy[name][index] += np.float32(amount)
    return copy


def test_a_fault_is_found_at_its_layer_timestep_row_and_unit():
    layers, arrays = two_layers()
    layer_map = layer_map_of(layers, inner(**arrays), 2, **BOUNDS)
    assert [(mark.layer, mark.place.names) for mark in layer_map.marks] == [("first", ("one",)), ("second", ("two",))]
    assert locate(layer_map, inner(**arrays), **BOUNDS).departure is None
    wrong = changed(changed(arrays, "one", (4, 1, 3), 1e-3), "two", (2, 0, 1), 1e-2)
    location = locate(layer_map, inner(**wrong), **BOUNDS)
    assert [step.state for step in location.steps] == ["departs", "departs"]
    assert location.departure is not None
    assert (location.departure.step.layer, location.departure.timestep, location.departure.index) == (
        "first",
        4,
        (1, 4, 3),
    )
    assert location.departure.unit == (3,)
    assert location.departure.found == wrong["one"][4, 1, 3]
    assert location.departure.wanted == layers[0].array[1, 4, 3]
    assert location.sentence().startswith("The first to depart is first (Some), at timestep 4, unit 3 of row 1: ")


def test_the_first_timestep_counts_even_where_a_later_one_is_off_by_more():
    layers, arrays = two_layers()
    layer_map = layer_map_of(layers, inner(**arrays), 0, **BOUNDS)
    wrong = changed(changed(arrays, "one", (2, 0, 0), 1e-4), "one", (3, 0, 1), 1e-1)
    departure = locate(layer_map, inner(**wrong), **BOUNDS).departure
    assert departure is not None
    assert (departure.timestep, departure.unit) == (2, (0,))


def test_rounding_points_at_nobody_and_what_is_no_number_departs():
    layers, arrays = two_layers()
    layer_map = layer_map_of(layers, inner(**arrays), 0, **BOUNDS)
    rounded = {name: array * np.float32(1 + 4e-7) for name, array in arrays.items()}
    location = locate(layer_map, inner(**rounded), **BOUNDS)
    assert location.departure is None
    assert (
        location.sentence() == "All 2 values of layers that were found agree on the feed that was followed: "
        "the fault is behind second, or shows on others."
    )
    hinted = locate(layer_map, inner(**changed(arrays, "one", (0, 0, 0), 1e-5)), **BOUNDS)
    assert hinted.departure is None
    assert "or it is one that first shows first, off by " in hinted.sentence()
    broken = changed(arrays, "two", (1, 0, 0), np.nan)
    departure = locate(layer_map, inner(**broken), **BOUNDS).departure
    assert departure is not None
    assert (departure.step.layer, departure.step.error) == ("second", math.inf)


def test_a_small_fault_is_blamed_on_the_first_layer_that_shows_it_but_rounding_before_a_large_one_is_not():
    layers, arrays = two_layers()
    layer_map = layer_map_of(layers, inner(**arrays), 0, **BOUNDS)
    small = changed(changed(arrays, "one", (0, 0, 0), 4e-5), "two", (0, 0, 0), 1e-4)
    location = locate(layer_map, inner(**small), **BOUNDS)
    assert [step.state for step in location.steps] == ["moved", "departs"]
    assert location.departure is not None
    assert location.departure.step.layer == "first"
    large = changed(changed(arrays, "one", (0, 0, 0), 3e-5), "two", (0, 0, 0), 2e-1)
    departure = locate(layer_map, inner(**large), **BOUNDS).departure
    assert departure is not None
    assert departure.step.layer == "second"


def test_one_unit_that_was_not_sampled_is_told_by_the_sums():
    layers, arrays = two_layers((B, T, 700))
    layer_map = layer_map_of(layers, inner(**arrays), 0, **BOUNDS)
    mark = layer_map.marks[0]
    assert mark.indices is not None
    assert mark.values.size <= 1024 < mark.sums.size + B * T * 700
    seen = set(mark.indices.tolist())
    unit = next(u for u in range(700) if np.ravel_multi_index((2, 3, u), mark.shape) not in seen)
    departure = locate(layer_map, inner(**changed(arrays, "one", (3, 2, unit), 1e-2)), **BOUNDS).departure
    assert departure is not None
    assert departure.index == (2, 3, unit)
    assert departure.wanted == pytest.approx(layers[0].array[2, 3, unit], abs=1e-4)
    several = changed(changed(arrays, "one", (3, 2, unit), 1e-2), "one", (3, 2, unit + 1), 2.17e-2)
    told = locate(layer_map, inner(**several), **BOUNDS)
    if np.ravel_multi_index((2, 3, unit + 1), mark.shape) not in seen:
        assert told.sentence() == "The first to depart is first (Some), at timestep 3, several units of row 2."


def test_every_timestep_and_as_many_units_as_can_be_are_sampled():
    indices = sampled((B, T, 700), 1, 600)
    rows, steps, units = np.unravel_index(indices, (B, T, 700))
    assert len(indices) == 600
    assert [int(np.sum(steps == step)) for step in range(T)] == [100] * T
    assert (len(set(units)), set(rows)) == (100, set(range(B)))
    long = np.unravel_index(sampled((1, 5000, 9), 1, 256), (1, 5000, 9))[1]
    assert set(range(16)) <= set(long)
    assert long.max() == 4999


def test_values_are_matched_in_any_layout_and_steps_one_by_one():
    first, steps = some(B, T, U), some(B, T, 4, seed=1)
    values = inner(backwards=np.flip(np.moveaxis(first, 1, 0), 0), **{f"t{t}": steps[:, t].T for t in range(T)})
    layers = [layer("first", first, 1), layer("cell", steps, 1, "rnn")]
    layer_map = layer_map_of(layers, values, 0, **BOUNDS)
    assert [mark.place.backwards for mark in layer_map.marks] == [True, False]
    assert layer_map.marks[1].place.names == tuple(f"t{t}" for t in range(T))
    arrays = {value.name: value.array for value in values.values}
    departure = locate(layer_map, inner(**changed(arrays, "backwards", (0, 1, 2), 1)), **BOUNDS).departure
    assert departure is not None
    assert departure.index == (1, T - 1, 2)
    departure = locate(layer_map, inner(**changed(arrays, "t3", (2, 1), 1)), **BOUNDS).departure
    assert departure is not None
    assert departure.index == (1, 3, 2)


def test_constants_are_no_marks_and_the_first_layer_of_equal_ones_is():
    value = some(B, U)
    layers = [layer("zeros", np.zeros((B, U), np.float32)), layer("dense", value), layer("dropout", value)]
    layer_map = layer_map_of(layers, inner(start=np.zeros((B, U)), dense=value), 0, **BOUNDS)
    assert [mark.layer for mark in layer_map.marks] == ["dense"]


def test_in_a_loop_an_earlier_step_comes_before_an_earlier_layer():
    one, two = some(B, T, U), some(B, T, 4, seed=1)
    layers = [layer("rnn/one", one, 1, "rnn"), layer("rnn/two", two, 1, "rnn")]
    arrays = {"one": one, "two": two}
    layer_map = layer_map_of(layers, inner(**arrays), 0, **BOUNDS)
    wrong = changed(changed(arrays, "one", (0, 3, 0), 1e-2), "two", (0, 2, 1), 1e-2)
    departure = locate(layer_map, inner(**wrong), **BOUNDS).departure
    assert departure is not None
    assert (departure.step.layer, departure.timestep) == ("rnn/two", 2)


def test_a_layer_map_survives_its_journey_and_a_damaged_one_is_refused():
    layers, arrays = two_layers((B, T, 400))
    layer_map = layer_map_of(layers, inner(**arrays), 3, **BOUNDS)
    value, blobs = json.loads(json.dumps(layer_map.to_json())), layer_map.arrays()
    again = read(value, blobs)
    assert (again.golden, again.to_json()) == (3, value)
    wrong = inner(**changed(arrays, "one", (1, 2, 3), 1))
    assert locate(again, wrong, **BOUNDS) == locate(layer_map, wrong, **BOUNDS)
    for key, blob in (
        ("0/indices", blobs["0/indices"] + 10**6),
        ("0/sums", blobs["0/sums"][:, :1]),
        ("1/values", blobs["1/values"][:2]),
        ("0/values", blobs["0/values"].astype(int)),
    ):
        with pytest.raises(ValueError, match=f"mark {key[0]}"):
            read(value, blobs | {key: blob})
    with pytest.raises(ValueError, match="mark 0"):
        read({**value, "marks": [{**value["marks"][0], "time_axis": 5}]}, blobs)


def test_an_artifact_without_the_values_can_t_be_followed():
    layers, arrays = two_layers()
    layer_map = layer_map_of(layers, inner(**arrays), 0, **BOUNDS)
    location = locate(layer_map, inner(other=some(2, 2), one=some(T, B, U + 1)), **BOUNDS)
    assert {step.state for step in location.steps} == {"absent"}
    assert location.sentence() == "No value of any layer was found in the artifact, so that the fault can't be located."


def test_without_a_layer_map_the_first_value_that_is_lost_and_not_only_fused_is_found():
    values = [some(B, T, U, seed=seed) for seed in range(5)]
    left, right, fused, joined = values[0], values[1], values[2], values[3] + values[0]
    layers = [
        layer("left", left, 1),
        layer("fused", fused, 1),
        layer("right", right, 1),
        layer("joined", joined, 1, inputs=(0, 2)),
    ]
    wrong = left.copy()
    wrong[:, 2:] += 0.01
    location = search(layers, inner(left=wrong, right=right, joined=joined + (wrong - left)), **BOUNDS)
    assert [(step.layer, step.state) for step in location.steps] == [
        ("left", "departs"),
        ("fused", "absent"),
        ("right", "ok"),
        ("joined", "absent"),
    ]
    assert location.departure is not None
    assert location.departure.timestep == 2
    assert search(layers, inner(left=left, right=right, joined=joined), **BOUNDS).departure is None


def stacked():
    """One layer of each kind, distinct weights."""
    ids = keras.Input((None,), dtype="int32", name="ids")
    x = keras.layers.Embedding(11, 5, name="words")(ids)
    x = keras.layers.Bidirectional(keras.layers.LSTM(6, return_sequences=True, name="lstm"), name="both")(x)
    x = keras.layers.RNN(CGRUCell(7, name="cell"), return_sequences=True, name="cgru")(x)
    return with_random_weights(keras.Model(ids, keras.layers.Dense(3, name="readout")(x)), seed=3)


def with_weight(path, folder, value, new):
    """A copy of an ONNX file in which every number that is `value` is `new`; None where there is none."""
    model, found = onnx.load(path), 0
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.dtype == np.float32 and np.any(array == value):
            found += int(np.sum(array == value))
            tensor.CopyFrom(numpy_helper.from_array(np.where(array == value, new, array), tensor.name))
    onnx.save(model, folder / "changed.onnx")
    return folder / "changed.onnx" if found else None


def first_change(source, signature, feed, before, weight, index, amount):
    """Where the source itself departs when one of its weights is changed: the layer and the timestep."""
    whole = weight.numpy()
    moved = whole.copy()
    moved[index] += amount
    weight.assign(moved)
    after = layer_values(source, signature, feed)
    weight.assign(whole)
    for one, other in zip(before, after, strict=True):
        bad = np.abs(one.array - other.array) > 1e-5
        if bad.any():
            return one.layer, None if one.time_axis is None else int(np.argwhere(bad)[:, one.time_axis].min())
    return None


@pytest.fixture(scope="module")
def stacked_source():
    return load(stacked(), LoadOptions())


@pytest.mark.parametrize("form", ["native", pytest.param("scan", marks=pytest.mark.long)])
def test_a_weight_of_each_layer_is_located_in_each_form(form, stacked_source, tmp_path):
    path = tmp_path / "model.onnx"
    rnnexport.export(stacked_source, "onnx", path, lowering=LoweringRequest(form), verify=False, proof="inside")
    proof = target("onnx").read_proof(path)
    signature, feed = proof.provenance.signature, proof.goldens[2].feed
    before = layer_values(stacked_source, signature, feed)
    layer_map = layer_map_of(before, inner_values(path, feed), 2, **proof.provenance.tolerance)
    wanted, told = [], []
    for weight in stacked_source.model.weights:
        index = tuple(size // 2 for size in weight.shape)
        changed_file = with_weight(path, tmp_path, weight.numpy()[index], weight.numpy()[index] + np.float32(0.02))
        first = first_change(stacked_source, signature, feed, before, weight, index, 0.02)
        if changed_file is None or first is None:
            continue  # a bias that became part of another constant; an id that does not occur
        departure = locate(layer_map, inner_values(changed_file, feed), **proof.provenance.tolerance).departure
        assert departure is not None, weight.path
        wanted.append(first)
        told.append((departure.step.layer, departure.timestep))
        assert abs(departure.found - departure.wanted) > 1e-6
        assert bool(departure.step.recurrence) == (departure.step.loop != "")
    assert told == wanted
    assert len({name for name, _ in told}) >= 4
    assert {0, 1} <= {timestep for _, timestep in told}


@pytest.mark.xdist_group(SAMPLE)
@pytest.mark.parametrize("to", INNER)
def test_a_weight_that_changed_is_located_in_each_format(to, exported, saved, tmp_path):
    sample = SAMPLES_BY_NAME[SAMPLE]
    source = load(saved(SAMPLE), LoadOptions([str(sample.path)]))
    path = exported(SAMPLE)[to].path
    proof = target(to).read_proof(path)
    feed, bounds = proof.goldens[2].feed, proof.provenance.tolerance
    layers = layer_values(source, proof.provenance.signature, feed)
    layer_map = layer_map_of(layers, INNER[to](path, feed), 2, **bounds)
    # Keras numbers a cell that was not named.
    cell, readout = [mark.layer for mark in layer_map.marks]
    assert (cell.startswith("cgru/cgru_cell"), readout) == (True, "readout")
    assert locate(layer_map, INNER[to](path, feed), **bounds).departure is None
    wrong = INNER[to](perturb(path, tmp_path, 1e-2), feed)
    departure = locate(layer_map, wrong, **bounds).departure
    assert departure is not None
    # The largest tensor holds recurrent weights: the state is 0 before timestep 0.
    assert (departure.step.layer, departure.timestep) == (cell, 1)
    found = search(layers, wrong, **bounds).departure
    assert found is not None
    assert (found.step.layer, found.timestep) == (cell, 1)
