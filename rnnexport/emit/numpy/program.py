"""A program as a Python module that needs NumPy alone, and the archive of its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rnnexport.core.signature import unique_names
from rnnexport.emit.numpy.expression import Expression, Shape
from rnnexport.emit.numpy.functions import Functions
from rnnexport.emit.numpy.layout import legend_of
from rnnexport.emit.numpy.module import Parts, arguments_of, module_text, starts_of
from rnnexport.emit.numpy.naming import CONSTANTS, LOCALS, START, Origins, attributes_of, camel, identifier
from rnnexport.emit.numpy.tokens import Weight
from rnnexport.ir.program import Program, Scan, is_literal
from rnnexport.ir.terms import Term, below

# Constants of so many numbers are written where they are used; larger ones are in the archive.
_SHORT = 4


@dataclass(frozen=True, eq=False)
class Module:
    """The text of a program, and its archive.

    Attributes:
        text: its code.
        arrays: of the archive, by `layer/name`.
    """

    text: str
    arrays: Mapping[str, np.ndarray]


def write_module(program: Program, name: str) -> Module:
    """The module of a program.

    Args:
        program: the model.
        name: of the model: its class and its module are called so.

    Raises:
        ConversionError: an operator has no NumPy form; names it and the layer it is in.
    """
    return _ModuleWriter(program, name).module()


class _ModuleWriter:
    def __init__(self, program: Program, name: str) -> None:
        names = program.names
        self._program, self._name, weights = program, name, program.weights
        self._arrays: dict[str, np.ndarray] = {}
        self._origins = Origins(names, program.origins)
        paths = dict(zip(weights, unique_names(names.weights.get(each, each) for each in weights), strict=True))
        places = attributes_of(paths.values())
        self._given: dict[Term, Expression] = {}
        self._weights: dict[Term, Weight] = {}
        leaves = program.parameters
        for each, array in weights.items():
            bare = identifier(names.weights.get(each, each).rpartition("/")[2])
            self._put(leaves[each], array, *places[paths[each]], bare)

    def module(self) -> Module:
        signature = self._program.signature
        legend = legend_of(signature, self._widths())
        arguments = arguments_of(signature, legend)
        shapes: dict[Term, Shape | None] = {}
        leaves = self._program.parameters
        for spec in signature.all_inputs:
            shapes[leaves[spec.name]] = legend.symbols(spec)
        for spec in signature.inputs:
            self._given[leaves[spec.name]] = Expression(arguments[spec.name])
        states = {leaves[state.input.name]: arguments[state.input.name] for state in signature.states}
        self._put_constants()
        shapes = {term: shapes.get(term, term.shape) for term in (*self._given, *states)}
        named = {leaves[spec.name]: arguments[spec.name] for spec in signature.inputs}
        functions = Functions(self._origins, legend, self._weights, named)
        taken = [*(arguments[spec.name] for spec in signature.inputs), *LOCALS]
        main = functions.main(self._program.main.results, self._given, states, shapes, taken)
        starts = starts_of(signature)
        for state in signature.states:
            if state.input.name in starts:
                self._arrays[f"{START}/{starts[state.input.name]}"] = state.initial
        parts = Parts(
            name=self._name,
            title=camel(self._name),
            signature=signature,
            legend=legend,
            steps=tuple(functions.steps),
            main=main,
        )
        return Module(module_text(parts), dict(sorted(self._arrays.items())))

    def _put(self, leaf: Term, array: np.ndarray, group: str, attribute: str, bare: str = "") -> None:
        self._arrays[f"{group}/{attribute}"] = array
        self._given[leaf] = Expression(f"w.{group}.{attribute}")
        self._weights[leaf] = Weight(bare or attribute, attribute)

    def _put_constants(self) -> None:
        """What is neither a weight nor short enough to be written into the code."""
        count = 0
        for term in below(self._program.main.results):
            if term.op == "Const" and not is_literal(term) and term.array.size > _SHORT:
                count += 1
                self._put(term, term.array, CONSTANTS, f"constant_{count}")

    def _widths(self) -> dict[int, str]:
        """The sizes of the states of the recurrences, each with the first layer that has it."""
        found: dict[int, str] = {}
        for term in below(self._program.main.results):
            if isinstance(call := term.call, Scan) and term.port == 0:
                layer = self._origins.top_layer(call.step.scope + "/")
                for state in call.before:
                    if state.shape and isinstance(state.shape[-1], int):
                        name = identifier(call.step.scope.rpartition("/")[2]) if layer is None else layer.name
                        found.setdefault(state.shape[-1], name)
        return found
