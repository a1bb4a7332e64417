"""The self-test of a program: a `main` that computes a golden and compares, for whoever compiles it for a board."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rnnexport.emit.c.arrays import C_TYPES, at
from rnnexport.emit.c.interface import Argument, Interface

# What a value may be off: of its own size, and at all.
BOUND = "1e-4"
# What the names of its arrays begin with, and those of no weights.
PREFIX = "self_test_"


@dataclass(frozen=True, eq=False)
class SelfTest:
    """One call, and what the source gave for it.

    Attributes:
        lengths: the number for each letter.
        given: inputs and states before, in the order of the interface.
        wanted: outputs and states after.
        bounds: what a value of each of these may be off; empty for the usual bound of all.
    """

    lengths: Mapping[str, int]
    given: tuple[np.ndarray, ...]
    wanted: tuple[np.ndarray, ...]
    bounds: tuple[float, ...] = ()

    @staticmethod
    def blank(face: Interface, lengths: Mapping[str, int], bounds: tuple[float, ...] = ()) -> SelfTest:
        """All numbers 0."""
        return SelfTest(
            lengths,
            tuple(_zeros(each, lengths) for each in (*face.inputs, *face.states)),
            tuple(_zeros(each, lengths) for each in (*face.outputs, *face.states)),
            bounds,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """All of them by their names in C."""
        given = {f"{PREFIX}given_{number}": array for number, array in enumerate(self.given, 1)}
        return given | {f"{PREFIX}wanted_{number}": array for number, array in enumerate(self.wanted, 1)}

    def with_arrays(self, arrays: Mapping[str, np.ndarray]) -> SelfTest:
        """Others in their place."""
        found = [arrays[name] for name in self.arrays()]
        return replace(self, given=tuple(found[: len(self.given)]), wanted=tuple(found[len(self.given) :]))


def _zeros(each: Argument, lengths: Mapping[str, int]) -> np.ndarray:
    return np.zeros([at(size, lengths) for size in each.shape], each.spec.dtype)


_LOOK = """\
#define SELF_TEST_LOOK(found, wanted, bound)                                      \\
    for (size_t at = 0; at < sizeof(found) / sizeof *(found); at++) {             \\
        const double right = (double)(wanted)[at];                                \\
        const double difference = (double)(found)[at] - right;                    \\
        const double error = difference < 0 ? -difference : difference;           \\
        wrong += !(error <= (bound));                                             \\
        largest = error > largest ? error : largest;                              \\
    }
"""


def self_test_text(face: Interface, test: SelfTest, arrays: Sequence[str], needs_work: bool) -> Iterator[str]:
    """The lines of the self-test.

    Args:
        face: of the program.
        test: what is computed.
        arrays: the lines of its arrays.
        needs_work: whether a call takes a buffer.
    """
    yield f"#ifdef {face.macro}_SELF_TEST"
    yield "#include <stdio.h>"
    yield ""
    yield "/* An input, and what the source of this program gave for it. */"
    yield from arrays
    yield ""
    yield from _LOOK.rstrip("\n").split("\n")
    yield ""
    yield "int main(void)"
    yield "{"
    names = [f"found_{number}" for number in range(1, len(face.outputs) + 1)]
    for name, each, array in zip(names, face.outputs, test.wanted, strict=False):
        yield f"    static {C_TYPES[each.spec.dtype]} {name}[{max(array.size, 1)}];"
    numbers = [str(test.lengths[length]) for length in face.lengths]
    if needs_work:
        given = f"({', '.join(numbers)})" if numbers else ""
        yield f"    static char work[{face.macro}_WORK_SIZE{given}];"
    if face.states:
        yield f"    static {face.name}_state state;"
    yield "    double largest = 0;"
    yield "    unsigned long wrong = 0;"
    first = len(face.inputs) + 1
    for number, each in enumerate(face.states, first):
        yield f"    memcpy(state.{each.name}, self_test_given_{number}, sizeof state.{each.name});"
    call = [*(["&state"] if face.states else []), *(f"self_test_given_{at}" for at in range(1, first)), *numbers]
    call += [*names, *(["work", "sizeof work"] if needs_work else [])]
    yield f"    const int code = {face.name}_run({', '.join(call)});"
    yield f"    if (code != {face.macro}_OK) {{"
    yield f'        printf("{face.name}: %d\\n", code);'
    yield "        return 1;"
    yield "    }"
    found = [*names, *(f"state.{each.name}" for each in face.states)]
    usual = f"{BOUND} + {BOUND} * (right < 0 ? -right : right)"
    bounds = [repr(bound) for bound in test.bounds] or [usual] * len(found)
    for number, (name, bound) in enumerate(zip(found, bounds, strict=True), 1):
        yield f"    SELF_TEST_LOOK({name}, self_test_wanted_{number}, {bound})"
    yield f'    printf("{face.name}: largest error %.3g, %lu wrong\\n", largest, wrong);'
    yield "    return wrong != 0;"
    yield "}"
    yield "#endif"
