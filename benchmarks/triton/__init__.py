"""Streams of the samples through the server of NVIDIA's wheel; see `__main__`."""
