"""Prepared corpora and the windows that are cut from them."""
