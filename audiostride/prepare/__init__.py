"""Turn a dataset on disk into a prepared corpus."""
