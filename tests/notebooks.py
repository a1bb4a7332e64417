"""Runs a notebook as a kernel would: cell by cell in one namespace, the value of a last expression shown.

python tests/notebooks.py FILE.ipynb
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any


def code_of(notebook: Path) -> list[str]:
    """The text of each cell that is code."""
    value = json.loads(notebook.read_text())
    assert value["nbformat"] == 4
    return ["".join(cell["source"]) for cell in value["cells"] if cell["cell_type"] == "code"]


def shown(value: Any) -> str:
    """What a notebook shows of a value: its page, where it has one."""
    page = getattr(value, "_repr_html_", None)
    return repr(value) if page is None else page()


def run(notebook: Path) -> list[str]:
    """Run all cells; what each that ends in an expression shows."""
    space: dict[str, Any] = {"__name__": "__main__"}
    outputs = []
    for cell in code_of(notebook):
        tree = ast.parse(cell)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, notebook.name, "exec"), space)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), notebook.name, "eval"), space)
            if value is not None:
                outputs.append(shown(value))
    return outputs


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]))))
