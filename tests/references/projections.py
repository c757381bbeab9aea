"""What `make_projections` and the tests of its results both know."""

from __future__ import annotations

__all__ = ["KEPT", "KEPT_STEPS", "LAYERS", "VARIANTS"]

LAYERS = {"vgg": ("2", "2.2", "3"), "resnet": ("2", "3", "3.main")}
"""The modules that are projected: two after a unit like Relu or a pool, and one before, which has negative values."""

VARIANTS = ("plain", "guided", "deconvnet")
KEPT, KEPT_STEPS = 250, 60
"""How many values of each projection, and of each step on the way to it, are kept."""
