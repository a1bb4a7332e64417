"""A traced model to a SavedModel folder."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import tensorflow as tf

from rnnexport.goldens import Arrays
from rnnexport.lowered import Lowered
from rnnexport.source.trace import TracedModel
from rnnexport.targets.base import SIGNATURE, ExportOptions

# Gradients are for training, and those of silu are functions that TensorFlow can't save.
_OPTIONS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)


def export(traced: TracedModel, feeds: Sequence[Arrays], path: Path, options: ExportOptions) -> tuple[Lowered, ...]:
    """Write `traced` to the folder `path`, without a proof, as the signature `serving_default`.

    It has one form, whatever the options.

    Raises:
        OSError: the disk is full or can't be written.
    """
    module = tf.Module()
    module.call = traced.function
    try:
        tf.saved_model.save(module, str(path), signatures={SIGNATURE: traced.function}, options=_OPTIONS)
    except tf.errors.OpError as error:  # how TensorFlow tells of a failed write
        raise OSError(errno.EIO, error.message) from error
    return ()
