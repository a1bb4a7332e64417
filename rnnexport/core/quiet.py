"""Other packages kept quiet for the length of a call, and left as they were."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_TALKATIVE = ("tensorflow", "absl", "tf2onnx", "h5py")


@contextmanager
def quiet() -> Iterator[None]:
    """Let the loggers of TensorFlow and tf2onnx say errors alone, and no warning but ours be printed, inside the block.

    TensorFlow reads how much its C++ says from the environment, once, when it is imported: that is set for a process
    that has not done so, unless the user has set it. With the logger `rnnexport` at DEBUG, all is left as it is.
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
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(?!rnnexport\b)")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
