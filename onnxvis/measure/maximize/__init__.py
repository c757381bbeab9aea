"""Activation maximisation: the picture that excites a part of a model most, found by gradient ascent."""
