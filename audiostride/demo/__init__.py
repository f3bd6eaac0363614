"""The main job from end to end, on small corpora that are made on the spot."""
