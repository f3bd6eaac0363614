"""The demo: the whole way from sounds to learned strides, on small synthesised corpora."""
