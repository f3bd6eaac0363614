"""The report about runs, an HTML page."""
