"""What a C program shows to who calls it: names, sizes and the order of arguments."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rnnexport.core.errors import ConversionError
from rnnexport.core.signature import BATCH, Signature, TensorSpec, argument_name, unique_names
from rnnexport.emit.c.arrays import Shape, letter
from rnnexport.emit.numpy.layout import Legend, legend_of

# Words of C and C++, and what programs and their headers have besides names of their own.
KEYWORDS = frozenset(
    """
    alignas alignof and and_eq asm atomic auto bitand bitor bool break case catch char class compl const constexpr
    const_cast continue decltype default delete do double dynamic_cast else enum explicit export extern false float for
    friend goto if inline int long mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected
    public register reinterpret_cast restrict return short signed sizeof static static_assert static_cast struct switch
    template this thread_local throw true try typedef typeid typename typeof union unsigned using virtual void volatile
    wchar_t while xor xor_eq
    state weights work work_size main errno NULL INFINITY NAN LANES PADDED ROUNDED ALIGNED INLINE memcpy memset
    linux unix i386 int8_t int16_t int32_t int64_t uint8_t uint16_t uint32_t uint64_t size_t assert
    """.split()  # noqa: SIM905 - one long list
)


_PUBLIC = ("state", "init", "step", "run", "check", "work_size")


@dataclass(frozen=True, eq=False)
class Argument:
    """An input, an output or a state in C.

    Attributes:
        spec: what it is.
        name: its argument, or its member of the struct of states.
        shape: of one call: the batch is one row unless it is fixed, and open sizes have letters.
    """

    spec: TensorSpec
    name: str
    shape: Shape


@dataclass(frozen=True, eq=False)
class Interface:
    """See the module.

    Attributes:
        name: what all names of the program begin with.
        file: what its files are called, without the suffix.
        inputs, outputs: in the order of the arguments.
        states: members of the struct.
        lengths: the letters that a caller gives numbers for, in the order of the arguments.
        legend: what letters are.
    """

    name: str
    file: str
    inputs: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    states: tuple[Argument, ...]
    lengths: tuple[str, ...]
    legend: Legend

    @property
    def macro(self) -> str:
        """What the names of macros begin with."""
        return self.name.upper()


def public_names(name: str) -> frozenset[str]:
    """The functions and types of a program of that name, which nothing else in it may be called."""
    return frozenset(f"{identifier(name)}_{each}" for each in _PUBLIC)


def interface_of(signature: Signature, name: str) -> Interface:
    """The interface of a model.

    Args:
        signature: of the model.
        name: of the model.

    Raises:
        ConversionError: an output has a size that follows from no size of the inputs.
    """
    legend = legend_of(signature, {})
    letters = {dim: shown for dim, shown in legend.dims.items() if dim != BATCH}
    lengths = tuple(letters[dim] for dim in signature.dynamic_dims if dim != BATCH)
    taken = {*KEYWORDS, *lengths, *public_names(name)}
    specs = [*signature.inputs, *signature.outputs]
    names = unique_names((identifier(argument_name(spec.name)) for spec in specs), taken)
    states = unique_names((identifier(argument_name(state.input.name)) for state in signature.states), taken)
    arguments = [Argument(spec, made, shape_of(spec, letters)) for spec, made in zip(specs, names, strict=True)]
    return Interface(
        identifier(name),
        file_name(name),
        tuple(arguments[: len(signature.inputs)]),
        tuple(arguments[len(signature.inputs) :]),
        tuple(
            Argument(state.input, made, shape_of(state.input, letters))
            for state, made in zip(signature.states, states, strict=True)
        ),
        lengths,
        legend,
    )


def shape_of(spec: TensorSpec, letters: Mapping[str, str]) -> Shape:
    """The shape of one call: of one row where the batch is open. ConversionError where the data tell a size."""
    if unknown := {dim for dim in spec.shape if isinstance(dim, str)} - {BATCH, *letters}:
        raise ConversionError(
            f"{spec.name} has a size that only the data tell: {', '.join(sorted(unknown))}",
            "sizes that follow from those of the inputs, which a C program needs before it runs",
            "export it to onnx, saved-model or numpy",
        )
    return tuple(dim if isinstance(dim, int) else 1 if dim == BATCH else letter(letters[dim]) for dim in spec.shape)


def file_name(name: str) -> str:
    """What the files of a model are called: its name, where `#include` takes that in every compiler."""
    return name if re.fullmatch(r"[\w+-][\w .+-]*", name) and name.isprintable() else identifier(name)


def identifier(name: str) -> str:
    """A name as C's grammar takes it everywhere: ASCII letters, digits and strokes, and no word of C or C++."""
    plain = unicodedata.normalize("NFKD", name)
    made = re.sub(r"_+", "_", re.sub(r"\W", "_", plain, flags=re.ASCII)).strip("_") or "value"
    made = f"n{made}" if made[0].isdigit() else made
    return f"{made}_" if made in KEYWORDS else made


def unique(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """Names that differ from each other and from those that are taken."""
    return list(unique_names(names, set(taken)))
