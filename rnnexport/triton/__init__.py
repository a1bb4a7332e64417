"""ONNX artifacts as models of NVIDIA's Triton Inference Server, which carries their states from request to request."""
