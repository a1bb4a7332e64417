"""Programs of ONNX graphs and of samples, written and opened, for tests."""

from __future__ import annotations

import copy

import numpy as np
import onnx
import onnx_ir as ir

from rnnexport.conversion.cleanup import infer_shapes, quiet
from rnnexport.core.names import SourceNames
from rnnexport.core.signature import Signature, TensorSpec
from rnnexport.emit.numpy.loading import opened
from rnnexport.emit.numpy.program import write_module
from rnnexport.ir.from_onnx import read_program
from rnnexport.targets.numpy.allowed import check_text


def spec(value):
    """The spec of an input or output of an ONNX graph; an open dimension without a name is one of its own."""
    kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).name
    dims = enumerate(value.type.tensor_type.shape.dim)
    return TensorSpec(
        value.name, kind, tuple(dim.dim_param or dim.dim_value or f"{value.name}_{at}" for at, dim in dims)
    )


def signature_of(model):
    """What goes into an ONNX model and comes out of it; initializers apart."""
    given = {value.name for value in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in given]
    return Signature(tuple(map(spec, inputs)), tuple(map(spec, model.graph.output)))


def written(model, names=None, weights=None):
    """The program of an ONNX model; `weights` are inputs of it, by name."""
    whole = signature_of(model)
    inputs = tuple(each for each in whole.inputs if each.name not in (weights or {}))
    graph = ir.from_proto(copy.deepcopy(model))
    module = module_of(graph, Signature(inputs, whole.outputs), names or SourceNames(), weights or {}, "generated")
    check_text(module.text.encode())  # what a rule writes is what verifying lets run
    return module


def module_of(graph, signature, names, weights, name):
    """The module of a graph of ONNX."""
    with quiet():
        infer_shapes(graph)
    return write_module(read_program(graph, signature, weights, names), name)


def called(model, feed, dtype=np.float32):
    """What the program of an ONNX model gives for a feed."""
    program = written(model)
    made = opened(program.text, program.arrays, dtype)
    return made.step(*[feed[each.name] for each in signature_of(model).inputs], {})[0]
