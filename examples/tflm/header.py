"""A TFLite file as a C++ header: its bytes, its operators, and inputs with the outputs that the model gave for them.

    python examples/tflm/header.py board.tflite board.h

For TensorFlow Lite Micro: `main.cc` beside this file runs it. Each value of an output has the largest error that
`rnnexport verify` lets pass. Goldens that are too large to be kept whole, and those of several calls, are left out.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import rnnexport
from rnnexport.artifact.goldens import Golden
from rnnexport.core.signature import Signature, argument_name, timesteps
from rnnexport.targets.registry import target
from rnnexport.targets.tflite.metadata import parse
from rnnexport.verification.tolerance import Override, Tolerance, Tolerances, allowed, leeway

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
    inputs, outputs = _order(path)
    goldens = [one for one in proof.goldens if _is_one_call(one, inputs)]
    assert goldens, f"{path} has no golden that is kept whole: export it with fewer --timesteps"
    known = proof.provenance
    tolerances = Tolerances(Tolerance(**known.tolerance), Override.from_json(known.override))
    return "\n".join(
        [
            "#pragma once",
            "#include <cstdint>",
            "namespace board {",
            f"constexpr int kArena = {arena + _SLACK}, kOperators = {len(operators)};",
            "template <class Resolver> void AddOperators(Resolver& resolver) {",
            *(f"  resolver.Add{_added(name)}();" for name in operators),
            "}",
            f"alignas(16) constexpr unsigned char model[] = {{{','.join(map(str, _without_proof(path)))}}};",
            *_Goldens(inputs, outputs, known.signature, tolerances).lines(goldens),
            "}  // namespace board",
            "",
        ]
    )


def _without_proof(path: Path) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        lean = Path(folder) / "lean.tflite"
        rnnexport.strip(path, proof="none", output=lean)
        return lean.read_bytes()


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


def _is_one_call(golden: Golden, inputs: Sequence[str]) -> bool:
    """Whether it is a call of the file's first signature, all of it in the proof."""
    several = golden.carries or golden.chunk or golden.entry
    return not several and not golden.kept and {argument_name(name) for name in golden.feed} == set(inputs)


def _added(operator: str) -> str:
    return _CALLED.get(operator, "".join(word.capitalize() for word in operator.split("_")))


@dataclass(frozen=True)
class _Goldens:
    """Writes the goldens of a file, whose inputs and outputs have these names, in the order of its graph."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    signature: Signature
    tolerances: Tolerances

    def lines(self, goldens: Sequence[Golden]) -> Iterator[str]:
        """Their arrays, and a table of them."""
        rows = []
        for at, golden in enumerate(goldens):
            feed = {argument_name(name): array for name, array in golden.feed.items()}
            sides = {
                "in": [feed[name] for name in self.inputs],
                "out": [_real(golden.expected[name], name) for name in self.outputs],
                "most": [self._allowed(golden, name) for name in self.outputs],
            }
            for side, arrays in sides.items():
                for place, array in enumerate(arrays):
                    yield f"constexpr {_TYPES[array.dtype.name]} {side}_{at}_{place}[] = {{{_numbers(array)}}};"
            rows.append("{" + ", ".join(_listed(f"{side}_{at}", len(arrays)) for side, arrays in sides.items()) + "}")
        outs = len(self.outputs)
        yield "// What goes in, what comes out, and the largest error of each value that passes."
        yield (
            f"struct Golden {{ const void* inputs[{len(self.inputs)}]; "
            f"const float *outputs[{outs}], *allowed[{outs}]; }};"
        )
        yield f"constexpr Golden goldens[] = {{{', '.join(rows)}}};"

    def _allowed(self, golden: Golden, name: str) -> np.ndarray:
        wanted, length = golden.expected[name], timesteps(golden.feed, self.signature)
        least = None if self.tolerances.sets(name) or name not in golden.spread else leeway(golden.spread[name])
        bound = allowed(self.tolerances.of(name, length), wanted, least)
        return np.minimum(bound, np.finfo(np.float32).max).astype(np.float32)


def _real(array: np.ndarray, name: str) -> np.ndarray:
    assert array.dtype == np.float32, f"{name} is {array.dtype}: main.cc compares float32"
    return array


def _listed(name: str, count: int) -> str:
    return "{" + ", ".join(f"{name}_{place}" for place in range(count)) + "}"


def _numbers(array: np.ndarray) -> str:
    real = array.dtype.kind == "f"
    return ",".join(f"{float(value)!r}f" if real else str(int(value)) for value in array.ravel())


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(header(Path(sys.argv[1])))
