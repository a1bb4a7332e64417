"""ONNX: tf2onnx for the graph, onnx_ir for names and metadata, ONNX Runtime to run it."""
