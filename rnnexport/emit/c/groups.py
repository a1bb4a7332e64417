"""Numbers that are computed place by place in one loop: the equations of a cell stand in it, a line each.

Before: Sigmoid(Add(a, b)), Mul(z, h), all of 64 numbers
After:  for (size_t at = 0; at < 64; at += LANES) {
            const vec z = vsigmoid(load(a + at) + load(b + at));
            store(next_h + at, z * load(h + at));
        }
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rnnexport.emit.c.arrays import C_TYPES, Array, Shape, Size, factor, product, solid_strides, text
from rnnexport.emit.c.elementwise import CExpression, NoFormError, bare, number, scalar, vector
from rnnexport.ir.terms import Term

Strides = tuple[Size, ...]
INDICES = ("at", "row", "plane", "cube", "block", "fifth", "sixth", "seventh")


@dataclass(eq=False)
class Group:
    """What waits to be written in one loop.

    Attributes:
        shape: of the loop, sizes of 1 left out.
        lanes: whether all is float32 or a truth value, so that vectors can compute it.
        members: in order.
    """

    shape: Shape
    lanes: bool
    members: list[Term] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class GroupLoop:
    """A group with all that its loop needs.

    Attributes:
        group: what is computed.
        loads: what each operand from outside is read from, and through which strides, one a size of the group.
        stores: where each member that is read elsewhere goes.
        names: of members that have one.
        dtypes: of every term.
    """

    group: Group
    loads: Mapping[tuple[Term, Term], tuple[Array, Strides]]
    stores: Mapping[Term, Array]
    names: Mapping[Term, str]
    dtypes: Mapping[Term, str]

    def lines(self) -> Iterator[str]:
        """The loop, indented from 0.

        Raises:
            NoFormError: C has no form of one of the operators; says of which.
        """
        strides = [given for _, given in self.loads.values()] + [solid_strides(self.group.shape)]
        sizes, merged = collapsed(self.group.shape, strides)
        at = dict(zip(self.loads, merged, strict=False))
        indices = INDICES[: len(sizes)][::-1]
        for depth, (size, index) in enumerate(zip(sizes, indices, strict=True)):
            inner = index == "at"
            step = f"{index} += LANES" if inner and self.group.lanes else f"{index}++"
            yield f"{'    ' * depth}for (size_t {index} = 0; {index} < {text(size)}; {step}) {{"
        if not sizes:
            yield "{"
        depth = max(len(sizes), 1)
        for line in self._statements(indices, at, merged[-1]):
            yield "    " * depth + line
        while depth:
            depth -= 1
            yield "    " * depth + "}"

    def _statements(
        self, indices: Sequence[str], at: Mapping[tuple[Term, Term], Strides], solid: Strides
    ) -> Iterator[str]:
        found: dict[Term, CExpression] = {}
        for term in self.group.members:
            parts = [
                found[part] if part in found else self._load(self.loads[term, part][0], indices, at[term, part])
                for part in term.operands
            ]
            found[term] = self._written(term, parts)
            if term in self.names:
                yield self._named(term, found[term])
                found[term] = CExpression(self.names[term], "vec" if found[term].kind == "scalar" else found[term].kind)
            if term in self.stores:
                yield self._store(term, self.stores[term], found[term], indices, solid)

    def _written(self, term: Term, parts: Sequence[CExpression]) -> CExpression:
        try:
            if self.group.lanes:
                return vector(term, parts)
            return scalar(term, parts, self.dtypes[term], self.dtypes[term.operands[0]])
        except NoFormError as error:
            raise NoFormError(str(error), term) from error

    def _named(self, term: Term, written: CExpression) -> str:
        if not self.group.lanes:
            return f"const {C_TYPES[self.dtypes[term]]} {self.names[term]} = {bare(written.text)};"
        if written.kind == "mask":
            return f"const vmask {self.names[term]} = {bare(written.text)};"
        return f"const vec {self.names[term]} = {bare(written.vec)};"

    def _store(self, term: Term, array: Array, written: CExpression, indices: Sequence[str], solid: Strides) -> str:
        where = place(indices, solid)
        if not self.group.lanes:
            return f"{array.base}[{where or 0}] = {bare(written.text)};"
        pointer = f"{array.base} + {where}" if where else array.base
        function = "store_mask" if self.dtypes[term] == "bool" else "store"
        text_ = written.text if function == "store_mask" else bare(written.vec)
        return f"{function}({pointer}, {text_});"

    def _load(self, array: Array, indices: Sequence[str], strides: Strides) -> CExpression:
        if array.values is not None and array.values.size == 1:
            literal = number(array.values.ravel()[0])
            masked = self.group.lanes and array.dtype == "bool"
            return CExpression(
                f"splat_mask({literal})" if masked else literal, "mask" if masked else "scalar", array.values
            )
        where = place(indices, strides, array.offset)
        moves = bool(strides) and strides[-1] != 0
        if not self.group.lanes:
            return CExpression(f"{array.base}[{where or 0}]", "scalar")
        if array.dtype == "bool":
            pointer = f"{array.base} + {where}" if where else array.base
            return CExpression(f"load_mask({pointer})" if moves else f"splat_mask({array.base}[{where or 0}])", "mask")
        if not moves:
            return CExpression(f"{array.base}[{where or 0}]", "scalar")
        return CExpression(f"load({array.base} + {where})", "vec")


def place(indices: Sequence[str], strides: Strides, offset: Size = 0) -> str:
    """Where something is in memory, as a sum; empty for the beginning."""
    parts = [] if offset == 0 else [text(offset)]
    for index, stride in zip(indices, strides, strict=True):
        if stride != 0:
            parts.append(index if stride == 1 else f"{index} * {factor(stride)}")
    return " + ".join(parts).replace("+ -", "- ")


def collapsed(shape: Shape, strides: Sequence[Strides]) -> tuple[Shape, list[Strides]]:
    """The same places in as few loops as can be: two axes are one where every array goes on from one to the next."""
    sizes: list[Size] = []
    found: list[list[Size]] = [[] for _ in strides]
    for axis, size in enumerate(shape):
        if sizes and all(one[-1] == size * each[axis] for one, each in zip(found, strides, strict=True)):
            sizes[-1] = product((sizes[-1], size))
            for one, each in zip(found, strides, strict=True):
                one[-1] = each[axis]
        else:
            sizes.append(size)
            for one, each in zip(found, strides, strict=True):
                one.append(each[axis])
    return tuple(sizes), [tuple(one) for one in found]
