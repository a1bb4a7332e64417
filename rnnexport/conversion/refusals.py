"""The refusals of what a format has no form of: each once, with its layer, and a way that works."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rnnexport.core.errors import ConversionError
from rnnexport.core.names import LayerName

# Made of the same graph, whose operators it keeps.
_ANYWAY = "or export to saved-model, which keeps every operator"


def no_form(operators: Iterable[tuple[str, str]], layers: Sequence[LayerName], opset: int | None) -> ConversionError:
    """What to say of operators without an ONNX form.

    Args:
        operators: each with the path in the graph that it is at.
        layers: of the model.
        opset: one that has all of them; None where none has.
    """
    places: dict[str, dict[str, None]] = {}
    for operator, path in operators:
        places.setdefault(_place(path, layers), {})[operator] = None
    told = "; ".join(f"{', '.join(names)} in {place}" for place, names in places.items())
    todo = f"write it with other operations, {_ANYWAY}" if opset is None else f"give --opset {opset}"
    return ConversionError(f"no ONNX form of {told}", "operators that ONNX has", todo)


def text_refused(tensor: str, names: str, path: str, layers: Sequence[LayerName]) -> ConversionError:
    """What to say of text where a format has numbers alone.

    Args:
        tensor: the input or output that is text, in words.
        names: what has to be built of the model instead, `{layer}` standing for the layer's name.
        path: in the graph, of the operator that reads or makes the text.
        layers: of the model.
    """
    layer = _layer(path, layers)
    build = names.format(layer="NAME" if layer is None else repr(layer.name))
    return ConversionError(
        f"{tensor} is text in {_place(path, layers)}",
        "numbers; in ONNX and NumPy also words that StringLookup takes whole, with num_oov_indices of 0 or 1",
        f"export to saved-model, or export what has numbers on both sides, {build}",
    )


def _place(path: str, layers: Sequence[LayerName]) -> str:
    """The innermost layer at a path of the graph; the path where none is known."""
    inner = _layer(path, layers)
    return path if inner is None else f"layer {inner.name} ({inner.class_name})"


def _layer(path: str, layers: Sequence[LayerName]) -> LayerName | None:
    around = [layer for layer in layers if layer.scope and (path == layer.scope or path.startswith(f"{layer.scope}/"))]
    return max(around, key=lambda layer: len(layer.scope), default=None)
