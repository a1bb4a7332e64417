"""What a model's code calls its values, weights and layers: found by `source.naming`, written into programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class LayerName:
    """A layer, and the scope that one call of it has in the graph.

    Attributes:
        scope: of the operations that the call made, `functional_1/cgru_1/while/cgru_cell_1`.
        name: the layer's, `cgru_cell`.
        class_name: the layer's, `CGRUCell`.
    """

    scope: str
    name: str
    class_name: str


@dataclass(frozen=True)
class SourceNames:
    """The names that a graph does not keep. Of a SavedModel, which has no code, those of its weights alone.

    Attributes:
        variables: by the path of an operation, in the graph or in the body of a loop, a name for each of its outputs;
            empty for an output that has none.
        weights: by the name of the constant in the frozen graph, the variable's path in the model,
            `cgru/cgru_cell/kernel`; of a tensor that a layer keeps as an attribute, `layer/attribute`; of any other,
            the path of an operation that reads it. Several weights of a Keras 2 model may have one path.
        layers: in the order of the graph.
    """

    variables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    layers: tuple[LayerName, ...] = ()

    def with_constants(self, renamed: Mapping[str, str]) -> SourceNames:
        """The same for a graph in which these constants have other names."""
        return replace(self, weights={renamed.get(name, name): path for name, path in self.weights.items()})
