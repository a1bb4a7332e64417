"""The largest errors of a C program's own exp, tanh and logistic function, over every float32.

    python -m benchmarks.c.functions [--compiler gcc] [--step 1]

It writes a C program that calls them for every bit pattern (with `--step 1021` for every 1021st) and compares each with
the C library's in float64. What it prints for every float is the bound that the head of each program states.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

from rnnexport.emit.c.prelude import parts_for
from rnnexport.targets.c import compiler

_MAIN = """
static double exp_of(double x) { return exp(x); }
static double tanh_of(double x) { return tanh(x); }
static double sigmoid_of(double x) { return 1 / (1 + exp(-x)); }
typedef vec (*own)(vec);

static void look(const char *name, own found, double (*truth)(double), uint32_t step, int relative) {
    double worst = 0, where = 0, largest = 0;
    int strange = 0;
    for (uint64_t pattern = 0; pattern < ((uint64_t)1 << 32); pattern += (uint64_t)step * LANES) {
        float x[LANES], y[LANES];
        for (int lane = 0; lane < LANES; lane++) {
            const uint64_t next = pattern + (uint64_t)step * (uint64_t)lane;
            const uint32_t bits_of_it = (uint32_t)(next > 0xffffffff ? 0xffffffff : next);
            memcpy(x + lane, &bits_of_it, 4);
        }
        store(y, found(load(x)));
        for (int lane = 0; lane < LANES; lane++) {
            const double right = truth(x[lane]);
            if (isnan(x[lane]) || isinf(y[lane])) { /* an overflow is one of the truth too */
                strange += isnan(x[lane]) ? !isnan(y[lane]) : right < 3.4e38;
                continue;
            }
            const double scale = relative ? (right > 1.17549435e-38 ? right : 1.17549435e-38) : 1;
            const double error = fabs(y[lane] - right) / scale;
            if (!(error <= worst)) {
                worst = error;
                where = x[lane];
            }
            largest = fabs(y[lane]) > largest ? fabs(y[lane]) : largest;
        }
    }
    printf("%s %.4g %.9g %.9g %d\\n", name, worst, where, largest, strange);
}

int main(int count, char **arguments) {
    const uint32_t step = count > 1 ? (uint32_t)atoi(arguments[1]) : 1;
    look("exp", vexp, exp_of, step, 1);
    look("sigmoid", vsigmoid, sigmoid_of, step, 0);
    look("tanh", vtanh, tanh_of, step, 0);
    return 0;
}
"""


def measured(
    step: int = 1, lanes: int = 4, flags: tuple[str, ...] = ("-O2", "-ffp-contract=off")
) -> dict[str, list[float]]:
    """The largest error of each function (of exp relative), where it is, its largest value, wrong NaN or infinities."""
    text, _ = parts_for("vexp vsigmoid vtanh load store")
    head = "#include <math.h>\n#include <stdint.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"
    head += f"#define LANES {lanes}\n#define INLINE inline\n"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "functions.c"
        program.write_text(head + text + _MAIN)
        compiler.find().run([*flags, str(program), "-o", str(program.with_suffix("")), "-lm"])
        done = subprocess.run([program.with_suffix(""), str(step)], capture_output=True, text=True, check=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return {row[0]: [float(item) for item in row[1:]] for row in rows}


def main() -> None:
    """Print a line a function."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--step", type=int, default=1)
    for name, (worst, where, largest, strange) in measured(parser.parse_args().step).items():
        print(f"{name}: off by {worst:.3g} at {where:.9g}; largest value {largest:.9g}; {strange:.0f} wrong NaN or inf")


if __name__ == "__main__":
    main()
