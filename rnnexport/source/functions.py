"""The functions of TensorFlow that compute, and do nothing else: no files, no processes, no other hosts, no Python.

What tf_keras makes of `a + b`, `x[:, -1]` or `tf.concat` in a functional model names one of them in the file. What is
not in the list is refused, so that a newer TensorFlow opens no door. Those that take a Python function are not in it,
and those that draw random numbers are: a model that does is refused with a better reason. `test_functions.py` holds the
list against the installed TensorFlow.
"""

from __future__ import annotations

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
