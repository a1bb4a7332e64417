"""The rows of operators: which has which columns, and that none says what another column says already."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from rnnexport.emit.c.elementwise import is_elementwise
from rnnexport.emit.c.operators import operator_of
from rnnexport.emit.numpy.operators import names_of_all
from rnnexport.emit.numpy.rules import RULES
from rnnexport.ir import operators
from rnnexport.ir.operators import OPERATORS, Elementwise

ELEMENTWISE = [row for row in OPERATORS.values() if isinstance(row, Elementwise)]
# What C has no form of: text; how many numbers there are, only the data tell; a size, which is known when C is written;
# and what the lowering alone makes, of which no program is written.
TEXT = {"ai.onnx.ml.LabelEncoder"}
BY_DATA = {"Compress", "NonZero", "Unique"}
KNOWN = {"Shape", "Size"}
LOWERED = {"LayerNormalization"}


def test_every_operator_is_written_in_numpy():
    assert set(OPERATORS) - set(RULES) == LOWERED
    assert set(RULES) <= set(OPERATORS)


def test_every_operator_is_written_in_c():
    written = {name for name in OPERATORS if is_elementwise(name) or operator_of(name) is not None}
    assert set(OPERATORS) - written == TEXT | BY_DATA | KNOWN | LOWERED


@pytest.mark.parametrize("row", ELEMENTWISE, ids=lambda row: row.name)
def test_a_row_of_numbers_at_their_places_says_nothing_twice(row):
    assert not (row.sign and (row.numpy or row.lanes or row.number)), "the sign says it in every language"
    assert not (row.library and (row.lanes or row.number)), "the function of <math.h> serves both"
    assert row.shape is not None
    assert row.batched is not None
    function = row.numpy.partition("(")[0]
    assert not function or function in names_of_all() or callable(getattr(np, function.removeprefix("np.")))


def test_what_is_folded_is_what_numpy_computes():
    """A fold of an operator with a text is the function that the text names."""
    for row in ELEMENTWISE:
        if row.folded is not None and row.numpy:
            x = np.array([0.25, 0.75], np.float32)
            function = getattr(np, row.numpy.partition("(")[0].removeprefix("np."))
            np.testing.assert_array_equal(row.folded(None, [x]), function(x))


def test_rows_are_in_order():
    """A new one is found, and not written a second time."""
    source = inspect.getsource(operators)
    names = [row.name for row in ELEMENTWISE]
    assert names == sorted(names)
    assert all(source.count(f'name="{name}"') <= 1 for name in OPERATORS)
