"""Print the lower bounds of all that pyproject.toml asks for, as constraints for pip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path


def lower_bounds(text: str) -> list[str]:
    """`name==version` of each requirement in a pyproject.toml that has a lower bound."""
    project = tomllib.loads(text)["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    found = [re.match(r"([\w.-]+)(?:\[[^]]*\])?>=([\w.]+)", one) for one in asked]
    return sorted({f"{one[1]}=={one[2]}" for one in found if one is not None})


if __name__ == "__main__":
    print("\n".join(lower_bounds(Path("pyproject.toml").read_text())))
