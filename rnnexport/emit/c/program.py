"""A model in terms to the text of a C program and of its header."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnexport.core.errors import ConversionError
from rnnexport.core.names import SourceNames
from rnnexport.core.signature import Signature, unique_names
from rnnexport.emit.c.arrays import C_TYPES, Array, Shape, Size, letters, shape_text, solid_strides, text
from rnnexport.emit.c.body import Called, FunctionWriter
from rnnexport.emit.c.elements import Numbers
from rnnexport.emit.c.integers import paired
from rnnexport.emit.c.interface import KEYWORDS, Interface, identifier, interface_of, public_names
from rnnexport.emit.c.prelude import NAMES
from rnnexport.emit.numpy.naming import CONSTANTS, Origins, TokenNames, WeightName, attributes_of
from rnnexport.emit.numpy.naming import identifier as python_identifier
from rnnexport.ir.program import Iteration, Program
from rnnexport.ir.terms import Term
from rnnexport.quantization.weights import per_channel

# Indices of loops and what else stands in functions beside names of the model.
_LOCALS = (
    "at",
    "row",
    "plane",
    "cube",
    "block",
    "fifth",
    "sixth",
    "seventh",
    "column",
    "total",
    "best",
    "seen",
    "t",
    "length",
    "step",
)
# Operators that have weights.
_WEIGHED = ("Conv", "ConvTranspose", "Einsum", "Gather", "Gemm", "MatMul")
_INDEX = re.compile(r"[korp]\d+|batch_\d+|[ncm]")


@dataclass(frozen=True, eq=False)
class CFunction:
    """A function of the program.

    Attributes:
        name: of it.
        head: its parameters, a line each.
        lines: what it does.
        work: (name, dtype, count) of each buffer that it takes of the caller's.
        inner: the functions with work that it calls.
        scopes: the layers whose loops call it.
    """

    name: str
    head: tuple[str, ...]
    lines: tuple[str, ...]
    work: tuple[tuple[str, str, Size], ...]
    inner: tuple[str, ...]
    called: Called
    scopes: list[str]


@dataclass(frozen=True, eq=False)
class TranslationUnit:
    """What a program is put together from.

    Attributes:
        interface: see `interface`.
        signature: of the model.
        functions: of its steps.
        main: what the model computes.
        constants: weights and constants by their name in C, with what they are called in a comment.
        rounded: of those in int8, the bytes that each has in float32.
        weighed: of the others, the operator that multiplies with each, or looks up in it.
    """

    interface: Interface
    signature: Signature
    functions: tuple[CFunction, ...]
    main: CFunction
    constants: Mapping[str, tuple[np.ndarray, str]]
    rounded: Mapping[str, int]
    weighed: Mapping[str, str]


def parts_of(program: Program, name: str, *, int8: bool = False) -> TranslationUnit:
    """Write the functions of a model.

    Args:
        program: the model.
        name: of the model.
        int8: whether products have their matrices in int8.

    Raises:
        ConversionError: an operator has no C form; names it and the layer it is in.
    """
    return _UnitWriter(program, name, int8=int8).parts()


class _UnitWriter:
    """See `body.World`."""

    def __init__(self, program: Program, name: str, *, int8: bool) -> None:
        self._program, names, self._int8 = program, program.names, int8
        self._interface = interface_of(program.signature, name)
        self._origins = Origins(names, program.origins)
        self._functions: list[CFunction] = []
        self._constants: dict[str, tuple[np.ndarray, str]] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._parts: dict[tuple[str | int, ...], str] = {}
        self._rounded: dict[tuple[str | int, ...], tuple[str, str]] = {}
        self._weighed: dict[str, str] = {}
        leaves = program.parameters
        self._given: dict[Term, Array | Numbers] = {}
        found = self._weights(names, program.weights, leaves)
        inputs = {}
        for argument in (*self._interface.inputs, *self._interface.states):
            term, is_state = leaves[argument.spec.name], argument in self._interface.states
            base = f"state->{argument.name}" if is_state else argument.name
            self._check(argument.spec.dtype, argument.spec.name)
            shape = argument.shape
            self._given[term] = Array(argument.spec.dtype, shape, solid_strides(shape), base, padded=False)
            inputs[term] = argument.name
        self._tokens = TokenNames(self._origins, found, inputs)

    def _check(self, dtype: str, name: str) -> None:
        if dtype not in C_TYPES:
            raise ConversionError(
                f"{name} of {dtype}", "float32, float64, integers and truth values", "export with --cast float32"
            )

    def _weights(
        self, names: SourceNames, weights: Mapping[str, np.ndarray], leaves: Mapping[str, Term]
    ) -> dict[Term, WeightName]:
        paths = dict(zip(weights, unique_names(names.weights.get(each, each) for each in weights), strict=True))
        places = attributes_of(paths.values())
        found: dict[Term, WeightName] = {}
        taken = {*KEYWORDS, *NAMES, *_LOCALS, *public_names(self._interface.name)}
        for each, array in weights.items():
            group, attribute = places[paths[each]]
            self._check(array.dtype.name, paths[each])
            wanted = identifier(f"{group}_{attribute}")
            made = next(iter(unique_names([wanted], taken)))
            taken.add(made)
            self._constants[made] = (array, f"{paths[each]} {shape_text(array.shape)}")
            leaf = leaves[each]
            self._given[leaf] = Array(array.dtype.name, array.shape, solid_strides(array.shape), made)
            found[leaf] = WeightName(python_identifier(paths[each].rpartition("/")[2]), attribute)
        return found

    def parts(self) -> TranslationUnit:
        main = self._main()
        body = "\n".join([*main.lines, *(line for each in self._functions for line in each.lines)])
        words = set(re.findall(r"\b\w+\b", body))
        constants = {name: found for name, found in self._constants.items() if name in words}
        sizes = {q: self._constants[scale][0].size * int(key[2]) * 4 for key, (q, scale) in self._rounded.items()}
        rounded = {name: size for name, size in sizes.items() if name in constants}
        weighed = {name: op for name, op in self._weighed.items() if name in constants}
        functions = tuple(self._functions)
        return TranslationUnit(self._interface, self._program.signature, functions, main, constants, rounded, weighed)

    def _main(self) -> CFunction:
        results = self._program.main.results
        body = FunctionWriter(self, self._given, results, self._taken(), None)
        arrays = body.write()
        outputs, states = self._interface.outputs, self._interface.states
        for argument, array, term in zip((*outputs, *states), arrays, results, strict=True):
            if array.shape != argument.shape:
                raise ConversionError(
                    f"{argument.spec.name} of the shape {shape_text(array.shape)}",
                    shape_text(argument.shape),
                    "give --timesteps N, or export to another format",
                )
            if argument in states and array.base.startswith("state->") and array.base != f"state->{argument.name}":
                moved = body.fresh(body.name_of(term), array.dtype, array.shape)
                body.copy(moved, array)
                arrays[arrays.index(array)] = moved
        for argument, array in zip((*outputs, *states), arrays, strict=True):
            base = f"state->{argument.name}" if argument in states else argument.name
            if base != array.base:
                array = body.pointed(array, argument.name)
                body.copy(Array(array.dtype, argument.shape, solid_strides(argument.shape), base), array)
        head = self._main_head()
        lines = _with_locals(body)
        called = Called("forward", (), self._interface.lengths, _needs_work(body))
        inner = tuple(each.name for each in body.called_with_work)
        return CFunction("forward", head, tuple(lines), tuple(body.work), inner, called, [])

    def _main_head(self) -> tuple[str, ...]:
        face = self._interface
        head = [f"{face.name}_state *state"] if face.states else []
        head += [f"const {C_TYPES[each.spec.dtype]} *{each.name}" for each in face.inputs]
        head += [f"size_t {length}" for length in face.lengths]
        return (*head, *(f"{C_TYPES[each.spec.dtype]} *{each.name}" for each in face.outputs))

    def _taken(self) -> set[str]:
        face = self._interface
        own = {each.name for each in (*face.inputs, *face.outputs)}
        functions = {each.name for each in self._functions}
        named = {*face.lengths, *own, *functions, *self._constants, *public_names(face.name)}
        return {*KEYWORDS, *NAMES, *_LOCALS, *named, "forward"}

    # What bodies ask.

    def constant(self, array: np.ndarray, name: str) -> str:
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"constant_{len(self._known) + 1}"
            self._constants[self._known[key]] = (array, f"{name} {shape_text(array.shape)}, of {CONSTANTS}")
        return self._known[key]

    def part(self, array: Array, name: str) -> str | None:
        del name
        key = self._view(array)
        if key is not None and key not in self._parts:
            made = self._seen(array)
            (called,) = unique_names([f"{array.base}_part"], {*self._constants, *self._taken()})
            self._constants[called] = (made, f"a part of {array.base}, {shape_text(array.shape)}")
            self._parts[key] = called
        return None if key is None else self._parts[key]

    def rounded(self, array: Array) -> tuple[str, str] | None:
        key = self._view(array)
        if not self._int8 or key is None or array.dtype != "float32" or len(array.shape) != 2:
            return None
        if key not in self._rounded:
            q, scale = per_channel(self._seen(array), axis=1)
            taken = {*self._constants, *self._taken()}
            made = tuple(unique_names([f"{array.base}_int8", f"{array.base}_scale"], taken))
            of = comment_text(self._constants[array.base][1])
            self._constants[made[0]] = (paired(q), f"{of}, {shape_text(array.shape)} in int8, two rows in one another")
            self._constants[made[1]] = (scale, f"what 1 is in each column of {made[0]}")
            self._rounded[key] = (made[0], made[1])
        return self._rounded[key]

    def reads(self, op: str, base: str) -> None:
        if op in _WEIGHED:
            self._weighed.setdefault(base, op)

    def _view(self, array: Array) -> tuple[str | int, ...] | None:
        """What a view of a constant is known by; None where it is none, or of open size."""
        sizes = [size for size in (array.offset, *array.shape, *array.strides) if isinstance(size, int)]
        if array.base not in self._constants or len(sizes) != 1 + 2 * len(array.shape):
            return None
        return (array.base, *sizes)

    def _seen(self, array: Array) -> np.ndarray:
        """What a view of a constant shows, its sizes being numbers."""
        start, *more = (int(size) for size in (array.offset, *array.shape, *array.strides) if isinstance(size, int))
        shape, strides = more[: len(more) // 2], more[len(more) // 2 :]
        places = sum(
            (np.arange(size).reshape([-1] + [1] * (len(shape) - at - 1)) * stride)
            for at, (size, stride) in enumerate(zip(shape, strides, strict=True))
        )
        return np.broadcast_to(self._constants[array.base][0].ravel()[start + places], shape).copy()

    def name(self, term: Term, step: Iteration | None) -> str:
        found = self._origins.variable(term)
        made = identifier(found if found is not None else self._tokens.other_name(term, step))
        return f"{made}_" if _INDEX.fullmatch(made) and made not in "ncm" else made

    def state(self, step: Iteration, at: int) -> str:
        return identifier(self._tokens.state_name(step, at))

    def variable(self, term: Term) -> str | None:
        return self._origins.variable(term)

    @property
    def lengths(self) -> tuple[str, ...]:
        return self._interface.lengths

    def where(self, term: Term) -> str:
        return self._origins.path(term) or "the model"

    def header(self, term: Term) -> str:
        call = term.call
        path = call.step.scope + "/" if isinstance(call, Iteration) else self._origins.path(term)
        layer = self._origins.top_layer(path)
        if layer is None:
            return ""
        return comment_text(f"{layer.name}: {layer.class_name}" if layer.class_name else layer.name)

    def step(self, step: Iteration, results: Sequence[Term], arrays: Sequence[Array | Numbers]) -> Called:
        wanted = self._tokens.parameters(step)
        taken = self._taken()
        given: dict[Term, Array | Numbers] = {}
        head, bound = [], {}
        for at, (term, array) in enumerate(zip(step.step.parameters, arrays, strict=True)):
            if isinstance(array, Numbers):
                given[term] = array
                continue
            made = next(iter(unique_names([identifier(wanted[at])], taken)))
            taken.add(made)
            given[term] = Array(array.dtype, array.shape, solid_strides(array.shape), made)
            if array.base in self._constants:
                bound[made] = array
            head.append(f"const {array.ctype} *{made}, /* {shape_text(array.shape)} */")
        targets: dict[Term, str] = {}
        for term in results:
            after = [at for at, each in enumerate(step.after) if each is term]
            name = "next_" + wanted[step.leading + after[0]] if after else f"{self.name(term, step)}_out"
            targets[term] = next(iter(unique_names([identifier(name)], taken)))
            taken.add(targets[term])
        to = {term: at for term, at in targets.items() if term not in given}
        body = FunctionWriter(self, given, results, taken, step, to, bound)
        found = body.write()
        for term, array in zip(results, found, strict=True):
            target = Array(array.dtype, array.shape, solid_strides(array.shape), targets[term])
            if array.base != target.base:
                body.copy(target, body.pointed(array, targets[term]))
            head.append(f"{array.ctype} *{targets[term]}, /* {shape_text(array.shape)} */")
        head += [f"const {each.ctype} *{each.base}, /* {shape_text(each.shape)} */" for each in body.parts.values()]
        kinds = tuple((array.dtype, array.shape) for array in found)
        return self._kept(step, body, head, kinds)

    def _kept(
        self, step: Iteration, body: FunctionWriter, head: list[str], kinds: tuple[tuple[str, Shape], ...]
    ) -> Called:
        """The function of a step, or an equal one that is there."""
        lines = _with_locals(body)
        words = set(re.findall(r"\b\w+\b", "\n".join(lines)))
        unused = frozenset(at for at, line in enumerate(head) if _parameter(line) not in words)
        head = [line for at, line in enumerate(head) if at not in unused]
        lengths = tuple(length for length in self._interface.lengths if length in body.lengths)
        head += [f"size_t {length}," for length in lengths]
        if _needs_work(body):
            head.append("char *work,")
        scope = comment_text(self._tokens.scope(step.step.scope))
        for other in self._functions:
            if other.head == tuple(head) and other.lines == tuple(lines) and other.called.results == kinds:
                if scope not in other.scopes:
                    other.scopes.append(scope)
                return replace(other.called, parts=tuple(body.parts), unused=unused)
        wanted = identifier(self._tokens.cell(step).removesuffix("_step")) + "_step"
        name = next(iter(unique_names([wanted], self._taken())))
        called = Called(name, kinds, lengths, _needs_work(body), tuple(body.parts), unused)
        inner = tuple(each.name for each in body.called_with_work)
        self._functions.append(CFunction(name, tuple(head), tuple(lines), tuple(body.work), inner, called, [scope]))
        return called


def _parameter(line: str) -> str:
    """The name of a parameter."""
    return str(re.findall(r"\w+", line.split("/*")[0])[-1])


def _needs_work(body: FunctionWriter) -> bool:
    return bool(body.work or body.called_with_work)


def _with_locals(body: FunctionWriter) -> list[str]:
    """The lines of a function, its buffers first."""
    lines = [f"    {line}" for line in body.locals]
    for name, dtype, count in body.work:
        ctype = C_TYPES[dtype]
        lines.append(f"    {ctype} *const {name} = take(&work, PADDED({text(count)}) * sizeof({ctype}));")
        body.lengths |= letters(count)
    return [*lines, *body.lines]


def comment_text(found: str) -> str:
    """A text as it can stand in a comment."""
    plain = found.encode("ascii", "backslashreplace").decode()
    return plain.replace("*/", "* /").replace("/*", "/ *").replace("\n", " ").replace("\\", "/").replace("??", "? ?")
