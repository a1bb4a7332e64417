"""The text of a C program: its head, weights, vectors, functions, and what a caller calls; and its header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

import numpy as np

from rnnexport.core.errors import ConversionError
from rnnexport.core.forms import CForm
from rnnexport.core.signature import StateSpec
from rnnexport.emit.c.arrays import C_TYPES, Size, factor, shape_text, text
from rnnexport.emit.c.elementwise import number
from rnnexport.emit.c.integers import INCLUDED, PAIRED
from rnnexport.emit.c.interface import Argument, Interface
from rnnexport.emit.c.prelude import library_calls, needs_math, parts_for
from rnnexport.emit.c.program import CFunction, TranslationUnit, comment_text
from rnnexport.emit.c.self_test import SelfTest, self_test_text
from rnnexport.emit.c.weights import Outside, check_text
from rnnexport.version import __version__

_LINE = 120
_LINE_OF_CACHE = 64  # bytes; the largest vectors have as many


@dataclass(frozen=True, eq=False)
class Text:
    """A program and its header, and the file of its weights; empty where they stand in the program."""

    program: str
    header: str
    weights: bytes = b""


def text_of(parts: TranslationUnit, form: CForm, test: SelfTest | None = None) -> Text:
    """The program of these parts, with a self-test where there is a call to test by.

    Raises:
        ConversionError: it is to be deterministic, and calls functions whose digits are those of each C library.
    """
    if form.deterministic:
        _require_own(parts)
    outside = Outside.of(parts) if form.weights_beside else None
    blob = b"" if outside is None else outside.blob()
    program = _program(parts, form, test if outside is None else None, outside, blob)
    return Text("\n".join(program) + "\n", "\n".join(_header(parts, outside)) + "\n", blob)


def _require_own(parts: TranslationUnit) -> None:
    code = "\n".join(_functions(parts))
    found = library_calls(code + parts_for(code)[0])
    if found:
        raise ConversionError(
            f"{', '.join(found)} of the C library, whose last digits are its own",
            "exp, tanh, the logistic function and square roots in a deterministic program",
            "leave --deterministic out, or write the layer with other functions",
        )


# The header.


def _header(parts: TranslationUnit, outside: Outside | None) -> Iterator[str]:
    face = parts.interface
    guard = f"{face.macro}_H"
    yield f"/* {comment_text(face.name)}, written by rnnexport {__version__}."
    yield " *"
    for kind, arguments in (("Input", face.inputs), ("Output", face.outputs), ("State", face.states)):
        for each in arguments:
            yield f" * {kind} {comment_text(each.spec.name)}: {each.spec.dtype} {shape_text(each.shape)}"
    yield " */"
    yield f"#ifndef {guard}"
    yield f"#define {guard}"
    yield ""
    yield "#include <stddef.h>"
    yield "#include <stdint.h>"
    yield ""
    yield "#ifdef __cplusplus"
    yield 'extern "C" {'
    yield "#endif"
    yield ""
    yield from _constants(parts, outside)
    yield from _state(face)
    yield from _prototypes(parts, outside)
    yield "#ifdef __cplusplus"
    yield "}"
    yield "#endif"
    yield ""
    yield "#endif"


def _constants(parts: TranslationUnit, outside: Outside | None) -> Iterator[str]:
    face = parts.interface
    yield "/* What functions return: 0, or why nothing was computed. */"
    yield f"#define {face.macro}_OK 0"
    if face.lengths:
        yield f"#define {face.macro}_BAD_LENGTH 1 /* a length of 0, or above {face.macro}_MAX_LENGTH */"
    if parts.main.called.needs_work:
        yield f"#define {face.macro}_SMALL_WORK 2 /* no work, or less than {face.macro}_WORK_SIZE bytes */"
    if outside is not None:
        yield f"#define {face.macro}_BAD_WEIGHTS 3 /* no such file of weights */"
    if face.lengths:
        yield f"#define {face.macro}_MAX_LENGTH {1 << 20}"
    if outside is not None:
        yield ""
        yield "/* Bytes of the file of weights. It is mapped, or read to where an address is a multiple of 8. */"
        yield f"#define {face.macro}_WEIGHTS_SIZE ((size_t){outside.size})"
    yield ""
    yield "/* How many numbers arguments have. */"
    for each in (*face.inputs, *face.outputs):
        yield f"#define {face.macro}_{each.name.upper()}_SIZE{_parameters(face)} {_as_macro(_count(each), face)}"
    if parts.main.called.needs_work:
        yield ""
        yield "/* Bytes of the buffer that the caller lends for a call. It may lie anywhere, and keeps nothing. */"
        size = f"((size_t){_LINE_OF_CACHE}{_work(parts, parts.main, face)})"
        yield f"#define {face.macro}_WORK_SIZE{_parameters(face)} {size}"
    yield ""


def _count(each: Argument) -> str:
    found: Size = 1
    for size in each.shape:
        found = found * size
    return text(found)


def _parameters(face: Interface) -> str:
    return f"({', '.join(face.lengths)})" if face.lengths else ""


def _as_macro(written: str, face: Interface) -> str:
    """An expression of lengths with brackets around each."""
    for length in face.lengths:
        written = re.sub(rf"\b{length}\b", f"({length})", written)
    return f"({written})"


def _work(parts: TranslationUnit, function: CFunction, face: Interface) -> str:
    """What a function takes of the caller's buffer, and the functions that it calls."""
    own = [
        f" + ({factor_of(count)} + 15) * {np.dtype(dtype).itemsize} / 64 * 64 + 64" for _, dtype, count in function.work
    ]
    inner = [each for each in parts.functions if each.name in function.inner]
    return _as_macro("".join(own), face)[1:-1] + "".join(_work(parts, each, face) for each in inner)


def factor_of(count: Size) -> str:
    """A size as `size_t`, whatever the type of lengths."""
    return f"(size_t){factor(count)}"


def _state(face: Interface) -> Iterator[str]:
    if not face.states:
        return
    yield "/* What goes on from one call to the next. One for each stream; nothing else is kept anywhere. */"
    yield "typedef struct {"
    for each in face.states:
        yield f"    {C_TYPES[each.spec.dtype]} {each.name}[{_count(each)}]; /* {shape_text(each.shape)} */"
    yield f"}} {face.name}_state;"
    yield ""
    yield "/* Begin a stream. */"
    yield f"void {face.name}_init({face.name}_state *state);"
    yield ""


def _prototypes(parts: TranslationUnit, outside: Outside | None) -> Iterator[str]:
    face = parts.interface
    if outside is not None:
        yield "/* Whether these are the weights of this program: 0, or why not. Other calls do not look. */"
        yield f"int {face.name}_check(const void *weights, size_t size);"
        yield ""
    if _has_step(parts):
        yield "/* One timestep of a stream. */"
        yield from _broken(f"int {face.name}_step(", _arguments(face, (), outside), ");")
        yield ""
    what = "Go on by so many timesteps" if face.states and face.lengths else "Compute the outputs"
    yield f"/* {what}. Arguments must not overlap. */"
    yield from _broken(f"int {face.name}_run(", _run_arguments(parts, outside), ");")
    yield ""
    yield "/* Bytes of the buffer that a call of these lengths takes; for callers that can't read macros. */"
    yield f"size_t {face.name}_work_size({_sizes(face)});"
    yield ""


def _sizes(face: Interface) -> str:
    return ", ".join(f"size_t {length}" for length in face.lengths) or "void"


def _has_step(parts: TranslationUnit) -> bool:
    """Whether the program has a function for one timestep."""
    return bool(parts.interface.states) and parts.interface.lengths in ((), ("T",))


def _run_arguments(parts: TranslationUnit, outside: Outside | None) -> list[str]:
    """The parameters of the function for whole sequences."""
    work = ["void *work", "size_t work_size"] if parts.main.called.needs_work else []
    return [*_arguments(parts.interface, parts.interface.lengths, outside), *work]


def _arguments(face: Interface, lengths: Sequence[str], outside: Outside | None) -> list[str]:
    return [
        *(["const void *weights"] if outside is not None else []),
        *([f"{face.name}_state *state"] if face.states else []),
        *(f"const {C_TYPES[each.spec.dtype]} *{each.name}" for each in face.inputs),
        *(f"size_t {length}" for length in lengths),
        *(f"{C_TYPES[each.spec.dtype]} *{each.name}" for each in face.outputs),
    ]


def _broken(head: str, items: Sequence[str], tail: str) -> Iterator[str]:
    """On one line, or one item a line."""
    whole = f"{head}{', '.join(items)}{tail}"
    if len(whole) <= _LINE:
        yield whole
        return
    yield head
    yield from (f"    {item}{',' if at < len(items) - 1 else tail}" for at, item in enumerate(items))


# The program.


def _program(
    parts: TranslationUnit, form: CForm, test: SelfTest | None, outside: Outside | None, blob: bytes
) -> Iterator[str]:
    face = parts.interface
    functions = list(_functions(parts, outside))
    code = "\n".join(functions)
    prelude, names = parts_for(code, libm=form.libm)
    yield from _head(parts)
    yield f'#include "{face.file}.h"'
    yield ""
    if needs_math(code + prelude):
        yield "#include <math.h>"
    yield "#include <string.h>"
    if "pair_sums" in names:
        yield INCLUDED.replace("{macro}", face.macro)
    yield ""
    yield f"#ifndef {face.macro}_VARIANT"
    yield from _once(parts, form, names, outside)
    yield from _variants(face, paired="pair_sums" in names)
    yield "#endif"
    yield ""
    yield f"#define LANES {face.macro}_LANES"
    if "pair_sums" in names:
        yield PAIRED.replace("{macro}", face.macro)
    yield ""
    yield prelude
    yield from functions
    yield "#undef LANES"
    if "pair_sums" in names:
        yield "#undef PAIRED"
    yield ""
    yield f"#ifdef {face.macro}_LAST"
    yield from _public(parts, outside)
    if outside is not None:
        yield ""
        yield check_text(face.name, face.macro, blob)
    if test is not None:
        arrays = [line for name, array in test.arrays().items() for line in _numbers(name, array)]
        yield ""
        yield from self_test_text(face, test, arrays, parts.main.called.needs_work)
    yield "#endif"


def _head(parts: TranslationUnit) -> Iterator[str]:
    face = parts.interface
    letters = ", ".join(f"{letter} {word}" for letter, word in face.legend.words.items() if letter in face.lengths)
    name = comment_text(face.file)
    yield f"/* {name} in C99, by rnnexport {__version__}. {name}.h says how it is called."
    yield " *"
    yield f" *     cc -O2 -c {name}.c"
    yield " *"
    if letters:
        yield f" * In the shapes of comments: {comment_text(letters)}."
    yield " * Functions from here on stand for one row; no call keeps anything but the states that it is given."
    yield " */"


_DETERMINISTIC = """\
/* No product is contracted with a sum: every compiler gives the same bits. */
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif
"""


def _once(parts: TranslationUnit, form: CForm, names: Sequence[str], outside: Outside | None) -> Iterator[str]:
    """What the program has once, whatever the vectors."""
    face = parts.interface
    if form.deterministic:
        yield _DETERMINISTIC
    yield "/* Arrays go on a little behind their last number, so that a vector can be read at each. */"
    yield "#if defined(__GNUC__) && defined(__x86_64__)"
    yield "#define PADDED(count) ((count) + 15)"
    yield "#define ALIGNED __attribute__((aligned(64)))"
    yield "#else"
    yield "#define PADDED(count) ((count) + 3)"
    yield "#define ALIGNED"
    yield "#endif"
    if parts.main.called.needs_work:
        yield "#define ROUNDED(bytes) ((bytes) / 64 * 64 + 64)"
    yield "#if defined(__GNUC__)"
    yield "#define INLINE inline __attribute__((always_inline))"
    yield "#else"
    yield "#define INLINE inline"
    yield "#endif"
    yield ""
    yield "/* The functions of this file stand in it once for each kind of vectors. */"
    yield f"#define {face.macro}_JOINED(name, variant) name##_##variant"
    yield f"#define {face.macro}_OF(name, variant) {face.macro}_JOINED(name, variant)"
    for name in (*names, *(each.name for each in (*parts.functions, parts.main))):
        yield f"#define {name} {face.macro}_OF({name}, {face.macro}_VARIANT)"
    yield ""
    yield "/* Weights and constants. */"
    for name, (array, called) in parts.constants.items():
        if outside is None or name not in outside.arrays:
            yield from _array(name, array, called)
    yield ""


def _array(name: str, array: np.ndarray, called: str) -> Iterator[str]:
    yield f"/* {comment_text(called)} */"
    yield from _numbers(name, array)


def _numbers(name: str, array: np.ndarray) -> Iterator[str]:
    yield f"static const {C_TYPES[array.dtype.name]} {name}[PADDED({array.size})] = {{"
    yield from weights(array)
    yield "};"


def weights(array: np.ndarray) -> list[str]:
    """The lines of the numbers of an array, in C order."""
    items = ", ".join(map(weight, array.ravel()))
    return wrap(items or "0", _LINE, initial_indent="    ", subsequent_indent="    ")


def weight(value: np.generic) -> str:
    """A number of a weight: a float in hexadecimal, which is exactly what it is."""
    if value.dtype.kind != "f" or not np.isfinite(value):
        return number(value).strip("()")
    mantissa, _, exponent = float(value).hex().partition("p")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}p{int(exponent)}{'f' if value.dtype == np.float32 else ''}"


# The vectors of x86 that a program has besides those that are on anyway: numbers in one, and what the processor must
# have; the widest first.
_X86 = {"avx512": (16, ("avx512f", "avx512vl", "avx512bw", "avx512dq")), "avx2": (8, ("avx2", "fma"))}


def _variants(face: Interface, *, paired: bool) -> Iterator[str]:
    macro = face.macro
    yield "/* On x86 the functions are there for wider vectors too; a call takes the widest that the processor has."
    yield f" * {macro}_NO_DISPATCH leaves that out, {macro}_NO_VECTORS all that is no C99. */"
    yield f"#if defined(__GNUC__) && defined(__x86_64__) && !defined({macro}_NO_DISPATCH) && \\"
    yield f"    !defined({macro}_NO_VECTORS)"
    for name, (lanes, needed) in _X86.items():
        off = " || ".join(f"!defined(__{each.upper()}__)" for each in needed)
        yield f"#if ({off}) && !defined(__AVX512F__)"
        yield f"#define {macro}_DISPATCH_{name.upper()}"
        yield f"#define {macro}_VARIANT {name}"
        yield f"#define {macro}_LANES {lanes}"
        if paired:
            yield f"#define {macro}_DISPATCHED"
        yield "#ifdef __clang__"
        yield f'#pragma clang attribute push(__attribute__((target("{_target(needed)}"))), apply_to = function)'
        yield "#else"
        yield "#pragma GCC push_options"
        yield f'#pragma GCC target("{_target(needed)}")'
        yield "#endif"
        yield f'#include "{face.file}.c"'
        yield "#ifdef __clang__"
        yield "#pragma clang attribute pop"
        yield "#else"
        yield "#pragma GCC pop_options"
        yield "#endif"
        yield f"#undef {macro}_VARIANT"
        yield f"#undef {macro}_LANES"
        if paired:
            yield f"#undef {macro}_DISPATCHED"
        yield "#endif"
    yield "#endif"
    yield ""
    yield f"""\
#define {macro}_VARIANT any
#if !defined(__GNUC__) || defined({macro}_NO_VECTORS)
#define {macro}_LANES 1
#elif defined(__AVX512F__)
#define {macro}_LANES 16
#elif defined(__AVX__)
#define {macro}_LANES 8
#else
#define {macro}_LANES 4
#endif
#define {macro}_LAST"""


def _target(needed: Sequence[str]) -> str:
    return ",".join((*needed, "fma") if "fma" not in needed else needed)


def _functions(parts: TranslationUnit, outside: Outside | None = None) -> Iterator[str]:
    for each in parts.functions:
        yield f"/* One timestep of {_listed(each.scopes)}. */"
        yield f"static void {each.name}("
        last = len(each.head) - 1
        for at, line in enumerate(each.head):
            yield f"    {line if at < last else line.replace(',', ')', 1) if '/*' not in line else _closed(line)}"
        yield "{"
        yield from _unused(each)
        yield from each.lines
        yield "}"
        yield ""
    main = parts.main
    head = [*main.head, *(["char *work"] if main.called.needs_work else [])]
    if outside is not None:
        head = ["const char *weights", *head]
        yield "/* Weights, by where they are in their file. */"
        yield from outside.names()
    yield "/* The model. */"
    yield from _broken(f"static void {main.name}(", head, ")")
    yield "{"
    if outside is not None and not outside.arrays:
        yield "    (void)weights;"
    yield from _unused(main)
    yield from main.lines
    yield "}"
    if outside is not None:
        yield from outside.no_names()
    yield ""


def _closed(line: str) -> str:
    """The last parameter: its comma is a bracket."""
    code, comment = line.split(" /*", 1)
    return f"{code.removesuffix(',')}) /*{comment}"


def _unused(function: CFunction) -> Iterator[str]:
    """Parameters that nothing reads."""
    words = set(re.findall(r"\b\w+\b", "\n".join(function.lines)))
    for line in function.head:
        name = re.findall(r"\w+", line.split("/*")[0])[-1]
        if name not in words:
            yield f"    (void){name};"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _public(parts: TranslationUnit, outside: Outside | None) -> Iterator[str]:
    face = parts.interface
    if face.states:
        yield from _init(parts)
    given = ["weights"] if outside is not None else []
    given += [*(["state"] if face.states else []), *(each.name for each in face.inputs)]
    outputs = [each.name for each in face.outputs]
    if _has_step(parts):
        yield from _broken(f"int {face.name}_step(", _arguments(face, (), outside), ")")
        yield "{"
        work = []
        if parts.main.called.needs_work:
            yield f"    char work[{face.macro}_WORK_SIZE{'(1)' if face.lengths else ''}];"
            work = ["work"]
        yield from _dispatched(face, [*given, *("1" for _ in face.lengths), *outputs, *work])
        yield "}"
        yield ""
    yield from _broken(f"int {face.name}_run(", _run_arguments(parts, outside), ")")
    yield "{"
    for length in face.lengths:
        yield f"    if ({length} < 1 || {length} > {face.macro}_MAX_LENGTH) {{"
        yield f"        return {face.macro}_BAD_LENGTH;"
        yield "    }"
    work = []
    if parts.main.called.needs_work:
        yield f"    if (work == NULL || work_size < {face.macro}_WORK_SIZE{_parameters(face)}) {{"
        yield f"        return {face.macro}_SMALL_WORK;"
        yield "    }"
        work = ["work"]
    yield from _dispatched(face, [*given, *face.lengths, *outputs, *work])
    yield "}"
    yield ""
    yield f"size_t {face.name}_work_size({_sizes(face)})"
    yield "{"
    if parts.main.called.needs_work:
        yield f"    return {face.macro}_WORK_SIZE{_parameters(face)};"
    else:
        yield from (f"    (void){length};" for length in face.lengths)
        yield "    return 0;"
    yield "}"


def _dispatched(face: Interface, arguments: Iterable[str]) -> Iterator[str]:
    given = ", ".join(arguments)
    if "work" in given.split(", "):
        yield "    /* The first address of it that a vector may begin at. */"
        yield "    char *const room = (char *)work + (64 - (uintptr_t)work % 64) % 64;"
        given = ", ".join("room" if each == "work" else each for each in given.split(", "))
    for name, (_, needed) in _X86.items():
        yield f"#ifdef {face.macro}_DISPATCH_{name.upper()}"
        has = " && ".join(f'__builtin_cpu_supports("{each}")' for each in _target(needed).split(","))
        yield from _broken_at(f"    if ({has}) {{")
        yield f"        {face.macro}_JOINED(forward, {name})({given});"
        yield f"        return {face.macro}_OK;"
        yield "    }"
        yield "#endif"
    yield f"    forward({given});"
    yield f"    return {face.macro}_OK;"


def _broken_at(line: str) -> list[str]:
    return wrap(line, _LINE, subsequent_indent="        ", drop_whitespace=True)


def _init(parts: TranslationUnit) -> Iterator[str]:
    face = parts.interface
    yield f"void {face.name}_init({face.name}_state *state) {{"
    for each, state in zip(face.states, parts.signature.states, strict=True):
        yield from _start(each, state)
    yield "}"
    yield ""


def _start(each: Argument, state: StateSpec) -> Iterator[str]:
    values = np.broadcast_to(state.initial, [int(text(size)) for size in each.shape]).ravel()
    ctype = C_TYPES[each.spec.dtype]
    if values.tobytes() == values[:1].tobytes() * values.size:
        yield f"    for (size_t at = 0; at < {values.size}; at++) {{"
        yield f"        state->{each.name}[at] = {number(values[0])};"
        yield "    }"
        return
    yield "    {"
    yield f"        static const {ctype} start[{values.size}] = {{"
    yield from wrap(", ".join(map(weight, values)), _LINE, initial_indent=" " * 12, subsequent_indent=" " * 12)
    yield "        };"
    yield f"        memcpy(state->{each.name}, start, sizeof start);"
    yield "    }"


def constants_in(program: str) -> Mapping[str, tuple[str, str]]:
    """The type and the numbers of each array of weights in the text of a program, by its name."""
    pattern = re.compile(r"^static const (\w+) (\w+)\[PADDED\((\d+)\)\] = \{\n(.*?)\n\};$", re.DOTALL | re.MULTILINE)
    return {found[2]: (found[1], found[4]) for found in pattern.finditer(program)}
