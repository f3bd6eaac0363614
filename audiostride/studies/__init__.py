"""Studies: grids of runs over one recipe, trained one after the other and summarised in tables."""
