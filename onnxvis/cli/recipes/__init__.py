"""What `onnxvis make` can make: one file a recipe."""
