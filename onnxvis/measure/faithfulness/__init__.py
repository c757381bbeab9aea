"""How good a heatmap is: what happens when the pixels it marks come and go, where it points, what it depends on."""
