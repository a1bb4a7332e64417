"""Products of a sequence and a matrix as one node.

Before: y = Reshape(MatMul(Reshape(x_BTI, [-1, I]), W_IO), [B, T, O])        After: y_BTO = MatMul(x_BTI, W_IO)

TensorFlow's `tensordot`, which a Dense over a sequence is, has rows for all that stands before the last dimension, and
takes eight nodes for their sizes. ONNX multiplies the last two dimensions, whatever stands before them.
"""

from __future__ import annotations

import onnx_ir as ir

from rnnexport.ir.loop_body import constant


def join_products(model: ir.Model) -> None:
    """Join every such product of `model`, in place. What computed its sizes may be left without a reader."""
    for node in list(model.graph.all_nodes()):
        if node.op_type == "Reshape" and not node.domain:
            _join(node)


def _join(restored: ir.Node) -> None:
    product = _producer(restored, 0, "MatMul")
    rows = None if product is None else _producer(product, 0, "Reshape")
    if product is None or rows is None or any(_is_output(node) for node in (product, rows)):
        return
    x, weight, sizes = rows.inputs[0], product.inputs[1], restored.inputs[1]
    if x is None or weight is None or sizes is None or x.shape is None or weight.shape is None:
        return
    if len(weight.shape) != 2 or not _is_rows(rows, weight.shape[0]) or not _are_those_of(x, sizes, weight.shape[1]):
        return
    graph = restored.graph
    assert isinstance(graph, ir.Graph)  # it is one of its nodes
    (old,) = restored.outputs
    joined = ir.Node("", "MatMul", [x, weight], num_outputs=1, name=product.name)
    (value,) = joined.outputs
    value.type, value.shape = old.type, ir.Shape([*x.shape[:-1], weight.shape[1]])
    graph.insert_before(restored, [joined])
    ir.convenience.replace_all_uses_with(old, value, replace_graph_outputs=True)
    old.name, value.name = None, old.name
    graph.remove([restored], safe=True)


def _is_output(node: ir.Node) -> bool:
    return any(value.is_graph_output() for value in node.outputs)


def _producer(node: ir.Node, at: int, op: str) -> ir.Node | None:
    value = node.inputs[at]
    found = None if value is None else value.producer()
    return found if found is not None and found.op_type == op and not found.domain else None


def _is_rows(rows: ir.Node, size: int | ir.SymbolicDim) -> bool:
    """Whether a Reshape leaves the last dimension, of that size, and makes one of the others."""
    shape = None if rows.inputs[1] is None else constant(rows.inputs[1])
    x = rows.inputs[0]
    if shape is None or x is None or x.shape is None or not len(x.shape):
        return False
    return shape.numpy().tolist() == [-1, size] and x.shape[-1] == size


def _are_those_of(x: ir.Value, sizes: ir.Value, width: int | ir.SymbolicDim) -> bool:
    """Whether `sizes` are those of x but the last, which is `width`."""
    assert x.shape is not None  # told by the caller
    tensor = constant(sizes)
    if tensor is not None:
        found = tensor.numpy().tolist()
        # One size may be left to be found: the number of elements settles it.
        leading = zip(found[:-1], x.shape[:-1], strict=False)
        return (
            len(found) == len(x.shape)
            and found[-1] == width
            and found.count(-1) <= 1
            and all(one in (-1, other) for one, other in leading)
        )
    joined = _behind_casts(sizes)
    if joined is None or joined.op_type != "Concat" or len(joined.inputs) != 2:
        return False
    before, last = joined.inputs
    assert before is not None
    assert last is not None  # operands of a Concat are all there
    end = constant(last)
    return end is not None and end.numpy().tolist() == [width] and _is_leading(before, x)


def _is_leading(sizes: ir.Value, x: ir.Value) -> bool:
    """Whether `sizes` are all of the shape of x but the last."""
    assert x.shape is not None
    gather = _behind_casts(sizes)
    if gather is None or gather.op_type != "Gather" or gather.inputs[0] is None or gather.inputs[1] is None:
        return False
    places, shape = constant(gather.inputs[1]), _behind_casts(gather.inputs[0])
    if places is None or shape is None or shape.op_type != "Shape" or shape.attributes:
        return False
    return shape.inputs[0] is x and places.numpy().tolist() == list(range(len(x.shape) - 1))


def _behind_casts(value: ir.Value) -> ir.Node | None:
    node = value.producer()
    while node is not None and node.op_type == "Cast" and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node
