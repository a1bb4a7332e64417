"""A module of a package without the package around it, whose import would bring much that is not needed.

It is loaded under its own name, so that a later import of the package finds it and uses the same classes.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import ModuleType


def module_alone(name: str) -> ModuleType | None:
    """The module of that name, `package.sub.module`; None where it is not there, or not a file of that place."""
    if name in sys.modules:
        return sys.modules[name]
    package, *folders, _ = name.split(".")
    found = find_spec(package)
    places = [str(Path(place, *folders)) for place in (found and found.submodule_search_locations) or ()]
    spec = PathFinder.find_spec(name, places)
    if spec is None or spec.loader is None:
        return None
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
