"""The value of a term that depends on constants alone: weights as the step cuts, turns and joins them.

What clean-up of the whole graph can't fold, because it stands inside a loop. An operator whose row folds nothing gives
None, which is always safe.
"""

from __future__ import annotations

import numpy as np

from rnnexport.ir.operators import operator
from rnnexport.ir.terms import Term, below

# No constant is folded to more elements than this: a weight of 256 MB.
_LARGEST = 1 << 26


class Constants:
    """Values of terms, each found once."""

    def __init__(self) -> None:
        self._found: dict[Term, np.ndarray | None] = {}
        self._laid_out: dict[Term, np.ndarray] = {}

    def __call__(self, term: Term) -> np.ndarray | None:
        """The value of `term`, or None where it is not constant."""
        if term not in self._found:
            for part in below([term]):
                if part not in self._found:
                    self._found[part] = self._fold(part)
        return self._found[term]

    def laid_out(self, term: Term) -> np.ndarray | None:
        """The value in C order: one array, that all forms of a recurrence share."""
        if term not in self._laid_out and (found := self(term)) is not None:
            self._laid_out[term] = np.asarray(found, order="C")
        return self._laid_out.get(term)

    def _fold(self, term: Term) -> np.ndarray | None:
        if term.op == "Const":
            return np.asarray(term.array)
        fold = operator(term.op).folded
        if term.of_state or term.of_step or fold is None or not term.operands:
            return None
        given = [None if part is None else self._found[part] for part in term.inputs]
        if any(value is None and part is not None for value, part in zip(given, term.inputs, strict=True)):
            return None
        result = fold(term, [value for value in given if value is not None])
        found = result[term.port] if isinstance(result, list) else result
        return None if found is None or np.size(found) > _LARGEST else np.asarray(found)
