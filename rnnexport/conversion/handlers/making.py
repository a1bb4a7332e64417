"""What a handler of tf2onnx works with: the node that it replaces, and nodes to put in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from tf2onnx import utils

# tf2onnx names values by strings.
Tensor = str


class Rewrite:
    """One node of TensorFlow, taken out of tf2onnx's graph, and the nodes that compute the same.

    Attributes:
        op: its operator.
        inputs: what it reads.
        opset: of the graph.
        result_dtype: of what it gives, the number that ONNX has for it.
    """

    def __init__(self, graph: Any, node: Any) -> None:
        self.op: str = node.type
        self.inputs: list[Tensor] = list(node.input)
        self._graph, self._node, self._name, self._outputs = graph, node, node.name, list(node.output)
        self._shapes, self._dtypes = node.output_shapes, node.output_dtypes
        self.opset: int = graph.opset
        self.result_dtype: int = self._dtypes[0]
        graph.remove_node(node.name)

    def __call__(self, op: str, *inputs: Tensor, **attributes: Any) -> Tensor:
        """A node of ONNX in front of the last."""
        name = utils.make_name(f"{self._name}/{op}")
        output: Tensor = self._graph.make_node(op, list(inputs), attr=attributes, name=name).output[0]
        return output

    def last(self, op: str, *inputs: Tensor, domain: str = "", **attributes: Any) -> None:
        """The node that gives what the one of TensorFlow gave, under the names that it had."""
        graph = self._graph
        graph.make_node(
            op,
            list(inputs),
            attr=attributes,
            name=self._name,
            outputs=self._outputs,
            shapes=self._shapes,
            dtypes=self._dtypes,
            domain=domain,
        )

    def number(self, value: float, like: Tensor) -> Tensor:
        """A scalar of the dtype of `like`."""
        return self.constant(np.array(value, self.dtype(like)))

    def constant(self, value: np.ndarray) -> Tensor:
        """An array as a constant of the graph."""
        output: Tensor = self._graph.make_const(utils.make_name(f"{self._name}/constant"), value).output[0]
        return output

    def dtype(self, tensor: Tensor) -> np.dtype[Any]:
        """The dtype of a value of the graph."""
        found: np.dtype[Any] = onnx.helper.tensor_dtype_to_np_dtype(self._graph.get_dtype(tensor))
        return found

    def is_float(self, tensor: Tensor) -> bool:
        """Whether a value of the graph is real and not an integer."""
        return self.dtype(tensor).kind == "f"

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute of the node that is replaced."""
        return self._node.get_attr_value(name, default)

    def made_by(self, tensor: Tensor) -> tuple[str, list[Tensor]]:
        """The operator that gives a value of the graph, and what that reads."""
        maker = self._graph.get_node_by_output(tensor)
        return maker.type, list(maker.input)

    def known(self, tensor: Tensor) -> np.ndarray | None:
        """A value of the graph, where it is a constant, or integers that are cast: tf2onnx casts sizes to int64."""
        maker = self._graph.get_node_by_output(tensor)
        if maker.type == "Cast" and self.dtype(tensor).kind == "i":
            (tensor,) = maker.input
            maker = self._graph.get_node_by_output(tensor)
            if self.dtype(tensor).kind != "i":
                return None
        return maker.get_tensor_value(as_list=False) if maker.is_const() else None

    def shape(self, tensor: Tensor) -> tuple[int | None, ...] | None:
        """The dimensions of a value of the graph, None for each that is not known; None if not even their number is."""
        shape = self._graph.get_shape(tensor)
        return None if shape is None else tuple(None if dim < 0 else dim for dim in shape)

    def rank(self, tensor: Tensor) -> int | None:
        """The number of dimensions of a value of the graph; None where it is not known."""
        rank: int | None = self._graph.get_rank(tensor)
        return rank


Handler = Callable[[Rewrite], None]
# In the form in which tf2onnx takes them: the function, and its arguments.
Handlers = Mapping[str, tuple[Any, Sequence[str]]]


def handlers(by_operator: Mapping[str, Handler]) -> Handlers:
    """What tf2onnx takes as `custom_op_handlers`."""
    return {op: (_called(handler), []) for op, handler in by_operator.items()}


def _called(handler: Handler) -> Any:
    def convert(graph: Any, node: Any, name: str, arguments: Any) -> None:
        del name, arguments
        handler(Rewrite(graph, node))

    return convert
