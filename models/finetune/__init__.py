"""Fine-tuning of a classifier on pictures of one's own: data, rates by layer, the loop, checkpoints and curves."""
