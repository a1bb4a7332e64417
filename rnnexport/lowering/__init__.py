"""Recurrences of an ONNX graph, lowered to the fastest form that is proven equal. Imports onnx_ir and NumPy alone."""
