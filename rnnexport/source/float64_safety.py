"""What in a graph is narrower than float64, and what keeps it from being made wide.

Operators that TensorFlow computes in float32 alone, or with a number kept in float32, by others that it does not.

Each follows the definition of the operator, not the order in which a kernel sums. Letters of shapes: N batch, D depth,
H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from typing import Any

import numpy as np
import tensorflow as tf

from rnnexport.compat.tensorflow import kernels, op_def_registry, types_pb2

GraphDef = Any
NodeDef = Any
AttrValue = Any

REFERENCES = 100  # the number of a type that refers to a variable is this plus that of what the variable holds
_RUNS_PYTHON = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
_READS_BITS = frozenset({"Bitcast", "DecodeRaw", "DecodePaddedRaw"})
SIGN_BIT = -(2**31)  # of float32, as an int32
_DRAWS = ("Random", "Multinomial", "TruncatedNormal", "SobolSample")
_COMPARES = frozenset({"Equal", "NotEqual"})
# A message of protocol buffers holds less than this, and a graph is one.
_LARGEST = 2**31 - 2**24
Tensor = Any
Body = Callable[..., list[Tensor]]
Attributes = Mapping[str, Any]
# Gives what a number that is kept in float32 means.
Meaning = Callable[[np.ndarray], np.ndarray]
Maker = Callable[[Attributes, Meaning], Body | None]


def _wider() -> dict[int, int]:
    """The number of each narrow type to that of the wide one. Newer types of 8 bits and fewer are found, not listed."""
    known = {tf.as_dtype(n) for n in types_pb2.DataType.values() if 0 < n < REFERENCES}
    floats = {t.as_datatype_enum: types_pb2.DT_DOUBLE for t in known if t.is_floating and t != tf.float64}
    return floats | {types_pb2.DT_COMPLEX64: types_pb2.DT_COMPLEX128}


WIDER = _wider()
FLOATS = frozenset(narrow for narrow, wide in WIDER.items() if wide == types_pb2.DT_DOUBLE)


def obstacle(graph_def: GraphDef) -> str | None:
    """Why a graph means something else in wide types, in a few words; None where it does not.

    What is named here has a wide form that runs, and gives other values than the narrow one was meant to.
    """
    for node in _all_nodes(graph_def):
        narrow = any(is_narrow(value) for value in complete(node).attr.values())
        if node.op in _RUNS_PYTHON:
            return f"operator {node.op} runs Python code, whose precision can't be told"
        if narrow and any(word in node.op for word in _DRAWS):
            return f"operator {node.op} draws other numbers in float64"
        if node.op == "Const" and node.attr["dtype"].type == types_pb2.DT_VARIANT:
            return f"constant {node.name} is no plain tensor"
    if read := next((node for nodes in _scopes(graph_def) for node in _reading_bits(nodes)), None):
        return f"operator {read.op} reads the bits of a number"
    if any(map(_rounds, _all_nodes(graph_def))) and any(map(_compares, _scopes(graph_def))):
        return "a number may equal a constant once it is rounded, and no longer in float64"
    if sum(_wide_bytes(node) for node in _all_nodes(graph_def)) > _LARGEST:
        return "the weights take more than 2 GiB in float64"
    return None


def remaining_narrow_type(graph_def: GraphDef) -> str | None:
    """The first node that is not wide throughout, or that has no kernel, in a few words; None where there is none."""
    functions = {function.signature.name for function in graph_def.library.function}
    for function in graph_def.library.function:
        for arg in (*function.signature.input_arg, *function.signature.output_arg):
            if arg.type % REFERENCES in WIDER:
                return f"function {function.signature.name} is declared in {_type_name(arg.type)}"
    for node in _all_nodes(graph_def):
        if node.op in functions:
            continue
        op = op_def_registry.get(node.op)
        if op is None:
            return f"operator {node.op} is not TensorFlow's own"
        if problem := _narrow_in(complete(node), op):
            return f"operator {node.op} {problem}"
    return None


def _narrow_in(node: NodeDef, op: Any) -> str | None:
    for arg in (*op.input_arg, *op.output_arg):
        if arg.type % REFERENCES in WIDER:
            return f"works in {_type_name(arg.type)} alone"
    if any(is_narrow(value) for value in node.attr.values()):
        return "keeps a narrow type"
    allowed = ((attr.name, attr.allowed_values.list.type) for attr in op.attr)
    if not _meets(node, allowed) or not _has_kernel(node):
        return "has no float64 form"
    return None


def _meets(node: NodeDef, constraints: Iterable[tuple[str, Iterable[int]]]) -> bool:
    """Whether the node's types are all among the allowed ones; no list of them allows all."""
    return all(
        not allowed or set(node.attr[name].list.type or [node.attr[name].type]) <= set(allowed)
        for name, allowed in constraints
    )


def _has_kernel(node: NodeDef) -> bool:
    return any(
        _meets(node, ((constraint.name, constraint.allowed_values.list.type) for constraint in kernel.constraint))
        for kernel in _cpu_kernels(node.op)
    )


@cache
def _cpu_kernels(op: str) -> list[Any]:
    registered = kernels.get_registered_kernels_for_op(op).kernel
    return [kernel for kernel in registered if kernel.device_type in ("CPU", "DEFAULT") and not kernel.label]


def _scopes(graph_def: GraphDef) -> Iterator[list[NodeDef]]:
    """The nodes of the graph, then of each function: a name means the same throughout one of them."""
    yield list(graph_def.node)
    for function in graph_def.library.function:
        yield list(function.node_def)


def _all_nodes(graph_def: GraphDef) -> Iterator[NodeDef]:
    return chain.from_iterable(_scopes(graph_def))


def complete(node: NodeDef) -> NodeDef:
    """The node with the defaults of its operator written out: a file may leave them out."""
    op = op_def_registry.get(node.op)
    absent = [attr for attr in op.attr if attr.name not in node.attr and attr.HasField("default_value")] if op else []
    if not absent:
        return node
    complete = type(node)()
    complete.CopyFrom(node)
    for attr in absent:
        complete.attr[attr.name].CopyFrom(attr.default_value)
    return complete


def is_narrow(value: AttrValue) -> bool:
    """Whether an attribute is, lists, holds or hands to a function a narrow type."""
    types = {value.type, value.tensor.dtype, *value.list.type, *(tensor.dtype for tensor in value.list.tensor)}
    inner = (*value.func.attr.values(), *(v for func in value.list.func for v in func.attr.values()))
    return any(number % REFERENCES in WIDER for number in types) or any(map(is_narrow, inner))


def _rounds(node: NodeDef) -> bool:
    """Whether the node is a cast to a narrower type: what it gives is another number in float64."""
    if node.op != "Cast":
        return False
    before, after = (tf.as_dtype(node.attr[key].type % REFERENCES) for key in ("SrcT", "DstT"))
    return bool(before.is_floating and after.is_floating and before.size > after.size)


def _reading_bits(nodes: Sequence[NodeDef]) -> Iterator[NodeDef]:
    """The nodes that read the bits of a narrow number, but for those of which the sign alone is used.

    `keras.ops.argmax` asks whether a zero is -0. A number has one sign in all types.
    """
    readers: dict[str, list[NodeDef]] = {}
    for node in nodes:
        for tensor in node.input:
            readers.setdefault(tensor.lstrip("^").partition(":")[0], []).append(node)
    masks = {node.name for node in nodes if node.op == "Const" and _is_sign_bit(node.attr["value"].tensor)}
    for node in nodes:
        if node.op in _READS_BITS and any(is_narrow(value) for value in complete(node).attr.values()):
            uses = readers.get(node.name, [])
            masked = [
                one.op == "BitwiseAnd" and any(tensor.partition(":")[0] in masks for tensor in one.input)
                for one in uses
            ]
            if node.op != "Bitcast" or not masked or not all(masked):
                yield node


def _is_sign_bit(tensor: Any) -> bool:
    return bool(tensor.dtype == types_pb2.DT_INT32 and np.all(tf.make_ndarray(tensor) == SIGN_BIT))


def _compares(nodes: Iterable[NodeDef]) -> bool:
    """Whether a number is compared with a constant such as 0.1, which has another value in each type.

    It is how masks are found. Whole numbers, which most masks are, have the same value in all types.
    """
    constants = {node.name: node for node in nodes if node.op == "Const"}
    compared = [
        constants[name].attr["value"].tensor
        for node in nodes
        if node.op in _COMPARES
        for name in {tensor.partition(":")[0] for tensor in node.input} & set(constants)
    ]
    values = [tf.make_ndarray(tensor) for tensor in compared if tf.as_dtype(tensor.dtype).is_floating]
    return any(np.any(value != np.round(value)) for value in values)


def _wide_bytes(node: NodeDef) -> int:
    if node.op != "Const":
        return 0
    tensor = node.attr["value"].tensor
    return int(np.prod([dim.size for dim in tensor.tensor_shape.dim], dtype=np.int64)) * 8


def _type_name(number: int) -> str:
    return str(tf.as_dtype(number % REFERENCES).name)


def elementary(op: str, attributes: Attributes, meaning: Meaning) -> Body | None:
    """What computes the same as an operator, from its inputs in float64 to all its outputs.

    Args:
        op: the operator's name.
        attributes: the `AttrValue` of each of its attributes, defaults included.
        meaning: of a float among them.

    Returns:
        A function of tensors, to be traced; None where there is none for these attributes.
    """
    make = _MAKERS.get(op)
    return make(attributes, meaning) if make else None


def _batch_norm(results: int) -> Maker:
    """FusedBatchNorm, with statistics that were learned or with those of the batch; its versions differ in `results`.

    The second kind is no training: Keras 2 normalises layers with it, each row as a channel.
    """

    def make(attributes: Attributes, meaning: Meaning) -> Body | None:
        epsilon, learned = _number(attributes, "epsilon", meaning), not attributes["is_training"].b
        channels_first = attributes["data_format"].s.startswith(b"NC")
        if not learned and "exponential_avg_factor" in attributes and attributes["exponential_avg_factor"].f != 1:
            return None

        def body(x: Tensor, scale_C: Tensor, offset_C: Tensor, mean_C: Tensor, variance_C: Tensor) -> list[Tensor]:
            axis = 1 if channels_first else tf.rank(x) - 1
            others = tf.concat([tf.range(axis), tf.range(axis + 1, tf.rank(x))], 0)

            def along(vector_C: Tensor) -> Tensor:
                return tf.reshape(vector_C, tf.concat([[-1], tf.ones([tf.rank(x) - 1 - axis], tf.int32)], 0))

            spread_C = variance_C
            if not learned:
                mean_C, spread_C = tf.reduce_mean(x, others), tf.math.reduce_variance(x, others)
                count = tf.cast(tf.size(x) // tf.size(mean_C), x.dtype)
                variance_C = spread_C * count / tf.maximum(count - 1, 1)
            y = (x - along(mean_C)) * along(scale_C / tf.sqrt(spread_C + epsilon)) + along(offset_C)
            # Then what training would need: statistics, and room for more.
            return [y, mean_C, variance_C, *[mean_C] * (results - 3)]

        return body

    return make


def _signs(attributes: Attributes, meaning: Meaning) -> Body | None:
    """The bits of a float32 as an int32, of which the first alone is used: the upper half of a float64 has the same."""
    if attributes["T"].type != types_pb2.DT_FLOAT or attributes["type"].type != types_pb2.DT_INT32:
        return None
    return lambda x: [tf.cast(tf.bitwise.right_shift(tf.bitcast(x, tf.int64), tf.constant(32, tf.int64)), tf.int32)]


def _local_response(attributes: Attributes, meaning: Meaning) -> Body:
    """LRN: x over a power of the sum of squares in a window of channels."""
    radius = attributes["depth_radius"].i
    bias, alpha, beta = (_number(attributes, key, meaning) for key in ("bias", "alpha", "beta"))

    def body(x_NHWC: Tensor) -> list[Tensor]:
        channels = tf.shape(x_NHWC)[-1]
        # A window wider than the channels holds them all; band_part takes no more than there are.
        reach = tf.minimum(radius, channels)
        window_CC = tf.linalg.band_part(tf.ones([channels, channels], tf.float64), reach, reach)
        sums_NHWC = tf.tensordot(tf.square(x_NHWC), window_CC, 1)
        return [x_NHWC * tf.pow(bias + alpha * sums_NHWC, -beta)]

    return body


def _leaky_relu(attributes: Attributes, meaning: Meaning) -> Body:
    """LeakyRelu keeps its slope in float32, whatever it computes in."""
    slope = _number(attributes, "alpha", meaning)
    return lambda x: [tf.where(x > 0, x, slope * x)]


def _number(attributes: Attributes, key: str, meaning: Meaning) -> float:
    return float(meaning(np.array(attributes[key].f, np.float32)))


def _pool(pool: Callable[..., Tensor]) -> Maker:
    """MaxPool3D and AvgPool3D: in the plane, then along the depth.

    The mean of a box is the mean of the means of its planes, since each plane of a box holds equally many values.
    """

    def make(attributes: Attributes, meaning: Meaning) -> Body | None:
        if attributes["data_format"].s != b"NDHWC":
            return None
        sizes, strides = (list(attributes[key].list.i) for key in ("ksize", "strides"))
        padding = attributes["padding"].s.decode()

        def body(x: Tensor) -> list[Tensor]:
            N, D, H, W, C = tf.unstack(tf.shape(x), 5)
            plane = pool(tf.reshape(x, [N * D, H, W, C]), [1, *sizes[2:4], 1], [1, *strides[2:4], 1], padding=padding)
            H, W = tf.shape(plane)[1], tf.shape(plane)[2]
            column = pool(
                tf.reshape(plane, [N, D, H * W, C]), [1, sizes[1], 1, 1], [1, strides[1], 1, 1], padding=padding
            )
            return [tf.reshape(column, [N, tf.shape(column)[1], H, W, C])]

        return body

    return make


def _resize_bilinear(attributes: Attributes, meaning: Meaning) -> Body:
    """ResizeBilinear: each pixel between the nearest two rows and columns of the image."""
    corners, centres = attributes["align_corners"].b, attributes["half_pixel_centers"].b

    def places(size: Tensor, wanted: Tensor) -> Tensor:
        """Where in `size` pixels each of `wanted` ones lies."""
        index = tf.range(tf.cast(wanted, tf.float64), dtype=tf.float64)
        size, wanted = tf.cast(size, tf.float64), tf.cast(wanted, tf.float64)
        if corners:
            return index * tf.where(wanted > 1, (size - 1) / tf.maximum(wanted - 1, 1), size / wanted)
        return (index + 0.5) * (size / wanted) - 0.5 if centres else index * (size / wanted)

    def resized(x: Tensor, axis: int, wanted: Tensor) -> Tensor:
        size = tf.shape(x)[axis]
        place = places(size, wanted)
        low = tf.maximum(tf.cast(tf.floor(place), tf.int32), 0)
        high = tf.minimum(tf.cast(tf.math.ceil(place), tf.int32), size - 1)
        share = tf.reshape(place - tf.floor(place), [-1] + [1] * (3 - axis))
        below, above = tf.gather(x, low, axis=axis), tf.gather(x, high, axis=axis)
        return below + (above - below) * share

    def body(images_NHWC: Tensor, sizes: Tensor) -> list[Tensor]:
        x = tf.cast(images_NHWC, tf.float64)
        return [resized(resized(x, 1, sizes[0]), 2, sizes[1])]

    return body


_MAKERS: dict[str, Maker] = {
    "Bitcast": _signs,
    "FusedBatchNorm": _batch_norm(5),
    "FusedBatchNormV2": _batch_norm(5),
    "FusedBatchNormV3": _batch_norm(6),
    "LeakyRelu": _leaky_relu,
    "LRN": _local_response,
    "MaxPool3D": _pool(tf.nn.max_pool2d),
    "AvgPool3D": _pool(tf.nn.avg_pool2d),
    "ResizeBilinear": _resize_bilinear,
}
