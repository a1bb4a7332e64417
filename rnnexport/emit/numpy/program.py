"""A program as a Python module that needs NumPy alone, and the archive of its weights.

The text of a program: its head, the functions that it calls, its class, and what runs it from a prompt.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np

from rnnexport.core.signature import BATCH, Signature, StateSpec, TensorSpec, argument_name, unique_names
from rnnexport.emit.numpy import skeleton
from rnnexport.emit.numpy.expression import Expression, Shape, literal
from rnnexport.emit.numpy.functions import FUNCTIONS, Functions, MainFunction, StepFunction
from rnnexport.emit.numpy.layout import LINE, Legend, block, bracketed, legend_of
from rnnexport.emit.numpy.naming import (
    CONSTANTS,
    LOCALS,
    RESERVED,
    START,
    Origins,
    WeightName,
    attributes_of,
    camel,
    identifier,
    quoted,
    shown,
)
from rnnexport.emit.numpy.operators import closure_of, source_of
from rnnexport.ir.program import Program, Scan, is_literal
from rnnexport.ir.terms import Term, below
from rnnexport.version import __version__

# Constants of so many numbers are written where they are used; larger ones are in the archive.
_SHORT = 4
_SKELETON = (skeleton.load_weights, skeleton.checked)
_IMPORTS = """from __future__ import annotations

import argparse
import sys
import zipfile
import zlib
{callable}from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

WEIGHTS = Path(__file__).with_suffix(".npz")
"""


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
        self._weights: dict[Term, WeightName] = {}
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
        self._weights[leaf] = WeightName(bare or attribute, attribute)

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


@dataclass(frozen=True, eq=False)
class Parts:
    """What a program is put together from.

    Attributes:
        name: of the model.
        title: of its class.
        signature: of the model.
        legend: the letters of sizes.
        steps: the functions of its loops.
        main: what the model computes.
    """

    name: str
    title: str
    signature: Signature
    legend: Legend
    steps: tuple[StepFunction, ...]
    main: MainFunction


def arguments_of(signature: Signature, legend: Legend) -> dict[str, str]:
    """The parameter of each input and state, by its name in the model; none hides what the program reads."""
    names = [spec.name for spec in signature.all_inputs]
    taken = {*RESERVED, *FUNCTIONS, *LOCALS, *legend.words}
    return dict(zip(names, unique_names(map(argument_name, names), taken), strict=True))


def starts_of(signature: Signature) -> dict[str, str]:
    """What each first state that is not one number is called in its group of the archive, by the name of the state."""
    names = [state.input.name for state in signature.states if _number(state) is None]
    return dict(zip(names, unique_names(map(argument_name, names)), strict=True))


def _number(state: StateSpec) -> str | None:
    """The number that a first state is throughout; None where there are several. Zeros of two signs are two."""
    flat = state.initial.ravel()
    if flat.tobytes() != flat[:1].tobytes() * flat.size:
        return None
    return literal(flat[0]).text if flat.size else "0"


def module_text(parts: Parts) -> str:
    """The program."""
    needed = parts.main.helpers.union(*(step.helpers for step in parts.steps))
    functions = [inspect.getsource(function) for function in _SKELETON]
    functions += [source_of(name) for name in closure_of(sorted(needed))]
    functions += ["\n".join(step.text()) + "\n" for step in parts.steps]
    functions += ["\n".join(_class(parts)) + "\n"]
    functions += [f"MODEL = {parts.title}\n\n\n" + inspect.getsource(skeleton.main)]
    body = "\n\n".join(functions)
    callables = [name for name in ("Callable", "Mapping", "Sequence") if re.search(rf"\b{name}\b", body)]
    imports = _IMPORTS.format(callable=f"from collections.abc import {', '.join(callables)}\n" if callables else "")
    end = '\n\nif __name__ == "__main__":\n    main(MODEL)\n'
    return f"{_head(parts)}\n{imports}\n\n{body}{end}"


def _head(parts: Parts) -> str:
    name = shown(parts.name)
    letters = ", ".join(f"{letter} {word}" for letter, word in parts.legend.words.items())
    legend = "\n" + "\n".join(_wrapped(f"In the shapes of comments: {letters}.")) + "\n" if letters else ""
    return (
        f'"""{name} in NumPy, written by rnnexport {__version__}.\n\n'
        f"    python {name}.py input.npz output.npz\n"
        f'{legend}"""\n'
    )


def _class(parts: Parts) -> Iterator[str]:
    signature = parts.signature
    arguments = arguments_of(signature, parts.legend)
    inputs = [arguments[spec.name] for spec in signature.inputs]
    yield f"class {parts.title}:"
    yield from _wrapped(f"{_shapes(signature.inputs)} to {_shapes(signature.outputs)}.", '    """')
    if signature.states:
        yield ""
        yield "    A call goes on from where the last one ended; `step` is given the states, and keeps none."
    yield ""
    yield "    Args:"
    yield "        weights: the archive, or its arrays by `layer/name`."
    yield "        dtype: np.float32, or np.float64 for all numbers of a floating dtype."
    yield '    """'
    yield ""
    yield f"    INPUTS = {_names(spec.name for spec in signature.inputs)}"
    yield f"    OUTPUTS = {_names(spec.name for spec in signature.outputs)}"
    yield f"    STATES = {_names(state.input.name for state in signature.states)}"
    yield "    SIGNATURE: ClassVar = {"
    for spec in (*signature.all_inputs, *signature.all_outputs):
        yield f"        {quoted(spec.name)}: ({quoted(spec.dtype)}, {_quoted_shape(spec)}),"
    yield "    }"
    yield ""
    yield "    def __init__(self, weights=WEIGHTS, dtype=np.float32):"
    yield "        self.dtype = np.dtype(dtype)"
    yield "        if self.dtype not in (np.float32, np.float64):"
    yield '            raise ValueError(f"the dtype is {self.dtype}, not float32 or float64")'
    yield "        self.weights = load_weights(weights, self.dtype)"
    yield "        self.states = None"
    yield ""
    yield from _initial_state(signature)
    yield ""
    yield from _reset(signature)
    yield ""
    yield from _call(signature, inputs)
    yield ""
    yield from _step(parts, arguments)


def _initial_state(signature: Signature) -> Iterator[str]:
    batch = _fixed_batch(signature)
    yield f"    def initial_state(self, batch={batch or 1}):"
    yield '        """What each of `batch` rows starts from, by the names of the states."""'
    if not signature.states:
        yield "        return {}"
        return
    if batch is not None:
        yield f"        if batch != {batch}:"
        yield f'            raise ValueError(f"the batch is {batch}, not {{batch}}")'
    starts = starts_of(signature)
    yield "        return {"
    for state in signature.states:
        yield f"            {quoted(state.input.name)}: {_start(state, starts)},"
    yield "        }"


def _fixed_batch(signature: Signature) -> int | None:
    """The batch of the states; None where it is open, or there are none."""
    shapes = [state.input.shape for state in signature.states]
    if any(BATCH in shape for shape in shapes):
        return None
    return next((size for shape in shapes for size in shape[:1] if isinstance(size, int)), None)


def _start(state: StateSpec, starts: Mapping[str, str]) -> str:
    shape = bracketed(["batch" if size == BATCH else str(size) for size in state.input.shape])
    kind, number = _dtype(state.input), _number(state)
    if number is None:
        return f"np.broadcast_to(self.weights.{START}.{starts[state.input.name]}, {shape}).copy()"
    if number in ("0.0", "0", "False"):
        return f"np.zeros({shape}, {kind})"
    return f"np.full({shape}, {number}, {kind})"


def _dtype(spec: TensorSpec) -> str:
    if spec.dtype in ("float32", "bfloat16"):
        return "self.dtype"
    if spec.dtype == "float16":
        return "np.promote_types(np.float16, self.dtype if self.dtype == np.float64 else np.float16)"
    return f"np.{spec.dtype}" if spec.dtype != "bool" else "bool"


def _reset(signature: Signature) -> Iterator[str]:
    yield "    def reset(self, rows=None):"
    yield '        """Let the next call begin from the start: in all rows, or in those of these numbers."""'
    if not signature.states:
        yield "        self.states = None"
        return
    batch = _batch((f"self.states[{quoted(state.input.name)}]", state.input) for state in signature.states)
    yield "        if rows is None or self.states is None:"
    yield "            self.states = None"
    yield "            return"
    yield f"        start = self.initial_state({batch})"
    yield "        self.states = {name: array.copy() for name, array in self.states.items()}"
    yield "        for name, array in self.states.items():"
    yield "            array[rows] = start[name][rows]"


def _call(signature: Signature, inputs: Sequence[str]) -> Iterator[str]:
    single = signature.outputs[0].name if len(signature.outputs) == 1 else None
    kept = "; the states are kept for the next call" if signature.states else ""
    given = ", ".join(inputs)
    yield f"    def __call__(self, {given}):"
    yield f'        """The {"outputs by name" if single is None else "output"}{kept}."""'
    if signature.states:
        found = zip(inputs, signature.inputs, strict=True)
        batch = _batch((f"checked(self, {quoted(spec.name)}, {name}, {{}})", spec) for name, spec in found)
        yield "        if self.states is None:"
        yield f"            self.states = self.initial_state({batch})"
        yield f"        outputs, after = self.step({given}, self.states)"
        yield "        self.states = {name: np.array(array) for name, array in after.items()}"
    else:
        yield f"        outputs, _ = self.step({given}, {{}})"
    yield f"        return outputs[{quoted(single)}]" if single is not None else "        return outputs"


def _batch(arrays: Iterable[tuple[str, TensorSpec]]) -> str:
    """The batch of the first array that has one; empty where none has."""
    return next((f"{text}.shape[{spec.shape.index(BATCH)}]" for text, spec in arrays if BATCH in spec.shape), "")


def _step(parts: Parts, arguments: Mapping[str, str]) -> Iterator[str]:
    signature = parts.signature
    inputs = [arguments[spec.name] for spec in signature.inputs]
    yield '    @np.errstate(all="ignore")'
    yield f"    def step(self, {', '.join(inputs)}, states):"
    yield '        """(outputs, states after): of one call, from the states before it; {} where there are none."""'
    main = parts.main
    text = "\n".join([*main.lines, *main.results])
    if main.needs_dtype:
        yield "        dtype = self.dtype"
    if re.search(r"\bw\.", text):
        yield "        w = self.weights"
    sizes = "sizes" if len(signature.all_inputs) > 1 and signature.dynamic_dims else "{}"
    if sizes == "sizes":
        yield "        sizes = {}"
    for spec in signature.inputs:
        yield f"        {arguments[spec.name]} = checked(self, {quoted(spec.name)}, {arguments[spec.name]}, {sizes})"
    for state, name in zip(signature.states, main.states, strict=True):
        key = quoted(state.input.name)
        yield f"        {name} = checked(self, {key}, states[{key}], {sizes})"
    yield from _sizes(parts, inputs, text)
    yield from main.lines
    count = len(signature.outputs)
    outputs = _pairs((spec.name for spec in signature.outputs), main.results[:count])
    states = _pairs((state.input.name for state in signature.states), main.results[count:])
    yield from block("outputs = {", outputs, "}", 2, literal=True)
    yield from block("return outputs, {", states, "}", 2, literal=True)


def _sizes(parts: Parts, inputs: Sequence[str], text: str) -> Iterator[str]:
    """The open sizes that the model reads, each from the first input or state that has it."""
    names = dict(zip(parts.signature.all_inputs, (*inputs, *parts.main.states), strict=True))
    for dim, letter in parts.legend.dims.items():
        if re.search(rf"(?<![\w.]){letter}\b", re.sub(r"#.*", "", text)):
            spec = next(spec for spec in parts.signature.all_inputs if dim in spec.shape)
            yield f"        {letter} = {names[spec]}.shape[{spec.shape.index(dim)}]"


def _pairs(names: Iterable[str], values: Iterable[str]) -> list[str]:
    return [f"{quoted(name)}: {value}" for name, value in zip(names, values, strict=True)]


def _wrapped(text: str, head: str = "") -> list[str]:
    """A text of a docstring in lines, none of which ends inside a word: it could be an escape."""
    inner = head.removesuffix('"""')
    return wrap(
        shown(text), LINE, initial_indent=head, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False
    )


def _shapes(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} ({', '.join(map(str, spec.shape))})" for spec in specs)


def _names(names: Iterable[str]) -> str:
    return bracketed([quoted(name) for name in names])


def _quoted_shape(spec: TensorSpec) -> str:
    return bracketed([quoted(size) if isinstance(size, str) else str(size) for size in spec.shape])
