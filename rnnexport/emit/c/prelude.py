"""What programs call: vectors, products, and functions with bounds of their own. A program has those that it needs.

`LANES` numbers are computed at a time: 8 where there is AVX, 4 by GCC's and Clang's vectors, 1 in plain C. Each number
is computed by the same operations in the same order whatever that is.
"""

from __future__ import annotations

import re

from rnnexport.emit.c import integers

_TYPES = """\
#if LANES > 1
typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t vmask __attribute__((vector_size(4 * LANES)));
#else
typedef float vec;
typedef int32_t vmask;
#endif
"""

_LOAD = """\
static INLINE vec load(const float *from) {
    vec x;
    memcpy(&x, from, sizeof x);
    return x;
}
"""
_STORE = """\
static INLINE void store(float *to, vec x) {
    memcpy(to, &x, sizeof x);
}
"""
_SPLAT = """\
static INLINE vec splat(float x) {
#if LANES > 1
    const vec zero = {0};
    return x - zero;
#else
    return x;
#endif
}
"""
_BITS = """\
static INLINE vmask bits(vec x) {
    vmask y;
    memcpy(&y, &x, sizeof y);
    return y;
}
"""
_OF_BITS = """\
static INLINE vec of_bits(vmask x) {
    vec y;
    memcpy(&y, &x, sizeof y);
    return y;
}
"""
_CHOOSE = """\
static INLINE vec choose(vmask which, vec yes, vec no) {
#if LANES > 1
    return (vec)(((vmask)yes & which) | ((vmask)no & ~which));
#else
    return which ? yes : no;
#endif
}
"""
_LOAD_MASK = """\
static INLINE vmask load_mask(const uint8_t *from) {
#if LANES > 1
    vmask x = {0};
    for (int lane = 0; lane < LANES; lane++) {
        x[lane] = from[lane] ? -1 : 0;
    }
    return x;
#else
    return *from != 0;
#endif
}
"""
_SPLAT_MASK = """\
static INLINE vmask splat_mask(uint8_t x) {
#if LANES > 1
    const vmask zero = {0};
    return zero - (x ? 1 : 0);
#else
    return x != 0;
#endif
}
"""
_STORE_MASK = """\
static INLINE void store_mask(uint8_t *to, vmask x) {
#if LANES > 1
    for (int lane = 0; lane < LANES; lane++) {
        to[lane] = x[lane] != 0;
    }
#else
    *to = x != 0;
#endif
}
"""
_VMAP = """\
static INLINE vec vmap(float (*function)(float), vec x) {
#if LANES > 1
    for (int lane = 0; lane < LANES; lane++) {
        x[lane] = function(x[lane]);
    }
    return x;
#else
    return function(x);
#endif
}
"""
_VMAP2 = """\
static INLINE vec vmap2(float (*function)(float, float), vec x, vec y) {
#if LANES > 1
    for (int lane = 0; lane < LANES; lane++) {
        x[lane] = function(x[lane], y[lane]);
    }
    return x;
#else
    return function(x, y);
#endif
}
"""
_SIMPLE = {
    "vabs": "static INLINE vec vabs(vec x) {\n    return of_bits(bits(x) & 0x7fffffff);\n}\n",
    "vmax": "static INLINE vec vmax(vec x, vec y) {\n    return choose(x < y, y, x);\n}\n",
    "vmin": "static INLINE vec vmin(vec x, vec y) {\n    return choose(x > y, y, x);\n}\n",
    "vmaximum": "static INLINE vec vmaximum(vec x, vec y) {\n    return choose((x < y) | (y != y), y, x);\n}\n",
    "vminimum": "static INLINE vec vminimum(vec x, vec y) {\n    return choose((x > y) | (y != y), y, x);\n}\n",
    "visnan": "static INLINE vmask visnan(vec x) {\n    return x != x;\n}\n",
    "vrelu": "static INLINE vec vrelu(vec x) {\n    return choose(x < splat(0.0f), splat(0.0f), x);\n}\n",
    "vsquare": "static INLINE vec vsquare(vec x) {\n    return x * x;\n}\n",
    "vsqrt": "static INLINE vec vsqrt(vec x) {\n    return vmap(sqrtf, x);\n}\n",
    "vsoftsign": "static INLINE vec vsoftsign(vec x) {\n    return x / (1.0f + vabs(x));\n}\n",
    "vleaky": "static INLINE vec vleaky(vec x, float slope) {\n    return choose(x < splat(0.0f), slope * x, x);\n}\n",
    "velu": "static INLINE vec velu(vec x, float alpha) {\n"
    "    return choose(x < splat(0.0f), alpha * vmap(expm1f, vmin(x, splat(0.0f))), x);\n}\n",
    "vsoftplus": "static INLINE vec vsoftplus(vec x) {\n    return vrelu(x) + vmap(log1pf, vexp(-vabs(x)));\n}\n",
    "vsign": "static INLINE vec vsign(vec x) {\n"
    "    const vec zero = splat(0.0f), one = splat(1.0f);\n"
    "    return choose(x > zero, one, choose(x < zero, -one, x));\n}\n",
    "vfloor": "static INLINE vec vfloor(vec x) {\n"
    "    const vec near = choose(x < splat(0.0f), (x - 8388608.0f) + 8388608.0f, (x + 8388608.0f) - 8388608.0f);\n"
    "    return choose(vabs(x) < splat(8388608.0f), near - choose(near > x, splat(1.0f), splat(0.0f)), x);\n}\n",
}
# After exp and tanh, which they call.
_LATE = ("vsoftplus",)
_VEXP = """\
/* e to the power of x: 2^n times a polynomial of the rest (Cephes' expf). {exp_bound} */
static INLINE vec vexp(vec x) {
    x = vmin(vmax(x, splat(-104.0f)), splat(89.0f));
    const vec shifted = x * 1.44269504f + 12582912.0f; /* rounds to a whole number, whose bits are the last ones */
    const vmask n = bits(shifted) - 0x4b400000;
    const vec whole = shifted - 12582912.0f;
    const vec rest = (x - whole * 0.693359375f) + whole * 2.12194440e-4f;
    vec p = rest * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * rest + 8.3334519073e-3f;
    p = p * rest + 4.1665795894e-2f;
    p = p * rest + 1.6666665459e-1f;
    p = p * rest + 5.0000001201e-1f;
    p = p * (rest * rest) + rest + 1.0f;
    const vmask half = n >> 1;
    return p * of_bits((half + 127) << 23) * of_bits((n - half + 127) << 23);
}
"""
_VSIGMOID = """\
/* {sigmoid_bound} */
static INLINE vec vsigmoid(vec x) {
    return 1.0f / (1.0f + vexp(-x));
}
"""
_VTANH = """\
/* A polynomial up to 0.625, and beyond 1 - 2 / (e^2x + 1) (Cephes' tanhf). {tanh_bound} */
static INLINE vec vtanh(vec x) {
    const vec size = vabs(x), square = x * x;
    vec p = square * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * square + -5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square + -3.33332819422e-1f;
    const vec small = p * square * x + x;
    const vec large = 1.0f - 2.0f / (vexp(size + size) + 1.0f);
    return choose(size < splat(0.625f), small, choose(x < splat(0.0f), -large, large));
}
"""
_LIBM = {
    "vexp": "static INLINE vec vexp(vec x) {\n    return vmap(expf, x);\n}\n",
    "vsigmoid": "static INLINE vec vsigmoid(vec x) {\n    return 1.0f / (1.0f + vexp(-x));\n}\n",
    "vtanh": "static INLINE vec vtanh(vec x) {\n    return vmap(tanhf, x);\n}\n",
}
_COLUMNS_OF = """\
/* y = x @ w of one row, for x of so many numbers, `stride` apart, and w (depth, columns); with `more`, y += x @ w. The
 * sums of the even and of the odd terms, then both. A block of columns is summed in registers; the last one may go on
 * behind the row, which is written over by the next one. */
#if defined(__GNUC__) && !defined(__clang__)
#define UNROLLED _Pragma("GCC unroll 4")
#else
#define UNROLLED
#endif
#define BLOCK(name, count)                                                                                    \\
    static INLINE void name(float *y, const float *x, const float *w, size_t depth, size_t columns,           \\
                            size_t stride, int more) {                                                        \\
        vec even[count], odd[count];                                                                          \\
        UNROLLED for (int b = 0; b < (count); b++) {                                                          \\
            even[b] = more ? load(y + b * LANES) : splat(0.0f);                                               \\
            odd[b] = splat(0.0f);                                                                             \\
        }                                                                                                     \\
        size_t k = 0;                                                                                         \\
        for (; k + 1 < depth; k += 2, w += 2 * columns) {                                                     \\
            const vec one = splat(x[k * stride]), other = splat(x[(k + 1) * stride]);                         \\
            UNROLLED for (int b = 0; b < (count); b++) {                                                      \\
                even[b] += one * load(w + b * LANES);                                                         \\
                odd[b] += other * load(w + columns + b * LANES);                                              \\
            }                                                                                                 \\
        }                                                                                                     \\
        if (k < depth) {                                                                                      \\
            const vec one = splat(x[k * stride]);                                                             \\
            UNROLLED for (int b = 0; b < (count); b++) {                                                      \\
                even[b] += one * load(w + b * LANES);                                                         \\
            }                                                                                                 \\
        }                                                                                                     \\
        UNROLLED for (int b = 0; b < (count); b++) {                                                          \\
            store(y + b * LANES, even[b] + odd[b]);                                                           \\
        }                                                                                                     \\
    }
BLOCK(multiply_4, 4)
BLOCK(multiply_2, 2)
BLOCK(multiply_1, 1)

static INLINE void columns_of(float *y, const float *x, const float *w, size_t depth, size_t columns, size_t stride,
                              int more) {
    size_t at = 0;
    for (; at + 3 * LANES < columns; at += 4 * LANES) {
        multiply_4(y + at, x, w + at, depth, columns, stride, more);
    }
    if (at + LANES < columns) {
        multiply_2(y + at, x, w + at, depth, columns, stride, more);
        at += 2 * LANES;
    }
    if (at < columns) {
        multiply_1(y + at, x, w + at, depth, columns, stride, more);
    }
}
"""
_MULTIPLY = """\
/* y = x @ w, for x (rows, depth) and w (depth, columns). */
static INLINE void multiply(float *y, const float *x, const float *w, size_t rows, size_t depth, size_t columns) {
    for (size_t row = 0; row < rows; row++) {
        columns_of(y + row * columns, x + row * depth, w, depth, columns, 1, 0);
    }
}
"""
_TOTAL = """\
/* Sixteen sums, of every sixteenth number each, then those of pairs: the same order whatever the vectors. */
static INLINE float total_of(float *parts) {
    for (int half = 8; half > 0; half /= 2) {
        for (int at = 0; at < half; at++) {
            parts[at] += parts[at + half];
        }
    }
    return parts[0];
}
"""
_SUM_OF = """\
static inline float sum_of(const float *x, size_t count) {
    const size_t rest = count % 16;
    vec sums[16 / LANES];
    float parts[16];
    for (int b = 0; b < 16 / LANES; b++) {
        sums[b] = splat(0.0f);
    }
    for (size_t at = 0; at < count - rest; at += 16) {
        for (int b = 0; b < 16 / LANES; b++) {
            sums[b] += load(x + at + b * LANES);
        }
    }
    for (int b = 0; b < 16 / LANES; b++) {
        store(parts + b * LANES, sums[b]);
    }
    for (size_t at = 0; at < rest; at++) {
        parts[at] += x[count - rest + at];
    }
    return total_of(parts);
}
"""
_DOTS = """\
/* y = x @ w, for x (rows, depth) and w (depth). */
static inline void dots(float *y, const float *x, const float *w, size_t rows, size_t depth) {
    const size_t rest = depth % 16;
    for (size_t row = 0; row < rows; row++, x += depth) {
        vec sums[16 / LANES];
        float parts[16];
        for (int b = 0; b < 16 / LANES; b++) {
            sums[b] = splat(0.0f);
        }
        for (size_t at = 0; at < depth - rest; at += 16) {
            for (int b = 0; b < 16 / LANES; b++) {
                sums[b] += load(x + at + b * LANES) * load(w + at + b * LANES);
            }
        }
        for (int b = 0; b < 16 / LANES; b++) {
            store(parts + b * LANES, sums[b]);
        }
        for (size_t at = 0; at < rest; at++) {
            parts[at] += x[depth - rest + at] * w[depth - rest + at];
        }
        y[row] = total_of(parts);
    }
}
"""
_MULTIPLY_DOUBLES = """\
static inline void multiply_doubles(double *y, const double *x, const double *w, size_t rows, size_t depth,
                                    size_t columns) {
    for (size_t row = 0; row < rows; row++, x += depth, y += columns) {
        for (size_t at = 0; at < columns; at++) {
            double total = 0;
            for (size_t k = 0; k < depth; k++) {
                total += x[k] * w[k * columns + at];
            }
            y[at] = total;
        }
    }
}
"""
_FIRST = """\
/* The function of a vector, for one number. */
static INLINE float first(vec x) {
    float y;
    memcpy(&y, &x, sizeof y);
    return y;
}
"""
_EXPS_OF = """\
/* y = e^(x - the largest x) along one axis, whose numbers are `inner` apart; the sum of y. */
static inline float exps_of(float *y, const float *x, size_t size, size_t inner, float *largest) {
    float most = x[0], total = 0.0f;
    for (size_t at = 1; at < size; at++) {
        most = x[at * inner] > most ? x[at * inner] : most;
    }
    *largest = most;
    if (inner == 1) {
        for (size_t at = 0; at < size; at += LANES) {
            store(y + at, vexp(load(x + at) - most));
        }
        return sum_of(y, size);
    }
    for (size_t at = 0; at < size; at++) {
        y[at * inner] = first(vexp(splat(x[at * inner] - most)));
        total += y[at * inner];
    }
    return total;
}
"""
_SOFTMAX = """\
/* Softmax along the second of three axes. */
static inline void softmax_of(float *y, const float *x, size_t outer, size_t size, size_t inner) {
    for (size_t row = 0; row < outer * inner; row++) {
        const size_t start = row / inner * size * inner + row % inner;
        float largest;
        const float total = exps_of(y + start, x + start, size, inner, &largest);
        for (size_t at = 0; at < size; at++) {
            y[start + at * inner] /= total;
        }
    }
}
"""
_LOG_SOFTMAX = """\
/* The logarithm of softmax along the second of three axes. */
static inline void log_softmax_of(float *y, const float *x, size_t outer, size_t size, size_t inner) {
    for (size_t row = 0; row < outer * inner; row++) {
        const size_t start = row / inner * size * inner + row % inner;
        float largest;
        const float total = exps_of(y + start, x + start, size, inner, &largest);
        for (size_t at = 0; at < size; at++) {
            y[start + at * inner] = x[start + at * inner] - largest - logf(total);
        }
    }
}
"""
_ROW_OF = """\
/* A row by its number, from the end where that is negative; the last of the table for one beyond it. */
static inline size_t row_of(int64_t number, size_t rows) {
    const int64_t row = number < 0 ? number + (int64_t)rows : number;
    return row < 0 ? 0 : (size_t)row < rows ? (size_t)row : rows - 1;
}
"""
_ROW_OR_NONE = """\
static inline int64_t row_or_none(int64_t number, size_t rows) {
    return number < 0 ? number + (int64_t)rows : number;
}
"""
_NEAREST_ROW = """\
static inline size_t nearest_row(int64_t number, size_t rows) {
    return number < 0 ? 0 : (size_t)number < rows ? (size_t)number : rows - 1;
}
"""
_TURNED_ROW = """\
static inline size_t turned_row(int64_t number, size_t rows) {
    const int64_t row = number % (int64_t)rows;
    return (size_t)(row < 0 ? row + (int64_t)rows : row);
}
"""
_MIRRORED_ROW = """\
/* The rows as a mirror at the first and one at the last show them, neither of these twice. */
static inline size_t mirrored_row(int64_t number, size_t rows) {
    const size_t row = rows < 2 ? 0 : turned_row(number, 2 * rows - 2);
    return row < rows ? row : 2 * rows - 2 - row;
}
"""
_TAKE = """\
/* Memory of the caller's buffer. */
static inline void *take(char **work, size_t bytes) {
    char *const found = *work;
    *work += ROUNDED(bytes);
    return found;
}
"""
_QUOTIENT = "#define whole_quotient(a, b) ((b) == 0 ? 0 : (a) / (b))\n"
_TRUNCATED = "#define truncated_rest(a, b) ((b) == 0 || (b) == -1 ? 0 : (a) % (b))\n"
_TURNED = "#define turned(rest, b) ((rest) != 0 && ((rest) < 0) != ((b) < 0))\n"
_REST = """\
#define whole_rest(a, b) (truncated_rest(a, b) + (turned(truncated_rest(a, b), b) ? (b) : 0))
"""
_QUOTIENT_BELOW = "#define whole_below(a, b) (whole_quotient(a, b) - turned(truncated_rest(a, b), b))\n"
_FLOAT_REST = """\
/* What is left of a division, with the sign of the divisor. */
static inline float float_rest(float x, float y) {
    const float rest = fmodf(x, y);
    return turned(rest, y) ? rest + y : rest;
}
"""
_DOUBLE_REST = _FLOAT_REST.replace("float", "double").replace("fmodf", "fmod")
# In the order in which they stand in a program: each after those that it calls.
_PARTS = {
    "load": _LOAD,
    "store": _STORE,
    "splat": _SPLAT,
    "bits": _BITS,
    "of_bits": _OF_BITS,
    "choose": _CHOOSE,
    "load_mask": _LOAD_MASK,
    "splat_mask": _SPLAT_MASK,
    "store_mask": _STORE_MASK,
    "vmap": _VMAP,
    "vmap2": _VMAP2,
    **{name: _SIMPLE[name] for name in ("vabs", "vmax", "vmin")},
    "vexp": _VEXP,
    **{name: text for name, text in _SIMPLE.items() if name not in ("vabs", "vmax", "vmin", *_LATE)},
    "vsigmoid": _VSIGMOID,
    "vtanh": _VTANH,
    **{name: _SIMPLE[name] for name in _LATE},
    "first": _FIRST,
    "columns_of": _COLUMNS_OF,
    "multiply": _MULTIPLY,
    "total_of": _TOTAL,
    "sum_of": _SUM_OF,
    "dots": _DOTS,
    **integers.PARTS,
    "multiply_doubles": _MULTIPLY_DOUBLES,
    "exps_of": _EXPS_OF,
    "softmax_of": _SOFTMAX,
    "log_softmax_of": _LOG_SOFTMAX,
    "row_of": _ROW_OF,
    "row_or_none": _ROW_OR_NONE,
    "nearest_row": _NEAREST_ROW,
    "turned_row": _TURNED_ROW,
    "mirrored_row": _MIRRORED_ROW,
    "take": _TAKE,
    "whole_quotient": _QUOTIENT,
    "truncated_rest": _TRUNCATED,
    "turned": _TURNED,
    "whole_rest": _REST,
    "whole_below": _QUOTIENT_BELOW,
    "float_rest": _FLOAT_REST,
    "double_rest": _DOUBLE_REST,
}
# What a part defines besides its own name.
_MORE = {"columns_of": ("multiply_4", "multiply_2", "multiply_1", "BLOCK", "UNROLLED"), **integers.MORE}
NAMES = frozenset((*_PARTS, "vec", "vmask", *(name for names in _MORE.values() for name in names)))
_MACROS = frozenset(
    (
        *("whole_quotient", "truncated_rest", "turned", "whole_rest", "whole_below"),
        *("BLOCK", "UNROLLED", "INT8_BLOCK", "SIDE_BY_SIDE"),
    )
)
_WORD = re.compile(r"\b[A-Za-z_]\w*\b")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
# Functions of <math.h> that a text may call.
_MATH = re.compile(
    r"\b(sqrt|exp|expm1|log|log1p|sin|cos|tan|sinh|cosh|tanh|asin|acos|atan|asinh|acosh|atanh|erf|rint|pow|fmod|floor|"
    r"ceil|fabs)f?\b|\b(INFINITY|NAN)\b"
)
# IEEE 754 leaves these no choice.
_EXACT = ("sqrt", "rint", "fmod", "floor", "ceil", "fabs", "INFINITY", "NAN")
BOUNDS = {
    "exp_bound": "Off by less than 2e-7 of it.",
    "sigmoid_bound": "Off by less than 3e-7.",
    "tanh_bound": "Off by less than 2e-7, and never above 1.",
}


def parts_for(text: str, *, libm: bool = False) -> tuple[str, list[str]]:
    """The functions of this file that a text needs, in their order, and the names that they define.

    Args:
        text: C.
        libm: whether exp, tanh and the logistic function are those of the C library.
    """
    table = {**_PARTS, **(_LIBM if libm else {})}
    needed: set[str] = set()
    queue = [text]
    while queue:
        for word in set(_WORD.findall(_COMMENT.sub("", queue.pop()))) & set(table) - needed:
            needed.add(word)
            queue.append(table[word])
    vectors = bool(needed) or "vec" in _WORD.findall(text)
    found = [_bounded(table[name]) for name in table if name in needed]
    names = [*(["vec", "vmask"] if vectors else []), *(name for name in table if name in needed)]
    names += [more for name in names for more in _MORE.get(name, ())]
    return "\n".join([*([_TYPES] if vectors else []), *found]), [name for name in names if name not in _MACROS]


def _bounded(text: str) -> str:
    for name, bound in BOUNDS.items():
        text = text.replace("{" + name + "}", bound)
    return text


def library_calls(text: str) -> list[str]:
    """The functions of <math.h> that a text calls and that libraries compute to different last digits."""
    found = {each[0] for each in _MATH.finditer(_COMMENT.sub("", text))}
    return sorted(name for name in found if name.removesuffix("f") not in _EXACT)


def needs_math(text: str) -> bool:
    """Whether a text calls anything of <math.h>."""
    return _MATH.search(text) is not None
