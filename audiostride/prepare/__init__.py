"""From a dataset on disk to a prepared corpus."""
