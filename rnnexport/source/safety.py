"""What a model file may hold. All of it is checked before any Keras sees the file, and nothing in the file runs.

1. The archive: no entry outside its folder, no links, no bombs, no entry that a loader would unpickle.
2. The HDF5 weights: no data that lies in another file.
3. The configuration: no code, no class or function that reaches past the layers of Keras, no layer that opens files.
4. Names of classes and functions: those of Keras, or those that the user gave. Keras itself would import any module
   that a file names.

The functions of TensorFlow that compute, and do nothing else: no files, no processes, no other hosts, no Python.

What tf_keras makes of `a + b`, `x[:, -1]` or `tf.concat` in a functional model names one of them in the file. What is
not in the list is refused, so that a newer TensorFlow opens no door. Those that take a Python function are not in it,
and those that draw random numbers are: a model that does is refused with a better reason. `test_functions.py` holds the
list against the installed TensorFlow.
"""

from __future__ import annotations

import difflib
import re
import stat
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from rnnexport.core.errors import ConversionError, ProviderError
from rnnexport.source.configs import serialised_objects
from rnnexport.source.packages import ObjectName

Advise = Callable[[ObjectName], str]
_SHOWN = 8
CONFIG_LIMIT = 256 * 2**20
_BOMB_SIZE = 64 * 2**20
_BOMB_RATIO = 100
_MOST_ENTRIES = 10_000
_ENTRIES = ("metadata.json", "config.json", "model.weights.h5")
_FOLDERS = ("assets",)

# Classes that are code, or that load code or files when they are built.
_LOADERS = {
    "Lambda": "which is code inside a file",
    "__lambda__": "which is code inside a file",
    "TFSMLayer": "which loads a SavedModel from a path in the file",
    "TorchModuleWrapper": "which unpickles",
    "JaxLayer": "which is code inside a file",
    "FlaxLayer": "which is code inside a file",
    # What tf_keras makes of TensorFlow functions that a model calls: they name any symbol, or hold any operator.
    "ClassMethod": "which calls what it names",
    "InstanceMethod": "which calls what it names",
    "InstanceProperty": "which calls what it names",
    "TensorFlowOpLayer": "which holds an operator of its own",
    "DenseFeatures": "which may read vocabularies from files",
    "SequenceFeatures": "which may read vocabularies from files",
}
# Arguments of the cell wrappers of tf_keras that are code.
_FUNCTIONS = ("residual_fn", "dropout_fn")
_CALLS = ("TFOpLambda", "SlicingOpLambda")
_LOOKUPS = ("StringLookup", "IntegerLookup", "TextVectorization")
# The parts of Keras that a model is made of. Others read, write, fetch, or load models of their own.
_KERAS = ("keras", "tf_keras")
_INNER = ("src", "api", "_tf_keras", "keras", "engine", "v2", "v1", "legacy_tf_layers")
_FAMILIES = (
    *("layers", "activations", "initializers", "regularizers", "constraints", "ops", "dtype_policies", "quantizers"),
    *("losses", "metrics", "optimizers", "random", "models", "mixed_precision", "functional", "sequential", "training"),
)
_MODELS = ("Functional", "Model", "Sequential")
_NAME = re.compile(r"(?:[^<>]*>)?[A-Za-z_]\w*")
_MODULE = re.compile(r"\w+(?:\.\w+)*")
_RATIO = 100
_FLOOR = 2**20
_MOST_OBJECTS = 50_000


def check_archive(archive: zipfile.ZipFile, name: str) -> None:
    """Refuse a `.keras` archive that does more than hold a model.

    Raises:
        ConversionError: names the entry.
    """
    entries = archive.infolist()
    total = sum(entry.file_size for entry in entries)
    stored = min(sum(entry.compress_size for entry in entries), archive.start_dir)  # as entries may overlap
    if len(entries) > _MOST_ENTRIES:
        raise _refused(name, f"{len(entries)} entries")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        mode = entry.external_attr >> 16
        if not path.parts:
            raise _refused(name, f"entry {entry.filename!r}, which has no name")
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise _refused(name, f"entry {entry.filename!r}, which lies outside the archive")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise _refused(name, f"entry {entry.filename!r}, which is a link or a device")
        if entry.filename not in _ENTRIES and path.parts[0] not in _FOLDERS:
            raise _refused(name, f"entry {entry.filename!r}, which no Keras writes into a model")
        limit = CONFIG_LIMIT if path.suffix == ".json" else _BOMB_SIZE
        bomb = entry.file_size > _BOMB_RATIO * max(1, entry.compress_size)
        if entry.file_size > limit and (bomb or path.suffix == ".json"):
            raise _refused(name, f"entry {entry.filename!r} of {entry.file_size} bytes from {entry.compress_size}")
        if path.suffix in (".npy", ".npz", ".pkl", ".pickle"):
            raise _refused(name, f"entry {entry.filename!r}, which may be a pickle")
    if total > max(CONFIG_LIMIT, _BOMB_RATIO * stored):
        raise _refused(name, f"entries of {total} bytes from {stored}")


def check_hdf5(stream: BinaryIO, name: str) -> None:
    """Refuse HDF5 data whose links or datasets lie in other files, or are far larger than what is stored of them.

    Raises:
        ConversionError: names the link or dataset; or it is no HDF5.
        ProviderError: h5py is not installed.
    """
    h5py = import_h5py()
    try:
        with h5py.File(stream, "r") as file:
            totals = DatasetTotals()
            for path, what in foreign(h5py, file, "", {}, totals):
                raise _refused(name, f"{path!r}, {what},")
            if totals.bomb:
                raise _refused(name, f"datasets of {totals.told} bytes from {totals.stored}")
    except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
        raise ConversionError(
            f"{name} holds damaged weights ({error})", "whole HDF5", "copy or save it again"
        ) from error


def import_h5py() -> Any:
    """h5py, which comes with the extra `convert`."""
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise ProviderError("h5py is not installed", "it, to read HDF5", "pip install 'rnnexport[convert]'") from error
    return h5py


def check_config(config: Mapping[str, Any], name: str) -> None:
    """Refuse a configuration that holds code or reaches past the layers of Keras.

    Raises:
        ConversionError: names the layer and what it holds.
    """
    for _, node in serialised_objects(config):
        kind, inner = node["class_name"].rpartition(">")[2], node["config"]
        label = f"{kind} {inner.get('name', '')!r}" if isinstance(inner, dict) else f"{kind} {str(inner)[:40]!r}"
        if kind in _LOADERS:
            raise _refused(name, f"layer {label}, {_LOADERS[kind]}")
        if isinstance(inner, dict) and set(_FUNCTIONS) & set(inner):
            raise _refused(name, f"layer {label}, which holds a function")
        if kind in _LOOKUPS and isinstance(inner, dict) and isinstance(inner.get("vocabulary"), str):
            raise _refused(name, f"layer {label}, which reads the file {inner['vocabulary']!r}")
        function = str(inner.get("function")) if isinstance(inner, dict) else "(none)"
        if kind in _CALLS and not computes(function):
            raise _refused(name, f"layer {label}, which calls the TensorFlow function {function!r}")
        _check_reference(node, label, name)


def _check_reference(node: Mapping[str, Any], label: str, name: str) -> None:
    """Refuse a class or function that no part of a model has: Keras looks up whatever `module.name` says."""
    names = [node["class_name"], *([node["config"]] if node["class_name"] == "function" else [])]
    module = node.get("module")
    odd = [one for one in names if isinstance(one, str) and not _NAME.fullmatch(one)]
    if isinstance(module, str) and not _MODULE.fullmatch(module):
        odd.append(module)
    if odd:
        raise _refused(name, f"a reference to {odd[0]!r}, which is no name,")
    if not isinstance(module, str) or module.partition(".")[0] not in _KERAS:
        return
    inner = [part for part in module.split(".")[1:] if part not in _INNER]
    plain = names[-1].rpartition(">")[2] if isinstance(names[-1], str) else ""
    if inner and (inner[0] not in _FAMILIES or (inner[0] == "models" and plain not in _MODELS)):
        raise _refused(name, f"a reference to {module}, {label}")


def _give(wanted: ObjectName) -> str:
    return f"give the file or module that defines {wanted.name} with --custom-objects FILE.py"


def check_names(config: Mapping[str, Any], given: Mapping[str, object], name: str, advise: Advise = _give) -> None:
    """Refuse a configuration that names code which is neither Keras' nor the user's.

    Args:
        config: the configuration.
        given: the user's classes and functions.
        name: of the file.
        advise: what to do for one that is missing.

    Raises:
        ConversionError: names the class or function, and the nearest that was given.
    """
    for _, node in serialised_objects(config):
        module = node.get("module")
        if not isinstance(module, str) or module.partition(".")[0] in _KERAS:
            continue
        function = node["class_name"] == "function" and isinstance(node["config"], str)
        wanted = node["config"] if function else node["class_name"]
        if wanted not in given:
            of = "" if module == "builtins" else module
            registered = node.get("registered_name")
            text = registered if isinstance(registered, str) and registered.endswith(f">{wanted}") else wanted
            raise unknown_object("function" if function else "class", ObjectName(str(text), of), given, name, advise)


def unknown_object(
    kind: str, wanted: ObjectName, given: Mapping[str, object], name: str, advise: Advise
) -> ConversionError:
    """The refusal of a file that needs code which was not given."""
    there = sorted({text.rpartition(">")[2] for text in given})
    near = difflib.get_close_matches(wanted.name, there, n=1)
    shown = ", ".join(there[:_SHOWN]) + (f" and {len(there) - _SHOWN} more" if len(there) > _SHOWN else "")
    told = (f"; given are {shown}" if shown else "; no code was given") + (
        f", the nearest is {near[0]}" if near else ""
    )
    return ConversionError(
        f"unknown custom {kind} {wanted.name!r} in {name}{told}", "its code on the command line", advise(wanted)
    )


def _refused(name: str, what: str) -> ConversionError:
    return ConversionError(
        f"{what} in {name}",
        "weights, and layers whose code is Keras' or given with --custom-objects",
        "make it a Layer subclass and save the model again, or let it in with --allow-unsafe if you trust the file",
    )


@dataclass
class DatasetTotals:
    """Over all datasets, each as often as a loader could come to it.

    Attributes:
        told: bytes of what reading them gives.
        stored: bytes that the file has of them.
        objects: groups and datasets.
    """

    told: int = 0
    stored: int = 0
    objects: int = 0

    @property
    def bomb(self) -> bool:
        """Whether far more is told than stored."""
        return self.told > _RATIO * max(_FLOOR, self.stored)


def foreign(
    h5py: Any, group: Any, prefix: str, told: dict[int, int], totals: DatasetTotals
) -> Iterator[tuple[str, str]]:
    """What in a group lies elsewhere, is a bomb, or is too much to look at.

    A group that is linked twice is looked at once, and counts twice.

    Args:
        h5py: the module.
        group: the group.
        prefix: its path.
        told: bytes that each group seen so far tells, by its address.
        totals: what was seen so far, added to.
    """
    for name in group:
        path, link = f"{prefix}/{name}", group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            yield path, "a link, whose data lies in another file"
            continue
        if isinstance(link, h5py.SoftLink):
            yield path, "a link by a path, which no Keras writes"
            continue
        child = group[name]
        totals.objects += 1
        if totals.objects > _MOST_OBJECTS:
            yield path, f"behind {_MOST_OBJECTS} others"
            return
        if isinstance(child, h5py.Group):
            yield from _inside(h5py, child, path, told, totals)
        elif isinstance(child, h5py.Dataset):
            yield from _dataset(child, path, h5py.h5o.get_info(child.id).addr in told, totals)
            told[h5py.h5o.get_info(child.id).addr] = child.nbytes


def _inside(h5py: Any, group: Any, path: str, told: dict[int, int], totals: DatasetTotals) -> Iterator[tuple[str, str]]:
    address = h5py.h5o.get_info(group.id).addr
    if address in told:
        totals.told += told[address]
        return
    before, told[address] = totals.told, 0  # of a group inside itself
    yield from foreign(h5py, group, path, told, totals)
    told[address] = totals.told - before


def _dataset(dataset: Any, path: str, again: bool, totals: DatasetTotals) -> Iterator[tuple[str, str]]:
    if dataset.external or dataset.is_virtual:
        yield path, "a dataset, whose data lies in another file"
        return
    stored = dataset.id.get_storage_size()
    totals.told += dataset.nbytes
    totals.stored += 0 if again else stored
    if dataset.nbytes > _RATIO * max(_FLOOR, stored):
        yield path, f"a dataset of {dataset.nbytes} bytes from {stored}"


_V1 = "compat.v1."  # tf_keras writes it for functions that have an older form too

_TOP = """
abs accumulate_n acos acosh add add_n angle arg_max arg_min argmax argmin argsort as_dtype as_string asin asinh atan
atan2 atanh batch_gather batch_to_space batch_to_space_nd betainc bincount bitcast boolean_mask broadcast_dynamic_shape
broadcast_static_shape broadcast_to cast ceil cholesky cholesky_solve clip_by_average_norm clip_by_global_norm
clip_by_norm clip_by_value complex concat confusion_matrix conj constant convert_to_tensor cos cosh count_nonzero cross
cumprod cumsum depth_to_space diag diag_part digamma div div_no_nan divide dynamic_partition dynamic_stitch
edit_distance eig eigvals einsum ensure_shape equal erf erfc exp expand_dims expm1 extract_image_patches
extract_volume_patches eye fill floor floor_div floordiv floormod gather gather_nd global_norm greater greater_equal
grad_pass_through histogram_fixed_width histogram_fixed_width_bins identity identity_n igamma igammac imag
invert_permutation is_finite is_inf is_nan is_non_decreasing is_strictly_increasing lbeta less less_equal lgamma
lin_space linspace log log1p log_sigmoid logical_and logical_not logical_or logical_xor matmul matrix_band_part
matrix_determinant matrix_diag matrix_diag_part matrix_inverse matrix_set_diag matrix_solve matrix_solve_ls
matrix_square_root matrix_transpose matrix_triangular_solve maximum meshgrid minimum mod multinomial multiply negative
norm not_equal one_hot ones ones_like pad parallel_stack polygamma pow qr random_crop random_gamma random_normal
random_poisson random_shuffle random_uniform range rank real realdiv reciprocal reduce_all reduce_any reduce_join
reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_sum repeat required_space_to_batch_paddings
reshape reverse reverse_sequence reverse_v2 rint roll round rsqrt saturate_cast scalar_mul scatter_nd searchsorted
segment_max segment_mean segment_min segment_prod segment_sum self_adjoint_eig self_adjoint_eigvals sequence_mask
setdiff1d shape shape_n sigmoid sign sin sinh size slice sort space_to_batch space_to_batch_nd space_to_depth split sqrt
square squared_difference squeeze stack stop_gradient strided_slice subtract svd tan tanh tensor_scatter_add
tensor_scatter_nd_add tensor_scatter_nd_max tensor_scatter_nd_min tensor_scatter_nd_sub tensor_scatter_nd_update
tensor_scatter_sub tensor_scatter_update tensordot tile to_bfloat16 to_complex128 to_complex64 to_double to_float
to_int32 to_int64 trace transpose truediv truncated_normal truncatediv truncatemod unique unique_with_counts
unravel_index unsorted_segment_max unsorted_segment_mean unsorted_segment_min unsorted_segment_prod
unsorted_segment_sqrt_n unsorted_segment_sum unstack where where_v2 zeros zeros_like zeta
"""
_SPACES = {
    "__operators__": "add eq getitem ne",
    "bitwise": "bitwise_and bitwise_or bitwise_xor invert left_shift right_shift",
    "dtypes": "as_dtype as_string cast complex saturate_cast",
    "image": """
    adjust_brightness adjust_contrast adjust_gamma adjust_hue adjust_saturation central_crop
    combined_non_max_suppression convert_image_dtype crop_and_resize crop_to_bounding_box draw_bounding_boxes
    extract_glimpse extract_image_patches extract_patches flip_left_right flip_up_down grayscale_to_rgb hsv_to_rgb
    image_gradients non_max_suppression pad_to_bounding_box per_image_standardization psnr resize resize_area
    resize_bicubic resize_bilinear resize_image_with_crop_or_pad resize_image_with_pad resize_images
    resize_nearest_neighbor resize_with_crop_or_pad resize_with_pad rgb_to_grayscale rgb_to_hsv rgb_to_yiq
    rgb_to_yuv rot90 sobel_edges ssim ssim_multiscale total_variation transpose transpose_image yiq_to_rgb
    yuv_to_rgb
    """,
    "linalg": """
    adjoint band_part banded_triangular_solve cholesky cholesky_solve cross det diag diag_part eig eigh
    eigh_tridiagonal eigvals eigvalsh einsum expm eye global_norm inv l2_normalize logdet logm lstsq lu
    lu_matrix_inverse lu_reconstruct lu_solve matmul matrix_rank matrix_transpose matvec norm normalize pinv qr
    set_diag slogdet solve sqrtm svd tensor_diag tensor_diag_part tensordot trace transpose triangular_solve
    tridiagonal_matmul tridiagonal_solve
    """,
    "math": """
    abs accumulate_n acos acosh add add_n angle approx_max_k approx_min_k argmax argmin asin asinh atan atan2 atanh
    bessel_i0 bessel_i0e bessel_i1 bessel_i1e betainc bincount ceil confusion_matrix conj cos cosh count_nonzero
    cumprod cumsum cumulative_logsumexp digamma divide divide_no_nan equal erf erfc erfcinv erfinv exp expm1 floor
    floordiv floormod greater greater_equal igamma igammac imag in_top_k invert_permutation is_finite is_inf is_nan
    is_non_decreasing is_strictly_increasing l2_normalize lbeta less less_equal lgamma log log1p log_sigmoid
    log_softmax logical_and logical_not logical_or logical_xor maximum minimum mod multiply multiply_no_nan ndtri
    negative nextafter not_equal polygamma polyval pow real reciprocal reciprocal_no_nan reduce_all reduce_any
    reduce_euclidean_norm reduce_logsumexp reduce_max reduce_mean reduce_min reduce_prod reduce_std reduce_sum
    reduce_variance rint round rsqrt scalar_mul segment_max segment_mean segment_min segment_prod segment_sum
    sigmoid sign sin sinh sobol_sample softmax softplus softsign sqrt square squared_difference subtract tan tanh
    top_k truediv unsorted_segment_max unsorted_segment_mean unsorted_segment_min unsorted_segment_prod
    unsorted_segment_sqrt_n unsorted_segment_sum xdivy xlog1py xlogy zero_fraction zeta
    """,
    "nn": """
    atrous_conv2d atrous_conv2d_transpose avg_pool avg_pool1d avg_pool2d avg_pool3d avg_pool_v2
    batch_norm_with_global_normalization batch_normalization bias_add collapse_repeated conv1d conv1d_transpose
    conv2d conv2d_transpose conv3d conv3d_transpose conv_transpose convolution crelu ctc_beam_search_decoder
    ctc_beam_search_decoder_v2 ctc_greedy_decoder ctc_loss ctc_loss_v2 ctc_unique_labels depth_to_space
    depthwise_conv2d depthwise_conv2d_native dilation2d dropout elu embedding_lookup erosion2d fused_batch_norm gelu
    in_top_k isotonic_regression l2_loss l2_normalize leaky_relu local_response_normalization log_poisson_loss
    log_softmax lrn max_pool max_pool1d max_pool2d max_pool3d max_pool_v2 max_pool_with_argmax moments
    normalize_moments pool relu relu6 selu separable_conv2d sigmoid sigmoid_cross_entropy_with_logits silu softmax
    softmax_cross_entropy_with_logits softmax_cross_entropy_with_logits_v2 softplus softsign space_to_batch
    space_to_depth sparse_softmax_cross_entropy_with_logits sufficient_statistics swish tanh top_k
    weighted_cross_entropy_with_logits weighted_moments with_space_to_batch xw_plus_b zero_fraction
    """,
    "quantization": """
    dequantize fake_quant_with_min_max_args fake_quant_with_min_max_vars fake_quant_with_min_max_vars_per_channel
    quantize quantize_and_dequantize quantize_and_dequantize_v2
    """,
    "random": """
    categorical gamma multinomial normal poisson shuffle stateless_binomial stateless_categorical stateless_gamma
    stateless_normal stateless_poisson stateless_truncated_normal stateless_uniform truncated_normal uniform
    """,
    "sets": "difference intersection set_difference set_intersection set_size set_union size union",
    "signal": """
    dct fft fft2d fft3d fftnd fftshift frame hamming_window hann_window idct ifft ifft2d ifft3d ifftnd ifftshift
    inverse_mdct inverse_stft irfft irfft2d irfft3d irfftnd kaiser_bessel_derived_window kaiser_window
    linear_to_mel_weight_matrix mdct mfccs_from_log_mel_spectrograms overlap_and_add rfft rfft2d rfft3d rfftnd stft
    vorbis_window
    """,
    "strings": """
    as_string bytes_split format join length lower ngrams reduce_join regex_full_match regex_replace split strip
    substr to_hash_bucket to_hash_bucket_fast to_hash_bucket_strong to_number unicode_decode
    unicode_decode_with_offsets unicode_encode unicode_script unicode_split unicode_split_with_offsets
    unicode_transcode unsorted_segment_join upper
    """,
}
COMPUTING = frozenset(
    (*_TOP.split(), *(f"{space}.{name}" for space, names in _SPACES.items() for name in names.split()))
)


def computes(function: str) -> bool:
    """Whether a function of TensorFlow, such as `math.add` or `compat.v1.reshape`, computes and does nothing else."""
    return function.removeprefix(_V1) in COMPUTING
