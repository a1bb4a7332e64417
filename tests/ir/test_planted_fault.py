"""A fault of the one reader, which all that is written has in common: two witnesses that are not made of it see it."""

from __future__ import annotations

from dataclasses import replace

import keras

from rnnexport.api.export import load
from rnnexport.core.lowering import LoweringRequest
from rnnexport.core.signature import Boundary
from rnnexport.ir import recurrence
from rnnexport.reference.describe import describe_with_truth
from rnnexport.source.trace import Graphs
from rnnexport.targets.base import DEFAULT_OPSET, ExportOptions
from rnnexport.targets.onnx.export import lowered_model
from samples.cgru_cell import with_random_weights


def test_a_state_of_the_wrong_sign_is_seen_by_keras_and_by_the_loop(monkeypatch):
    assembled = recurrence._assembled

    def wrong(*args):
        found = assembled(*args)
        states = tuple(replace(one, after=found.terms.elementwise("Neg", one.after)) for one in found.states)
        return replace(found, states=states)

    monkeypatch.setattr(recurrence, "_assembled", wrong)
    x = keras.Input((4, 2), name="x")
    layer = keras.layers.SimpleRNN(3, return_sequences=True, bias_initializer="uniform")
    known = describe_with_truth(load(with_random_weights(keras.Model(x, layer(x), name="m"), 3)), Boundary())
    # The graph in float64 is nearer to what eager Keras gives: the program is no reading any more.
    assert known.fault
    assert not known.no_truth
    feeds = [golden.feed for golden in known.goldens]
    graphs = Graphs(known.traced, converted=known.converted)
    _, (decision,) = lowered_model(graphs, feeds, ExportOptions(DEFAULT_OPSET, LoweringRequest()))
    assert decision.chosen == "loop"
    assert decision.fault
