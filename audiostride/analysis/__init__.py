"""What trained strides mean."""
