"""Running a graph with ONNX Runtime, and preparing what goes in."""
