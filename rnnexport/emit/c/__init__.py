"""A converted model as C99: static shapes, no heap, nothing global that changes."""
