"""Fast forms of the functions in `audiostride.layers.functional`."""
