"""The letters that stand for sizes in the comments of a program, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rnnexport.core.signature import BATCH, TIME, Dim, Signature, TensorSpec
from rnnexport.emit.numpy.expression import Shape
from rnnexport.emit.numpy.layout import bracketed

_DIMS = {BATCH: "B", TIME: "T"}
_OPEN = "SUVWXYZ"
_STATES = "HJKLMN"
# Gates that stand beside each other make a multiple of a state's size.
_MULTIPLES = (2, 3, 4)


@dataclass(frozen=True)
class Legend:
    """Letters of one program.

    Attributes:
        dims: the letter of each open dimension of the signature.
        sizes: the letter of each fixed size that has one.
        words: what each letter is, in words.
    """

    dims: Mapping[str, str]
    sizes: Mapping[int, str]
    words: Mapping[str, str]

    def shape(self, shape: Shape | None) -> str:
        """`(B, T, 3H)`; empty where a size is not known."""
        if shape is None or any(size is None for size in shape):
            return ""
        sizes = [str(size) for size in shape]
        if sizes and isinstance(shape[-1], int):
            sizes[-1] = self._last(shape[-1])
        return bracketed(sizes)

    def symbols(self, spec: TensorSpec) -> Shape:
        """The shape of an input with the letters of open dimensions."""
        return tuple(self.dims[dim] if isinstance(dim, str) else dim for dim in spec.shape)

    def _last(self, size: int) -> str:
        """The last dimension, which counts features; a multiple of units only where these are of one layer alone."""
        if size in self.sizes:
            return self.sizes[size]
        found = [
            f"{size // whole}{letter}"
            for whole, letter in self.sizes.items()
            if letter in _STATES and size % whole == 0 and size // whole in _MULTIPLES
        ]
        return found[0] if len(found) == 1 else str(size)


def legend_of(signature: Signature, widths: Mapping[int, str]) -> Legend:
    """The letters of a model.

    Args:
        signature: of the model.
        widths: the widths of the states of its recurrences, in their order, with the layer that each is of.
    """
    words: dict[str, str] = {}
    dims: dict[str, str] = {}
    spare = iter(_OPEN)
    for dim in signature.dynamic_dims:
        dims[dim] = _DIMS.get(dim) or next(spare, f"N_{len(dims)}")
        words[dims[dim]] = {BATCH: "batch", TIME: "timesteps"}.get(dim, dim.replace("_", " "))
    sizes: dict[int, str] = {}
    for size, letter, word in _fixed(signature, widths):
        if size > 1 and size not in sizes and letter not in words:
            sizes[size] = letter
            words[letter] = f"{size} {word}"
    return Legend(dims, sizes, words)


def _fixed(signature: Signature, widths: Mapping[int, str]) -> Iterator[tuple[int, str, str]]:
    for letter, (width, layer) in zip(_STATES, widths.items(), strict=False):
        yield width, letter, f"units of {layer}"
    for letter, specs, word in (("I", signature.inputs, "features of"), ("O", signature.outputs, "values of")):
        for spec in specs:
            last: Dim = spec.shape[-1] if len(spec.shape) > 1 else 0
            if isinstance(last, int) and spec.dtype.startswith(("float", "bfloat")):
                yield last, letter, f"{word} {spec.name}"
