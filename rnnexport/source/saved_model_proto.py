"""The part of TensorFlow's SavedModel format that tells what a file is, and what may run, without TensorFlow.

Field numbers are those of TensorFlow's `saved_model.proto`, `meta_graph.proto`, `graph.proto`, `function.proto`,
`attr_value.proto` and `saved_object_graph.proto`. Fields that are not listed are skipped over.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

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
