"""Graphs of one operator each, with inputs away from kinks: what gradients are tested on."""
