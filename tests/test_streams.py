"""Artifacts of streams: every format, chunk by chunk, against eager Keras on the whole sequence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import rnnexport
import rnnexport.api.export
from rnnexport import runtime
from rnnexport.artifact.provenance import Proof
from rnnexport.targets.registry import TARGET_NAMES, target
from samples.catalog import SAMPLES_BY_NAME
from tests.streams import CHUNKINGS, STEPS, build, inputs_of

GROUP = pytest.mark.xdist_group("streams")
ONNX = ("recurrent", "padding")
LONG = (
    "two outputs",
    "convolution",
    "own start",
    "start from the inputs",
    "last",
    "padded ids",
    "zeroed",
    "stacked",
    "convolutional",
    "fixed length",
    "nested",
    "stateful",
)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """The stream of a model of that kind in a format, and the model; exported when first asked for."""
    done, folder = {}, tmp_path_factory.mktemp("streams")

    def export(kind, api, to, stream="dynamic", timesteps=None):
        key = kind, api, to, stream, timesteps
        if key not in done:
            model = build(kind, api)
            path = folder / ("-".join(map(str, key)).replace(" ", "_") + target(to).suffix)
            exported = rnnexport.export(model, to, path, stream=stream, timesteps=timesteps)
            assert exported.report is not None
            assert exported.report.status == "passed"
            done[key] = model, path
        return done[key]

    return export


def follows_the_whole(model, path, chunkings=CHUNKINGS):
    inputs = inputs_of(model)
    whole = model(inputs)
    whole = [np.asarray(output) for output in (whole if isinstance(whole, list | tuple) else [whole])]
    with runtime.open(path) as stream:
        names = [spec.name for spec in stream.signature.outputs]
        timed = [
            "time" in spec.shape or output.shape[1:2] == (STEPS,)
            for spec, output in zip(stream.signature.outputs, whole, strict=True)
        ]
        for lengths in chunkings:
            stream.reset()
            found, done = [], 0
            for length in lengths:
                feed = {
                    spec.name: x[:, done : done + length] if x.shape[1] == STEPS else x
                    for spec, x in zip(stream.signature.inputs, inputs, strict=True)
                }
                outputs = stream.step(feed)
                found.append(outputs if isinstance(outputs, dict) else {names[0]: outputs})
                done += length
            for name, many, wanted in zip(names, timed, whole, strict=True):
                pieces = [outputs[name] for outputs in found]
                np.testing.assert_allclose(
                    np.concatenate(pieces, 1) if many else pieces[-1], wanted, atol=3e-6, err_msg=f"{name} {lengths}"
                )


@GROUP
@pytest.mark.parametrize(
    ("kind", "api"),
    [(kind, "tf_keras" if kind == "padding" else "keras") for kind in ONNX]
    + [pytest.param(kind, api, marks=pytest.mark.long) for kind in LONG for api in ("keras", "tf_keras")],
)
def test_an_onnx_file_takes_chunks_of_any_lengths(kind, api, artifact):
    follows_the_whole(*artifact(kind, api, "onnx"))


@GROUP
@pytest.mark.long
@pytest.mark.parametrize("kind", [*ONNX, *LONG])
def test_a_saved_model_takes_chunks_and_whole_sequences(kind, artifact):
    model, path = artifact(kind, "keras", "saved-model")
    follows_the_whole(model, path)
    sequence = target("saved-model").read_proof(path).provenance.sequence
    inputs = inputs_of(model)
    whole = model(inputs)
    feed = {spec.name: x for spec, x in zip(sequence.inputs, inputs, strict=True)}
    # Sequences of a model that is stateful itself have its states, which are at their start here.
    feed |= {state.input.name: state.start(len(inputs[0])) for state in sequence.states}
    with target("saved-model").runner(path, "cpu") as runner:
        assert set(runner.entries) == {"serving_default", "step", "initial_state"}
        found = runner.at("serving_default").run(feed)
    if not sequence.states:  # a stateful model has gone on meanwhile
        for spec, wanted in zip(sequence.outputs, whole if isinstance(whole, list | tuple) else [whole], strict=True):
            np.testing.assert_allclose(found[spec.name], np.asarray(wanted), atol=3e-6)


@GROUP
@pytest.mark.parametrize(
    ("kind", "api"),
    [("convolution", "tf_keras"), *(pytest.param(k, "keras", marks=pytest.mark.long) for k in (*ONNX, *LONG))],
)
def test_a_tflite_file_takes_one_step_at_a_time(kind, api, artifact):
    model, path = artifact(kind, api, "tflite")
    follows_the_whole(model, path, CHUNKINGS[:1])
    with target("tflite").runner(path, "cpu") as runner:
        sequences = {"serving_default"} if kind == "fixed length" else set()
        assert set(runner.entries) == {"step", "initial_state"} | sequences


@GROUP
def test_a_tflite_file_with_a_length_takes_sequences_of_it_too(artifact):
    model, path = artifact("convolution", "tf_keras", "tflite", stream=2, timesteps=STEPS)
    (x,) = inputs_of(model)
    wanted = np.asarray(model(x))
    with target("tflite").runner(path, "cpu") as runner:
        sequence = runner.at("serving_default")
        (name,) = (tensor.name for tensor in sequence.inputs)
        (found,) = sequence.run({name: x}).values()
        np.testing.assert_allclose(found, wanted, atol=3e-6)
    with runtime.open(path) as stream:
        found = [stream.step(x[:, at : at + 2]) for at in (0, 2, 4)]
        np.testing.assert_allclose(np.concatenate(found, 1), wanted[:, :6], atol=3e-6)
        with pytest.raises(rnnexport.UsageError, match="2"):
            stream.step(x[:, :3])


@GROUP
def test_the_stateful_stack_of_the_seeds_streams_in_every_format(tmp_path):
    model = SAMPLES_BY_NAME["stateful_gru"].build()
    x = np.random.default_rng(8).standard_normal((1, 12, 4)).astype("float32")
    for exported in rnnexport.api.export.export_all(model, TARGET_NAMES, tmp_path, stream="dynamic"):
        for layer in model.layers[1:4]:
            layer.reset_states()
        wanted = np.concatenate([np.asarray(model(x[:, at : at + 1])) for at in range(12)], axis=1)
        one_step = exported.path.suffix == ".tflite"
        chunkings = [range(12), (0, 5, 6)] if not one_step else [range(12)]
        with runtime.open(exported.path) as stream:
            for starts in chunkings:
                stream.reset()
                found = [stream.step(chunk) for chunk in np.split(x, starts[1:], axis=1)]
                np.testing.assert_allclose(np.concatenate(found, 1), wanted, atol=2e-6)


@pytest.mark.long
@GROUP
def test_verify_against_the_source_makes_its_stream_again(artifact):
    model, path = artifact("padding", "tf_keras", "onnx")
    report = rnnexport.verify(path, source=model)
    assert report.passed, report.artifacts[0].first_problem()
    assert any("every split of" in feed.label for feed in report.artifacts[0].feeds)
    other = build("padding", "tf_keras")
    other.set_weights([weight * 1.01 for weight in other.get_weights()])
    assert rnnexport.verify(path, source=other).artifacts[0].status == "mismatch"


@GROUP
def test_states_that_are_wired_crosswise_are_caught_and_named(artifact, tmp_path):
    import onnx

    _, path = artifact("recurrent", "keras", "onnx")
    model = onnx.load(path)
    h, c = "next_state_lstm_00", "next_state_lstm_01"
    swapped = {
        next(o.name for o in model.graph.output if o.name.startswith("next_state_lstm") and o.name.endswith(end)): None
        for end in ("00", "01")
    }
    h, c = swapped
    for node in model.graph.node:
        node.output[:] = [{h: c, c: h}.get(name, name) for name in node.output]
    wrong = tmp_path / "wrong.onnx"
    onnx.save(model, wrong)
    proof = target("onnx").read_proof(path)
    target("onnx").write_proof(wrong, Proof(proof.provenance, proof.goldens, proof.layer_map))
    report = rnnexport.verify(wrong).artifacts[0]
    assert report.status == "mismatch"
    assert f"{h} holds what {c} should" in report.first_problem()
    assert replace(report, problems=()).status == "mismatch"
