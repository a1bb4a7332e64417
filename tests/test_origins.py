"""Every origin x every layer: loaded, and exported to ONNX, against the live model that has the numbers of the file."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from _pytest.mark import ParameterSet

import rnnexport
from tests import origins

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "origins.md"

ORIGINS = {
    "Keras 1.2 .h5": origins.keras1,
    "Keras 2.1 .h5": origins.keras2("2.1.2", "reset_after", "implementation", backend="theano"),
    "Keras 2.2 .h5": origins.keras2("2.2.4"),
    "Keras 2.3 .h5": origins.keras2("2.3.1"),
    "tf.keras 1 .h5": origins.keras2("2.2.4-tf"),
    "tf_keras .h5": origins.written_by_tf_keras(".h5"),
    "tf_keras .keras": origins.written_by_tf_keras(".keras"),
    "tf_keras .json + .h5": origins.written_by_tf_keras(".json"),
    "tf_keras .h5 weights + builder": origins.written_by_tf_keras("builder model.h5"),
    "tf_keras .weights.h5 + builder": origins.written_by_tf_keras("builder model.weights.h5"),
    "tf_keras SavedModel": origins.written_by_tf_keras("saved-model"),
    "Keras 3 .h5": origins.written_by_keras3(".h5"),
    "Keras 3 .keras": origins.written_by_keras3(".keras"),
    "Keras 3 .json + .weights.h5": origins.written_by_keras3(".json"),
    "Keras 3 .weights.h5 + builder": origins.written_by_keras3("builder model.weights.h5"),
    "Keras 3 SavedModel": origins.written_by_keras3("saved-model"),
}
CUDNN_ORIGINS = ("Keras 2.1 .h5", "Keras 2.2 .h5", "Keras 2.3 .h5", "tf.keras 1 .h5")
NOT_IN_KERAS_1 = ("GRU, reset after", "GRU, reset before, no bias", "StackedRNNCells")
# (origin, layer) -> what the refusal says. Everything else is verified.
REFUSED = {
    ("tf_keras SavedModel", "stateful"): "changes at inference",
    ("Keras 3 SavedModel", "stateful"): "changes at inference",
    ("Keras 3 SavedModel", "TimeDistributed"): "traces TimeDistributed over the batch",
}


def exists(origin: str, layer: str) -> bool:
    if "CuDNN" in layer:
        return origin in CUDNN_ORIGINS
    return origin != "Keras 1.2 .h5" or layer not in NOT_IN_KERAS_1


def cell(origin: str, layer: str) -> str:
    if not exists(origin, layer):
        return "-"
    return "refused" if (origin, layer) in REFUSED else "verified"


def table() -> str:
    """The table of `docs/origins.md`."""
    lines = [f"| origin | {' | '.join(origins.LAYERS)} |", "| --- |" + " --- |" * len(origins.LAYERS)]
    lines += [f"| {origin} | {' | '.join(cell(origin, layer) for layer in origins.LAYERS)} |" for origin in ORIGINS]
    return "\n".join(lines) + "\n"


# The whole table is exported by `make test-long`. Each time every layer is exported of a file of one Keras, in turn.
# Every other file gives the same models: one layer of it is loaded and run, and every eighth one of the rest. Exported
# is that layer where the files are written by hand, as Keras 1 and 2 of old wrote them, and programs, which have none.
WHOLE = ("tf_keras .h5", "Keras 3 .keras")
EACH_TIME = ("GRU, reset before, hard_sigmoid", "stateful", "CuDNNLSTM")
SLOWLY_WRITTEN = ("tf_keras SavedModel",)
EXPORTED = ("Keras 1.2 .h5", "Keras 2.1 .h5", *SLOWLY_WRITTEN)


def _places(origin: str, layer: str) -> tuple[int, int]:
    return list(ORIGINS).index(origin), list(origins.LAYERS).index(layer)


def exported_each_time(origin: str, layer: str) -> bool:
    _, column = _places(origin, layer)
    if origin in WHOLE:
        return column % len(WHOLE) == WHOLE.index(origin)
    return (origin in EXPORTED and _is_each_time(origin, layer)) or (origin, layer) in REFUSED


def _is_each_time(origin: str, layer: str) -> bool:
    row, _ = _places(origin, layer)
    return layer == EACH_TIME[row % len(EACH_TIME)]


def cells(each_time: Callable[[str, str], bool], left_out: Collection[tuple[str, str]] = ()) -> list[ParameterSet]:
    """Every origin x every layer but those left out; those that are not tested each time are marked long."""
    return [
        pytest.param(
            origin,
            layer,
            marks=[
                pytest.mark.xdist_group(f"origin {origin}"),
                *([] if each_time(origin, layer) else [pytest.mark.long]),
            ],
        )
        for origin in ORIGINS
        for layer in origins.LAYERS
        if exists(origin, layer) and (origin, layer) not in left_out
    ]


@pytest.mark.parametrize(("origin", "layer"), cells(exported_each_time))
def test_the_artifact_has_the_numbers_of_the_keras_that_wrote_the_file(origin, layer, tmp_path):
    written = ORIGINS[origin](layer, tmp_path)
    artifact = tmp_path / "artifact.onnx"
    if (origin, layer) in REFUSED:
        with pytest.raises(rnnexport.ConversionError, match=REFUSED[origin, layer]):
            rnnexport.export(written.path, "onnx", artifact, loading=written.loading)
        assert not artifact.exists()
        return
    exported = rnnexport.export(written.path, "onnx", artifact, loading=written.loading)
    assert exported.report is not None
    assert exported.report.status == "passed"
    x = origins.feed(layer)
    np.testing.assert_allclose(run(artifact, x), np.asarray(written.live(x)), rtol=1e-5, atol=2e-6)


def loaded_each_time(origin: str, layer: str) -> bool:
    in_turn = sum(_places(origin, layer)) % 8 == 0 or _is_each_time(origin, layer)
    return in_turn and origin not in SLOWLY_WRITTEN and not exported_each_time(origin, layer)


@pytest.mark.parametrize(("origin", "layer"), cells(loaded_each_time, REFUSED))
def test_the_loaded_model_has_the_numbers_of_the_keras_that_wrote_the_file(origin, layer, tmp_path):
    written = ORIGINS[origin](layer, tmp_path)
    source = rnnexport.load(written.path, written.loading)
    x = origins.feed(layer)
    (found,) = source.api.call(source.model, [tf.constant(x)])
    np.testing.assert_allclose(found, np.asarray(written.live(x)), rtol=1e-5, atol=2e-6)


def run(artifact: Path, x: np.ndarray) -> np.ndarray:
    """The first output of the artifact for `x`, from states of zeros."""
    session = onnxruntime.InferenceSession(str(artifact))
    first, *states = session.get_inputs()
    zeros = {state.name: np.zeros(state.shape, "float32") for state in states}
    return np.asarray(session.run(None, {first.name: x, **zeros})[0])


def test_the_table_of_the_document_is_what_is_tested():
    found = DOCUMENT.read_text().partition("<!-- origins -->\n")[2].partition("<!-- end of origins -->")[0]
    assert found == table()
