"""What a SavedModel folder is, and whether running it does more than compute. Needs no TensorFlow.

A SavedModel is a TensorFlow program. Of its functions those run that its serving signature reaches, the one that the
objects of the folder name so; none of these may hold an operator that does more than compute. Objects whose set-up runs
while the folder is loaded (tables, assets, savers of their own) are refused, and so are folders of TensorFlow 1, which
run a graph to start.

The part of TensorFlow's SavedModel format that tells what a file is, and what may run, without TensorFlow.

Field numbers are those of TensorFlow's `saved_model.proto`, `meta_graph.proto`, `graph.proto`, `function.proto`,
`attr_value.proto` and `saved_object_graph.proto`. Fields that are not listed are skipped over.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from rnnexport.core.errors import ConversionError, UsageError

PROGRAM = "saved_model.pb"
SERVING = "serving_default"
_KERAS_METADATA = "keras_metadata.pb"
_SIGNATURES = "signatures"
# A constant of one value throughout is stored as that value.
_VALUES_A_BYTE, _FEW_VALUES = 4, 2**22
# TensorFlow, and every converter, writes out each call of a function where it stands.
_TIMES_THE_STORED, _FEW_OPERATORS = 4, 50_000


@dataclass(frozen=True)
class SavedModelFile:
    """A SavedModel folder that was looked at.

    Attributes:
        tensorflow_version: that wrote it.
        keras: whether Keras 2 wrote its own objects into it.
        signatures: names of its signatures.
    """

    tensorflow_version: str
    keras: bool
    signatures: tuple[str, ...]


def is_saved_model(path: Path) -> bool:
    """Whether `path` is a folder of that format."""
    return (path / PROGRAM).is_file()


def read_saved_model(path: Path, *, allow_unsafe: bool = False) -> SavedModelFile:
    """Look at a SavedModel folder.

    Raises:
        ConversionError: it is damaged, has no serving signature, or would do more than compute; names the operator.
    """
    graph = _serving_graph(path)
    names = tuple(sorted(entry.key for entry in graph.signatures if not entry.key.startswith("__")))
    if SERVING not in names:
        raise ConversionError(
            f"{path.name} has the signatures {', '.join(names) or '(none)'}", SERVING, "save it with that signature"
        )
    if not allow_unsafe:
        _check(graph, path.name)
        _check_totals(graph, path)
    return SavedModelFile(graph.meta_info.tensorflow_version, (path / _KERAS_METADATA).is_file(), names)


def digest(path: Path) -> str:
    """SHA-256 in hexadecimal of every file of the folder with its name, but for what rnnexport keeps in it."""
    total = hashlib.sha256()
    for file in sorted(file for file in path.rglob("*") if file.is_file()):
        name = file.relative_to(path).as_posix()
        if not name.startswith("assets.extra/"):
            try:
                with file.open("rb") as stream:
                    total.update(f"{name} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
            except OSError as error:
                raise UsageError(
                    f"can't read {file}: {error.strerror}", "a readable file", "check its rights"
                ) from error
    return total.hexdigest()


def _serving_graph(path: Path) -> Any:
    try:
        program = parse_saved_model((path / PROGRAM).read_bytes())
    except (DecodeError, OSError) as error:
        raise ConversionError(f"{path.name} is damaged ({error})", "a whole SavedModel", "save it again") from error
    for graph in program.meta_graphs:
        if "serve" in graph.meta_info.tags:
            return graph
    raise ConversionError(f"{path.name} has no graph tagged serve", "a SavedModel for serving", "save it again")


def _check(graph: Any, name: str) -> None:
    if not graph.objects.nodes:
        raise _refused(name, "a graph of TensorFlow 1, which runs operators to start,")
    for node in graph.objects.nodes:
        for kind in ("asset", "resource"):
            if node.HasField(kind):
                raise _refused(name, f"a table or other {kind}, which is set up from files,")
        if node.savers or node.registered_saver:
            raise _refused(name, "an object with a saver of its own")
    functions = _serving_functions(graph.objects.nodes)
    if not functions:
        raise _refused(name, f"no function {SERVING} among the objects")
    for op in sorted(_reached(graph, functions)):
        if op not in COMPUTING:
            raise _refused(name, f"the operator {op}")


def _check_totals(graph: Any, path: Path) -> None:
    """Refuse a folder that holds far more than it has bytes: a bomb.

    Counted are the values of its constants and of its variables, and its operators with each call written out.
    """
    functions = (node for function in graph.graph.library.functions for node in function.nodes)
    shapes = [entry.value.tensor.shape for node in functions for entry in node.attributes]
    shapes += [entry.value.tensor.shape for node in graph.graph.nodes for entry in node.attributes]
    variables = [node.variable.shape for node in graph.objects.nodes if node.HasField("variable")]
    stored = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    for what, found in (("constants", shapes), ("variables", variables)):
        values = sum(math.prod(max(dim.size, 0) for dim in shape.dims) for shape in found)
        if values > _FEW_VALUES + _VALUES_A_BYTE * stored:
            raise _refused(path.name, f"{what} of {values} values in {stored} bytes,")
    library = {item.declaration.name: item.nodes for item in graph.graph.library.functions}
    written = sum(_written_out(library, name) for name in _serving_functions(graph.objects.nodes) & library.keys())
    if written > max(_FEW_OPERATORS, _TIMES_THE_STORED * sum(map(len, library.values()))):
        raise _refused(path.name, f"functions that come to {written} operators where they are called,")


def _written_out(library: Mapping[str, Any], name: str) -> int:
    """How many operators a function has with those of all functions that it calls; a recursion counts as one."""
    found: dict[str, int] = {}
    begun: set[str] = set()
    waiting = [name]
    while waiting:
        last = waiting[-1]
        called = [one for node in library[last] for one in _called(node) if one in library]
        if last in begun:
            found[last] = len(library[last]) + sum(found.get(one, 1) for one in called)
            waiting.pop()
        begun.add(last)
        waiting += {one for one in called if one not in begun}
    return found[name]


def _serving_functions(objects: Any) -> set[str]:
    """The functions that a loader calls for the serving signature; the one in the graph is a description alone."""
    found: set[str] = set()
    for index in _children(objects, 0, _SIGNATURES):
        for child in _children(objects, index, SERVING):
            found |= {objects[child].bare_function.name, *objects[child].function.names}
    return found - {""}


def _children(objects: Any, index: int, name: str) -> list[int]:
    return [child.node for child in objects[index].children if child.name == name and 0 <= child.node < len(objects)]


def _reached(graph: Any, functions: Iterable[str]) -> set[str]:
    """The operators of these functions and of all that they call."""
    library = {item.declaration.name: item for item in graph.graph.library.functions}
    waiting, seen, found = set(functions), set(), set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for node in library[name].nodes if name in library else ():
            found |= {node.op} - set(library)
            waiting |= set(_called(node)) - seen
    return found


def _called(node: Any) -> Iterator[str]:
    """Names of functions that a node may call."""
    yield node.op
    for attribute in node.attributes:
        yield attribute.value.function.name
        yield from (function.name for function in attribute.value.list.functions)


def _refused(name: str, what: str) -> ConversionError:
    return ConversionError(
        f"{what} in {name}",
        "a SavedModel that computes and does nothing else",
        "export the model it was made from, or let it in with --allow-unsafe if you trust it",
    )


_PACKAGE = "rnnexport.saved_model"
_ONE, _MANY = descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL, descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
_MESSAGE = descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE
_SCALARS = {
    "": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "#": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
}

# message -> (field, number, label, type): a message, "" a string, "#" a number. A map is repeated key and value.
_MESSAGES: dict[str, tuple[tuple[str, int, int, str], ...]] = {
    "SavedModel": (("meta_graphs", 2, _MANY, "MetaGraph"),),
    "MetaGraph": (
        ("meta_info", 1, _ONE, "MetaInfo"),
        ("graph", 2, _ONE, "Graph"),
        ("signatures", 5, _MANY, "SignatureEntry"),
        ("objects", 7, _ONE, "Objects"),
    ),
    "MetaInfo": (("tags", 4, _MANY, ""), ("tensorflow_version", 5, _ONE, "")),
    "Graph": (("nodes", 1, _MANY, "Node"), ("library", 2, _ONE, "Library")),
    "Node": (
        ("name", 1, _ONE, ""),
        ("op", 2, _ONE, ""),
        ("inputs", 3, _MANY, ""),
        ("attributes", 5, _MANY, "AttributeEntry"),
    ),
    "AttributeEntry": (("key", 1, _ONE, ""), ("value", 2, _ONE, "Attribute")),
    "Attribute": (
        ("list", 1, _ONE, "AttributeList"),
        ("tensor", 8, _ONE, "Constant"),
        ("function", 10, _ONE, "FunctionName"),
    ),
    "Constant": (("shape", 2, _ONE, "Shape"),),
    "Shape": (("dims", 2, _MANY, "Dim"),),
    "Dim": (("size", 1, _ONE, "#"),),
    "Variable": (("shape", 2, _ONE, "Shape"),),
    "AttributeList": (("functions", 9, _MANY, "FunctionName"),),
    "FunctionName": (("name", 1, _ONE, ""),),
    "Library": (("functions", 1, _MANY, "Function"),),
    "Function": (("declaration", 1, _ONE, "FunctionName"), ("nodes", 3, _MANY, "Node")),
    "SignatureEntry": (("key", 1, _ONE, ""), ("value", 2, _ONE, "Signature")),
    "Signature": (("inputs", 1, _MANY, "TensorEntry"), ("outputs", 2, _MANY, "TensorEntry")),
    "TensorEntry": (("key", 1, _ONE, ""), ("value", 2, _ONE, "Tensor")),
    "Tensor": (("name", 1, _ONE, ""),),
    "Objects": (("nodes", 1, _MANY, "Object"),),
    "Object": (
        ("children", 1, _MANY, "Child"),
        ("function", 6, _ONE, "SavedFunction"),
        ("variable", 7, _ONE, "Variable"),
        ("bare_function", 8, _ONE, "BareFunction"),
        ("asset", 5, _ONE, "Anything"),
        ("resource", 10, _ONE, "Anything"),
        ("savers", 11, _MANY, "Anything"),
        ("registered_saver", 16, _ONE, ""),
    ),
    "Child": (("node", 1, _ONE, "#"), ("name", 2, _ONE, "")),
    "SavedFunction": (("names", 1, _MANY, ""),),
    "BareFunction": (("name", 1, _ONE, ""),),
    "Anything": (),
}
# The operators of TensorFlow that compute, and do nothing else: no files, no processes, no other hosts, no Python. Of
# all operators those without state whose inputs are numbers and whose attributes name no function, text or place, and
# with them control flow, variables, lists of tensors, asserts and random numbers. What is not in the list is refused,
# so that a newer TensorFlow opens no door. `test_saved_model_file.py` holds the list against the installed one.
COMPUTING = frozenset(
    """
Abs AccumulateNV2 Acos Acosh Add AddN AddV2 AdjustContrastv2 AdjustHue AdjustSaturation All Angle Any ApproxTopK
ApproximateEqual ArgMax ArgMin Asin Asinh Assert Assign AssignAdd AssignAddVariableOp AssignSub
AssignSubVariableOp AssignVariableOp Atan Atan2 Atanh AudioSpectrogram AvgPool AvgPool3D BandedTriangularSolve
BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchToSpace BatchToSpaceND BesselI0 BesselI0e BesselI1 BesselI1e BesselJ0
BesselJ1 BesselK0 BesselK0e BesselK1 BesselK1e BesselY0 BesselY1 Betainc BiasAdd BiasAddV1 Bincount Bitcast
BitwiseAnd BitwiseOr BitwiseXor BlockLSTM BlockLSTMV2 BroadcastArgs BroadcastTo Bucketize Case Cast Ceil
CheckNumerics CheckNumericsV2 Cholesky ClipByValue CombinedNonMaxSuppression Complex ComplexAbs Concat
ConcatOffset ConcatV2 Conj ConjugateTranspose Const ControlTrigger Conv Conv2D Conv3D Cos Cosh CropAndResize Cross
CudnnRNN CudnnRNNCanonicalToParams CudnnRNNCanonicalToParamsV2 CudnnRNNParamsSize CudnnRNNParamsToCanonical
CudnnRNNParamsToCanonicalV2 CudnnRNNV2 CudnnRNNV3 Cumprod Cumsum CumulativeLogsumexp Dawsn DenseBincount
DepthToSpace DepthwiseConv2dNative Dequantize Diag DiagPart Digamma Dilation2D DisableCopyOnRead Div DivNoNan
DynamicPartition DynamicStitch EditDistance Eig Einsum Elu Empty EnsureShape Enter Equal Erf Erfc Erfinv
EuclideanNorm Exit Exp ExpandDims Expint Expm1 ExtractImagePatches ExtractVolumePatches FFT FFT2D FFT3D FFTND
FakeParam FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill Floor FloorDiv
FloorMod FractionalAvgPool FractionalMaxPool FresnelCos FresnelSin FusedBatchNorm FusedBatchNormV2
FusedBatchNormV3 FusedPadConv2D FusedResizeAndPadConv2D GRUBlockCell Gather GatherNd GatherV2 Greater GreaterEqual
HSVToRGB HistogramFixedWidth IFFT IFFT2D IFFT3D IFFTND IRFFT IRFFT2D IRFFT3D IRFFTND Identity IdentityN If Igamma
Igammac Imag ImageProjectiveTransformV2 ImageProjectiveTransformV3 InTopK InTopKV2 Inv Invert InvertPermutation
IsFinite IsInf IsNan IsVariableInitialized L2Loss LRN LSTMBlockCell LeakyRelu LeftShift Less LessEqual Lgamma
LinSpace ListDiff Log Log1p LogMatrixDeterminant LogSoftmax LogicalAnd LogicalNot LogicalOr LoopCond LowerBound Lu
MatMul MatrixBandPart MatrixDeterminant MatrixDiag MatrixDiagPart MatrixDiagPartV2 MatrixDiagV2 MatrixInverse
MatrixLogarithm MatrixSetDiag MatrixSetDiagV2 MatrixSolve MatrixSolveLs MatrixSquareRoot MatrixTriangularSolve Max
MaxPool MaxPool3D MaxPoolV2 MaxPoolWithArgmax Maximum Mean Merge Mfcc Min Minimum MirrorPad Mod Mul MulNoNan Ndtri
Neg NextAfter NextIteration NoOp NonMaxSuppression NonMaxSuppressionV2 NonMaxSuppressionV3 NonMaxSuppressionV4
NonMaxSuppressionV5 NonMaxSuppressionWithOverlaps NotEqual NthElement OneHot OnesLike Pack Pad PadV2
ParallelConcat ParallelDynamicStitch PartitionedCall Placeholder PlaceholderWithDefault Polygamma PopulationCount
Pow PreventGradient Prod Qr QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 QuantizeAndDequantizeV4
QuantizeDownAndShrinkRange QuantizeV2 RFFT RFFT2D RFFT3D RFFTND RGBToHSV RaggedBincount RaggedFillEmptyRows
RaggedGather RaggedRange RandomIndexShuffle RandomStandardNormal RandomUniform RandomUniformInt Range Rank
ReadVariableOp Real RealDiv Reciprocal Relu Relu6 RequantizationRange RequantizationRangePerChannel Requantize
RequantizePerChannel Reshape ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor ResourceGather
ResourceGatherNd Reverse ReverseSequence ReverseV2 RightShift Rint Roll Round Rsqrt ScatterNd SegmentMax
SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2 SegmentProd SegmentProdV2 SegmentSum SegmentSumV2 Select SelectV2
SelfAdjointEigV2 Selu SetSize Shape ShapeN Sigmoid Sign Sin Sinh Size Slice SobolSample Softmax
SoftmaxCrossEntropyWithLogits Softplus Softsign SpaceToBatchND SpaceToDepth Spence Split SplitV Sqrt Square
SquaredDifference Squeeze StatefulPartitionedCall StatelessCase StatelessIf StatelessMultinomial
StatelessParameterizedTruncatedNormal StatelessRandomBinomial StatelessRandomGammaV2 StatelessRandomGammaV3
StatelessRandomGetKeyCounter StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2
StatelessRandomPoisson StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2
StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2 StatelessShuffle
StatelessTruncatedNormal StatelessTruncatedNormalV2 StatelessWhile StaticRegexFullMatch StopGradient StridedSlice
StridedSliceAssign Sub Sum Svd Switch Tan Tanh TensorListConcat TensorListConcatLists TensorListConcatV2
TensorListElementShape TensorListFromTensor TensorListGather TensorListGetItem TensorListLength TensorListPopBack
TensorListPushBack TensorListPushBackBatch TensorListReserve TensorListResize TensorListScatter
TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem TensorListSplit TensorListStack
TensorScatterAdd TensorScatterMax TensorScatterMin TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate
Tile ToBool TopKV2 Transpose TridiagonalMatMul TridiagonalSolve TruncateDiv TruncateMod TruncatedNormal
UniformRequantize Unique UniqueV2 UniqueWithCounts UniqueWithCountsV2 Unpack UnravelIndex UnsortedSegmentMax
UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum UpperBound VarHandleOp VarIsInitializedOp VariableV2
Where While Xdivy Xlog1py Xlogy ZerosLike Zeta
    """.split()  # noqa: SIM905 - a list of 435 literals reads worse
)


@cache
def _saved_model_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="rnnexport/saved_model.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, label, kind in fields:
            added = message.field.add(name=field, number=number, label=label, type=_SCALARS.get(kind, _MESSAGE))
            if kind not in _SCALARS:
                added.type_name = f".{_PACKAGE}.{kind}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.SavedModel"))


def parse_saved_model(data: bytes) -> Any:
    """The message that `saved_model.pb` holds.

    Raises:
        google.protobuf.message.DecodeError: it is damaged.
    """
    return _saved_model_class().FromString(data)
