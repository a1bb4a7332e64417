"""Quantised artifacts: ranges, rounding of weights, what is lost, which form is taken. NumPy alone; no runtime."""
