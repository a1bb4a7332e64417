"""A traced model to an ONNX graph: what the formats that are made from one share."""
