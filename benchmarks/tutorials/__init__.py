"""What tutorials tell people to do for the pictures that onnxvis draws, each as a program of its own."""
