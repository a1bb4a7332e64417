"""Monte Carlo arithmetic: NumPy whose every operation in float64 rounds at random, as one of a narrower dtype may.

    found = exact + r * (unit * |exact| + least),  r uniform in [-1, 1]

where `least` is what the narrower dtype takes for 0. A sum is off by its terms as well, since each partial sum rounds:
`unit * r * sqrt(sum(term**2))`. What the narrower dtype holds exactly (a count, a mask, a value that is passed on)
stays as it is, since there nothing is rounded. Runs that differ in their random numbers alone tell value by value how
much of a result rounding decides: whether it is well or ill conditioned, and on which side of a threshold it may fall.
(Parker 1997, Monte Carlo Arithmetic.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from rnnexport.emit.numpy.loading import NarrowArray, is_product, products, wide

_DIGITS = 53  # binary digits of float64
_BLOCK = 1 << 18  # values that are rounded at once: as many more in several arrays beside them
_POOL = 1_000_003  # random numbers, a prime: what is called again and again does not meet the same ones
_SUMS = {np.add}  # a reduction of these has terms
_PRODUCTS = {np.matmul}
_SUMMING = _SUMS | _PRODUCTS
_FEW_TERMS = 128  # of a product need no more than the rounding errors that each operation is off by
_OF_ONE = 0.25  # of an error of 1, that of the logistic function
_FUNCTIONS = ("einsum",)  # sums of products that are no universal function
_STEPS = {np.floor, np.ceil, np.trunc, np.rint, np.sign, np.copysign, np.fmod, np.remainder, np.floor_divide}
_TESTS = {np.isnan, np.isinf, np.isfinite}  # that no rounding of a number turns


class RoundingArray(np.ndarray):
    """An array whose operations round at random; what they give are such arrays too."""

    rounds: Rounding | None = None
    squares: list[np.ndarray] | None = None  # of a weight, which is multiplied again and again; none of a view of it

    def __array_finalize__(self, base: Any) -> None:
        self.rounds = getattr(base, "rounds", None)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """As NumPy's, and rounded. Arrays in `out` are written to."""
        rounds = self.rounds or next((one.rounds for one in inputs if isinstance(one, RoundingArray)), None)
        if rounds is not None and ufunc is np.matmul and is_product(ufunc, method, inputs, options):
            exact, squares = products(_plain(inputs[0]), inputs[1], squared=True)
            return rounds.array(rounds.rounded(exact, _with_sums(squares, inputs[0])))
        given = [_plain(one) for one in inputs]
        out = options.get("out")
        if out is not None:
            options["out"] = tuple(map(_plain, out))
        found = getattr(ufunc, method)(*given, **options)
        if rounds is None or method == "at" or not isinstance(found, np.ndarray | np.generic):
            return found
        if ufunc in _STEPS or (found.dtype.kind in "biu" and ufunc not in _TESTS):
            rounds.note_step(given)
        squares = _squares(ufunc, method, inputs, options) if ufunc in _SUMMING else None
        rounded = rounds.rounded(np.asarray(found), squares)
        if out is not None:
            np.copyto(options["out"][0], rounded)
            return out[0]
        return rounds.array(rounded)

    def astype(self, dtype: Any, *arguments: Any, **options: Any) -> Any:
        """As NumPy's; a whole number of a real one is a step of it."""
        if self.rounds is not None and np.dtype(dtype).kind in "biu":
            self.rounds.note_step([self])
        return super().astype(dtype, *arguments, **options)

    def argmax(self, *arguments: Any, **options: Any) -> Any:
        """As NumPy's, a step of each value; so are the others."""
        return self._step("argmax", *arguments, **options)

    def argmin(self, *arguments: Any, **options: Any) -> Any:
        """See `argmax`."""
        return self._step("argmin", *arguments, **options)

    def round(self, *arguments: Any, **options: Any) -> Any:
        """See `argmax`."""
        return self._step("round", *arguments, **options)

    def __bool__(self) -> bool:
        return bool(self._step("__bool__"))

    def _step(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self.rounds is not None:
            self.rounds.note_step([self])
        return getattr(super(), method)(*arguments, **options)


class Rounding:
    """NumPy for a program: its functions, their arrays rounding at random.

    Args:
        digits: how many binary digits a number of the narrower dtype has: 24 for float32.
        least: the smallest number that is sure to be no 0.
        unit: the largest relative error of one operation. Of the opposite sign, each error is the opposite: of two such
            runs one goes over an edge nearby.
        seed: of the random numbers.

    Attributes:
        has_steps: whether a number that was rounded has been compared, cut to a whole number or put in an order: where
            it is near a step, a rounding error that is as small as can be decides between two values far apart.
    """

    def __init__(self, digits: int, least: float, unit: float, seed: int) -> None:
        self.has_steps = False
        self._lower = np.int64((1 << (_DIGITS - digits)) - 1)
        self._least = least / abs(unit)
        self._random_numbers = unit * np.random.default_rng(seed).uniform(-1, 1, _POOL)
        self._used = 0

    def namespace(self) -> Any:
        """To stand for the module `numpy`."""
        return _Namespace(np, self)

    def array(self, values: np.ndarray, squares: list[np.ndarray] | None = None) -> np.ndarray:
        """The values as an array that rounds.

        Args:
            values: the array.
            squares: empty, for the squares of a weight to be kept in.
        """
        if not isinstance(values, np.ndarray) or isinstance(values, NarrowArray) or values.dtype.hasobject:
            return values
        found = values.view(RoundingArray)
        found.rounds, found.squares = self, squares
        return found

    def note_step(self, given: Sequence[Any]) -> None:
        """Take down that results change in steps of these operands, unless they are no numbers that may be rounded."""
        if not self.has_steps:
            arrays = [one for one in map(_plain, given) if isinstance(one, np.ndarray)]
            reals = [one for one in arrays if one.dtype in (np.float64, np.complex128)]
            with np.errstate(all="ignore"):
                self.has_steps = any(not self._held(one).all() for one in reals)

    def rounded(self, exact: np.ndarray, squares: np.ndarray | None = None) -> np.ndarray:
        """The values rounded at random, but for those that need no rounding.

        Args:
            exact: of float64 or complex128; others are given back.
            squares: the sum of the squares of the terms that each value is the sum of; None where it is no sum.
        """
        if exact.dtype not in (np.float64, np.complex128):
            return exact
        if exact.size <= _BLOCK:
            return self._rounded(exact, squares)
        found = np.empty(exact.shape, exact.dtype)
        flat, terms = exact.reshape(-1), None if squares is None else squares.reshape(-1)
        for at in range(0, flat.size, _BLOCK):
            part = slice(at, at + _BLOCK)
            found.reshape(-1)[part] = self._rounded(flat[part], None if terms is None else terms[part])
        return found

    def _rounded(self, exact: np.ndarray, squares: np.ndarray | None) -> np.ndarray:
        with np.errstate(all="ignore"):
            off = np.asarray(np.abs(exact))
            off += self._least
            off *= self._random(exact.shape)
            held = self._held(exact)
            if squares is not None:
                off += np.sqrt(squares) * self._random(exact.shape)
                held &= self._held(squares)  # what is left of large terms may have few digits
            np.putmask(off, held, -0.0)  # which leaves a 0 of either sign as it is
            found: np.ndarray = np.add(exact, off, out=off if off.dtype == exact.dtype else None)
            return found

    def approximated(self, values: np.ndarray) -> np.ndarray:
        """The values off by a quarter of what one operation moves a 1 by, and of no other sign.

        Kernels approximate the logistic function to that (ONNX Runtime's to 7e-8), however small it is: a large number
        that such a gate lets through shows it.
        """
        if values.dtype != np.float64 or not values.ndim:
            return values
        plain = _plain(values)
        off = np.maximum(plain + _OF_ONE * self._random(plain.shape), plain / 2)
        return self.array(np.where(self._held(plain), plain, off))

    def _random(self, shape: tuple[int, ...]) -> np.ndarray:
        """Numbers of the pool, from where the last ones ended: to draw each anew would take most of the time."""
        size = math.prod(shape)
        start = self._moved(size)
        return self._random_numbers[start : start + size].reshape(shape)

    def _moved(self, size: int) -> int:
        """Where so many numbers start."""
        start = self._used if self._used + size <= _POOL else self._used % 97
        self._used = (start + size) % _POOL
        return start

    def _held(self, values: np.ndarray) -> np.ndarray:
        """Where the narrower dtype has the value itself: its lower digits are 0, as those of inf are."""
        if values.dtype == np.complex128:
            both: np.ndarray = self._held(values.real) & self._held(values.imag)
            return both
        held: np.ndarray = (values.view(np.int64) & self._lower) == 0
        return held


class _Namespace:
    """A module whose functions give arrays that round. Types and numbers are those of the module."""

    def __init__(self, module: ModuleType, rounds: Rounding) -> None:
        self._module = module
        self._rounds = rounds

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if isinstance(found, ModuleType):
            return _Namespace(found, self._rounds)
        if isinstance(found, type | np.ufunc) or not callable(found):
            return found
        return self._wrapped(found, name in _FUNCTIONS)

    def approximated(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """A function of the program's own that kernels of runtimes approximate."""
        return lambda x: self._rounds.approximated(function(x))

    def _wrapped(self, function: Callable[..., Any], is_sum: bool) -> Callable[..., Any]:
        rounds = self._rounds

        def call(*arguments: Any, **options: Any) -> Any:
            if not is_sum:
                found = function(*arguments, **options)
            else:
                given = [_plain(one) for one in arguments]
                squares = function(*map(_squared, arguments), **options)
                found = rounds.rounded(np.asarray(function(*given, **options)), squares)
            several = found if isinstance(found, tuple | list) else [found]
            if any(isinstance(one, np.ndarray) and one.dtype.kind in "biu" for one in several):
                rounds.note_step(arguments)
            return type(found)(map(rounds.array, found)) if several is found else rounds.array(found)

        return call


def _squares(ufunc: np.ufunc, method: str, given: Sequence[Any], options: dict[str, Any]) -> np.ndarray | None:
    """The sums of the squares of the terms of each value; None where it is no sum."""
    kept = {name: value for name, value in options.items() if name not in ("out", "initial")}
    if ufunc in _PRODUCTS or (ufunc in _SUMS and method in ("reduce", "accumulate", "reduceat")):
        squares: np.ndarray = getattr(ufunc, method)(*map(_squared, given), **kept)
        return _with_sums(squares, given[0]) if ufunc in _PRODUCTS else squares
    return None


def _with_sums(squares: np.ndarray | None, factor: Any) -> np.ndarray | None:
    """The squares of the terms of products, more where kernels add up as many as the last axis of `factor` has.

    Each sum on the way rounds, and half of all terms are in it on the average: the terms of K are off by the root of
    K / 2 as much as one rounding of each, of which `_ERRORS` of the conditioning are allowed for.
    """
    terms: int = np.shape(factor)[-1]
    times = 1 << ((terms - 1) // _FEW_TERMS).bit_length()
    return squares if times == 1 or squares is None else squares * times


def _squared(value: Any) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fc":
        return _plain(value)
    kept = value.squares if isinstance(value, RoundingArray) else None
    if kept:
        return kept[0]
    plain = _plain(value)
    squares = np.square(plain if plain.dtype.kind == "f" else np.abs(plain))
    if kept is not None:
        kept.append(squares)
    return squares


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, RoundingArray) else wide(value)
