"""What a C program was written of: it rides beside it, so that whoever is to run the program can write it again.

C can read and write anywhere, and no look at its text shows that it does not. So nothing is compiled but what this
package writes of a graph, word for word.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

import numpy as np
import onnx_ir as ir

from rnnexport.core.forms import CForm
from rnnexport.core.names import LayerName, SourceNames
from rnnexport.core.signature import Signature
from rnnexport.emit.c.module import Text, constants_in, text_of
from rnnexport.emit.c.program import TranslationUnit, parts_of
from rnnexport.emit.c.self_test import SelfTest
from rnnexport.emit.c.weights import Outside
from rnnexport.ir.from_onnx import Converted, read_program


@dataclass(frozen=True, eq=False)
class Source:
    """A graph, and what else its program depends on but the weights.

    Attributes:
        graph: a serialised ONNX model; its weights are inputs.
        signature: of the model.
        names: what the source calls its values.
        name: of the model.
        form: how the program is written.
        lengths: of the call that it tests itself by, a number a letter; None where it has no such test.
        weights: the name of the file of its weights, which lies beside it; empty where they stand in the program.
        bounds: see `SelfTest`.
    """

    graph: bytes
    signature: Signature
    names: SourceNames
    name: str
    form: CForm
    lengths: Mapping[str, int] | None = None
    weights: str = ""
    bounds: tuple[float, ...] = ()

    @staticmethod
    def of(converted: Converted, name: str, form: CForm, weights: str = "") -> Source:
        """That of a converted model."""
        graph = ir.serde.serialize_model(converted.model).SerializeToString(deterministic=True)
        return Source(graph, converted.signature, converted.names, name, form, weights=weights)

    def parts(self, weights: Mapping[str, np.ndarray]) -> TranslationUnit:
        """The functions of the program. Raises as `parts_of`."""
        program = read_program(_model(self.graph), self.signature, weights, self.names)
        return parts_of(program, self.name, int8=self.form.int8)

    def text(self, weights: Mapping[str, np.ndarray]) -> Text:
        """The program. Raises as `parts_of`."""
        return text_of(self.parts(weights), self.form)

    def text_like(self, program: str, blob: bytes, test: SelfTest | None = None) -> Text:
        """The program with the weights that stand in `program` and their file, and its self-test, unless one is given.

        Raises as `parts_of`, and ValueError.
        """
        parts = self.parts(self._blank())
        found = constants_in(program)
        outside = Outside.of(parts).read(blob) if self.form.weights_beside else {}
        if test is None and self.lengths is not None:
            blank = SelfTest.blank(parts.interface, self.lengths, self.bounds)
            given = {name: _parsed(found[name][1], array) for name, array in blank.arrays().items()}
            test = blank.with_arrays(given)
        constants = {}
        for name, (array, called) in parts.constants.items():
            numbers = found[name][1] if name in found else ""
            constants[name] = (outside[name] if name in outside else _parsed(numbers, array), called)
        return text_of(replace(parts, constants=constants), self.form, test)

    def _blank(self) -> dict[str, np.ndarray]:
        """Weights of the right shapes, all of them 0."""
        own = {spec.name for spec in self.signature.all_inputs}
        inputs = [value for value in _model(self.graph).graph.inputs if value.name not in own]
        blank = {}
        for value in inputs:
            if value.shape is None or value.dtype is None:
                raise ValueError(f"{value.name} has no shape")
            sizes = [int(size) for size in value.shape if isinstance(size, int)]
            blank[str(value.name)] = np.zeros(sizes, value.dtype.numpy())
        return blank

    def to_json(self) -> str:
        """All but the graph, as text."""
        value = {
            "signature": {
                "inputs": [spec.to_json() for spec in self.signature.inputs],
                "outputs": [spec.to_json() for spec in self.signature.outputs],
                "states": [state.to_json() for state in self.signature.states],
            },
            "variables": {path: list(names) for path, names in self.names.variables.items()},
            "weights": dict(self.names.weights),
            "layers": [[layer.scope, layer.name, layer.class_name] for layer in self.names.layers],
            "name": self.name,
            "form": self.form.to_json(),
            "self_test": None if self.lengths is None else dict(self.lengths),
        }
        more = {"weights_file": self.weights, "self_test_bounds": list(self.bounds)}
        return json.dumps(value | {name: each for name, each in more.items() if each}, sort_keys=True)

    @staticmethod
    def from_json(graph: bytes, text: bytes) -> Source:
        """The inverse of `to_json`. Raises ValueError, LookupError and TypeError where it is none."""
        value: dict[str, Any] = json.loads(text)
        names = SourceNames(
            {path: tuple(map(str, found)) for path, found in value["variables"].items()},
            {str(name): str(path) for name, path in value["weights"].items()},
            tuple(LayerName(*map(str, layer)) for layer in value["layers"]),
        )
        signature = Signature.from_json(value["signature"])
        lengths = value["self_test"]
        known = None if lengths is None else {str(letter): int(number) for letter, number in lengths.items()}
        form, weights = CForm.from_json(value["form"]), str(value.get("weights_file", ""))
        if form.weights_beside != bool(weights) or PurePath(weights).name != weights:
            raise ValueError(f"weights in {weights!r}")
        bounds = tuple(map(float, value.get("self_test_bounds", ())))
        return Source(graph, signature, names, str(value["name"]), form, known, weights, bounds)


def _model(graph: bytes) -> ir.Model:
    import onnx

    model: ir.Model = ir.from_proto(onnx.load_model_from_string(graph))
    return model


def _parsed(numbers: str, array: np.ndarray) -> np.ndarray:
    """The numbers of an array in the text of a program. ValueError where they are no such numbers."""
    items = [item.strip() for item in numbers.replace("\n", " ").split(",")] if array.size else []
    found = np.array([_number(item) for item in items], dtype=array.dtype)
    return found.reshape(array.shape)


def _number(item: str) -> float | int:
    for word, value in (("INFINITY", np.inf), ("-INFINITY", -np.inf), ("NAN", np.nan), ("INT64_MIN", -(2**63))):
        if item == word:
            return value
    if "0x" in item:
        return float.fromhex(item.removesuffix("f"))
    return int(item.removeprefix("INT64_C(").removesuffix(")"))
