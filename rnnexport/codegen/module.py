"""The text of a program: its head, the functions that it calls, its class, and what runs it from a prompt."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np

from rnnexport.codegen import skeleton
from rnnexport.codegen.functions import MainFunction, StepFunction
from rnnexport.codegen.layout import LINE, block
from rnnexport.codegen.letters import Legend
from rnnexport.codegen.operators import closure_of, source_of
from rnnexport.signature import BATCH, Signature, StateSpec, TensorSpec, argument_name, unique_names
from rnnexport.version import __version__

_SKELETON = (skeleton.load_weights, skeleton.checked)
_IMPORTS = """from __future__ import annotations

import argparse
import sys
{callable}from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np

WEIGHTS = Path(__file__).with_suffix(".npz")
"""
# The group of the archive that first states are in, where they are no constants.
START = "start"


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
        weights: the shape of each weight by layer and name, in order.
    """

    name: str
    title: str
    signature: Signature
    legend: Legend
    steps: tuple[StepFunction, ...]
    main: MainFunction
    weights: Mapping[str, tuple[int, ...]]


def arguments_of(signature: Signature) -> dict[str, str]:
    """The parameter of each input and state, by its name in the model."""
    names = [spec.name for spec in signature.all_inputs]
    return dict(zip(names, unique_names(map(argument_name, names), ["self", "states"]), strict=True))


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
    letters = ", ".join(f"{letter} {word}" for letter, word in parts.legend.words.items())
    legend = "\n" + "\n".join(wrap(f"In the shapes of comments: {letters}.", LINE)) + "\n" if letters else ""
    return (
        f'"""{parts.name} in NumPy, written by rnnexport {__version__}.\n\n'
        f"    python {parts.name}.py input.npz output.npz\n"
        f'{legend}"""\n'
    )


def _class(parts: Parts) -> Iterator[str]:
    signature = parts.signature
    arguments = arguments_of(signature)
    inputs = [arguments[spec.name] for spec in signature.inputs]
    yield f"class {parts.title}:"
    yield from _wrapped(f'    """{_shown(signature.inputs)} to {_shown(signature.outputs)}.')
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
        yield f"        {_quoted(spec.name)}: ({_quoted(spec.dtype)}, {_quoted_shape(spec)}),"
    yield "    }"
    yield ""
    yield "    def __init__(self, weights=WEIGHTS, dtype=np.float32):"
    yield "        self.dtype = np.dtype(dtype)"
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
    batch = next((state.input.shape[0] for state in signature.states), BATCH)
    default = batch if isinstance(batch, int) else 1
    yield f"    def initial_state(self, batch={default}):"
    yield '        """What each of `batch` rows starts from, by the names of the states."""'
    if not signature.states:
        yield "        return {}"
        return
    if isinstance(batch, int):
        yield f"        if batch != {batch}:"
        yield f'            raise ValueError(f"the batch is {batch}, not {{batch}}")'
    yield "        return {"
    for state in signature.states:
        yield f"            {_quoted(state.input.name)}: {_start(state)},"
    yield "        }"


def _start(state: StateSpec) -> str:
    kind = _dtype(state.input)
    sizes = ["batch", *map(str, state.input.shape[1:])]
    shape = f"({', '.join(sizes)},)" if len(sizes) == 1 else f"({', '.join(sizes)})"
    if not state.initial.any():
        return f"np.zeros({shape}, {kind})"
    if np.all(state.initial == state.initial.ravel()[0]):
        return f"np.full({shape}, {state.initial.ravel()[0].item()!r}, {kind})"
    return f"np.repeat(self.weights.{START}.{argument_name(state.input.name)}, batch, axis=0)"


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
    yield "        if rows is None or self.states is None:"
    yield "            self.states = None"
    yield "            return"
    yield "        start = self.initial_state(len(next(iter(self.states.values()))))"
    yield "        self.states = {name: array.copy() for name, array in self.states.items()}"
    yield "        for name, array in self.states.items():"
    yield "            array[rows] = start[name][rows]"


def _call(signature: Signature, inputs: Sequence[str]) -> Iterator[str]:
    yield f"    def __call__(self, {', '.join(inputs)}):"
    single = signature.outputs[0].name if len(signature.outputs) == 1 else None
    yield f'        """The {"output" if single else "outputs by name"}; the states are kept for the next call."""'
    yield "        if self.states is None:"
    yield f"            self.states = self.initial_state(len({inputs[0]}))"
    yield f"        outputs, self.states = self.step({', '.join(inputs)}, self.states)"
    yield f"        return outputs[{_quoted(single)}]" if single else "        return outputs"


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
    if "self.weights" in text or re.search(r"\bw\.", text):
        yield "        w = self.weights"
    for spec in signature.inputs:
        yield f"        {arguments[spec.name]} = checked(self, {_quoted(spec.name)}, {arguments[spec.name]})"
    for state, name in zip(signature.states, main.states, strict=True):
        key = _quoted(state.input.name)
        yield f"        {name} = checked(self, {key}, states[{key}])"
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
        if re.search(rf"\b{letter}\b", re.sub(r"#.*", "", text)):
            spec = next(spec for spec in parts.signature.all_inputs if dim in spec.shape)
            yield f"        {letter} = {names[spec]}.shape[{spec.shape.index(dim)}]"


def _pairs(names: Iterable[str], values: Iterable[str]) -> list[str]:
    return [f"{_quoted(name)}: {value}" for name, value in zip(names, values, strict=True)]


def _wrapped(text: str) -> list[str]:
    return wrap(text, LINE, subsequent_indent="    ", drop_whitespace=True, initial_indent="")


def _shown(specs: Sequence[TensorSpec]) -> str:
    return ", ".join(f"{spec.name} ({', '.join(map(str, spec.shape))})" for spec in specs)


def _names(names: Iterable[str]) -> str:
    quoted = [_quoted(name) for name in names]
    return f"({quoted[0]},)" if len(quoted) == 1 else f"({', '.join(quoted)})"


def _quoted(text: str | None) -> str:
    escaped = str(text).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _quoted_shape(spec: TensorSpec) -> str:
    sizes = [_quoted(size) if isinstance(size, str) else str(size) for size in spec.shape]
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"
