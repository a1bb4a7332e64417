"""What stands before a `ModelApi` and changes a part of what it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from rnnexport.source.api import Layer, Model, ModelApi, NamedTensor


class Delegating:
    """Those parts of `ModelApi` that what is derived of this leaves as they are.

    Args:
        api: what does the rest.
    """

    def __init__(self, api: ModelApi) -> None:
        self._api = api
        self.name = api.name
        self.package = api.package
        self.version = api.version
        self.embedding = api.embedding
        self.masking = api.masking
        self.autograph = api.autograph
        self.updated = tuple(api.updated)

    def inputs(self, model: Model) -> list[NamedTensor]:
        return self._api.inputs(model)

    def output_names(self, model: Model) -> list[str]:
        return self._api.output_names(model)

    def layers(self, model: Model) -> Iterator[Layer]:
        return self._api.layers(model)

    def readers(self, model: Model) -> list[list[Layer]]:
        return self._api.readers(model)

    def recurrent(self, layer: Layer) -> bool:
        return self._api.recurrent(layer)

    def plain_loops(self, model: Model, *, unroll: bool | None) -> AbstractContextManager[None]:
        return self._api.plain_loops(model, unroll=unroll)

    def fresh_states(self, layer: Layer, sequences: Any) -> list[Any]:
        return self._api.fresh_states(layer, sequences)

    def untrained(self, model: Model) -> list[tuple[str, Any]]:
        return self._api.untrained(model)
