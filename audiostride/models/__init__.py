"""Networks, one per file, and the classifier made of one."""
