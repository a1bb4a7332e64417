"""A SavedModel behind `ModelApi`: a program with one call, its serving signature, whose layers can't be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal

import tensorflow as tf

from rnnexport.core.errors import ConversionError, ForeignCode, reason
from rnnexport.source.api import Layer, Model, NamedTensor, StateVariable
from rnnexport.source.configs import KerasApiName
from rnnexport.source.files import SourceFile
from rnnexport.source.saved_model_file import SERVING


class SavedModelProgram:
    """See `ModelApi`. The model is what `load_program` gives."""

    name: KerasApiName | Literal["saved-model"] = "saved-model"
    package = "tensorflow"
    version = tf.__version__
    autograph = False
    embedding = ()  # no layer is one
    masking = ()
    updated: Sequence[StateVariable] = ()

    def inputs(self, model: Model) -> list[NamedTensor]:
        _, specs = model.signatures[SERVING].structured_input_signature
        for name, spec in specs.items():
            if spec.shape.rank is None:
                raise ConversionError(f"input {name} of unknown rank", "a shape", "save it with an input signature")
        return [NamedTensor(name, tuple(spec.shape), spec.dtype.name) for name, spec in sorted(specs.items())]

    def output_names(self, model: Model) -> list[str]:
        return sorted(model.signatures[SERVING].structured_outputs)

    def layers(self, model: Model) -> Iterator[Layer]:
        return iter(())

    def readers(self, model: Model) -> list[list[Layer]]:
        return [[] for _ in self.inputs(model)]

    def recurrent(self, layer: Layer) -> bool:
        return False

    def plain_loops(self, model: Model, *, unroll: bool | None) -> AbstractContextManager[None]:
        # Loops are as they were saved. A cuDNN operator on the way is refused when the graph is frozen.
        return nullcontext()

    def states(self, model: Model) -> list[StateVariable]:
        return []

    def fresh_states(self, layer: Layer, sequences: Any) -> list[Any]:
        raise NotImplementedError("no layer of a program can be told")

    def untrained(self, model: Model) -> list[tuple[str, Any]]:
        # Which of them are states is not told, so that none may change.
        return [(variable.name, variable) for variable in model.signatures[SERVING].variables]

    def call(self, model: Model, inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        names = [tensor.name for tensor in self.inputs(model)]
        outputs = model.signatures[SERVING](**dict(zip(names, inputs, strict=True)))
        return [outputs[name] for name in self.output_names(model)]

    def call_stateless(
        self,
        model: Model,
        inputs: Sequence[tf.Tensor],
        variables: Sequence[StateVariable],
        states: Sequence[tf.Tensor],
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        return self.call(model, inputs), []


def load_program(file: SourceFile) -> Model:
    """The program of a folder that `files.identify` accepted.

    Raises:
        ConversionError: TensorFlow can't load it.
    """
    with ForeignCode(partial(_unloadable, file)):
        program = tf.saved_model.load(str(file.path))
        program.signatures[SERVING].structured_input_signature  # noqa: B018 - a folder may lack it
        return program


def _unloadable(file: SourceFile, error: BaseException) -> ConversionError:
    return ConversionError(f"{file.path.name} can't be loaded: {reason(error)}", "a whole SavedModel", "save it again")
