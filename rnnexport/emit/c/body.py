"""The statements of one C function: terms in order, elementwise ones gathered into loops, buffers for the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Protocol

import numpy as np

from rnnexport.core.errors import ConversionError
from rnnexport.emit.c.arrays import (
    C_TYPES,
    Array,
    Shape,
    Size,
    broadcast,
    broadcast_strides,
    factor,
    letters,
    product,
    shape_text,
    solid_strides,
    text,
)
from rnnexport.emit.c.elements import Numbers, numbers_of, of_array
from rnnexport.emit.c.elementwise import NoFormError, is_elementwise
from rnnexport.emit.c.groups import INDICES, Group, GroupLoop, collapsed, place
from rnnexport.ir.program import Iteration
from rnnexport.ir.terms import Term, below

LINE = 120
_MOST_ON_STACK = 1 << 15  # bytes of one buffer
_LANE_DTYPES = ("float32", "bool")
# Of one number these are computed as such: the same bits, without the other lanes.
_ALONE = ("Add", "Sub", "Mul", "Div", "Neg", "Sqrt", "Reciprocal")


@dataclass(frozen=True, eq=False)
class Called:
    """The function of a step, written.

    Attributes:
        name: of it.
        results: what it writes, in the order of its pointers: dtype and shape of each.
        lengths: of the program, which it is given.
        needs_work: whether it takes a part of the caller's buffer.
        parts: constants that it is given besides: those that it sees in another order.
        unused: the places of arguments that it does without.
    """

    name: str
    results: tuple[tuple[str, Shape], ...]
    lengths: tuple[str, ...]
    needs_work: bool
    parts: tuple[str, ...] = ()
    unused: frozenset[int] = frozenset()


class World(Protocol):
    """What the functions of a program share."""

    @property
    def lengths(self) -> tuple[str, ...]:
        """The lengths that a caller gives."""

    def constant(self, array: np.ndarray, name: str) -> str:
        """The name of a constant array of the program."""

    def part(self, array: Array, name: str) -> str | None:
        """The name of a constant that holds what a view of a constant shows; None where it is none, or of open size."""

    def rounded(self, array: Array) -> tuple[str, str] | None:
        """The names of a constant matrix in int8 and of its scales; None where it is to be float32, or is none."""

    def reads(self, op: str, base: str) -> None:
        """Tell that an operator that is not elementwise has read an array."""

    def step(self, step: Iteration, results: Sequence[Term], arrays: Sequence[Array | Numbers]) -> Called:
        """Write the function of a step that gives these results, unless an equal one is."""

    def name(self, term: Term, step: Iteration | None) -> str:
        """What a term is called, as the source has it."""

    def state(self, step: Iteration, at: int) -> str:
        """What a state of a loop is called."""

    def variable(self, term: Term) -> str | None:
        """The name that the source gives a term, or None."""

    def where(self, term: Term) -> str:
        """The layer of a term, for messages."""

    def header(self, term: Term) -> str:
        """The layer of the model that a term is in, for a comment; may be empty."""


class FunctionWriter:
    """Writes one function.

    Args:
        world: what functions share.
        given: the arrays of its parameters.
        results: what it computes.
        taken: names that are no locals.
        step: whose function it is; None for the model's own.
        targets: the pointers that some of the results are written to at once.
        bound: the constant that a parameter always is, by its name.
    """

    def __init__(
        self,
        world: World,
        given: Mapping[Term, Array | Numbers],
        results: Sequence[Term],
        taken: set[str],
        step: Iteration | None,
        targets: Mapping[Term, str] | None = None,
        bound: Mapping[str, Array] | None = None,
    ) -> None:
        self.world, self.results, self._step = world, results, step
        self.lines: list[str] = []
        self.locals: list[str] = []
        self.work: list[tuple[str, str, Size]] = []
        self.called_with_work: list[Called] = []
        self.lengths: set[str] = set()
        self._known = {term: array for term, array in given.items() if isinstance(array, Array)}
        self._numbers = {term: numbers for term, numbers in given.items() if isinstance(numbers, Numbers)}
        self._targets = dict(targets or {})
        self._bound = dict(bound or {})
        self.parts: dict[str, Array] = {}
        self._groups: dict[tuple[Shape, bool], Group] = {}
        self._pending: dict[Term, Group] = {}
        self._shapes: dict[Term, Shape] = {}
        self._taken = set(taken)
        self._depth = 1
        self._layer = ""
        self.order = below(results, given)
        self._readers: dict[Term, list[Term]] = {}
        for term in self.order:
            for part in term.operands:
                self._readers.setdefault(part, []).append(term)

    def write(self) -> list[Array]:
        """Write everything; what the results are in the end."""
        for term in self.order:
            if term not in self._known and term not in self._numbers:
                self._visit(term)
        return [self.array(term) for term in self.results]

    # What operators ask.

    def array(self, term: Term) -> Array:
        """A term in memory; what waited for it is written now."""
        if term in self._pending:
            self._flush(self._pending[term])
        if term not in self._known:
            self._known[term] = self._sized(term)
        return self._known[term]

    def solid(self, term: Term) -> Array:
        """The same, one number behind the other, and with room behind them."""
        return self.made_solid(self.array(term), self.name_of(term))

    def dense(self, term: Term) -> Array:
        """The same, but what lies behind them may be anything: not to be read as vectors."""
        array = self.array(term)
        return array if array.is_solid and array.values is None else self.solid(term)

    def made_solid(self, array: Array, name: str) -> Array:
        """A copy of a view, or the array itself where its numbers lie one behind the other."""
        if array.values is not None:
            return self._constant(array, name)
        if array.is_solid and array.padded:
            return array.seen(array.shape, solid_strides(array.shape))
        bound = self._bound.get(array.base)
        seen = array if bound is None else replace(array, base=bound.base, offset=bound.offset + array.offset)
        part = self.world.part(seen, name)
        if part is not None and bound is None:
            return Array(array.dtype, array.shape, solid_strides(array.shape), part)
        if part is not None:
            return self._part(Array(array.dtype, array.shape, solid_strides(array.shape), part), name)
        made = self.fresh(name, array.dtype, array.shape)
        self.copy(made, array)
        return made

    def rounded(self, array: Array, name: str) -> tuple[Array, Array] | None:
        """A constant matrix in int8, and its scales; None where the program has it in float32."""
        if array.values is not None:
            array = self._constant(array, name)
        bound = self._bound.get(array.base)
        whole = array if bound is None else replace(array, base=bound.base, offset=bound.offset + array.offset)
        found = self.world.rounded(whole)
        if found is None:
            return None
        kinds = zip(found, ("int8", "float32"), (array.size, array.shape[1]), strict=True)
        matrix, scale = (Array(dtype, (size,), (1,), base) for base, dtype, size in kinds)
        if bound is None:
            return matrix, scale
        return self._part(matrix, f"{array.base}_int8"), self._part(scale, f"{array.base}_scale")

    def _part(self, array: Array, name: str) -> Array:
        """A constant of the program as the function of a step sees it, by a name of its own."""
        if array.base not in self.parts:
            self.parts[array.base] = replace(array, base=self.name(name))
        return self.parts[array.base]

    def shape(self, term: Term) -> Shape:
        """Of any term that was visited."""
        if term in self._shapes:
            return self._shapes[term]
        if term in self._numbers:
            return self._numbers[term].shape
        return self._known[term].shape

    def numbers(self, term: Term) -> tuple[Size, ...]:
        """The integers that a term is known to be. NoFormError where only the data tell."""
        found = self._numbers.get(term)
        if found is None:
            raise NoFormError("its sizes or places are known from data alone")
        return found.flat

    def integers(self, term: Term) -> list[int]:
        """The same, none of them depending on a length."""
        found = self.numbers(term)
        if not all(isinstance(item, int) for item in found):
            raise NoFormError("its places depend on the length")
        return [int(item) for item in found if isinstance(item, int)]

    def made(self, term: Term, shape: Shape, dtype: str = "") -> Array:
        """A buffer for what a term is, which is set to it."""
        found = dtype or dtype_of(term)
        if term in self._targets:
            array = Array(found, shape, solid_strides(shape), self._targets[term])
        else:
            array = self.fresh(self.name_of(term), found, shape)
        self.set(term, array)
        return array

    def given_to(self, term: Term) -> Array | Numbers:
        """A term as the function of a step gets it."""
        return self._numbers[term] if term in self._numbers else self.solid(term)

    def fresh(self, name: str, dtype: str, shape: Shape) -> Array:
        """A buffer of its own: on the stack, or of the caller's where its size is open or large."""
        chosen, count = self.name(name), product(shape)
        if dtype not in C_TYPES:
            raise NoFormError(f"its numbers are {dtype}")
        if isinstance(count, int) and count * np.dtype(dtype).itemsize <= _MOST_ON_STACK:
            comment = f"  /* {shape_text(shape)} */" if len(shape) > 1 else ""
            self.locals.append(f"ALIGNED {C_TYPES[dtype]} {chosen}[PADDED({max(count, 1)})];{comment}")
        else:
            self.lengths |= letters(count)
            self.work.append((chosen, dtype, count))
        return Array(dtype, shape, solid_strides(shape), chosen)

    def name_of(self, term: Term) -> str:
        """What a term is called; other terms may be called so too."""
        return self.world.name(term, self._step)

    def name(self, wanted: str) -> str:
        """A name that nothing in this function has yet."""
        made, count = wanted, 1
        if wanted.startswith("constant_") or wanted.endswith("_step"):  # names of constants and functions
            made = wanted = f"{wanted}_"
        while made in self._taken:
            count += 1
            made = f"{wanted}_{count}"
        self._taken.add(made)
        return made

    def line(self, line: str) -> None:
        """A line of the function."""
        self.lines += wrapped(line, self._depth)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """`head {`, what is written inside, `}`."""
        self.line(f"{head} {{".lstrip())
        self._depth += 1
        yield
        self._depth -= 1
        self.line("}")

    def loop(self, index: str, size: Size) -> AbstractContextManager[None]:
        """A loop over an index."""
        self.uses(size)
        return self.block(f"for (size_t {index} = 0; {index} < {text(size)}; {index}++)")

    def uses(self, *sizes: Size) -> None:
        """Tell that the text has these sizes."""
        for size in sizes:
            self.lengths |= letters(size)

    def copy(self, to: Array, source: Array) -> None:
        """Write every number of a view to a solid array of its shape."""
        self.uses(*source.shape, source.offset, *source.strides)
        if source.is_solid:
            self.line(f"memcpy({to.pointer}, {source.pointer}, {factor(source.size)} * sizeof({to.ctype}));")
            return
        for line in copy_lines(to, source):
            self.line(line)

    def set(self, term: Term, array: Array) -> None:
        """What a term is."""
        self._known[term] = array
        self._shapes[term] = array.shape

    def siblings(self, term: Term) -> dict[int, Term]:
        """The outputs of a call that are read, by their number."""
        return {other.port: other for other in self.order if other.call is term.call}

    # How terms are written.

    def _visit(self, term: Term) -> None:
        if term.op == "Const":
            self._constant_term(term)
            return
        if any(other in self._known for other in self.siblings(term).values()) and not is_elementwise(term.op):
            return  # an output of its call was written, and it with that
        try:
            shapes = [self._shape_or_none(part) for part in term.inputs]
            operands = [None if part is None else self._numbers.get(part) for part in term.inputs]
            numbers = numbers_of(term, operands, shapes)
            if numbers is not None:
                self._numbers[term] = numbers
            elif is_elementwise(term.op):
                self._join(term)
            else:
                self._operator(term)
        except NoFormError as error:
            raise self._refusal(error.term or term, error) from error

    def _refusal(self, term: Term, error: NoFormError) -> ConversionError:
        of_length = self.world.lengths and re.search("length|data alone|shapes", str(error))
        cure = "give --timesteps N, " if of_length else ""
        return ConversionError(
            f"no C form of {term.op} in {self.world.where(term)}: {error}",
            "operators that C can be written for",
            f"{cure}export to another format, or write the layer with other operations",
        )

    def _operator(self, term: Term) -> None:
        from rnnexport.emit.c.operators import operator_of

        write = operator_of(term.op)
        if write is None:
            raise NoFormError("no row of C writes it")
        self._comment(term)
        write(self, term)
        for part in term.operands:
            array = self._known.get(part)
            if array is not None and len(array.shape) > 1:
                bound = self._bound.get(array.base)
                self.world.reads(term.op, array.base if bound is None else bound.base)

    def _comment(self, term: Term) -> None:
        header = self.world.header(term) if self._step is None else ""
        if header and header != self._layer and self._depth == 1:
            self._layer = header
            self.line(f"/* {header} */")

    def _shape_or_none(self, term: Term | None) -> Shape | None:
        return None if term is None else self.shape(term)

    def _constant_term(self, term: Term) -> None:
        array = term.array
        if array.dtype.name not in C_TYPES:
            raise ConversionError(
                f"numbers of {array.dtype.name} in {self.world.where(term)}",
                "float32, float64, integers and truth values",
                "export with --cast float32",
            )
        found = of_array(array)
        if found is not None:
            self._numbers[term] = found
        self.set(term, Array(array.dtype.name, array.shape, solid_strides(array.shape), "", values=array))

    def _constant(self, array: Array, name: str) -> Array:
        values = array.values
        assert values is not None
        base = self.world.constant(values, name)
        return Array(array.dtype, array.shape, solid_strides(array.shape), base)

    def pointed(self, array: Array, name: str) -> Array:
        """The same with a name in memory, where it was a constant without one."""
        return self._constant(array, name) if array.values is not None else array

    def _sized(self, term: Term) -> Array:
        """Integers that are sizes, in memory."""
        numbers = self._numbers[term]
        dtype = dtype_of(term)
        if all(isinstance(item, int) for item in numbers.flat):
            values = np.array(numbers.flat, dtype).reshape(numbers.shape)
            return Array(dtype, numbers.shape, solid_strides(numbers.shape), "", values=values)
        made = self.fresh(self.name_of(term), dtype, numbers.shape)
        for at, item in enumerate(numbers.flat):
            self.uses(item)
            self.line(f"{made.base}[{at}] = ({C_TYPES[dtype]})({text(item)});")
        return made

    def _join(self, term: Term) -> None:
        """Into the loop that computes numbers of this shape."""
        shapes = [self.shape(part) for part in term.operands]
        shape = broadcast(shapes)
        if shape is None:
            raise NoFormError(f"its operands have the shapes {', '.join(map(shape_text, shapes))}")
        dtypes = [dtype_of(term), *(self._dtype(part) for part in term.operands)]
        if other := [dtype for dtype in dtypes if dtype not in C_TYPES]:
            raise NoFormError(f"its numbers are {other[0]}")
        sizes = tuple(size for size in shape if size != 1)
        alone = not sizes and term.op in _ALONE and "bool" not in dtypes
        key = (sizes, all(dtype in _LANE_DTYPES for dtype in dtypes) and not alone)
        for part in term.operands:
            if part in self._pending and self._groups.get(key) is not self._pending[part]:
                self._flush(self._pending[part])
        group = self._groups.setdefault(key, Group(*key))
        group.members.append(term)
        self._pending[term], self._shapes[term] = group, shape

    def _dtype(self, term: Term) -> str:
        return self._known[term].dtype if term in self._known else dtype_of(term)

    def _flush(self, group: Group) -> None:
        """Write a loop, and keep what is read elsewhere."""
        del self._groups[group.shape, group.lanes]
        inside = set(group.members)
        self._comment(group.members[0])
        order = self._order(group)
        loads = {
            (term, part): self._loaded(term, part, group, order)
            for term in group.members
            for part in term.operands
            if part not in inside
        }
        stores, names = {}, {}
        for term in group.members:
            readers = self._readers.get(term, [])
            kept = term in self.results or any(reader not in inside for reader in readers)
            if kept:
                stores[term] = self._stored(term, group, order)
            worth = self.world.variable(term) is not None or len(readers) > 1
            if (kept and readers and any(reader in inside for reader in readers)) or (worth and not kept):
                names[term] = self.name(self.name_of(term))
        dtypes = {part: self._dtype(part) for term in group.members for part in (term, *term.operands)}
        self.uses(*group.shape)
        sizes = tuple(group.shape[at] for at in order)
        try:
            lines = list(GroupLoop(replace(group, shape=sizes), loads, stores, names, dtypes).lines())
        except NoFormError as error:
            raise self._refusal(error.term or group.members[0], error) from error
        for line in lines:
            text_ = line.lstrip(" ")
            self.lines += wrapped(text_, self._depth + (len(line) - len(text_)) // 4)
        for term in group.members:
            del self._pending[term]

    def _order(self, group: Group) -> list[int]:
        """The axes of a loop from the outermost on: as they lie in the memory of what is read, where all agree."""
        axes = list(range(len(group.shape)))
        found = set()
        for term in group.members:
            for part in term.operands:
                if part in self._known and self._known[part].values is None:
                    strides = self._along(self._known[part], self._shapes[term])
                    whole = [stride for stride in strides if isinstance(stride, int) and stride > 0]
                    if len(whole) == len(axes):
                        found.add(tuple(sorted(axes, key=lambda at: -whole[at])))
                    elif all(strides):
                        return axes
        return list(found.pop()) if len(found) == 1 and group.lanes else axes

    def _stored(self, term: Term, group: Group, order: list[int]) -> Array:
        """Where a member goes: a buffer in the order of the loop."""
        shape = self._shapes[term]
        if order == list(range(len(order))):
            return self.made(term, shape)
        sizes = tuple(group.shape[at] for at in order)
        strides = dict(zip(order, solid_strides(sizes), strict=True))
        rest = iter(strides[at] for at in sorted(strides))
        made = self.fresh(self.name_of(term), dtype_of(term), sizes)
        self.set(term, made.seen(shape, [0 if size == 1 else next(rest) for size in shape]))
        return made

    def _loaded(self, term: Term, part: Term, group: Group, order: Sequence[int]) -> tuple[Array, tuple[Size, ...]]:
        """An operand from outside, and its strides along the sizes of a group, in the order of its loops."""
        array, shape = self.array(part), self._shapes[term]
        if array.values is not None and array.values.size > 1:
            array = self._constant(array, self.name_of(part))
        strides = [self._along(array, shape)[at] for at in order]
        if group.lanes and strides and (strides[-1] not in (0, 1) or (strides[-1] == 1 and not array.padded)):
            sizes = tuple(group.shape[at] if stride != 0 else 1 for at, stride in zip(order, strides, strict=True))
            seen = replace(array.seen(sizes, strides), padded=False)
            array = self.made_solid(seen, self.name_of(part))
            strides = [0 if size == 1 else stride for size, stride in zip(sizes, array.strides, strict=True)]
        self.uses(array.offset, *strides)
        return array, tuple(strides)

    def _along(self, array: Array, shape: Shape) -> tuple[Size, ...]:
        strides = broadcast_strides(array, shape)
        assert strides is not None
        return tuple(stride for stride, size in zip(strides, shape, strict=True) if size != 1)


@contextmanager
def loops(body: FunctionWriter, indices: Sequence[str], sizes: Sequence[Size]) -> Iterator[None]:
    """Nested loops over indices of these sizes."""
    with ExitStack() as stack:
        for index, size in zip(indices, sizes, strict=True):
            stack.enter_context(body.loop(index, size))
        yield


def wrapped(line: str, depth: int) -> list[str]:
    """A line of code, broken at spaces where it is too long."""
    margin = "    " * depth
    if len(margin + line) <= LINE or line.startswith(("/*", " ")):
        return [margin + line]
    inner = margin + ("        " if line.startswith("for") else "    ")
    return wrap(
        line, LINE, initial_indent=margin, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False
    )


def dtype_of(term: Term) -> str:
    """The NumPy name of what a term holds."""
    if term.dtype is None:
        raise NoFormError("its dtype is not known")
    return str(term.dtype.numpy().name)


def copy_lines(to: Array, source: Array) -> Iterator[str]:
    """Loops that write each number of a view to a solid array."""
    shape = tuple(size for size in source.shape if size != 1)
    strides = [
        tuple(stride for stride, size in zip(array.strides, source.shape, strict=True) if size != 1)
        for array in (source, to)
    ]
    sizes, (read, written) = collapsed(shape, strides)
    indices = INDICES[: len(sizes)][::-1]
    for depth, (size, index) in enumerate(zip(sizes, indices, strict=True)):
        yield f"{'    ' * depth}for (size_t {index} = 0; {index} < {text(size)}; {index}++) {{"
    target = f"{to.base}[{place(indices, written, to.offset) or 0}]"
    yield f"{'    ' * len(sizes)}{target} = {source.base}[{place(indices, read, source.offset) or 0}];"
    for depth in reversed(range(len(sizes))):
        yield "    " * depth + "}"
