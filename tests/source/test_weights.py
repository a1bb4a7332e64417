"""Weights without an architecture: a builder or a JSON file makes the model, layers are paired by name or order."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from rnnexport.core.errors import ConversionError, UsageError
from rnnexport.core.load_options import LoadOptions
from rnnexport.source.files import identify
from rnnexport.source.load import load_source
from rnnexport.source.stored import stored_weights
from rnnexport.source.weights import differs_in_order

pytestmark = pytest.mark.xdist_group("weights")
X = np.random.default_rng(2).standard_normal((3, 7, 5)).astype("float32")


def stack(k, names=("first", "second"), units=(4, 4), **options):
    """Two LSTM layers, the second of which takes what the first gives."""
    model = k.Sequential(
        [
            k.Input((None, 4)),
            *(k.layers.LSTM(u, name=n, return_sequences=True, **options) for n, u in zip(names, units, strict=True)),
        ]
    )
    rng = np.random.default_rng(5)
    model.set_weights([rng.normal(0, 0.6, w.shape).astype("float32") for w in model.get_weights()])
    return model


def call(model, x=X[..., :4]):
    return np.asarray(model(x))


@pytest.fixture
def keras2():
    import tf_keras

    return tf_keras


@pytest.fixture
def keras3():
    import keras

    return keras


def test_layers_of_other_names_are_paired_by_order(keras2, tmp_path):
    live = stack(keras2)
    live.save_weights(tmp_path / "w.h5")
    source = load_source(tmp_path / "w.h5", LoadOptions(builder=lambda: stack(keras2, ("lstm_7", "lstm_8"))))
    np.testing.assert_array_equal(call(source.model), call(live))
    assert source.semantics == ("built by code; weights of tf_keras 2.21.0, paired by order",)


@pytest.mark.parametrize("by", ["auto", "name", "order"])
def test_layers_that_fit_by_name_and_by_order_are_not_guessed(by, keras2, tmp_path):
    live = stack(keras2)
    live.save_weights(tmp_path / "w.h5")
    loading = LoadOptions(builder=lambda: stack(keras2, ("second", "first")), weights_by=by)
    if by == "auto":
        with pytest.raises(ConversionError, match=r"fits the model by order .*--weights-by order or --weights-by name"):
            load_source(tmp_path / "w.h5", loading)
        return
    loaded = load_source(tmp_path / "w.h5", loading).model
    origin = {"name": {"first": "first", "second": "second"}, "order": {"second": "first", "first": "second"}}[by]
    for mine, theirs in origin.items():
        for found, wanted in zip(
            loaded.get_layer(mine).get_weights(), live.get_layer(theirs).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(found, wanted)


def test_layers_in_another_order_that_fit_by_name_alone_are_paired_by_name(keras2, tmp_path):
    live = stack(keras2, units=(4, 6))
    live.save_weights(tmp_path / "w.h5")

    def build():
        x = keras2.Input((None, 4))
        second = keras2.layers.LSTM(6, name="second", return_sequences=True)
        y = second(keras2.layers.LSTM(4, name="first", return_sequences=True)(x))
        model = keras2.Model(x, y)
        model._self_tracked_trackables.reverse()  # the order in which Keras stores layers
        return model

    source = load_source(tmp_path / "w.h5", LoadOptions(builder=build))
    np.testing.assert_array_equal(call(source.model), call(live))
    assert "paired by name" in source.semantics[0]


def test_names_that_meet_at_other_places_are_not_guessed(keras2, tmp_path):
    stack(keras2, ("a", "b")).save_weights(tmp_path / "w.h5")
    with pytest.raises(ConversionError, match="has names of it at other places"):
        load_source(tmp_path / "w.h5", LoadOptions(builder=lambda: stack(keras2, ("b", "c"))))


@pytest.mark.parametrize("api", ["keras2", "keras3"])
@pytest.mark.parametrize("form", [".h5", ".weights.h5"])
@pytest.mark.parametrize(
    "other", [{"units": (4, 5)}, {"units": (4,), "names": ("first",)}, {"units": (4, 4, 4), "names": ("a", "b", "c")}]
)
def test_shapes_that_do_not_fit_are_listed_on_both_sides(api, form, other, tmp_path, request):
    k = request.getfixturevalue(api)
    path = tmp_path / f"w{form}"
    stack(k).save(path) if (api, form) == ("keras3", ".h5") else stack(k).save_weights(path)
    with pytest.raises(ConversionError) as caught:
        load_source(path, LoadOptions(builder=lambda: stack(k, **other)))
    told = str(caught.value)
    units = other["units"][-1]
    assert f"weights of w{form} for another model" in told
    assert ("4x16 4x16 16" in told.partition("the model")[0]) or len(other["units"]) > 2
    assert (f"4x{4 * units}" in told.partition("the model")[2]) or len(other["units"]) < 2
    assert "--builder or --architecture" in told


def test_a_smaller_model_does_not_take_the_part_that_fits(keras3, tmp_path):
    """Keras reads what it has a place for and says nothing of the rest."""
    stack(keras3).save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(ConversionError, match="other shapes: the file has layers/lstm_1/cell 4x16 4x16 16"):
        load_source(tmp_path / "w.weights.h5", LoadOptions(builder=lambda: stack(keras3, ("first",), (4,))))


def test_a_builder_may_lie_in_a_file_beside_its_own_modules(keras3, tmp_path):
    live = stack(keras3)
    live.save_weights(tmp_path / "w.weights.h5")
    (tmp_path / "sizes.py").write_text("UNITS = 4\n")
    (tmp_path / "build.py").write_text(
        "import keras\nfrom sizes import UNITS\n\ndef make():\n    return keras.Sequential([keras.Input((None, 4)), "
        "keras.layers.LSTM(UNITS, return_sequences=True), keras.layers.LSTM(UNITS, return_sequences=True)])\n"
    )
    source = load_source(tmp_path / "w.weights.h5", LoadOptions(builder=f"{tmp_path / 'build.py'}:make"))
    np.testing.assert_array_equal(call(source.model), call(live))
    assert source.name == "w"


@pytest.mark.parametrize(
    ("builder", "what"),
    [
        ("nothing", "--builder nothing; expected module:function"),
        (":make", "--builder :make; expected module:function"),
        ("no_such_module:make", "no module no_such_module.*check --builder"),
        ("no.py:make", r"no file no\.py.*check --builder"),
        ("json:make", "where json has no function make"),
        ("json:dumps", "--builder json:dumps raises TypeError"),
        ("builtins:list", "returns a list; expected a Keras model"),
    ],
)
def test_a_builder_that_builds_nothing_is_told(builder, what, keras2, tmp_path):
    stack(keras2).save_weights(tmp_path / "w.h5")
    with pytest.raises((UsageError, ConversionError), match=what):
        load_source(tmp_path / "w.h5", LoadOptions(builder=builder))


def test_the_hard_sigmoid_of_the_other_keras_is_refused(keras2, keras3, tmp_path):
    stack(keras2, recurrent_activation="hard_sigmoid").save_weights(tmp_path / "w.h5")
    build = LoadOptions(builder=lambda: stack(keras3, recurrent_activation="hard_sigmoid"))
    with pytest.raises(
        ConversionError, match=r"layer first of --builder .* hard_sigmoid of keras; .* of tf_keras .*--keras-api keras"
    ):
        load_source(tmp_path / "w.h5", build)
    load_source(tmp_path / "w.h5", LoadOptions(builder=build.builder, keras_api="keras"))
    with pytest.raises(UsageError, match="makes a model of keras, with --keras-api tf_keras"):
        load_source(tmp_path / "w.h5", LoadOptions(builder=build.builder, keras_api="tf_keras"))


def test_weights_alone_are_told_what_they_lack(keras2, tmp_path):
    stack(keras2).save_weights(tmp_path / "w.h5")
    assert identify(tmp_path / "w.h5").container == "weights"
    with pytest.raises(
        ConversionError, match=r"weights without an architecture.*--architecture model.json, or --builder"
    ):
        load_source(tmp_path / "w.h5")


@pytest.mark.parametrize("start", ["m.json", "m_weights.h5"])
def test_an_architecture_and_weights_find_each_other(start, keras2, tmp_path):
    live = stack(keras2)
    live.save_weights(tmp_path / "m_weights.h5")
    (tmp_path / "m.json").write_text(live.to_json())
    source = load_source(tmp_path / start)
    np.testing.assert_array_equal(call(source.model), call(live))


def test_an_architecture_of_another_name_is_given(keras2, tmp_path):
    live = stack(keras2)
    live.save_weights(tmp_path / "w.h5")
    (tmp_path / "other.json").write_text(live.to_json())
    source = load_source(tmp_path / "w.h5", LoadOptions(architecture=tmp_path / "other.json"))
    np.testing.assert_array_equal(call(source.model), call(live))


def test_an_architecture_between_two_weights_is_refused(keras2, tmp_path):
    live = stack(keras2)
    (tmp_path / "m.json").write_text(live.to_json())
    with pytest.raises(ConversionError, match=r"m.json without weights beside it; expected one of m\.weights\.h5"):
        load_source(tmp_path / "m.json")
    for name in ("m.h5", "m_weights.h5"):
        live.save_weights(tmp_path / name)
    with pytest.raises(ConversionError, match=r"m.json beside m_weights\.h5, m\.h5; expected one file"):
        load_source(tmp_path / "m.json")


def test_an_architecture_of_one_keras_beside_weights_of_another_is_refused(keras2, keras3, tmp_path):
    stack(keras2).save_weights(tmp_path / "m.h5")
    (tmp_path / "m.json").write_text(stack(keras3).to_json())
    with pytest.raises(ConversionError, match=r"m.json of Keras 3 beside m.h5 of tf_keras"):
        load_source(tmp_path / "m.json")


def test_an_architecture_that_does_not_tell_its_keras_needs_the_option(keras2, tmp_path):
    live = stack(keras2)
    live.save_weights(tmp_path / "m.weights.h5")
    config = json.loads(live.to_json())
    del config["keras_version"]
    (tmp_path / "m.json").write_text(json.dumps(config))
    with pytest.raises(ConversionError, match=r"does not record which Keras wrote it.*--keras-api"):
        load_source(tmp_path / "m.json")
    source = load_source(tmp_path / "m.json", LoadOptions(keras_api="tf_keras"))
    np.testing.assert_array_equal(call(source.model), call(live))


def test_an_architecture_is_no_other_keras_to_read(keras2, keras3, tmp_path):
    for k, form, other in ((keras2, ".h5", "keras"), (keras3, ".weights.h5", "tf_keras")):
        stack(k).save_weights(tmp_path / f"{other}{form}")
        (tmp_path / f"{other}.json").write_text(stack(k).to_json())
        with pytest.raises(ConversionError, match=f"--keras-api {other} for {other}.json of .* can't read"):
            load_source(tmp_path / f"{other}.json", LoadOptions(keras_api=other))


def test_weights_of_keras_1_are_put_in_order_for_a_builder(keras2, tmp_path):
    from tests import origins

    written = origins.keras1("LSTM", tmp_path)
    source = load_source(written.path, LoadOptions(builder=lambda: origins.LAYERS["LSTM"](keras2)))
    np.testing.assert_array_equal(call(source.model, X), call(written.live, X))


@pytest.mark.parametrize("form", [".keras", ".h5"])
def test_keras_3_reads_a_file_of_keras_2_where_it_is_asked_to(form, keras2, keras3, tmp_path):
    live = stack(keras2)
    live.save(tmp_path / f"m{form}")
    source = load_source(tmp_path / f"m{form}", LoadOptions(keras_api="keras"))
    assert isinstance(source.model, keras3.Model)
    np.testing.assert_allclose(call(source.model), call(live), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{", "is no architecture"),
        ("[]", "is no architecture"),
        ("{}", "names no model class"),
        ('{"class_name": "Sequential", "config": {}, "keras_version": 3}', "is no architecture .keras_version is 3"),
        ('{"class_name": "S", "config": ' + "[" * 300 + "]" * 300 + "}", "names no model class"),
    ],
)
def test_what_is_no_architecture_is_refused(text, what, tmp_path):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ConversionError, match=what):
        load_source(tmp_path / "m.json")


def test_yaml_is_refused(tmp_path, keras2):
    stack(keras2).save_weights(tmp_path / "w.h5")
    (tmp_path / "m.yaml").write_text("class_name: Sequential\n")
    for start, loading in (("w.h5", LoadOptions(architecture=tmp_path / "m.yaml")), ("m.yaml", LoadOptions())):
        with pytest.raises(ConversionError, match=r"m\.yaml is YAML, which can hold code"):
            load_source(tmp_path / start, loading)


def test_options_for_weights_alone_are_refused_where_nothing_needs_them(keras2, tmp_path):
    stack(keras2).save(tmp_path / "m.h5")
    with pytest.raises(UsageError, match=r"--architecture .* which holds its own"):
        load_source(tmp_path / "m.h5", LoadOptions(architecture=tmp_path / "m.json"))
    with pytest.raises(UsageError, match="--builder and --architecture"):
        load_source(tmp_path / "m.h5", LoadOptions(architecture=tmp_path / "m.json", builder=lambda: None))
    with pytest.raises(UsageError, match=r"--weights-by for m\.h5, which holds its own layers"):
        load_source(tmp_path / "m.h5", LoadOptions(weights_by="order"))
    (tmp_path / "a.json").write_text(stack(keras2).to_json())
    stack(keras2).save_weights(tmp_path / "a.h5")
    with pytest.raises(UsageError, match=r"--architecture for a\.json, which holds its own"):
        load_source(tmp_path / "a.json", LoadOptions(architecture=tmp_path / "other.json"))


def test_a_builder_may_take_the_place_of_the_architecture_that_a_file_holds(keras3, tmp_path):
    live = stack(keras3)
    for name in ("m.keras", "m.h5"):
        live.save(tmp_path / name)
        source = load_source(tmp_path / name, LoadOptions(builder=lambda: stack(keras3)))
        np.testing.assert_array_equal(call(source.model), call(live))


@pytest.mark.parametrize(
    "suffix", [pytest.param(".h5", marks=pytest.mark.long), pytest.param(".hdf5", marks=pytest.mark.long), ".bin", ""]
)
def test_a_file_is_known_by_its_content_not_its_suffix(suffix, keras2, tmp_path):
    live = stack(keras2)
    live.save(tmp_path / "m.h5")
    path = shutil.copyfile(tmp_path / "m.h5", tmp_path / f"copy{suffix}")
    np.testing.assert_array_equal(call(load_source(path).model), call(live))


def inside(k, names=("a", "b"), frozen=()):
    """Two LSTM layers of one shape inside a model inside a model, made and joined in the order of `names`."""
    made = {name: k.layers.LSTM(4, return_sequences=True, name=name) for name in names}
    for name in frozen:
        made[name].trainable = False
    i = k.Input((None, 4))
    branches = {name: made[name](i) for name in names}
    inner = k.Model(i, k.layers.Concatenate(name="join")([branches[name] for name in names]), name="inner")
    x = k.Input((None, 4))
    model = k.Model(x, inner(x))
    rng = np.random.default_rng(9)
    model.set_weights([rng.normal(0, 0.6, w.shape).astype("float32") for w in model.get_weights()])
    return model


@pytest.mark.parametrize("other", [pytest.param({}, marks=pytest.mark.long), {"names": ("b", "a"), "frozen": ("b",)}])
def test_weights_that_freezing_or_making_moved_inside_a_layer_are_not_guessed(other, keras2, tmp_path):
    """Keras stores the trainable ones first: nothing but the names tells that a and b have changed places."""
    live = inside(keras2, frozen=("a",))
    live.save_weights(tmp_path / "w.h5")
    with pytest.raises(ConversionError, match=r"weights inside inner in another order than the model's inner"):
        load_source(tmp_path / "w.h5", LoadOptions(builder=lambda: inside(keras2, **{"frozen": (), **other})))
    source = load_source(tmp_path / "w.h5", LoadOptions(builder=lambda: inside(keras2, frozen=("a",))))
    np.testing.assert_array_equal(call(source.model), call(live))


def test_layers_inside_a_model_are_held_to_their_names_too(keras3, tmp_path):
    inside(keras3).save_weights(tmp_path / "w.weights.h5")
    with pytest.raises(ConversionError, match=r"by place, where it has 'a' for the model's 'b'"):
        load_source(tmp_path / "w.weights.h5", LoadOptions(builder=lambda: inside(keras3, ("b", "a"))))


@pytest.mark.parametrize(
    ("in_file", "in_model", "differs"),
    [
        (["m/a/kernel:0", "m/a/bias:0"], ["n/a/kernel:0", "n/a/bias:0"], False),
        (["a/kernel:0", "b/kernel:0"], ["b/kernel:0", "a/kernel:0"], True),
        (["lstm/kernel", "lstm_1/kernel"], ["lstm_4/kernel", "lstm_5/kernel"], False),
        (["lstm/kernel", "lstm_1/kernel"], ["lstm_10/kernel", "lstm_9/kernel"], True),
        (["x/c1/kernel", "x/c2/kernel", "x/c1/bias"], ["x/c1/kernel", "x/c2/kernel", "x/c1/bias"], False),
        (["kernel", "bias"], ["bias", "kernel"], True),
        (["kernel"], ["other/deep/kernel"], False),
    ],
)
def test_an_order_inside_a_layer_is_told_by_its_names(in_file, in_model, differs):
    assert differs_in_order(in_file, in_model) is differs


@pytest.mark.parametrize("kind", ["unbuilt", "subclassed"])
def test_a_builder_of_a_model_without_weights_is_told(kind, keras2, tmp_path):
    stack(keras2).save_weights(tmp_path / "w.h5")

    class Free(keras2.Model):
        pass

    build = {"unbuilt": lambda: keras2.Sequential([keras2.layers.LSTM(4)]), "subclassed": Free}[kind]
    with pytest.raises(UsageError, match=r"makes a model that has no weights yet; expected a model that is built"):
        load_source(tmp_path / "w.h5", LoadOptions(builder=build))


def test_stored_weights_tells_layers_and_shapes(keras2, keras3, tmp_path):
    stack(keras2).save_weights(tmp_path / "a.h5")
    stack(keras3).save_weights(tmp_path / "b.weights.h5")
    layers, paths = stored_weights(tmp_path / "a.h5"), stored_weights(tmp_path / "b.weights.h5")
    assert layers is not None
    assert paths is not None
    assert [layer.name for layer in layers.layers] == ["first", "second"]
    assert [layer.name for layer in paths.layers] == ["layers/lstm/cell", "layers/lstm_1/cell"]
    assert layers.layers[0].shapes == paths.layers[0].shapes == ((4, 16), (4, 16), (16,))
    assert str(layers.origin) == "tf_keras 2.21.0"


@pytest.mark.parametrize(
    ("writer", "builder", "form"),
    [("keras3", "keras2", ".h5"), ("keras3", "keras2", ".weights.h5"), ("keras2", "keras3", ".weights.h5")],
)
def test_no_mix_of_the_two_hard_sigmoids_passes(writer, builder, form, tmp_path, request):
    k, other = request.getfixturevalue(writer), request.getfixturevalue(builder)
    path = tmp_path / f"w{form}"
    live = stack(k, recurrent_activation="hard_sigmoid")
    live.save(path) if form == ".h5" else live.save_weights(path)
    with pytest.raises(ConversionError, match="differ in that function"):
        load_source(path, LoadOptions(builder=lambda: stack(other, recurrent_activation="hard_sigmoid")))


def test_an_architecture_of_tf_keras_beside_weights_of_keras_3_is_refused(keras2, keras3, tmp_path):
    stack(keras3).save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "m.json").write_text(stack(keras2).to_json())
    with pytest.raises(ConversionError, match=r"m\.json of tf_keras .* beside m\.weights\.h5 of Keras 3"):
        load_source(tmp_path / "m.json")


def test_names_that_say_otherwise_than_the_place_are_not_guessed(keras3, tmp_path):
    live = stack(keras3, ("a", "b"))
    live.save_weights(tmp_path / "w.weights.h5")
    swapped = LoadOptions(builder=lambda: stack(keras3, ("b", "a")))
    with pytest.raises(ConversionError, match=r"by place, where it has 'a' for the model's 'b'.*--weights-by order"):
        load_source(tmp_path / "w.weights.h5", swapped)
    by_place = load_source(tmp_path / "w.weights.h5", LoadOptions(builder=swapped.builder, weights_by="order"))
    np.testing.assert_array_equal(call(by_place.model), call(live))
    other_names = load_source(tmp_path / "w.weights.h5", LoadOptions(builder=lambda: stack(keras3, ("c", "d"))))
    np.testing.assert_array_equal(call(other_names.model), call(live))


def test_an_architecture_beside_a_whole_model_is_refused(keras2, tmp_path):
    """The configuration inside is the one that was trained; the other may be of any time."""
    live = stack(keras2)
    live.save(tmp_path / "m.h5")
    (tmp_path / "m.json").write_text(stack(keras2, activation="relu").to_json())
    with pytest.raises(ConversionError, match=r"m\.json beside m\.h5, which holds an architecture of its own"):
        load_source(tmp_path / "m.json")
    np.testing.assert_array_equal(call(load_source(tmp_path / "m.h5").model), call(live))


def test_an_architecture_of_a_compiled_model_needs_no_losses(keras3, tmp_path):
    def my_loss(wanted, found):
        return found - wanted

    live = stack(keras3)
    live.compile("adam", loss=my_loss)
    live.save_weights(tmp_path / "m.weights.h5")
    (tmp_path / "m.json").write_text(live.to_json())
    np.testing.assert_array_equal(call(load_source(tmp_path / "m.json").model), call(live))


@pytest.mark.parametrize(
    "said", [{"keras_api": "keras3"}, {"weights_by": "names"}, {"custom_objects": "cells.py"}, {"custom_objects": 3}]
)
def test_values_that_say_nothing_are_refused(said):
    with pytest.raises(UsageError, match=f"{next(iter(said))}="):
        LoadOptions(**said)
