"""A converted model written as a program of another language."""
