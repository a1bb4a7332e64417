"""A converted graph with all that programs are written of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from rnnexport.core.signature import Signature
from rnnexport.core.source_names import SourceNames


@dataclass(frozen=True, eq=False)
class Converted:
    """A traced model as a graph of opset 18 whose weights are inputs: what programs in other languages are written of.

    Attributes:
        model: its inputs are those of the signature, and the weights.
        signature: what goes in and comes out.
        names: what the source calls its values; weights by the names of inputs of the graph.
        weights: the value of each, by the name of its input.
    """

    model: ir.Model
    signature: Signature
    names: SourceNames
    weights: Mapping[str, np.ndarray]
