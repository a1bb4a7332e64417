"""Products with matrices of int8: how a program holds one, and the functions that multiply with it.

    w ~ scale * q,  q from -127 to 127, a scale for each column
    x ~ step * r,   r a whole number of up to 16 bits, a step for each row, which is that of its largest number
    y = (r @ q) * (scale * step)

The sums of `r @ q` are whole numbers of 32 bits, which none exceeds, so that they are the same on every processor and
in any order. What is lost is what rounding the weights loses: a row of 16 bits is some 200 times as exact as they are.
Nothing is calibrated, and nothing is ever cut off.

Two rows of the matrix lie in one another, `q[0][0], q[1][0], q[0][1], q[1][1], ...`: one instruction multiplies both
with two numbers of `x` and adds the products (`pmaddwd` of x86, `smlad` of ARM).
"""

from __future__ import annotations

import numpy as np

from rnnexport.quantization.weights import MOST

# Bytes behind a matrix: the last vector of a row may be read beyond it. The program itself adds a few more.
_BEHIND = 16
_MOST_OF_ROW = 32767


def paired(q_IJ: np.ndarray) -> np.ndarray:
    """A matrix of int8 as it lies in a program: flat."""
    rows, columns = q_IJ.shape
    even = np.concatenate([q_IJ, np.zeros((rows % 2, columns), np.int8)])
    flat = even.reshape(-1, 2, columns).transpose(0, 2, 1).ravel()
    return np.concatenate([flat, np.zeros(_BEHIND, np.int8)])


def levels(depth: int) -> int:
    """The largest number that a row of so many is rounded to: the sum of all products stays below 2^31."""
    return max(1, min(_MOST_OF_ROW, (2**31 - 1) // (MOST * (depth + 1))))


# Whether what multiplies pairs is one instruction for all lanes.
PAIRED = """\
#if defined({macro}_DISPATCHED) || (LANES == 16 && defined(__AVX512BW__)) || (LANES == 8 && defined(__AVX2__)) || \\
    (LANES == 4 && defined(__SSE2__))
#define PAIRED 1
#else
#define PAIRED 0
#endif
"""
INCLUDED = """\
#if defined(__GNUC__) && defined(__x86_64__) && !defined({macro}_NO_VECTORS)
#include <immintrin.h>
#endif"""

_PAIR_SUMS = """\
/* w[0] * x[0] + w[1] * x[1] for pairs w of so many columns as a vector has. */
static INLINE vmask pair_sums(const int8_t *w, const int16_t *x) {
#if PAIRED
    int32_t pair;
    memcpy(&pair, x, sizeof pair);
#endif
#if PAIRED && LANES == 16
    const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)w);
    return (vmask)_mm512_madd_epi16(_mm512_cvtepi8_epi16(bytes), _mm512_set1_epi32(pair));
#elif PAIRED && LANES == 8
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)w);
    return (vmask)_mm256_madd_epi16(_mm256_cvtepi8_epi16(bytes), _mm256_set1_epi32(pair));
#elif PAIRED
    const __m128i bytes = _mm_loadl_epi64((const __m128i *)(const void *)w);
    return (vmask)_mm_madd_epi16(_mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8), _mm_set1_epi32(pair));
#elif LANES > 1
    vmask sums;
    for (int lane = 0; lane < LANES; lane++) {
        sums[lane] = w[2 * lane] * x[0] + w[2 * lane + 1] * x[1];
    }
    return sums;
#else
    return w[0] * x[0] + w[1] * x[1];
#endif
}
"""
_TO_FLOATS = """\
static INLINE vec to_floats(vmask x) {
#if LANES > 1 && (defined(__clang__) || __GNUC__ >= 9)
    return __builtin_convertvector(x, vec);
#elif LANES > 1
    vec y;
    for (int lane = 0; lane < LANES; lane++) {
        y[lane] = (float)x[lane];
    }
    return y;
#else
    return (float)x;
#endif
}
"""
_ROUND_ROW = """\
/* A row in whole numbers from -most to most, and what one of them stands for; of a row with a number that is none,
 * none. */
static INLINE float round_row(int16_t *to, const float *x, size_t count, float most) {
    vec largest = splat(0.0f);
    float rest[LANES] = {0}, parts[LANES];
    const size_t whole = count - count % LANES;
    memcpy(rest, x + whole, (count - whole) * sizeof *x);
    for (size_t at = 0; at < whole; at += LANES) {
        largest = vmaximum(largest, vabs(load(x + at)));
    }
    store(parts, vmaximum(largest, vabs(load(rest))));
    float size = parts[0];
    for (int lane = 1; lane < LANES; lane++) {
        size = parts[lane] > size || parts[lane] != parts[lane] ? parts[lane] : size;
    }
    if (!(size >= 1e-30f && size <= 3.4e38f)) {
        memset(to, 0, (count + 1) * sizeof *to);
        return size < 1e-30f ? 0.0f : (size - size) / (size - size);
    }
    const vec factor = splat(most / size);
    for (size_t at = 0; at < count; at += LANES) {
        const vmask near = bits(load(at < whole ? x + at : rest) * factor + 12582912.0f) - 0x4b400000;
        store_shorts(to + at, near);
    }
    to[count] = 0;
    return size / most;
}
"""
_STORE_SHORTS = """\
static INLINE void store_shorts(int16_t *to, vmask x) {
#if LANES > 1 && (defined(__clang__) || __GNUC__ >= 9)
    typedef int16_t shorts __attribute__((vector_size(2 * LANES)));
    const shorts y = __builtin_convertvector(x, shorts);
    memcpy(to, &y, sizeof y);
#elif LANES > 1
    for (int lane = 0; lane < LANES; lane++) {
        to[lane] = (int16_t)x[lane];
    }
#else
    *to = (int16_t)x;
#endif
}
"""
_MULTIPLY_INT8 = """\
/* y = x @ w, for x (rows, depth) and w (depth, columns) of int8, with a scale for each column, two rows in one another.
 * A row of x is rounded to whole numbers of 16 bits, and the sums are of 32 bits: no rounding there. */
#if defined(__GNUC__) && !defined(__clang__)
#define SIDE_BY_SIDE _Pragma("GCC unroll 4")
#else
#define SIDE_BY_SIDE
#endif
#define INT8_BLOCK(name, count)                                                                               \\
    static INLINE void name(float *y, const int16_t *x, const int8_t *w, const float *scale, float step,      \\
                            size_t pairs, size_t columns) {                                                   \\
        vmask sums[count];                                                                                    \\
        SIDE_BY_SIDE for (int b = 0; b < (count); b++) {                                                      \\
            sums[b] = bits(splat(0.0f));                                                                      \\
        }                                                                                                     \\
        for (size_t k = 0; k < pairs; k++, w += 2 * columns) {                                                \\
            SIDE_BY_SIDE for (int b = 0; b < (count); b++) {                                                  \\
                sums[b] += pair_sums(w + 2 * b * LANES, x + 2 * k);                                           \\
            }                                                                                                 \\
        }                                                                                                     \\
        SIDE_BY_SIDE for (int b = 0; b < (count); b++) {                                                      \\
            store(y + b * LANES, to_floats(sums[b]) * (load(scale + b * LANES) * step));                      \\
        }                                                                                                     \\
    }
INT8_BLOCK(int8_4, 4)
INT8_BLOCK(int8_2, 2)
INT8_BLOCK(int8_1, 1)

static INLINE void multiply_int8(float *y, const float *x, int16_t *rounded, float most, const int8_t *w,
                                 const float *scale, size_t rows, size_t depth, size_t columns) {
    for (size_t row = 0; row < rows; row++, x += depth, y += columns) {
        const float step = round_row(rounded, x, depth, most);
        const size_t pairs = (depth + 1) / 2;
        size_t at = 0;
        for (; at + 3 * LANES < columns; at += 4 * LANES) {
            int8_4(y + at, rounded, w + 2 * at, scale + at, step, pairs, columns);
        }
        if (at + LANES < columns) {
            int8_2(y + at, rounded, w + 2 * at, scale + at, step, pairs, columns);
            at += 2 * LANES;
        }
        if (at < columns) {
            int8_1(y + at, rounded, w + 2 * at, scale + at, step, pairs, columns);
        }
    }
}
"""
# In the order in which they stand in a program.
PARTS = {
    "pair_sums": _PAIR_SUMS,
    "to_floats": _TO_FLOATS,
    "store_shorts": _STORE_SHORTS,
    "round_row": _ROUND_ROW,
    "multiply_int8": _MULTIPLY_INT8,
}
MORE = {"multiply_int8": ("int8_4", "int8_2", "int8_1", "INT8_BLOCK", "SIDE_BY_SIDE")}
