"""Print the features of this processor that NumPy has faster kernels for, as `NPY_DISABLE_CPU_FEATURES` takes them."""

from __future__ import annotations

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__


def main() -> None:
    """Those that NumPy was built for and this processor has: it warns of others, and tests read what is printed."""
    print(" ".join(name for name in __cpu_dispatch__ if __cpu_features__[name]))


if __name__ == "__main__":
    main()
