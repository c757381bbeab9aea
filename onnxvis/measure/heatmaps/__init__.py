"""Where a model looks: heatmaps, a method one small class."""
