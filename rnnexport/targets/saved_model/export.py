"""A traced model to a SavedModel folder."""

from __future__ import annotations

import errno
from pathlib import Path

import tensorflow as tf

from rnnexport.lowered import Lowered
from rnnexport.proof import Proof
from rnnexport.source.trace import TracedModel
from rnnexport.targets.base import SIGNATURE, ExportOptions
from rnnexport.targets.saved_model.metadata import write


def export(traced: TracedModel, proof: Proof, path: Path, options: ExportOptions) -> tuple[Lowered, ...]:
    """Write `traced` to the folder `path`, as the signature `serving_default`. It has one form, whatever the options.

    Raises:
        OSError: the disk is full or can't be written.
    """
    module = tf.Module()
    module.call = traced.function
    try:
        tf.saved_model.save(module, str(path), signatures={SIGNATURE: traced.function})
    except tf.errors.OpError as error:  # how TensorFlow tells of a failed write
        raise OSError(errno.EIO, error.message) from error
    write(path, proof)
    return ()
