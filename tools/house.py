"""Figures of the package: files, lines, names of classes with two meanings, and the modules that a command enters.

python -m tools.house [COMMAND ...], such as `python -m tools.house onnx model.keras -o model.onnx`
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any

PACKAGE = Path(__file__).parent.parent / "rnnexport"


def names_of_two_classes() -> dict[str, list[str]]:
    """The names that classes of several modules have, with these; implementations of one protocol are one meaning."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not (ast.get_docstring(node) or "").startswith("See `"):
                found[node.name].append(str(path.relative_to(PACKAGE)))
    return {name: places for name, places in found.items() if len(places) > 1}


def entered_by(arguments: list[str]) -> set[str]:
    """The modules of which a function is called in this process while a command runs."""
    from rnnexport.cli import main

    found: set[str] = set()

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code.co_name != "<module>":
            found.add(frame.f_code.co_filename)

    sys.setprofile(profile)
    try:
        main(arguments)
    except SystemExit:
        pass
    finally:
        sys.setprofile(None)
    return {str(Path(name).relative_to(PACKAGE)) for name in found if name.startswith(f"{PACKAGE}/")}


if __name__ == "__main__":
    texts = [path.read_text() for path in PACKAGE.rglob("*.py")]
    print(f"{len(texts)} modules, {sum(text.count(chr(10)) for text in texts)} lines")
    for name, places in names_of_two_classes().items():
        print(f"{name}: {', '.join(places)}")
    if sys.argv[1:]:
        print(f"{len(entered_by(sys.argv[1:]))} modules entered by {sys.argv[1]}")
