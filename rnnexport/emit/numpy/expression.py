"""What an operator is written from, and what it is written as: Python expressions with how tightly they bind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np

# A size that the program knows is a number, or Python for one: `B`, `T - 1`, `x.shape[1]`.
Size = int | str
Shape = tuple[Size | None, ...]


class Binding(IntEnum):
    """How tightly an expression binds, as Python's grammar has it; the tightest last."""

    CHOICE = 0  # a if c else b, lambda
    OR = 1
    AND = 2
    NOT = 3
    COMPARISON = 4
    BIT_OR = 5
    BIT_XOR = 6
    BIT_AND = 7
    SUM = 9
    PRODUCT = 10  # *, /, //, %, @
    UNARY = 11
    POWER = 12
    ATOM = 14  # a name, a literal that is not negative, a call, an index, brackets


@dataclass(frozen=True, eq=False)
class Expression:
    """Python for one value.

    Attributes:
        text: the code, on one line.
        binding: how tightly it binds.
        helpers: the functions of `rnnexport.emit.numpy.operators` that it calls, by name.
        needs_dtype: whether it reads the name `dtype`: the floating dtype that the program computes in.
        elements: of an integer scalar or vector whose elements the program knows as sizes, these; `text` gives the same
            as an array, or as a Python number where it is a scalar.
    """

    text: str
    binding: Binding = Binding.ATOM
    helpers: frozenset[str] = frozenset()
    needs_dtype: bool = False
    elements: tuple[Size, ...] | None = None

    def within(self, binding: Binding) -> str:
        """The text where something that binds at least so tightly is wanted: in brackets where it binds less."""
        return self.text if self.binding >= binding else f"({self.text})"


@dataclass(frozen=True, eq=False)
class Operand:
    """An input of an operator.

    Attributes:
        expression: what gives it.
        dtype: the NumPy name, `bfloat16` among them; None where it is not known.
        shape: None where the rank is not known; None in it for a size that is not.
        value: what it always is; None for what is computed, and for weights.
    """

    expression: Expression
    dtype: str | None
    shape: Shape | None
    value: np.ndarray | None = None

    @property
    def rank(self) -> int | None:
        """How many dimensions it has."""
        return None if self.shape is None else len(self.shape)

    @property
    def elements(self) -> tuple[Size, ...] | None:
        """The elements of an integer scalar or vector, where the program knows them as sizes."""
        if self.value is not None and self.value.ndim <= 1 and self.value.dtype.kind in "iu":
            return tuple(int(item) for item in self.value.ravel())
        return self.expression.elements


@dataclass(frozen=True, eq=False)
class OutputSpec:
    """An output of an operator, as far as it is known before it is written."""

    dtype: str | None
    shape: Shape | None


@dataclass(frozen=True, eq=False)
class Use:
    """One application of an operator, to be written.

    Attributes:
        op: the ONNX operator, of opset 18.
        inputs: None for an optional one that is left out.
        attributes: by name, as Python values; tensors are arrays.
        results: one an output.
    """

    op: str
    inputs: tuple[Operand | None, ...]
    attributes: Mapping[str, Any]
    results: tuple[OutputSpec, ...]

    def operand(self, at: int) -> Operand:
        """The input of that number, which is there."""
        found = self.inputs[at]
        assert found is not None, f"{self.op} without input {at}"
        return found

    def given(self, at: int) -> Operand | None:
        """The input of that number, or None where it is left out."""
        return self.inputs[at] if at < len(self.inputs) else None


class UnwrittenError(Exception):
    """There is no NumPy for this use of an operator; the message says why, in a few words after the operator's name."""


class UnnamedError(UnwrittenError):
    """There is one once every input has a name: it is read more than once."""


def call(function: str, *arguments: str, uses: Sequence[Expression] = (), helper: bool = False) -> Expression:
    """`function(arguments)`, which needs what `uses` need; with `helper` it is one of `operators`."""
    names = frozenset({function}) if helper else frozenset()
    return combined(f"{function}({', '.join(arguments)})", Binding.ATOM, uses, names)


def combined(
    text: str, binding: Binding, uses: Sequence[Expression], helpers: frozenset[str] = frozenset()
) -> Expression:
    """An expression made of others, which needs what they need."""
    return Expression(
        text, binding, helpers.union(*(part.helpers for part in uses)), any(part.needs_dtype for part in uses)
    )
