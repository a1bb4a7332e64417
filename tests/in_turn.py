"""Which of many combinations are run each time: `make test-long` runs all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from _pytest.mark import ParameterSet

APIS = ("keras", "tf_keras")


def in_turn(kinds: Iterable[object], others: Sequence[object] = APIS, *, each_time: int = 1) -> list[ParameterSet]:
    """Every kind with every other; each time a kind is run with as many others as `each_time`, in turn.

    So each kind and each other is seen each time. The order of the parameters is (kind, other).
    """
    found = []
    for at, kind in enumerate(kinds):
        chosen = {(at + step) % len(others) for step in range(each_time)}
        for number, other in enumerate(others):
            marks = [] if number in chosen else [pytest.mark.long]
            found.append(pytest.param(kind, other, marks=marks, id=f"{_word(kind)}-{_word(other)}"))
    return found


def of_one_keras(api: str) -> list[ParameterSet]:
    """Both Kerases: this one each time, the other by `make test-long`."""
    return [pytest.param(one, marks=[] if one == api else [pytest.mark.long], id=one) for one in APIS]


def wanted_targets(request: pytest.FixtureRequest, **fixed: object) -> list[str]:
    """The values of `to` among the tests of this run that have these values of other parameters.

    What is asked of one model is exported at once, so that it is loaded, run and traced once.
    """
    found = []
    for item in request.session.items:
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        if "to" in parameters and all(parameters.get(name) == value for name, value in fixed.items()):
            found.append(parameters["to"])
    return list(dict.fromkeys(found))


def _word(value: object) -> str:
    return str(getattr(value, "__name__", value))
