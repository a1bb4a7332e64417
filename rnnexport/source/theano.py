"""Kernels that Theano turned round: it convolves, where TensorFlow correlates."""

from __future__ import annotations

from collections.abc import Iterable

from rnnexport.core.errors import ConversionError
from rnnexport.source.origin import Origin


def refuse_theano_kernels(class_names: Iterable[str], origin: Origin, name: str) -> None:
    """Refuse convolutions from Theano: Keras 2 turned their kernels back, and no loader that is left does.

    Args:
        class_names: of the model's layers.
        origin: who wrote the file.
        name: of the file, for messages.

    Raises:
        ConversionError: names the layer.
    """
    for kind in class_names:
        if origin.backend == "theano" and "Conv" in kind:
            raise ConversionError(
                f"{kind} in {name}, whose kernels Keras on Theano stored turned round",
                "kernels as TensorFlow has them",
                "turn them round (numpy.flip over the spatial axes) and save the model on TensorFlow",
            )
