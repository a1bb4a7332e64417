"""Hostile model files. Each would drop a canary file, read a file or fill the memory; each is refused unloaded."""

from __future__ import annotations

import base64
import io
import json
import marshal
import stat
import zipfile

import pytest

from rnnexport.core.errors import ConversionError
from rnnexport.core.load_options import LoadOptions
from rnnexport.source.configs import Origin
from rnnexport.source.files import check_weights, identify
from rnnexport.source.load import load_source
from rnnexport.source.safety import _CALLS, _LOADERS, _LOOKUPS, check_names

GROUP = pytest.mark.xdist_group("safety")
CANARY = "canary"


def code_that_writes(path):
    return base64.b64encode(marshal.dumps(compile(f"lambda x: open({str(path)!r}, 'w') and x", "m", "eval"))).decode()


def node(class_name, config, **more):
    return {"class_name": class_name, "config": config, **more}


def configs(canary):
    """Configurations of one hostile object, by what it does."""
    code = code_that_writes(canary)
    path = str(canary)
    return {
        "lambda": node("Lambda", {"name": "l", "function": [code, None, None], "function_type": "lambda"}),
        "lambda without a name": node("Lambda", {"function": [code, None, None]}),
        "lambda with an odd config": node("Lambda", [code]),
        "lambda in a package": node("keras>Lambda", {"name": "l", "function": [code, None, None]}),
        "lambda of keras 3": node("Lambda", {"function": node("__lambda__", {"value": code})}, module="keras.layers"),
        "marshalled activation": node("Dense", {"name": "d", "activation": node("__lambda__", {"value": code})}),
        "marshalled initializer": node(
            "Dense", {"name": "d", "kernel_initializer": node("__lambda__", {"value": code})}
        ),
        "savedmodel layer": node("TFSMLayer", {"name": "t", "filepath": path}, module="keras.layers"),
        "torch pickle": node("TorchModuleWrapper", {"name": "t", "module": code}, module="keras.layers"),
        "jax code": node("JaxLayer", {"name": "j", "call_fn": code}, module="keras.layers"),
        "flax code": node("FlaxLayer", {"name": "j", "module": code}, module="keras.layers"),
        "reads a vocabulary": node("StringLookup", {"name": "s", "vocabulary": "/etc/passwd"}, module="keras.layers"),
        "reads numbers": node("IntegerLookup", {"name": "s", "vocabulary": "/etc/passwd"}, module="keras.layers"),
        "vectorizes a file": node("TextVectorization", {"name": "s", "vocabulary": "/etc/passwd"}),
        "writes by tensorflow": node("TFOpLambda", {"name": "w", "function": "io.write_file"}),
        "raw op": node("TFOpLambda", {"name": "w", "function": "raw_ops.WriteFile"}),
        "python function": node("TFOpLambda", {"name": "w", "function": "py_function"}),
        "numpy function": node("TFOpLambda", {"name": "w", "function": "numpy_function"}),
        "loads a library": node("TFOpLambda", {"name": "w", "function": "load_op_library"}),
        "compat": node("TFOpLambda", {"name": "w", "function": "compat.v1.py_func"}),
        "reads a checkpoint": node("TFOpLambda", {"name": "w", "function": "d_tensor_restore_v2"}),
        "serves": node("TFOpLambda", {"name": "w", "function": "rpc_server_start"}),
        "holds a graph": node("TFOpLambda", {"name": "w", "function": "import_graph_def"}),
        "writes by an older name": node("TFOpLambda", {"name": "w", "function": "compat.v1.write_file"}),
        "calls any symbol": node(
            "ClassMethod", {"name": "c", "cls_symbol": "io.write_file", "method_name": "__call__"}
        ),
        "calls any method": node("InstanceMethod", {"name": "c", "method_name": "save"}),
        "reads any property": node("InstanceProperty", {"name": "c", "attr_name": "graph"}),
        "holds an operator": node("TensorFlowOpLayer", {"name": "o", "node_def": 'op: "ReadFile"', "constants": {}}),
        "slices with a function": node("SlicingOpLambda", {"name": "s", "function": "io.write_file"}),
        "calls an odd function": node("TFOpLambda", "io.write_file"),
        "fetches": node("function", "get_file", module="keras.utils", registered_name="function"),
        "switches safety off": node("function", "enable_unsafe_deserialization", module="keras.config"),
        "loads a model": node("function", "load_model", module="keras.saving"),
        "dotted class": node("os.popen", {"name": "p"}, module="keras.layers"),
        "dotted function": node("function", "os.popen", module="keras.layers", registered_name="function"),
        "dotted class in a package": node("keras>os.popen", {"name": "p"}),
        "dotted class in a source module": node("sys.modules", {}, module="keras.src.layers.layer"),
        "class that is no name": node("popen()", {"name": "p"}),
        "function that is no name": node("function", "a b", module="builtins"),
        "module that is no name": node("Dense", {"name": "d"}, module="keras/../os"),
        "loads by models": node("function", "load_model", module="keras.models"),
        "rebuilds by models": node("function", "model_from_json", module="keras.src.models.model"),
        "reads images": node("function", "image_dataset_from_directory", module="keras.preprocessing"),
        "fetches weights": node("function", "ResNet50", module="keras.applications"),
        "calls back": node("RemoteMonitor", {"root": "http://localhost"}, module="keras.callbacks"),
        "walks a tree": node("function", "map_structure", module="keras.tree"),
        "reads a data set": node("function", "load_data", module="keras.datasets.mnist"),
        "reaches into keras": node("function", "get_file", module="keras.src.utils.file_utils"),
    }


NAMED = {
    "runs a shell": node("function", "system", module="os", registered_name="function"),
    "evaluates": node("function", "exec", module="builtins", registered_name="function"),
    "opens": node("function", "open", module="builtins", registered_name="function"),
    "another package": node("Popen", {"args": ["touch", CANARY]}, module="subprocess", registered_name="Popen"),
    "a module of the folder": node("Layer", {}, module="antigravity_of_the_file", registered_name="Layer"),
}


def keras_zip(path, layer, version="3.15.1"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(node("Sequential", {"name": "m", "layers": [layer]})))
    return path


def hdf5(path, layer, version="2.15.0"):
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["model_config"] = json.dumps(node("Sequential", {"name": "m", "layers": [layer]}))
    return path


@pytest.mark.parametrize("write", [keras_zip, hdf5])
@pytest.mark.parametrize("kind", configs("x"))
def test_no_hostile_configuration_is_left_to_the_loader_of_keras(kind, write, tmp_path):
    """`identify` alone refuses each: what it lets through, a newer Keras might, too. None is known to be a hole."""
    with pytest.raises(ConversionError, match="expected weights, and layers"):
        identify(write(tmp_path / "m", configs(tmp_path / CANARY)[kind]))


@pytest.mark.parametrize("module", ["keras", "keras.layers", "keras.src.layers.rnn.lstm", "tf_keras.src.layers.rnn"])
def test_what_models_are_made_of_is_let_through(module, tmp_path):
    layer = node("LSTM", {"name": "l", "units": 3}, module=module, registered_name=None)
    assert identify(keras_zip(tmp_path / "m", layer)).layers()[-1] == ("LSTM", "l")


@GROUP
@pytest.mark.parametrize("write", [keras_zip, hdf5])
@pytest.mark.parametrize("kind", configs("x"))
def test_configurations_that_hold_code_are_refused(kind, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "m", configs(tmp_path / CANARY)[kind])
    with pytest.raises(ConversionError) as caught:
        load_source(path)
    assert "in m; expected weights, and layers" in str(caught.value)
    assert not (tmp_path / CANARY).exists()


@GROUP
@pytest.mark.parametrize("write", [keras_zip, hdf5])
@pytest.mark.parametrize("kind", NAMED)
def test_names_that_nobody_gave_are_refused_before_they_are_imported(kind, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "antigravity_of_the_file.py").write_text(f"open({str(tmp_path / CANARY)!r}, 'w')\n")
    path = write(tmp_path / "m", node("Dense", {"name": "d", "units": 3, "activation": NAMED[kind]}))
    with pytest.raises(ConversionError, match="unknown custom"):
        load_source(path)
    assert not (tmp_path / CANARY).exists()


def test_the_nearest_name_that_was_given_is_told():
    config = node("RNN", {"cell": node("MyGRUCel", {}, module="cells")})
    with pytest.raises(ConversionError, match="'MyGRUCel' in m; given are MyGRUCell, Other, the nearest is MyGRUCell"):
        check_names(config, {"MyGRUCell": object, "Other": object}, "m")


def archive_with(path, name, data=b"x", mode=None, **options):
    keras_zip(path, node("Dense", {"name": "d"}))
    with zipfile.ZipFile(path, "a", **options) as archive:
        entry = zipfile.ZipInfo(name)
        entry.compress_type = options.get("compression", zipfile.ZIP_STORED)
        if mode is not None:
            entry.external_attr = mode << 16
        archive.writestr(entry, data)
    return path


@pytest.mark.parametrize(
    ("name", "mode", "what"),
    [
        ("/etc/cron.d/x", None, "outside the archive"),
        ("../canary", None, "outside the archive"),
        ("assets/../../canary", None, "outside the archive"),
        ("..\\canary", None, "outside the archive"),
        ("C:/canary", None, "outside the archive"),
        ("assets/link", stat.S_IFLNK | 0o777, "a link or a device"),
        ("assets/pipe", stat.S_IFIFO | 0o666, "a link or a device"),
        ("model.weights.npz", None, "no Keras writes"),
        ("run.py", None, "no Keras writes"),
        ("assets/table.npy", None, "may be a pickle"),
        ("assets/data.pkl", None, "may be a pickle"),
        (".", None, "which has no name"),
    ],
)
def test_archives_that_do_more_than_hold_a_model_are_refused(name, mode, what, tmp_path):
    with pytest.raises(ConversionError, match=what):
        identify(archive_with(tmp_path / "m.keras", name, mode=mode))


@pytest.mark.parametrize("name", ["assets/zeros", "config.json"])
def test_bombs_are_refused_before_they_are_opened(name, tmp_path):
    size = 300 * 2**20
    path = tmp_path / "m.keras"
    if name == "config.json":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": "3"}))
            archive.writestr(name, b" " * size)
    else:
        archive_with(path, name, bytes(size), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ConversionError, match=f"{size} bytes from"):
        identify(path)


def linked(kind, folder):
    """HDF5 bytes whose data lies in another file."""
    import h5py
    import numpy as np

    with h5py.File(folder / "other.h5", "w") as other:
        other["secret"] = np.arange(4.0)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        group = file.create_group("layers/dense")
        if kind == "link":
            group["vars"] = h5py.ExternalLink(str(folder / "other.h5"), "/secret")
        elif kind == "storage":
            group.create_dataset("vars", (4,), "f8", external=[(str(folder / "other.h5"), 0, 32)])
        else:
            layout = h5py.VirtualLayout((4,), "f8")
            layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "secret", (4,))
            group.create_virtual_dataset("vars", layout)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
def test_weights_that_lie_in_another_file_are_refused(kind, tmp_path):
    data = linked(kind, tmp_path)
    inside = archive_with(tmp_path / "m.keras", "model.weights.h5", data)
    with pytest.raises(ConversionError, match="whose data lies in another file"):
        check_weights(identify(inside))
    (tmp_path / "m.h5").write_bytes(data)
    with pytest.raises(ConversionError, match="whose data lies in another file"):
        identify(tmp_path / "m.h5")


@GROUP
@pytest.mark.parametrize("name", ["cgru_fused_reset_after", "s_lstm", "stateful_gru"])
def test_what_the_user_gave_is_let_through(name, saved):
    from samples.catalog import SAMPLES_BY_NAME

    assert load_source(saved(name), LoadOptions([str(SAMPLES_BY_NAME[name].path)])).model.name


def lambda_model(k, form, folder):
    """A model whose Lambda drops a canary where its code runs."""
    canary = folder / CANARY
    source = f"lambda x: (open({str(canary)!r}, 'w').close(), x * 2)[1]"
    model = k.Sequential([k.Input((None, 3)), k.layers.Lambda(eval(source), output_shape=(None, 3)), k.layers.LSTM(4)])
    canary.unlink(missing_ok=True)  # building it may have run the code of its writer
    model.save(folder / f"m{form}")
    return folder / f"m{form}", canary, model


@GROUP
@pytest.mark.parametrize("form", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["keras", "tf_keras"])
def test_code_in_a_file_runs_with_the_users_word_alone(name, form, tmp_path):
    import numpy as np

    path, canary, model = lambda_model(pytest.importorskip(name), form, tmp_path)
    with pytest.raises(ConversionError, match=r"layer Lambda .*--allow-unsafe if you trust the file"):
        load_source(path)
    assert not canary.exists()
    source = load_source(path, LoadOptions(allow_unsafe=True))
    assert "let in with --allow-unsafe" in source.semantics[-1]
    loaded = source.model
    x = np.ones((2, 5, 3), "float32")
    found = np.asarray(loaded(x))
    assert canary.exists()
    np.testing.assert_array_equal(found, np.asarray(model(x)))


@GROUP
def test_an_architecture_that_holds_code_is_refused(tmp_path):
    import tf_keras

    _, canary, model = lambda_model(tf_keras, ".h5", tmp_path)
    model.save_weights(tmp_path / "a.h5")
    (tmp_path / "a.json").write_text(model.to_json())
    for start in ("a.json", "a.h5"):
        with pytest.raises(ConversionError, match="layer Lambda"):
            load_source(tmp_path / start)
    assert not canary.exists()
    assert load_source(tmp_path / "a.json", LoadOptions(allow_unsafe=True)).model.layers


@GROUP
@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
def test_weights_beside_an_architecture_may_not_lie_elsewhere(kind, tmp_path):
    (tmp_path / "a.weights.h5").write_bytes(linked(kind, tmp_path))
    config = node("Sequential", {"name": "m", "layers": []}, keras_version="2.15.0")
    (tmp_path / "a.json").write_text(json.dumps(config))
    with pytest.raises(ConversionError, match="whose data lies in another file"):
        load_source(tmp_path / "a.json")


@GROUP
@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
def test_weights_inside_an_archive_for_a_builder_may_not_lie_elsewhere(kind, tmp_path):
    import keras

    inside = archive_with(tmp_path / "m.keras", "model.weights.h5", linked(kind, tmp_path))
    with pytest.raises(ConversionError, match="whose data lies in another file"):
        load_source(inside, LoadOptions(builder=lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])))


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"units": 10**6}, "units=1000000 of LSTM 'l' in m; expected at most 16, the longest side of a weight"),
        ({"units": 4, "batch_input_shape": [10**6, 10**6]}, "batch_input_shape of 1000000000000 values"),
        ({"units": 4, "batch_input_shape": [None, 10**6, 64]}, "batch_input_shape of 64000000 values a row"),
    ],
)
def test_layers_larger_than_their_weights_are_refused(config, what):
    from rnnexport.source.stored import StoredLayer, StoredWeights, check_sizes

    stored = StoredWeights("layers", Origin("2.15.0"), (StoredLayer("l", (("kernel", (3, 16)),)),))
    model = node("Sequential", {"layers": [node("LSTM", {"name": "l", **config})]})
    with pytest.raises(ConversionError, match=what):
        check_sizes(model, stored, "m")
    check_sizes(node("Sequential", {"layers": [node("LSTM", {"name": "l", "units": 4})]}), stored, "m")


def test_hdf5_that_is_far_larger_than_what_is_stored_of_it_is_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_dataset("layers/lstm/vars/0", (10**7, 10**7), "f4")  # nothing is written: 364 TiB from 0
    with pytest.raises(ConversionError, match="a dataset of 400000000000000 bytes from 0"):
        identify(tmp_path / "m.h5")


def test_datasets_that_are_a_bomb_together_are_refused(tmp_path):
    """Each alone is below the limit of one."""
    import h5py

    with h5py.File(tmp_path / "m.h5", "w") as file:
        for index in range(60):
            file.create_dataset(f"layers/lstm_{index}/vars/0", (20 * 2**18,), "f4")  # 20 MiB that nobody wrote
    assert (tmp_path / "m.h5").stat().st_size < 2 * 10**5
    with pytest.raises(ConversionError, match=r"datasets of \d+ bytes from 0"):
        identify(tmp_path / "m.h5")


@pytest.mark.parametrize("linked", ["group", "dataset"])
def test_weights_that_are_linked_many_times_count_as_often(linked, tmp_path):
    import h5py
    import numpy as np

    with h5py.File(tmp_path / "m.h5", "w") as file:
        group = file.create_group("layers/lstm_0/vars")
        group["0"] = np.arange(10**6, dtype="f4")
        for index in range(1, 150):
            place = f"layers/lstm_{index}/vars"
            file[place if linked == "group" else f"{place}/0"] = group if linked == "group" else group["0"]
    with pytest.raises(ConversionError, match=r"datasets of 600000000 bytes from 4000000"):
        identify(tmp_path / "m.h5")


def test_links_by_a_path_and_very_many_groups_are_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "soft.h5", "w") as file:
        file["layers"] = h5py.SoftLink("/other")
    with pytest.raises(ConversionError, match="which no Keras writes"):
        identify(tmp_path / "soft.h5")


@pytest.mark.parametrize(
    ("count", "size", "what"), [(20_000, 0, "20003 entries"), (280, 10**6, r"entries of 28\d+ bytes from")]
)
def test_archives_that_are_a_bomb_together_are_refused(count, size, what, tmp_path):
    path = archive_with(tmp_path / "m.keras", "assets/first")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for index in range(count):
            archive.writestr(f"assets/{index}", bytes(size))
    with pytest.raises(ConversionError, match=what):
        identify(path)


def test_groups_that_are_linked_twice_are_looked_at_once(tmp_path):
    """Each doubles the ways down: 2 ** 40 of them."""
    import h5py

    with h5py.File(tmp_path / "m.h5", "w") as file:
        group = file.create_group("vars")
        for _ in range(40):
            inner = group.create_group("a")
            group["b"] = inner
            group = inner
    with pytest.raises(ConversionError, match="without the weights of a model"):
        identify(tmp_path / "m.h5")


# What either Keras makes of a name in a file, and what we saw of it: it computes, or is refused. A Keras that has more
# fails this test, until somebody has looked.
REFUSED = {*_LOADERS, *_LOOKUPS, *_CALLS}
COMPUTES = frozenset(
    """
    AbstractRNNCell Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D
    AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AddLoss
    AddMetric AdditiveAttention AlphaDropout Attention AugMix AutoContrast Average AveragePooling1D
    AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D BaseRandomLayer BatchNormalization
    BatchNormalizationBase BatchNormalizationV1 BatchNormalizationV2 Bidirectional CategoryEncoding CenterCrop
    Concatenate ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D Conv2DTranspose
    Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D Convolution1DTranspose Convolution2D
    Convolution2DTranspose Convolution3D Convolution3DTranspose Cropping1D Cropping2D Cropping3D CuDNNGRU
    CuDNNLSTM CutMix Dense DepthwiseConv1D DepthwiseConv2D DeviceWrapper Discretization Dot Dropout
    DropoutWrapper ELU EinsumDense Embedding Equalization Flatten Functional GRU GRUCell GRUCellV1 GRUCellV2
    GRUV1 GRUV2 GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalAveragePooling3D GlobalAvgPool1D GlobalAvgPool2D GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPool2D
    GlobalMaxPool3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization
    GroupQueryAttention HashedCrossing Hashing Identity Input InputLayer InputSpec LSTM LSTMCell LSTMCellV1
    LSTMCellV2 LSTMV1 LSTMV2 Layer LayerNormalization LeakyReLU LinearModel LocallyConnected1D
    LocallyConnected2D Masking MaxNumBoundingBoxes MaxPool1D MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D
    MaxPooling3D Maximum MelSpectrogram Minimum MixUp Model MultiHeadAttention Multiply Normalization PReLU
    Permute Pipeline RMSNormalization RNN RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter
    RandomContrast RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale
    RandomHeight RandomHue RandomInvert RandomPerspective RandomPosterization RandomRotation RandomSaturation
    RandomSharpness RandomShear RandomTranslation RandomWidth RandomZoom ReLU RepeatVector Rescaling Reshape
    ResidualWrapper Resizing ReversibleEmbedding STFTSpectrogram SeparableConv1D SeparableConv2D
    SeparableConvolution1D SeparableConvolution2D Sequential SimpleRNN SimpleRNNCell Softmax Solarization
    SpatialDropout1D SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells Subtract
    SyncBatchNormalization ThresholdedReLU TimeDistributed UnitNormalization UpSampling1D UpSampling2D
    UpSampling3D WideDeepModel Wrapper ZeroPadding1D ZeroPadding2D ZeroPadding3D _RNNCellWrapper
    """.split()  # noqa: SIM905 - one long list
)


@GROUP
def test_every_class_that_tf_keras_makes_of_a_name_was_looked_at():
    from tf_keras.src.layers import serialization

    serialization.populate_deserializable_objects()
    found = {name for name, value in serialization.LOCAL.ALL_OBJECTS.items() if isinstance(value, type)}
    assert found - COMPUTES - REFUSED == set()


@GROUP
def test_every_layer_of_keras_3_was_looked_at():
    import keras

    found = {name for name, value in vars(keras.layers).items() if isinstance(value, type)}
    assert found - COMPUTES - REFUSED == set()
