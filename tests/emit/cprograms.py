"""C programs of ONNX graphs, compiled and opened, for tests."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import onnx_ir as ir

from rnnexport.conversion.cleanup import infer_shapes, quiet
from rnnexport.core.forms import CForm
from rnnexport.emit.c.module import Text, text_of
from rnnexport.emit.c.program import parts_of
from rnnexport.ir.from_onnx import read_program
from rnnexport.targets.c import compiler
from rnnexport.targets.c.calling import CompiledModel
from tests.emit.numpy.programs import signature_of

OWN = CForm()
# As quick to compile as a compiler is.
QUICK = tuple("-O0" if flag == "-O2" else flag for flag in compiler.FLAGS)


def written(model, name="generated", form=OWN):
    """The text of the program of an ONNX model."""
    graph = ir.from_proto(copy.deepcopy(model))
    with quiet():
        infer_shapes(graph)
    return text_of(parts_of(read_program(graph, signature_of(model), {}), name, int8=form.int8), form)


def save(text: Text, folder: Path, name: str) -> Path:
    """The program and its header in a folder."""
    program = folder / f"{name}.c"
    program.write_text(text.program)
    program.with_suffix(".h").write_text(text.header)
    return program


def opened(model, folder: Path, name="generated", flags: Sequence[str] = QUICK, form=OWN) -> CompiledModel:
    """The program of an ONNX model, ready to be called."""
    program = save(written(model, name, form), folder, name)
    compiler.find().shared(program, program.with_suffix(".so"), flags)
    return CompiledModel(program.with_suffix(".so"), signature_of(model), name)
