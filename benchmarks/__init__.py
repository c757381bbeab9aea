"""How fast onnxvis is beside what people do today: `python -m benchmarks` measures, prints a table and writes it down.

Needs the extra `bench` (PyTorch and matplotlib), Linux or macOS, and a quiet machine; run it from the checkout.
"""
