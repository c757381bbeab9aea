"""What a detector found: its heads recognised, their boxes decoded."""
