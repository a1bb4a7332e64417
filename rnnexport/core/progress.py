"""Telling what goes on during long work, and other packages kept quiet meanwhile."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

# Called with a few words before each step.
Progress = Callable[[str], None]


class Detail(str):
    """What goes on within a step: a message that begins no step of its own."""


def silent(message: str) -> None:
    """Tell nobody."""
    del message


_TALKATIVE = ("tensorflow", "absl", "tf2onnx", "h5py")


@contextmanager
def quiet() -> Iterator[None]:
    """Let the loggers of TensorFlow and tf2onnx say errors alone, and no warning but ours be printed, inside the block.

    TensorFlow reads how much its C++ says from the environment, once, when it is imported: that is set for a process
    that has not done so, unless the user has set it. In a notebook, where what Python prints goes another way, what C++
    prints on descriptor 2 is dropped. With the logger `rnnexport` at DEBUG, all is left as it is.
    """
    if logging.getLogger("rnnexport").isEnabledFor(logging.DEBUG):
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(max(logging.ERROR, logger.level))
        with warnings.catch_warnings(), _dropped(2) if in_notebook() else nullcontext():
            warnings.filterwarnings("ignore", module=r"(?!rnnexport\b)")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None) is not None  # there is none in a terminal


@contextmanager
def _dropped(descriptor: int) -> Iterator[None]:
    """Inside this block nobody reads what is written to a descriptor."""
    before, nowhere = os.dup(descriptor), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
        yield
    finally:
        os.dup2(before, descriptor)
        os.close(before)
        os.close(nowhere)
