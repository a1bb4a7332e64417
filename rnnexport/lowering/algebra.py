"""The step of a recurrence as a normal form, whatever way the code wrote it.

A sum of products, lane by lane over the last dimension:

    value = sum of  weight * factor * factor ...            weight_n, a number a lane
          + sum of  factor ... * (base @ weight)             weight_kn, base a product of k lanes

A factor is a part of a state, a part of what a step is given (an input), or an activation of such a sum. Products of
sums are multiplied out, constants are folded, equal products are added: `h + z * (n - h)` and `(1 - z) * h + z * n`
are one normal form. All numbers are float64.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from rnnexport.ir.terms import Term

# Numbers that differ by less, relatively, are taken for one: the code computed them in float32.
ROUNDING = 2.0**-22
# The cells that ONNX has are sums of fewer than ten products.
_MOST_PRODUCTS = 256


class Unreadable(Exception):  # noqa: N818, a finding about a cell rather than an error
    """The step is no such sum; the message says where."""


@dataclass(frozen=True, eq=False)
class Lanes:
    """Lanes start:stop of the last dimension of a leaf: a state, or something that depends on no state.

    `is_mask` says that it is 0 or 1, so that its square is itself.
    """

    leaf: Term
    start: int
    stop: int
    is_mask: bool = False

    @property
    def width(self) -> int:
        """How many lanes."""
        return self.stop - self.start

    @cached_property
    def key(self) -> bytes:
        """The same for equal factors only."""
        return b"lanes %d %d %d" % (self.leaf.call.number, self.start, self.stop)


@dataclass(frozen=True, eq=False)
class Act:
    """An activation of a sum. `parameter` is the alpha of those that have one."""

    function: str
    argument: Sum
    parameter: float = 0.0

    @property
    def width(self) -> int:
        """How many lanes."""
        return self.argument.width

    @cached_property
    def key(self) -> bytes:
        """The same for equal factors only."""
        return f"{self.function} {self.parameter!r} ".encode() + self.argument.key


Factor = Lanes | Act


@dataclass(frozen=True, eq=False)
class Product:
    """`weight * factors`, or `factors * (base @ weight)`.

    Attributes:
        factors: sorted by key.
        base: what a matrix is applied to; empty where `weight` is a vector.
        weight: of shape (n,), or (k, n) with a base.
    """

    factors: tuple[Factor, ...]
    base: tuple[Factor, ...]
    weight: np.ndarray

    @cached_property
    def kind(self) -> bytes:
        """The same for products that differ by their weights alone."""
        return _join(self.factors) + b" @ " + _join(self.base)

    def weighted(self, weight: np.ndarray) -> Product:
        """With another weight."""
        return Product(self.factors, self.base, weight)


def _join(factors: Iterable[Factor]) -> bytes:
    return b"*".join(hashlib.sha256(factor.key).digest() for factor in factors)


@dataclass(frozen=True, eq=False)
class Sum:
    """The normal form of one value of `width` lanes: products by their kind, none of them all zero."""

    products: Mapping[bytes, Product]
    width: int

    @cached_property
    def key(self) -> bytes:
        """The same for equal sums only."""
        digest = hashlib.sha256(b"%d" % self.width)
        for kind, product in sorted(self.products.items()):
            digest.update(kind + np.ascontiguousarray(product.weight).tobytes())
        return digest.digest()

    def equals(self, other: Sum) -> bool:
        """Whether both are the same, their weights up to the rounding of float32."""
        if self.width != other.width:
            return False
        return all(
            _negligible(product.weight, self, other, kind) for kind, product in plus(self, other, -1).products.items()
        )


def _negligible(difference: np.ndarray, first: Sum, second: Sum, kind: bytes) -> bool:
    if kind not in first.products or kind not in second.products:
        return False
    scale = np.abs(first.products[kind].weight) + np.abs(second.products[kind].weight)
    return bool(np.all(np.abs(difference) <= ROUNDING * scale))


def total(products: Iterable[Product], width: int) -> Sum:
    """The sum of products of `width` lanes."""
    found: dict[bytes, Product] = {}
    for product in products:
        weight = np.broadcast_to(product.weight, (*product.weight.shape[:-1], width))
        old = found.get(product.kind)
        found[product.kind] = product.weighted(weight if old is None else _added(old.weight, weight))
    return Sum({kind: _snapped(product) for kind, product in found.items() if np.any(product.weight)}, width)


def _snapped(product: Product) -> Product:
    """Weights that are 1 or -1 up to the rounding of float32 as just that: 6 * float32(1 / 6) is 1 + 2**-24."""
    if product.base:
        return product
    sign = np.sign(product.weight)
    near = np.abs(product.weight - sign) <= ROUNDING
    return product.weighted(np.where(near, sign, product.weight)) if near.any() else product


def _added(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The sum; 0 where only the rounding of float64 is left of it."""
    result = left + right
    return np.where(np.abs(result) <= 2.0**-44 * (np.abs(left) + np.abs(right)), 0.0, result)


def number(value: np.ndarray | float, width: int = 1) -> Sum:
    """A constant."""
    array = np.asarray(value, np.float64)
    return total([Product((), (), array.reshape(-1))], max(width, array.size))


def lanes(leaf: Term, start: int, stop: int, *, is_mask: bool = False) -> Sum:
    """A part of a leaf."""
    return single(Lanes(leaf, start, stop, is_mask))


def single(factor: Factor) -> Sum:
    """One factor."""
    return total([Product((factor,), (), np.ones(factor.width))], factor.width)


def stretched(value: Sum, width: int) -> Sum:
    """A sum of one lane as one of `width` equal lanes."""
    return total(value.products.values(), width) if value.width == 1 else value


def plus(left: Sum, right: Sum, sign: float = 1.0) -> Sum:
    """`left + sign * right`."""
    width = _common(left, right)
    signed = [product.weighted(sign * product.weight) for product in right.products.values()]
    return total([*left.products.values(), *signed], width)


def negative(value: Sum) -> Sum:
    """The sum with its sign turned."""
    return plus(Sum({}, value.width), value, -1)


def times(left: Sum, right: Sum) -> Sum:
    """The product, multiplied out."""
    width = _common(left, right)
    if len(left.products) * len(right.products) > _MOST_PRODUCTS:
        raise Unreadable("the step is a polynomial of too many products")
    return total([_times(one, other) for one in left.products.values() for other in right.products.values()], width)


def _common(left: Sum, right: Sum) -> int:
    if left.width != right.width and 1 not in (left.width, right.width):
        raise Unreadable(f"values of {left.width} and {right.width} lanes meet")
    return max(left.width, right.width)


def _times(one: Product, other: Product) -> Product:
    if one.base and other.base:
        raise Unreadable("two matrix products are multiplied")
    factors: dict[bytes, Factor] = {}
    powers: list[Factor] = []
    for factor in (*one.factors, *other.factors):
        if factor.key not in factors:
            factors[factor.key] = factor
        elif not (isinstance(factor, Lanes) and factor.is_mask):
            powers.append(factor)
    together = tuple(sorted([*factors.values(), *powers], key=lambda factor: factor.key))
    return Product(together, one.base or other.base, one.weight * other.weight)


def matmul(left: Sum, matrix_kn: np.ndarray) -> Sum:
    """`left @ matrix`."""
    products = []
    for product in left.products.values():
        if product.base and product.factors:
            raise Unreadable("a gated matrix product goes through another matrix")
        if product.base:
            products.append(product.weighted(product.weight @ matrix_kn))
        elif product.factors:
            scaled = np.broadcast_to(product.weight, (matrix_kn.shape[0],))[:, None] * matrix_kn
            if all(factor.width == 1 for factor in product.factors):
                scaled = scaled.sum(axis=0, keepdims=True)
            products.append(Product((), product.factors, scaled))
        else:
            products.append(Product((), (), np.broadcast_to(product.weight, (matrix_kn.shape[0],)) @ matrix_kn))
    return total(products, matrix_kn.shape[1])


def constant_of(value: Sum) -> np.ndarray | None:
    """The numbers of a sum without factors; None where it has some."""
    if any(product.factors or product.base for product in value.products.values()):
        return None
    return sum((product.weight for product in value.products.values()), np.zeros(value.width))


def split_by(value: Sum, factor: Factor) -> tuple[Sum, Sum]:
    """(q, r) with value = factor * q + r, where q and r are without the factor outside of activations.

    Raises:
        Unreadable: the factor stands in a product twice.
    """
    quotient, rest = [], []
    for product in value.products.values():
        count = sum(other.key == factor.key for other in product.factors)
        if count > 1:
            raise Unreadable("a gate is squared")
        if count:
            others = tuple(other for other in product.factors if other.key != factor.key)
            quotient.append(Product(others, product.base, product.weight))
        else:
            rest.append(product)
    return total(quotient, value.width), total(rest, value.width)


def acts_of(value: Sum) -> list[Act]:
    """The activations among the factors outside, each once."""
    found = {factor.key: factor for product in value.products.values() for factor in product.factors}
    return [factor for factor in found.values() if isinstance(factor, Act)]


def bases_acts_of(value: Sum) -> list[Act]:
    """The activations that go through a matrix, each once."""
    found = {factor.key: factor for product in value.products.values() for factor in product.base}
    return [factor for factor in found.values() if isinstance(factor, Act)]
