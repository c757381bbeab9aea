"""The smaller programs that are measured: plain ONNX Runtime, and comparisons that are made inside one process."""
