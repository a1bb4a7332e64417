"""A traced model to a program that a person can read, and that needs NumPy alone."""
