"""Networks of Darknet: their .cfg and .weights files read, and written as ONNX."""
