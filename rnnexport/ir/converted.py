"""A converted model: one graph, and the program that is read of it, for all formats that are written of either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_ir as ir

from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import Signature
from rnnexport.core.source_names import SourceNames
from rnnexport.ir.from_onnx import read_program
from rnnexport.ir.program import Program


@dataclass(frozen=True, eq=False)
class Converted:
    """A traced model as an ONNX graph of one opset whose weights are inputs. It is never changed; copies of it are.

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

    @cached_property
    def program(self) -> Program:
        """The graph, of opset 18, as a program."""
        return read_program(self.model, self.signature, self.weights, self.names)


@dataclass(frozen=True)
class NotConverted:
    """A model can't be converted, and why; what needs no conversion can be written of it all the same."""

    error: ConversionError
