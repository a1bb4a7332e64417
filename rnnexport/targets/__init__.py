"""The formats. `registry` is the table; one folder a format, and no format imports another."""
