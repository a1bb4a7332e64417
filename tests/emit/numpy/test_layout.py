"""Lines of programs: where they are broken, and that a break changes nothing."""

from __future__ import annotations

import ast

import pytest

from rnnexport.emit.numpy.layout import LINE, statement

LONG = "a_name_of_forty_characters_and_some_more"


@pytest.mark.parametrize(
    "text",
    [
        f"return ({LONG},), ({LONG} + {LONG},)",
        f"return ({LONG}, {LONG}), ({LONG}, {LONG})",
        f"({LONG},), ({LONG},) = scan(cell, ({LONG},), ({LONG},), ({LONG}, {LONG}))",
        f"{LONG} = np.concatenate([{LONG}, {LONG}, {LONG}, {LONG}], axis=-1)",
        f"{LONG} = f({LONG}, {LONG}, {LONG}[:, 1:2], key=({LONG},))",
    ],
)
def test_a_broken_line_means_the_same(text):
    lines = statement(text, 1)
    assert len(lines) > 1
    assert all(len(line) <= LINE for line in lines)
    body = "\n".join(line.removeprefix("    ") for line in lines)
    assert ast.dump(ast.parse(body)) == ast.dump(ast.parse(text))
