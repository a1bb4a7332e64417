"""What stands for a tensor while a graph is written anew: a tensor, or both parts of a complex one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

Tensor = Any


@dataclass(frozen=True, eq=False)
class Pair:
    """A complex tensor, or a list of complex tensors that a loop fills: two of one shape and dtype."""

    real: Tensor
    imag: Tensor


# A Tensor or a Pair.
Value = Any
# Gives the outputs of an operator; None to leave the operator as it is.
Form = Callable[[tf.Operation, Sequence[Value]], list[Value] | None]


class FormError(Exception):
    """An operator can't be written so; the message says why, in a few words behind its name."""
