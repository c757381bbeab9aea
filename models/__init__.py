"""What the project makes itself: scenes, training recipes and the small networks that ship with it."""
