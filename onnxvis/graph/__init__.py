"""Opening a model: read-only views of an ONNX graph."""
