"""NumPy: a program in one Python file, run by NumPy alone, with its weights in an `.npz` beside it."""
