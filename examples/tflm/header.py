"""A TFLite file as a C++ header: its bytes, its operators, and inputs with the outputs that the model gave for them.

    python examples/tflm/header.py board.tflite board.h

For TensorFlow Lite Micro: `main.cc` beside this file runs it. Goldens that are too large to be kept whole are left out.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

import rnnexport
from rnnexport.artifact.goldens import Golden
from rnnexport.core.signature import argument_name
from rnnexport.targets.registry import target
from rnnexport.targets.tflite.metadata import parse

_CALLED = {"UNIDIRECTIONAL_SEQUENCE_LSTM": "UnidirectionalSequenceLSTM"}
_TYPES = {"float32": "float", "int32": "int32_t", "int8": "int8_t", "bool": "bool"}
_SLACK = 1024  # bytes, for the alignment of a board


def header(path: Path) -> str:
    """The text of the header for the file at `path`. Needs tflite-micro, which says how large the arena is."""
    kind = target("tflite")
    with kind.runner(path, "tflm") as runner:
        arena = int(runner.settings["arena"].removesuffix(" bytes").replace(",", ""))
    proof, operators = kind.read_proof(path), kind.operators(path)
    assert proof is not None, f"{path} was not written by rnnexport"
    with tempfile.TemporaryDirectory() as folder:
        lean = Path(folder) / "lean.tflite"
        rnnexport.strip(path, proof="none", output=lean)
        data = lean.read_bytes()
    inputs, outputs = _order(path)
    goldens = [one for one in proof.goldens if not one.carries and not one.kept and _is_whole(one, inputs)]
    return "\n".join(
        [
            "#pragma once",
            "#include <cstdint>",
            "namespace board {",
            f"constexpr int kArena = {arena + _SLACK}, kOperators = {len(operators)};",
            "template <class Resolver> void AddOperators(Resolver& resolver) {",
            *(f"  resolver.Add{_added(name)}();" for name in operators),
            "}",
            f"alignas(16) constexpr unsigned char model[] = {{{','.join(map(str, data))}}};",
            *_arrays(goldens, inputs, outputs),
            "}  // namespace board",
            "",
        ]
    )


def _order(path: Path) -> tuple[list[str], list[str]]:
    """The names of inputs and of outputs, in the order of the file's graph."""
    model, _ = parse(path)
    graph = model.Subgraphs(0)
    signature = next(
        one for one in map(model.SignatureDefs, range(model.SignatureDefsLength())) if not one.SubgraphIndex()
    )
    sides = (
        (map(signature.Inputs, range(signature.InputsLength())), graph.InputsAsNumpy()),
        (map(signature.Outputs, range(signature.OutputsLength())), graph.OutputsAsNumpy()),
    )
    names = [{int(one.TensorIndex()): one.Name().decode() for one in side} for side, _ in sides]
    inputs, outputs = ([named[int(at)] for at in order] for named, (_, order) in zip(names, sides, strict=True))
    return inputs, outputs


def _is_whole(golden: Golden, inputs: Sequence[str]) -> bool:
    return {argument_name(name) for name in golden.feed} == set(inputs)


def _added(operator: str) -> str:
    return _CALLED.get(operator, "".join(word.capitalize() for word in operator.split("_")))


def _arrays(goldens: Sequence[Golden], inputs: Sequence[str], outputs: Sequence[str]) -> Iterator[str]:
    """The arrays of the goldens, and a table of them."""
    rows = []
    for at, golden in enumerate(goldens):
        feed = {argument_name(name): array for name, array in golden.feed.items()}
        sides = (("in", [feed[name] for name in inputs]), ("out", [golden.expected[name] for name in outputs]))
        for side, arrays in sides:
            for place, array in enumerate(arrays):
                yield f"constexpr {_TYPES[array.dtype.name]} {side}_{at}_{place}[] = {{{_numbers(array)}}};"
        listed = [
            "{" + ", ".join(f"{side}_{at}_{place}" for place in range(len(arrays))) + "}" for side, arrays in sides
        ]
        rows.append("{" + ", ".join(listed) + "}")
    yield f"struct Golden {{ const void* inputs[{len(inputs)}]; const float* outputs[{len(outputs)}]; }};"
    yield f"constexpr Golden goldens[] = {{{', '.join(rows)}}};"


def _numbers(array: np.ndarray) -> str:
    real = array.dtype.kind == "f"
    return ",".join(f"{float(value)!r}f" if real else str(int(value)) for value in array.ravel())


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(header(Path(sys.argv[1])))
