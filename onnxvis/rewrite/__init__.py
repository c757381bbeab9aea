"""Changing a graph: ONNX to ONNX, always on a copy."""
