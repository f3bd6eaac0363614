"""Settings, recipes and run folders, without torch."""
