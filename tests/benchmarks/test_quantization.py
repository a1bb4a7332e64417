"""The table of quantised files: each of ours stands beside the best of others that is no larger."""

from __future__ import annotations

from benchmarks.quantization import Row, markdown

ROWS = [
    Row("float32", 9000, 1e-7, ""),
    Row("rnnexport int8", 4000, 0.03, ""),
    Row("rnnexport weights", 3000, 0.01, ""),
    Row("one int8", 4190, 0.02, ""),
    Row("other int8", 4000, 0.04, ""),
    Row("larger", 4300, 0.001, ""),
    Row("unchanged", 100, 0.0, "GRU stays float32, without a word"),
]


def test_ours_beside_the_best_of_others_of_that_size():
    best = ROWS[1].best_peer(ROWS)
    assert best is not None
    assert best.name == "one int8"
    assert ROWS[2].best_peer(ROWS) is None
    _, _, first, second = markdown({"GRU(32), onnx": ROWS}).splitlines()
    assert first == "| GRU(32), onnx, int8 | 4.0 KB | 0.03 | one int8 | 4.2 KB | 0.02 | 1.50 |"
    assert second == "| GRU(32), onnx, weights | 3.0 KB | 0.01 | none | | | |"
